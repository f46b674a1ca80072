"""The life of a job, as one table.

The diagrams of the documentation are drawn from it, and whoever follows a job on the wire (recorder, suite, tests)
asks it what may come next. It does not know who asks: client, worker or onlooker.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from jobwire.errors import WireError

__all__ = ["FINAL", "LIFECYCLE", "Event", "ModeName", "State", "Transition", "after", "events_from"]

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
    Transition("started", "return", "queued", "worker", _KEPT, "the handler failed and the policy is to retry"),
    Transition("started", "bury", "dead", "worker", _KEPT, "the handler failed, or the job expired, for good"),
    Transition("taken", "bury", "dead", "worker", _KEPT, "the job expired before it was begun"),
    Transition("orphaned", "bury", "dead", "recovery", _KEPT, "the job has lost too many workers"),
    Transition("taken", "reject", "rejected", "worker", _ALL, "what was popped cannot be read; it is set aside whole"),
    Transition("taken", "forget", "collected", "worker", _KEPT, "its hash is gone: cancelled or collected before"),
)

FINAL: frozenset[State] = frozenset({"collected", "dead", "rejected"})
"""States that nothing in the protocol leads out of."""

_TABLE: dict[tuple[State, Event, ModeName], State] = {
    (entry.source, entry.event, mode): entry.target for entry in LIFECYCLE for mode in entry.modes
}


def after(state: State, event: Event, *, mode: ModeName) -> State:
    """The state that follows; raises ``WireError`` where the table has none."""
    target = _TABLE.get((state, event, mode))
    if target is None:
        possible = ", ".join(events_from(state, mode=mode)) or "nothing any more"
        raise WireError(f"a job that is {state} cannot {event} in mode {mode}; it can: {possible}")
    return target


def events_from(state: State, *, mode: ModeName) -> tuple[Event, ...]:
    """What may happen next."""
    return tuple(event for source, event, known in _TABLE if source == state and known == mode)
