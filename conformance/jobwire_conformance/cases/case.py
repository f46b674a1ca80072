"""Cases: their schema in Structs, and the reader of the files under ``conformance/cases``.

A file is TOML: ``[defaults]`` for all its cases, then ``[[case]]`` tables. A case says one thing that
must hold, which requirement of ``docs/PROTOCOL.md`` it proves, where the Perl source or a transcript
shows it, the axes it spans, the steps, and three kinds of expectation: the peers' answers (on the
steps), the traffic on the wire (``wire``), and the keys left in Redis (``left``).

Texts in commands, keys and patterns may hold ``{id}`` (the only or last job), ``{id:name}``,
``{client}``, ``{worker}``, ``{prefix}``, ``{q:pending}`` (a queue's whole key), ``{channel}`` (the
client's notice channel) and the name of a ``save`` step. Values are tagged JSON (:mod:`driver.values`), with
generators besides (TOML has no null, and nobody writes 10 MiB by hand): ``{"$null" = true}``,
``{"$repeat" = [text, n]}``, ``{"$nest" = [depth, leaf]}``, ``{"$count" = n}``, ``{"$records" = n}``,
``{"$seconds" = s}`` (times the time-out factor), ``{"$allbytes" = true}``, ``{"$raw" = hex}``,
``{"$rawrepeat" = [hex, n]}``, ``{"$sereal" = value}`` and others in :mod:`jobwire_conformance.cases.templates`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from jobwire_conformance.cases.places import CASES
from jobwire_conformance.cases.stacks import known_facts
from jobwire_conformance.cases.steps import (
    Alone,
    AtMost,
    Await,
    Cancel,
    Ended,
    Exits,
    Fault,
    Job,
    Log,
    Monitor,
    Quiet,
    Redis,
    Sleep,
    StartPeer,
    Step,
    StopPeer,
    SubmitJob,
    Sums,
    Taken,
    Took,
    Wait,
)
from jobwire_conformance.driver.protocol import Mode

__all__ = [
    "CASES",
    "Alone",
    "AtMost",
    "Await",
    "Axes",
    "Cancel",
    "Case",
    "CaseError",
    "CaseFile",
    "Ended",
    "Exits",
    "Fault",
    "Job",
    "Log",
    "Monitor",
    "Needs",
    "Quiet",
    "Redis",
    "Sleep",
    "StartPeer",
    "Step",
    "StopPeer",
    "SubmitJob",
    "Sums",
    "Taken",
    "Took",
    "Wait",
    "WireRule",
    "load_cases",
]

_ID = re.compile(r"[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9.-]*)+")
_REQUIREMENT = re.compile(r"[A-Z]{2,5}-\d+")


class CaseError(ValueError):
    """A case file that cannot be used; names the file and the case."""


class _Base(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class WireRule(_Base, kw_only=True, frozen=True):
    """Commands that one side must have sent (``count`` null: at least once; 0: never).

    ``sends`` is a command word by word: a text with templates, ``*`` for any one word, ``**`` for the
    rest, ``~pattern`` for a regular expression. ``fields`` are fields of HMSET/HSET with the pattern
    of their value, or ``{sereal = value}``, ``{json = value}``, ``{time = true}``; ``without`` are fields
    that must not be there. ``then`` is a list of further commands that must follow on the same side
    in this order. ``modes`` and ``facts`` say where the rule holds.
    """

    role: Literal["client", "worker"]
    sends: list[str]
    fields: dict[str, Any] = {}
    without: list[str] = []
    then: list[list[str]] = []
    count: int | None = None
    modes: list[Mode] = []
    facts: list[str] = []


class Needs(_Base, kw_only=True, frozen=True):
    """The conditions on a pair for the case to be tried: behaviours of the peers, facts of both dialects, and
    ``server`` where the server itself is broken. ``documents``: a parameter travels as a document, a reference
    or a scalar that text cannot say, so both real sides must know the codec of the instance. ``client_stack`` and
    ``worker_stack``: a real side is Perl, and these facts hold of it (:mod:`jobwire_conformance.cases.stacks`)."""

    client: list[str] = []
    worker: list[str] = []
    facts: list[str] = []
    server: bool = False
    documents: bool = False
    client_language: list[str] = []
    worker_language: list[str] = []
    client_stack: list[str] = []
    worker_stack: list[str] = []


class Axes(_Base, kw_only=True, frozen=True):
    """The values that a case spans, besides mode, dialect, client and worker."""

    use_multi: tuple[Literal["none", "client", "worker", "both"], ...] = ("none",)
    prefix: tuple[str, ...] = ("jobs",)
    codec: tuple[Literal["sereal", "json"], ...] = ("sereal",)
    concurrency: tuple[int, ...] = (1,)


class Case(_Base, kw_only=True, frozen=True):
    """One thing that must hold.

    ``peers`` says which sides are real: ``pair``; ``client`` (the runner plays the worker by its own
    Redis commands); ``worker`` (the runner plays the client). ``jobs`` is short for: submit them all,
    await them all. ``left`` maps keys to their contents; every other key must be gone
    (null: not looked at). ``grammar``: the traffic of each job must be that of its mode; ``breaks``: but for these
    requirements, which the case shows to be broken.
    ``golden``: real Perl traffic of this case is recorded and replayed.
    """

    id: str
    title: str
    proves: list[str]
    source: str
    level: Literal["must", "should", "may"] = "must"
    peers: Literal["pair", "client", "worker"] = "pair"
    modes: tuple[Mode, ...] = ("reliable",)
    needs: Needs = Needs()
    axes: Axes = Axes()
    client: dict[str, Any] = {}
    worker: dict[str, Any] = {}
    jobs: list[Job] = []
    steps: list[Step] = []
    in_flight: int = 0
    wire: list[WireRule] = []
    left: dict[str, Any] | None = {}
    grammar: bool = True
    breaks: list[str] = []
    golden: bool = False
    seconds: float = 20.0
    tags: list[str] = []


class CaseFile(_Base, kw_only=True, frozen=True):
    """A file of cases; ``defaults`` are fields that its cases have where they do not say otherwise."""

    about: str
    defaults: dict[str, Any] = {}
    case: list[Case]


def load_cases(directory: Path = CASES) -> list[Case]:
    """All cases, in the order of the files; raises :class:`CaseError` for entries that break the schema."""
    found: dict[str, Case] = {}
    for path in sorted(directory.glob("*.toml")):
        for case in _load_file(path):
            if case.id in found:
                raise CaseError(f"{path.name}: the ID {case.id} is used twice")
            found[case.id] = case
    if not found:
        raise CaseError(f"no case in {directory.name}")
    return list(found.values())


def _load_file(path: Path) -> list[Case]:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CaseError(f"{path.name}: {error}") from None
    defaults = raw.get("defaults", {})
    for table in raw.get("case", []):
        for key, value in defaults.items():
            table.setdefault(key, value)
    try:
        parsed = msgspec.convert(raw, CaseFile)
    except msgspec.ValidationError as error:
        raise CaseError(f"{path.name}: {_named(raw, str(error))}") from None
    for case in parsed.case:
        _check(path, case)
    return parsed.case


def _named(raw: dict[str, Any], message: str) -> str:
    """The message with the case's ID where it gives only its number."""
    match = re.search(r"\$\.case\[(\d+)\]", message)
    if match is None:
        return message
    case = raw["case"][int(match.group(1))]
    return f"case {case.get('id', '(no id)')}: {message}"


