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

_CLIENT, _WORKER, _JOB = "Job::Async::Client::Redis", "Job::Async::Worker::Redis", "Job::Async::Job"
NOTHING = "none: an extension of jobwire"

COUNTERPARTS: Mapping[str, str] = {
    "jobwire.Call": NOTHING,
    "jobwire.Client.middleware": NOTHING,
    "jobwire.Submitting": NOTHING,
    "jobwire.Worker.check": NOTHING,
    "jobwire.Worker.health": NOTHING,
    "jobwire.Worker.place": "`uri`",
    "jobwire.Worker.waiting": NOTHING,
    "jobwire.Worker.middleware": NOTHING,
    "jobwire.Worker.on_error": "none: the Future that the handler returns fails",
    "jobwire.Worker.on_shutdown": NOTHING,
    "jobwire.Worker.on_startup": NOTHING,
    "jobwire.WorkerHealth": NOTHING,
    "jobwire.Client": f"`{_CLIENT}`",
    "jobwire.Client.attach": NOTHING,
    "jobwire.Client.id": "`id`",
    "jobwire.Client.on_queue_length": "`queue_length->each(…)`",
    "jobwire.Client.outstanding": "none: Perl keeps `pending_job`, which is private",
    "jobwire.Client.queue_length": "`queue_length`, a Ryu source",
    "jobwire.Client.results": "`Future->needs_all`, `Future::Utils::fmap`",
    "jobwire.Client.room": NOTHING,
    "jobwire.Client.start": "`start`",
    "jobwire.Client.state": NOTHING,
    "jobwire.Client.stop": "none: the object goes out of scope",
    "jobwire.Client.submit": "`submit`",
    "jobwire.Client.submit_many": "`submit`, many times",
    "jobwire.Job": f"`{_JOB}`",
    "jobwire.JobHandle": f"the Future (0.001 – 0.003) or `{_JOB}` (0.004) that `submit` returns",
    "jobwire.JobHandle.add_done_callback": "`future->on_ready`",
    "jobwire.JobHandle.cancel": "`future->cancel`, which leaves the job in Redis",
    "jobwire.JobHandle.id": "`id`",
    "jobwire.JobHandle.done": "`is_ready`",
    "jobwire.JobHandle.submitted": NOTHING,
    "jobwire.JobHandle.cancelled": "`is_cancelled`",
    "jobwire.JobHandle.exception": "`failure`",
    "jobwire.JobHandle.remove_done_callback": "nothing",
    "jobwire.JobState": NOTHING,
    "jobwire.Keyspace": "`prefixed_queue`",
    "jobwire.Limits": "none: Perl reads whatever comes",
    "jobwire.Trace": "none: Perl logs through Log::Any",
    "jobwire.TraceEvent": "none: Perl logs through Log::Any",
    "jobwire.Worker": f"`{_WORKER}`",
    "jobwire.Worker.counts": NOTHING,
    "jobwire.Worker.handler": "`jobs->each(sub { … })`",
    "jobwire.Worker.id": "`id`",
    "jobwire.Worker.route": "none: the sub given to `jobs->each` looks at `data`",
    "jobwire.Worker.run": "`trigger`, and `loop->run`",
    "jobwire.Worker.running": "`pending_jobs`",
    "jobwire.Worker.start": "`start` and `trigger`",
    "jobwire.Worker.stop": "`stop`",
    "jobwire.current_job": "none: the sub given to `jobs->each` gets the job as `$_`",
    "jobwire.rpc.RpcError": "the hash `error` with `code`, `message_to_client`, `details` that the proxy reads",
    "jobwire.rpc.Server": "the sub that a Perl RPC worker gives to `jobs->each`",
    "jobwire.rpc.call": "`Mojo::WebSocketProxy::Backend::JobAsync`, `call_rpc`",
    "jobwire.rpc.decode_reply": "`Mojo::WebSocketProxy::Backend`, `get_rpc_response_cb`",
    "jobwire.rpc.encode_call": "`Mojo::WebSocketProxy::Backend::JobAsync`, `call_rpc`",
    "jobwire.wire.channel": "`client::<id>` in `Client/Redis.pm` and `Worker/Redis.pm`",
    "jobwire.wire.decode_job": f"`{_JOB}`, `structured_data`",
    "jobwire.wire.decode_result": "`on_subscribed` in `Client/Redis.pm`",
    "jobwire.wire.encode_job": f"`{_JOB}`, `flattened_data`, `encode_keypair`",
    "jobwire.wire.encode_result": "`on_job_received` in `Worker/Redis.pm`",
    "jobwire.wire.job_key": "`job::<id>` in `Client/Redis.pm` and `Worker/Redis.pm`",
    "jobwire.wire.new_id": "`Job::Async::Utils::uuid`",
    "jobwire.wire.Dialect": "the releases of Job::Async::Redis",
    "jobwire.wire.Recoverable": "documented in `Redis.pm`, never implemented in Perl",
    "jobwire.wire.Reliable": f"what `{_CLIENT}` and `{_WORKER}` do",
    "jobwire.wire.Simple": "documented in `Redis.pm`, never implemented in Perl",
    "jobwire.sereal.dumps": "`Sereal::Encoder`, `encode`",
    "jobwire.sereal.loads": "`Sereal::Decoder`, `decode`",
    "jobwire.sereal.PerlObject": "a blessed reference",
    "jobwire.sereal.PerlRegexp": "`qr//`",
    "jobwire.sereal.ScalarRef": "a reference to a scalar",
}
"""The counterparts in Perl. A name that is not here has none of its own."""

