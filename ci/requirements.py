"""The requirements of ``docs/PROTOCOL.md``, read from the document itself, and the cases that prove them.

A requirement is one list item of a fixed form::

    - <a id="KEY-1"></a>**KEY-1** [peer] One sentence with one key word MUST stand here. *Source:* what; shows; it.

``conformance/requirements.toml`` holds the facts that the document cannot: the IDs that were withdrawn (never used
again), the requirements that are proven by tests of the code rather than by a case, and those that nothing proves, each
with the reason. Every breach is a problem with a line; CI asks for an empty list of problems.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, get_args

import msgspec

__all__ = [
    "PROTOCOL",
    "REGISTER",
    "Document",
    "Proof",
    "Register",
    "Requirement",
    "Source",
    "check_coverage",
    "check_recordings",
    "coverage",
    "load_document",
    "load_register",
    "parse",
    "render_coverage",
    "without_proven",
]

ROOT = Path(__file__).resolve().parents[1]
PROTOCOL = ROOT / "docs" / "PROTOCOL.md"
REGISTER = ROOT / "conformance" / "requirements.toml"

Role: TypeAlias = Literal["client", "worker", "peer", "tool"]
Level: TypeAlias = Literal["must", "should", "may"]
Kind: TypeAlias = Literal["perl", "recording", "observed", "specification", "jobwire"]

_KEYWORD = re.compile(r"\b(MUST NOT|MUST|SHOULD NOT|SHOULD|MAY|SHALL|REQUIRED|RECOMMENDED|OPTIONAL)\b")
_FORBIDDEN = frozenset({"SHALL", "REQUIRED", "RECOMMENDED", "OPTIONAL"})
_ITEM = re.compile(
    r'- <a id="(?P<anchor>[A-Z]+-\d+)"></a>\*\*(?P<id>(?P<area>[A-Z]{2,5})-(?P<number>[1-9]\d*))\*\* '
    r"\[(?P<role>[a-z]+)\] (?P<text>.+?) \*Source:\* (?P<sources>.+)\."
)
_LOOKS_LIKE_ITEM = re.compile(r"[-*] .*\*\*[A-Z]{2,5}-\d+\*\*")
_HEADING = re.compile(r"(#{2,3}) (?P<title>.+)")
_AREA_OF_SECTION = re.compile(r"\(([A-Z]{2,5})\)$")
_AREA_ROW = re.compile(r"\| ([A-Z]{2,5}) \| .+ \|")
_LINK = re.compile(r"\]\(#([^)]+)\)")
_CITED = re.compile(r"\b([A-Z]{2,5}-\d+)\b")

_RELEASES = r"(?:\d+\.\d+(?:–\d+\.\d+)?|master)(?:,(?:\d+\.\d+(?:–\d+\.\d+)?|master))*"
_DISTRIBUTIONS = r"(?:Job-Async-Redis|Job-Async|Net-Async-Redis|JSON-MaybeUTF8)"
_SOURCES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("perl", re.compile(rf"{_DISTRIBUTIONS} {_RELEASES} [\w./-]+\.p[lm] \([^()]+\)")),
    ("recording", re.compile(r"recording (?P<file>[\w.-]+\.jsonl):(?P<line>\d+)")),
    ("observed", re.compile(rf"observed on {_DISTRIBUTIONS} {_RELEASES}")),
    ("specification", re.compile(r"specification [^;]+")),
    ("jobwire", re.compile(r"defined by jobwire")),
)

# RFC 4648 and the like look like requirement IDs and are none.
_NOT_OURS = frozenset({"RFC", "BCP", "UTF", "ISO", "AGPL", "GPL"})


class Source(msgspec.Struct, frozen=True):
    """The source of a requirement; ``file`` and ``line`` for recordings only."""

    kind: Kind
    text: str
    file: str | None = None
    line: int | None = None


class Requirement(msgspec.Struct, frozen=True):
    """One requirement; ``line`` is its line in the document (1 is the first)."""

    id: str
    area: str
    number: int
    role: Role
    level: Level
    text: str
    sources: tuple[Source, ...]
    line: int


class Document(msgspec.Struct, frozen=True):
    """All requirements in the order of the document, the areas, and the faults of its form."""

    requirements: tuple[Requirement, ...]
    areas: dict[str, str]
    problems: tuple[str, ...]

    def __getitem__(self, requirement_id: str) -> Requirement:
        """Return the requirement of that ID; raises ``KeyError``."""
        for requirement in self.requirements:
            if requirement.id == requirement_id:
                return requirement
        raise KeyError(requirement_id)


class Register(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``conformance/requirements.toml``.

    ``retired``   IDs that were withdrawn
    ``tested``    requirement → the test that proves it (``file::function``), where a case between two peers cannot
    ``unproven``  requirement → why nothing proves it
    """

    retired: list[str] = []
    tested: dict[str, str] = {}
    unproven: dict[str, str] = {}


