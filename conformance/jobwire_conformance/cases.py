"""Cases: what they are (a schema in Structs), and how the files under ``conformance/cases`` are read.

A file is TOML: ``[defaults]`` for all its cases, then ``[[case]]`` tables. A case says one thing that
must hold, which requirement of ``docs/PROTOCOL.md`` it proves, where the Perl source or a transcript
shows it, the axes it spans, the steps, and three kinds of expectation: what the peers saw (on the
steps), what crossed the wire (``wire``), and what is left in Redis (``left``).

Texts in commands, keys and patterns may hold ``{id}`` (the only or last job), ``{id:name}``,
``{client}``, ``{worker}``, ``{prefix}``, ``{q:pending}`` (a queue's whole key), ``{channel}`` (the
client's notice channel) and what a ``save`` step kept. Values are tagged JSON (:mod:`.values`), with
generators besides (TOML has no null, and nobody writes 10 MiB by hand): ``{"$null" = true}``,
``{"$repeat" = [text, n]}``, ``{"$nest" = [depth, leaf]}``, ``{"$count" = n}``, ``{"$records" = n}``,
``{"$allbytes" = true}``, ``{"$raw" = hex}``, ``{"$rawrepeat" = [hex, n]}``, ``{"$sereal" = value}`` and others in
:mod:`.templates`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from .driver import Mode

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

CASES = Path(__file__).resolve().parents[1] / "cases"

_ID = re.compile(r"[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9.-]*)+")
_REQUIREMENT = re.compile(r"[A-Z]{2,5}-\d+")

UNSET = msgspec.UNSET


class CaseError(ValueError):
    """A case file that cannot be used; names the file and the case."""


class _Base(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Job(_Base, kw_only=True, frozen=True):
    """One job (``times`` of them) and what its submitter must see of it.

    Exactly one of ``result``, ``failed``, ``timeout``, ``silent``, ``refused``, ``any``:
    ``result`` is the value (``typed``: numbers, booleans and null must keep their type; null: typed
    where the value is a container), ``failed`` and ``timeout`` are patterns for what the client says,
    ``refused`` one for what it says instead of submitting, ``silent`` seconds in which it must say
    nothing, ``any`` accepts every end. ``saw`` is what the worker's handler must have been given.
    """

    data: Any = msgspec.field(default_factory=dict)
    name: str | None = None
    times: int = 1
    queue: str | None = None
    id: str | None = None
    result: Any | msgspec.UnsetType = UNSET
    typed: bool | None = None
    failed: str | None = None
    timeout: str | None = None
    refused: str | None = None
    silent: float | None = None
    any: bool = False
    saw: Any | msgspec.UnsetType = UNSET


class StartPeer(_Base, tag="start", tag_field="do", kw_only=True, frozen=True):
    """Start a peer: ``client``, ``worker``, or a second one (``worker2``); ``fails``: it must refuse, saying this."""

    peer: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    fails: str | None = None


class SubmitJob(Job, tag="submit", tag_field="do", kw_only=True, frozen=True):
    """Submit, without waiting for the end; the end is checked by ``await`` (or at the end of the case)."""

    peer: str = "client"


class Await(_Base, tag="await", tag_field="do", kw_only=True, frozen=True):
    """Wait for the ends of these jobs (none named: of all submitted so far) and check them."""

    jobs: list[str] = []
    seconds: float = 10.0
    order: bool = False


class Cancel(_Base, tag="cancel", tag_field="do", kw_only=True, frozen=True):
    """The client gives up on a job."""

    job: str
    peer: str = "client"


class Redis(_Base, tag="redis", tag_field="do", kw_only=True, frozen=True):
    """The runner's own command; its reply must equal ``equals`` where that is said; ``save`` names it."""

    command: list[Any]
    equals: Any | msgspec.UnsetType = UNSET
    save: str | None = None


class Wait(_Base, tag="wait", tag_field="do", kw_only=True, frozen=True):
    """Ask until the reply equals ``equals``, matches ``matches``, or is at least ``at_least``."""

    command: list[Any]
    equals: Any | msgspec.UnsetType = UNSET
    matches: str | None = None
    at_least: int | None = None
    seconds: float = 5.0


class Took(_Base, tag="took", tag_field="do", kw_only=True, frozen=True):
    """Wait until the worker has reported ``count`` jobs in all (``exactly``: and not one more for a while)."""

    count: int = 1
    peer: str = "worker"
    seconds: float = 5.0
    exactly: bool = False


class Taken(_Base, tag="taken", tag_field="do", kw_only=True, frozen=True):
    """The worker must have taken these jobs in this order (others may stand between them)."""

    names: list[str]
    peer: str = "worker"


class Ended(_Base, tag="ended", tag_field="do", kw_only=True, frozen=True):
    """The ends of these jobs must have come in this order."""

    names: list[str]


class Alone(_Base, tag="alone", tag_field="do", kw_only=True, frozen=True):
    """The connection that carries this command must carry no other kind (but what sets a connection up)."""

    peer: str
    command: str