def _check(path: Path, case: Case) -> None:
    """The conditions that the schema cannot say."""

    def need(condition: bool, what: str) -> None:
        if not condition:
            raise CaseError(f"{path.name}: case {case.id}: {what}")

    need(_ID.fullmatch(case.id) is not None, "the ID is not of the form group/name")
    need(bool(case.proves), "proves nothing")
    strange = {*case.needs.client_stack, *case.needs.worker_stack} - known_facts()
    need(not strange, f"needs {', '.join(sorted(strange))}, no fact of stacks/perl.toml")
    need(all(_REQUIREMENT.fullmatch(item) for item in case.proves), "cites something that is no requirement ID")
    need(all(_REQUIREMENT.fullmatch(item) for item in case.breaks), "breaks something that is no requirement ID")
    need(bool(case.source.strip()) and bool(case.title.strip()), "needs a title and a source")
    need(bool(case.jobs) != bool(case.steps), "has either jobs or steps")
    for job in [*case.jobs, *(step for step in case.steps if isinstance(step, SubmitJob))]:
        ends = [job.result is not msgspec.UNSET, job.failed, job.timeout, job.refused, job.silent, job.any]
        given = sum(1 for end in ends if end is not None and end is not False)
        need(given == 1, f"a job needs exactly one end, not {given}")