class Proof(Protocol):
    """The part of a case that this module needs."""

    @property
    def id(self) -> str: ...
    @property
    def proves(self) -> list[str]: ...


# -- the document


class _Reader:
    """One pass over the lines of the document."""

    def __init__(self) -> None:
        self.requirements: dict[str, Requirement] = {}
        self.areas: dict[str, str] = {}
        self.problems: list[str] = []
        self.slugs: set[str] = set()
        self.links: list[tuple[int, str]] = []
        self.cited: list[tuple[int, str]] = []
        self.section = ""
        self.fenced = False

    def problem(self, line: int, what: str) -> None:
        self.problems.append(f"line {line}: {what}")

    def read(self, number: int, line: str) -> None:
        if line.startswith("```"):
            self.fenced = not self.fenced
        if self.fenced or line.startswith(("```", "    ")):
            return
        self.links += [(number, slug) for slug in _LINK.findall(line)]
        self.cited += [(number, cited) for cited in _CITED.findall(line) if cited.split("-")[0] not in _NOT_OURS]
        if heading := _HEADING.fullmatch(line):
            self.section = heading["title"]
            self.slugs.add(_slug(self.section))
        elif area := _AREA_ROW.fullmatch(line):
            self.areas[area[1]] = line.split("|")[2].strip()
        elif _LOOKS_LIKE_ITEM.match(line):
            self._item(number, line)
        elif not self.section.startswith("1 ") and (word := _KEYWORD.search(line)):
            self.problem(number, f"{word[1]} stands outside a requirement: give it an ID, or say it in small letters")

    def _item(self, number: int, line: str) -> None:
        match = _ITEM.fullmatch(line)
        if match is None:
            self.problem(number, "a requirement that does not have the form of section 1")
            return
        name = match["id"]
        if match["anchor"] != name:
            self.problem(number, f"{name} has the anchor of {match['anchor']}")
        if name in self.requirements:
            self.problem(number, f"{name} is used twice; it stands in line {self.requirements[name].line} too")
            return
        section_area = _AREA_OF_SECTION.search(self.section)
        if section_area is None or section_area[1] != match["area"]:
            self.problem(number, f"{name} stands in the section {self.section!r}")
        if match["role"] not in get_args(Role):
            self.problem(number, f"{name} binds {match['role']!r}; known are {', '.join(get_args(Role))}")
            return
        self.requirements[name] = Requirement(
            id=name,
            area=match["area"],
            number=int(match["number"]),
            role=msgspec.convert(match["role"], Role),
            level=self._level(number, name, match["text"]),
            text=match["text"],
            sources=tuple(self._sources(number, name, match["sources"])),
            line=number,
        )

    def _level(self, number: int, name: str, text: str) -> Level:
        words = _KEYWORD.findall(text)
        if len(words) != 1 or words[0] in _FORBIDDEN:
            self.problem(
                number, f"{name} has {len(words)} key words ({', '.join(words)}); it must have one of section 1"
            )
        if not text.endswith(".") or re.search(r"[a-z]\. [A-Z]", text):
            self.problem(number, f"{name} is not one sentence")
        word = words[0] if words else "MUST"
        return "may" if word == "MAY" else "should" if word.startswith("SHOULD") else "must"

    def _sources(self, number: int, name: str, text: str) -> Iterable[Source]:
        for part in text.split("; "):
            for kind, pattern in _SOURCES:
                if match := pattern.fullmatch(part):
                    found = match.groupdict()
                    line = int(found["line"]) if "line" in found else None
                    yield Source(kind, part, found.get("file"), line)
                    break
            else:
                self.problem(number, f"{name} has a source of no known form: {part!r}")

    def finish(self) -> None:
        for number, slug in self.links:
            if slug not in self.slugs and slug not in self.requirements:
                self.problem(number, f"the link #{slug} leads nowhere")
        for number, cited in self.cited:
            if cited not in self.requirements:
                self.problem(number, f"{cited} is cited and does not exist")
        used = {requirement.area for requirement in self.requirements.values()}
        self.problems += [f"the area {area} is not in the table of areas" for area in sorted(used - set(self.areas))]
        self.problems += [f"the area {area} has no requirement" for area in sorted(set(self.areas) - used)]


def _slug(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def parse(text: str) -> Document:
    """Return the requirements in the text of the document; faults of form are in ``problems``, never raised."""
    reader = _Reader()
    for number, line in enumerate(text.splitlines(), 1):
        reader.read(number, line)
    reader.finish()
    return Document(tuple(reader.requirements.values()), reader.areas, tuple(reader.problems))


def load_document(path: Path = PROTOCOL) -> Document:
    """Return the document in the repository."""
    return parse(path.read_text(encoding="utf-8"))


def check_recordings(document: Document, directory: Path) -> list[str]:
    """Recordings that are cited and do not exist, or do not have that line."""
    problems: list[str] = []
    lengths: dict[str, int] = {}
    for requirement in document.requirements:
        for source in requirement.sources:
            if source.file is None or source.line is None:
                continue
            path = directory / source.file
            if not path.is_file():
                problems.append(f"line {requirement.line}: {requirement.id}: no recording {source.file}")
                continue
            if source.file not in lengths:
                lengths[source.file] = len(path.read_bytes().splitlines())
            if not 1 <= source.line <= lengths[source.file]:
                problems.append(f"line {requirement.line}: {requirement.id}: {source.text} has no such line")
    return problems


# -- the register and the cases


def load_register(path: Path = REGISTER) -> Register:
    """Return the register in the repository; raises ``msgspec.ValidationError`` for one of another shape."""
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Register)