class AtMost(_Base, tag="atmost", tag_field="do", kw_only=True, frozen=True):
    """The peer must not have sent commands of this name (a pattern) more often than ``count`` times."""

    peer: str
    command: str
    count: int


class Quiet(_Base, tag="quiet", tag_field="do", kw_only=True, frozen=True):
    """No line of the peer's stderr may match ``matches``."""

    peer: str
    matches: str


class Monitor(_Base, tag="monitor", tag_field="do", kw_only=True, frozen=True):
    """The runner reads every list and hash again and again for ``seconds``, as Perl's jobmon does."""

    seconds: float


class Fault(_Base, tag="fault", tag_field="do", kw_only=True, frozen=True):
    """Break something. ``peer`` is whose process or proxy; ``command`` and ``times`` are for the wire faults.

    ``kill`` ``pause`` ``resume`` ``terminate`` the process · ``cut`` its connections · ``refuse`` ``accept``
    new ones · ``hold`` ``release`` replies · ``drop-push`` the next messages · ``cut-before``
    ``cut-after`` ``half`` the next frame with this command · ``restart-redis`` · ``stop-redis`` ·
    ``start-redis``.
    """

    kind: Literal[
        "kill",
        "pause",
        "resume",
        "terminate",
        "cut",
        "refuse",
        "accept",
        "hold",
        "release",
        "drop-push",
        "cut-before",
        "cut-after",
        "half",
        "restart-redis",
        "stop-redis",
        "start-redis",
    ]
    peer: str = "worker"
    command: str | None = None
    times: int = 1


class StopPeer(_Base, tag="stop", tag_field="do", kw_only=True, frozen=True):
    """Ask a peer to drain and stop; it must answer within ``seconds`` (``wait = false``: do not wait)."""

    peer: str
    seconds: float = 10.0
    wait: bool = True


class Exits(_Base, tag="exits", tag_field="do", kw_only=True, frozen=True):
    """The process must end within ``seconds``, with ``status`` where that is said."""

    peer: str
    status: int | None = None
    seconds: float = 10.0


class Log(_Base, tag="log", tag_field="do", kw_only=True, frozen=True):
    """The peer's stderr (or an error it answered) must match ``matches`` within ``seconds``."""

    peer: str
    matches: str
    seconds: float = 5.0


class Sleep(_Base, tag="sleep", tag_field="do", kw_only=True, frozen=True):
    """Wait (times the timeout factor)."""

    seconds: float


class Sums(_Base, tag="sums", tag_field="do", kw_only=True, frozen=True):
    """The 507 sums of Job::Async::Test::Compliance, at most ``at_a_time`` under way."""

    at_a_time: int = 1


Step = (
    StartPeer
    | SubmitJob
    | Await
    | Cancel
    | Redis
    | Wait
    | Took
    | Taken
    | Ended
    | Alone
    | AtMost
    | Quiet
    | Monitor
    | Fault
    | StopPeer
    | Exits
    | Log
    | Sleep
    | Sums
)


class WireRule(_Base, kw_only=True, frozen=True):
    """What must (``count`` null: at least once; 0: never) have been sent by one side.

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
    """What a pair must have for the case to be tried: behaviours of the peers, facts of both dialects,
    and ``own-server`` where the server itself is broken."""

    client: list[str] = []
    worker: list[str] = []
    facts: list[str] = []
    server: bool = False
    client_language: list[str] = []
    worker_language: list[str] = []


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
    await them all. ``left`` maps keys to what they must hold; every other key must be gone
    (null: not looked at). ``grammar``: the traffic of each job must be that of its mode.
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
    golden: bool = False
    seconds: float = 20.0
    tags: list[str] = []


class CaseFile(_Base, kw_only=True, frozen=True):
    """A file of cases; ``defaults`` are fields that its cases have where they do not say otherwise."""

    about: str
    defaults: dict[str, Any] = {}
    case: list[Case]


def load_cases(directory: Path = CASES) -> list[Case]:
    """All cases, in the order of the files; raises :class:`CaseError` for what breaks the schema."""
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
    """What the schema cannot say."""

    def need(condition: bool, what: str) -> None:
        if not condition:
            raise CaseError(f"{path.name}: case {case.id}: {what}")

    need(_ID.fullmatch(case.id) is not None, "the ID is not of the form group/name")
    need(bool(case.proves), "proves nothing")
    need(all(_REQUIREMENT.fullmatch(item) for item in case.proves), "cites something that is no requirement ID")
    need(bool(case.source.strip()) and bool(case.title.strip()), "needs a title and a source")
    need(bool(case.jobs) != bool(case.steps), "has either jobs or steps")
    for job in [*case.jobs, *(step for step in case.steps if isinstance(step, SubmitJob))]:
        ends = [job.result is not UNSET, job.failed, job.timeout, job.refused, job.silent, job.any]
        given = sum(1 for end in ends if end is not None and end is not False)
        need(given == 1, f"a job needs exactly one end, not {given}")
