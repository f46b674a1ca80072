"""The life of a job, as one table.

The diagrams of the documentation are drawn from it, and every observer of a job on the wire (recorder, suite, tests)
asks it for the possible next events. It does not know who asks: client, worker or onlooker.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from types import MappingProxyType
from typing import Literal, TypeAlias

import msgspec

from jobwire.errors import WireError

__all__ = [
    "FINAL",
    "LIFECYCLE",
    "TABLE",
    "Counter",
    "Event",
    "ModeName",
    "Outcome",
    "Repeat",
    "State",
    "Transition",
    "after",
    "conclude",
    "events_from",
]

State: TypeAlias = Literal[
    "new",
    "submitted",
    "queued",
    "taken",
    "started",
    "processed",
    "notified",
    "collected",
    "orphaned",
    "dead",
    "rejected",
]
Event: TypeAlias = Literal[
    "write", "push", "take", "start", "finish", "notify", "collect", "lose", "return", "bury", "reject", "forget"
]
ModeName: TypeAlias = Literal["simple", "recoverable", "reliable"]
Counter: TypeAlias = Literal[
    "done",
    "failed",
    "expired",
    "dead",
    "retried",
    "returned",
    "lost",
    "rejected",
    "vanished",
    "notified_again",
    "duplicate",
    "given_away",
]
"""The keys of ``Worker.counts``."""
Repeat: TypeAlias = Literal["always", "look", "once"]

_ALL: tuple[ModeName, ...] = ("simple", "recoverable", "reliable")
_KEPT: tuple[ModeName, ...] = ("recoverable", "reliable")


class Transition(msgspec.Struct, frozen=True):
    """In ``source``, ``event`` (done by ``actor``) leads to ``target``, in these modes."""

    source: State
    event: Event
    target: State
    actor: Literal["client", "worker", "recovery"]
    modes: tuple[ModeName, ...]
    meaning: str


LIFECYCLE: tuple[Transition, ...] = (
    Transition("new", "write", "submitted", "client", _KEPT, "the job's hash is written"),
    Transition("submitted", "push", "queued", "client", _KEPT, "its ID is pushed on a pending queue"),
    Transition("new", "push", "queued", "client", ("simple",), "its envelope is pushed on a queue"),
    Transition("queued", "take", "taken", "worker", _ALL, "popped; in reliable the ID moves to a processing queue"),
    Transition("taken", "start", "started", "worker", _ALL, "the handler begins; the hash says when and who"),
    Transition("started", "finish", "processed", "worker", _KEPT, "the result is written into the hash"),
    Transition("processed", "notify", "notified", "worker", _KEPT, "the ID is published to the client"),
    Transition("started", "notify", "notified", "worker", ("simple",), "the reply is published to the client"),
    Transition("taken", "notify", "notified", "worker", _KEPT, "its hash holds a result already; it is not run again"),
    Transition("processed", "collect", "collected", "client", _KEPT, "a client that sweeps needs no notice"),
    Transition("notified", "collect", "collected", "client", _ALL, "the client has the result; the hash is deleted"),
    Transition("taken", "return", "queued", "worker", _ALL, "a worker that stops puts back what it has not begun"),
    Transition("taken", "lose", "orphaned", "worker", _ALL, "the worker died between pop and start"),
    Transition(
        "started", "lose", "orphaned", "worker", _ALL, "the worker died, or its handler failed and nobody was told"
    ),
    Transition("processed", "lose", "orphaned", "worker", _KEPT, "the worker died between result and notice"),
    Transition("orphaned", "return", "queued", "recovery", _KEPT, "the ID goes back to the queue it came from"),
    Transition(
        "orphaned", "notify", "notified", "recovery", _KEPT, "a result is there already: only the notice was missing"
    ),
    Transition("orphaned", "collect", "collected", "client", _KEPT, "a result is there already, found by a sweep"),
    Transition(
        "started", "return", "queued", "worker", _ALL, "the handler failed and is tried again, or the worker stops"
    ),
    Transition("started", "bury", "dead", "worker", _KEPT, "the handler failed, or the job expired, for good"),
    Transition("taken", "bury", "dead", "worker", _KEPT, "the job expired before it was begun"),
    Transition("taken", "finish", "processed", "worker", _KEPT, "the job expired, and its client reads failures"),
    Transition("taken", "notify", "notified", "worker", ("simple",), "the job expired; its client is told"),
    Transition("orphaned", "bury", "dead", "recovery", _KEPT, "the job has lost too many workers"),
    Transition(
        "taken",
        "reject",
        "rejected",
        "worker",
        _ALL,
        "what was popped cannot be read; it is set aside whole, and its client is told",
    ),
    Transition("taken", "forget", "collected", "worker", _KEPT, "its hash is gone: cancelled or collected before"),
    Transition("started", "forget", "collected", "worker", _KEPT, "its hash went while it ran: cancelled or collected"),
    Transition("started", "reject", "rejected", "worker", _ALL, "its failure cannot be told; it is set aside whole"),
)
"""The life of a job as a table of transitions (docs/PROTOCOL.md draws it)."""

FINAL: frozenset[State] = frozenset({"collected", "dead", "rejected"})
"""States that nothing in the protocol leads out of."""

_TABLE: dict[tuple[State, Event, ModeName], State] = {
    (entry.source, entry.event, mode): entry.target for entry in LIFECYCLE for mode in entry.modes
}


def after(state: State, event: Event, *, mode: ModeName) -> State:
    """Return the state that follows; raises ``WireError`` where the table has none."""
    target = _TABLE.get((state, event, mode))
    if target is None:
        possible = ", ".join(events_from(state, mode=mode)) or "nothing any more"
        raise WireError(f"a job that is {state} cannot {event} in mode {mode}; it can: {possible}")
    return target


def events_from(state: State, *, mode: ModeName) -> tuple[Event, ...]:
    """Return the possible next events."""
    return tuple(event for source, event, known in _TABLE if source == state and known == mode)


class Outcome(msgspec.Struct, frozen=True, eq=False):
    """One possible end of a worker's part in a job.

    ``counter``  its key in ``Worker.counts``
    ``events``   the events of the life cycle that it takes, where the mode has them
    ``repeat``   after a connection was lost before Redis answered: ``always`` say it again, ``look`` at the hash first,
                 ``once`` where a mode that may lose a job must not have it twice
    ``insist``   say it again when Redis refuses it
    """

    counter: Counter
    events: tuple[Event, ...] = ()
    repeat: Repeat = "always"
    insist: bool = False


DONE = Outcome("done", ("finish", "notify"), "look", insist=True)
FAILED = Outcome("failed", ("finish", "notify"), "look", insist=True)
EXPIRED = Outcome("expired", ("bury",), insist=True)
EXPIRED_TOLD = Outcome("expired", ("finish", "notify"), "look", insist=True)
DEAD = Outcome("dead", ("bury",), insist=True)
RETRIED = Outcome("retried", ("return",), insist=True)
LOST = Outcome("lost", ("return",), insist=True)
RETURNED = Outcome("returned", ("return",), "once")
REJECTED = Outcome("rejected", ("reject",))
VANISHED = Outcome("vanished", ("forget",))
NOTIFIED_AGAIN = Outcome("notified_again", ("notify",))
DUPLICATE = Outcome("duplicate")
GIVEN_AWAY = Outcome("given_away")

TABLE: tuple[Outcome, ...] = (
    DONE,
    FAILED,
    EXPIRED,
    EXPIRED_TOLD,
    DEAD,
    RETRIED,
    LOST,
    RETURNED,
    REJECTED,
    VANISHED,
    NOTIFIED_AGAIN,
    DUPLICATE,
    GIVEN_AWAY,
)
"""Every way in which a worker lets go of a job."""


def _conclusion(state: State, outcome: Outcome, mode: ModeName) -> tuple[tuple[Event, ...], State] | None:
    taken: list[Event] = []
    for event in outcome.events:
        target = _TABLE.get((state, event, mode))
        if target is not None:
            taken.append(event)
            state = target
    return (tuple(taken), state) if taken or not outcome.events else None


def conclude(state: State, outcome: Outcome, *, mode: ModeName) -> tuple[tuple[Event, ...], State]:
    """Return the events by which ``outcome`` ends a job that is ``state``, and the state after them.

    Raises ``WireError`` where a job in this state cannot end so.
    """
    found = _CONCLUSIONS[mode].get((state, outcome))
    if found is None:
        raise WireError(f"a job that is {state} cannot end as {outcome.counter} in mode {mode}")
    return found


def _conclusions_of(mode: ModeName) -> Mapping[tuple[State, Outcome], tuple[tuple[Event, ...], State]]:
    sources: list[State] = [entry.source for entry in LIFECYCLE]
    found: dict[tuple[State, Outcome], tuple[tuple[Event, ...], State]] = {}
    for state, outcome in product(dict.fromkeys(sources), TABLE):
        conclusion = _conclusion(state, outcome, mode)
        if conclusion is not None:
            found[state, outcome] = conclusion
    return MappingProxyType(found)


_CONCLUSIONS = {mode: _conclusions_of(mode) for mode in _ALL}