def coverage(document: Document, cases: Iterable[Proof]) -> dict[str, list[str]]:
    """Requirement ID → IDs of the cases that prove it, for every requirement of the document."""
    found: dict[str, list[str]] = {requirement.id: [] for requirement in document.requirements}
    for case in cases:
        for cited in case.proves:
            if cited in found:
                found[cited].append(case.id)
    return found


def check_coverage(document: Document, register: Register, cases: Iterable[Proof], root: Path = ROOT) -> list[str]:
    """Return the disagreements of document, register and cases; empty is good."""
    cases = list(cases)
    known = {requirement.id for requirement in document.requirements}
    problems = [
        f"case {case.id} cites {cited}, which does not exist"
        for case in cases
        for cited in case.proves
        if cited not in known
    ]
    problems += [f"{name} was withdrawn and is used again" for name in register.retired if name in known]
    for table, entries in (("tested", register.tested), ("unproven", register.unproven)):
        problems += [f"[{table}] names {name}, which does not exist" for name in entries if name not in known]
        problems += [f"[{table}] {name} gives nothing" for name, value in entries.items() if not value.strip()]
    problems += [f"{name} stands in [tested] and [unproven]" for name in register.tested if name in register.unproven]
    problems += [
        f"[tested] {name}: there is no {test}"
        for name, test in register.tested.items()
        if not _test_exists(root, *test.split("::"))
    ]
    proven = coverage(document, cases)
    for requirement in document.requirements:
        name = requirement.id
        if requirement.level == "may":
            continue
        if not proven[name] and name not in register.tested and name not in register.unproven:
            problems.append(f"{name} is proven by no case; write one, or list it in {REGISTER.name} with the reason")
        if proven[name] and name in register.unproven:
            problems.append(f"{name} is listed as unproven, but {proven[name][0]} proves it; take it off the list")
    return problems


def _test_exists(root: Path, path: str, *function: str) -> bool:
    file = root / path
    return file.is_file() and all(f"def {name}(" in file.read_text(encoding="utf-8") for name in function)


def without_proven(text: str, proven: Mapping[str, list[str]]) -> str:
    """Return the text of the register without the unproven entries that some case proves by now."""
    kept: list[str] = []
    table = ""
    for line in text.splitlines(keepends=True):
        if line.startswith("["):
            table = line.strip()
        name = line.partition("=")[0].strip().strip('"')
        if table == "[unproven]" and proven.get(name):
            continue
        kept.append(line)
    return "".join(kept)


def render_coverage(document: Document, register: Register, cases: Iterable[Proof]) -> str:
    """Return the Markdown page "requirement → cases"."""
    proven = coverage(document, cases)
    counted = [requirement for requirement in document.requirements if requirement.level != "may"]
    by_case = sum(1 for requirement in counted if proven[requirement.id])
    by_test = sum(1 for requirement in counted if not proven[requirement.id] and requirement.id in register.tested)
    lines = [
        "# Requirements and the cases that prove them",
        "",
        "Written by `python ci/check_protocol.py --write`; do not edit.",
        "",
        (
            f"{len(counted)} requirements (MUST and SHOULD) in {len(document.areas)} areas: {by_case} proven by cases, "
            f"{by_test} by tests of the code, {len(counted) - by_case - by_test} by nothing yet, with the reason. "
            f"{len(document.requirements) - len(counted)} more are permissions (MAY)."
        ),
    ]
    for area, about in document.areas.items():
        lines += ["", f"## {area}: {about}", "", "| requirement | level | binds | proven by |", "|---|---|---|---|"]
        for requirement in document.requirements:
            if requirement.area == area:
                cell = _proof_cell(requirement, proven[requirement.id], register)
                link = f"[{requirement.id}](PROTOCOL.md#{requirement.id})"
                lines.append(f"| {link} | {requirement.level} | {requirement.role} | {cell} |")
    return "\n".join(lines) + "\n"


def _proof_cell(requirement: Requirement, cases: list[str], register: Register) -> str:
    if cases:
        return "<br>".join(f"`{case}`" for case in cases)
    if requirement.id in register.tested:
        return f"test `{register.tested[requirement.id]}`"
    if requirement.id in register.unproven:
        return f"*unproven:* {register.unproven[requirement.id]}"
    return "a permission" if requirement.level == "may" else "**nothing**"
