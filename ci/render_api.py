"""Write docs/API.md with griffe2md: every public name, from its signature and docstring, with its counterpart in Perl.

    python ci/render_api.py --write     bring the page up to date
    python ci/render_api.py             exit 1 if it is not

The meaning of a name is in its docstring and nowhere else; the counterparts are in docs/perl-counterparts.toml.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import griffe
from griffe2md import ConfigDict, default_config, render_object_docs

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "API.md"
COUNTERPARTS: dict[str, str] = tomllib.loads((ROOT / "docs" / "perl-counterparts.toml").read_text(encoding="utf-8"))

MODULES = (
    "jobwire",
    "jobwire.errors",
    "jobwire.sync",
    "jobwire.rpc",
    "jobwire.wire",
    "jobwire.sereal",
    "jobwire.recovery",
    "jobwire.worker.retry",
    "jobwire.worker.hooks",
    "jobwire.metrics",
    "jobwire.tracing",
    "jobwire.testing.server",
    "jobwire.testing.scripted",
    "jobwire.testing.strategies",
    "jobwire.testing.plugin",
)
CONFIG = cast(
    "ConfigDict",
    {
        **default_config,
        "docstring_style": "google",
        "heading_level": 3,
        "line_length": 100,
        "members_order": "source",
        "show_bases": False,
        "show_root_full_path": False,
        "show_object_full_path": False,
        "show_signature_annotations": True,
        "show_submodules": False,
        "summary": False,
    },
)
INTRODUCTION = """\
# API

Every public name, with its types, units, errors and its counterpart in Perl. The page is written from the signatures
and docstrings by griffe2md (`ci/render_api.py`), and a test holds it up to date.

Units: times are seconds, moments are epoch seconds, sizes are bytes, unless something else is said. Names and IDs are
`Text`: `str`, or `bytes` that are no UTF-8. Everything that jobwire raises is a `JobwireError`; each call names the
errors that it raises, and `jobwire.errors` describes them.
"""


# -- docstrings as Markdown


# ``name``  meaning; or several names and one blank at the least.
_ENTRY = re.compile(r"(?P<names>``[^`]+``(?=  )|``[^`]+``(?:, ``[^`]+``)+) +(?P<meaning>\S.*)")


def markdown(docstring: str) -> str:
    """Return a docstring as Markdown: tables of names become lists, indented blocks become code."""
    out: list[str] = []
    for line in docstring.splitlines():
        entry = _ENTRY.match(line)
        if entry is not None:
            out.append(f"- {entry['names']}: {entry['meaning']}")
        elif line.startswith("  ") and out and out[-1].startswith("- "):
            out[-1] += " " + line.strip()
        else:
            out.append(line)
    text = re.sub(r"(?:^|(?<=\n))(.*?):?:\n\n((?:    .*\n?|\n)+)", _fenced, "\n".join(out))
    text = re.sub(r":(?:class|func|mod|meth):`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return re.sub(r"(?<!`)``(?!`)", "`", text)


def _fenced(match: re.Match[str]) -> str:
    lead = f"{match[1]}:\n\n" if match[1] else ""
    lines = [line[4:] for line in match[2].rstrip().splitlines()]
    language = "text" if any(line.startswith("├") for line in lines) else "python"
    return f"{lead}```{language}\n" + "\n".join(lines) + "\n```\n\n"


class Markdown(griffe.Extension):
    """Rewrites each docstring as Markdown, and drops attributes of which nothing is said."""

    def on_class_members(self, *, cls: griffe.Class, **_kwargs: object) -> None:
        """Drop attributes that have neither a type nor a docstring: they are a parameter of the class again."""
        for name, member in list(cls.members.items()):
            if isinstance(member, griffe.Attribute) and member.annotation is None and member.docstring is None:
                cls.del_member(name)

    def on_object(self, *, obj: griffe.Object, **_kwargs: object) -> None:
        """Rewrite the docstring of one object."""
        text = markdown(obj.docstring.value) if obj.docstring is not None else ""
        if obj.labels.intersection({"async"}):
            text = f"*A coroutine.* {text}"
        if text:
            obj.docstring = griffe.Docstring(text.strip(), parent=obj)


def _add(found: griffe.Object | griffe.Alias, text: str) -> None:
    one = found.final_target if isinstance(found, griffe.Alias) else found
    before = f"{one.docstring.value}\n\n" if one.docstring is not None else ""
    one.docstring = griffe.Docstring(before + text, parent=one)


# -- the page


def public(module: griffe.Module) -> Iterator[griffe.Object | griffe.Alias]:
    """Yield what a module offers, in the order of the page: classes, functions, the rest."""
    rank = {griffe.Kind.CLASS: 0, griffe.Kind.FUNCTION: 1}
    names = [str(name) for name in module.exports or ()]
    found = [module[name] for name in names if name in module.members]
    yield from sorted(found, key=lambda one: (rank.get(one.kind, 2), one.name.lower()))


def rendered() -> str:
    """Return the page as the code has it now."""
    loader = griffe.GriffeLoader(search_paths=[ROOT], extensions=griffe.load_extensions(Markdown))
    package = cast("griffe.Module", loader.load("jobwire"))
    loader.resolve_aliases()
    for path, counterpart in COUNTERPARTS.items():
        _add(package[path.removeprefix("jobwire.")], f"*In Perl:* {counterpart}.")
    parts, seen = [INTRODUCTION], set[str]()
    for path in MODULES:
        module = cast("griffe.Module", package if path == "jobwire" else package[path.removeprefix("jobwire.")])
        parts.append(f"## {path}\n\n{markdown(module.docstring.value) if module.docstring else ''}\n")
        again = [one.name for one in public(module) if one.canonical_path in seen]
        if again:
            parts.append(f"The same as under `jobwire`: {', '.join(f'`{name}`' for name in again)}.\n")
        parts += [render_object_docs(one, CONFIG) for one in public(module) if one.canonical_path not in seen]
        seen.update(one.canonical_path for one in public(module) if path == "jobwire")
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(parts)).rstrip() + "\n"


def main() -> int:
    """Check the page, or write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="bring the page up to date")
    fresh = rendered()
    if parser.parse_args().write:
        PAGE.write_text(fresh, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == fresh:
        return 0
    print("docs/API.md is out of date: run  python ci/render_api.py --write", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
