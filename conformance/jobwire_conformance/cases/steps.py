"""The steps of a case: the actions of peers, Redis and network, and the expectations about them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = [
    "Alone",
    "AtMost",
    "Await",
    "Cancel",
    "Ended",
    "Exits",
    "Fault",
    "Job",
    "Log",
    "Monitor",
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
]

UNSET = msgspec.UNSET


class _Base(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The base of all tables of a case file: unknown names are errors."""


class Job(_Base, kw_only=True, frozen=True):
    """One job (``times`` of them) and its outcome for its submitter.

    Exactly one of ``result``, ``failed``, ``timeout``, ``silent``, ``refused``, ``any``:
    ``result`` is the value (``typed``: numbers, booleans and null must keep their type; null: typed
    where the value is a container), ``failed`` and ``timeout`` are patterns for the client's words,
    ``refused`` one for its words instead of a submission, ``silent`` seconds in which it must say
    nothing, ``any`` accepts every end. ``saw`` is the data that the worker's handler must have been given.
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
    """The connection that carries this command must carry no other kind (but those that set a connection up)."""

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