MEANINGS: Mapping[str, str] = {
    "jobwire.__version__": "The version of the package.",
    "jobwire.Trace": (
        "`Callable[[TraceEvent], object]`: what the option `trace` takes. Called in the event loop, so it must not "
        "block; what it raises is logged and otherwise ignored."
    ),
    "jobwire.rpc.BusinessErrors": (
        "`both`: an `RpcError` of a method stands at the top of the reply and in `result`; `result`: in `result` alone."
    ),
    "jobwire.worker.hooks.ErrorHook": "`Callable[[Call, BaseException], object]`: what `Worker.on_error` takes.",
    "jobwire.worker.hooks.LifeHook": "`Callable[[], object]`: what `on_startup` and `on_shutdown` take.",
    "jobwire.worker.hooks.Middleware": "`Callable[[Call, Proceed], Awaitable]`: what `Worker.middleware` takes.",
    "jobwire.worker.hooks.Proceed": "`Callable[[], Awaitable]`: calls the next middleware, the last one the handler.",
    "jobwire.worker.retry.Decide": "`Callable[[Job, Failure], Decision]`: a function that `on_failure` takes.",
    "jobwire.worker.retry.Decision": "`Complete | Requeue | Bury`: the answer to a failed job.",
    "jobwire.worker.retry.OnFailure": '`"leave" | "retry" | "reply" | Decide`: the option `on_failure`.',
    "jobwire.testing.scripted.Handler": "A function from a command to its `Outcome`.",
    "jobwire.testing.scripted.LOST": "An `Outcome`: the connection is lost instead of an answer.",
    "jobwire.testing.scripted.SILENT": "An `Outcome`: no answer, as of a blocking pop.",
    "jobwire.testing.scripted.Outcome": "A reply, an error, `LOST` or `SILENT`.",
    "jobwire.wire.Command": "`tuple[bytes, ...]`: a Redis command as plain data, its name first.",
    "jobwire.wire.Reply": "`bytes | int | list[Reply] | ServerError | None`: a reply; errors are values.",
    "jobwire.wire.Result": "`Success | Failure`: how a job ended.",
    "jobwire.wire.Text": "`str | bytes`: `str` goes out as UTF-8; what comes in is `str` where it is valid UTF-8.",
    "jobwire.wire.DEFAULT_DIALECT": "The `Dialect` of 0.004, the last release on CPAN.",
    "jobwire.wire.DEFAULT_LIMITS": "The `Limits` that decoders use unless told otherwise.",
    "jobwire.wire.DIALECTS": "Every `Dialect` by name, oldest first.",
    "jobwire.wire.LIFECYCLE": "The life of a job as a table of transitions (docs/PROTOCOL.md draws it).",
    "jobwire.wire.MODES": "The classes of the three modes by name: `simple`, `recoverable`, `reliable`.",
    "jobwire.sereal.DEFAULT_LIMITS": "See `jobwire.wire.DEFAULT_LIMITS`.",
    "jobwire.sereal.Compression": "The names of the compressions that `dumps` writes.",
    "jobwire.sereal.StringPolicy": (
        "How bytes that may be text are read: `auto` (valid UTF-8 is `str`, else `bytes`), `exact` (ASCII is `str`, "
        "else `bytes`), `latin-1` (always `str`, one character a byte, which is what Perl sees), `utf-8` (always "
        "`str`, an error where it is not), `bytes`."
    ),
    "jobwire.testing.server.START_TIMEOUT": "Seconds that a server may take to answer.",
    "jobwire.testing.plugin.redis_server": "Fixture: the server of this test run.",
    "jobwire.testing.plugin.redis_url": "Fixture: its URL, the database emptied before the test.",
}
"""The meaning of names without a docstring of their own."""

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
