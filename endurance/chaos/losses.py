"""Why a job of mode ``simple`` came to nothing: at most once means that it may be lost, and never without a cause.

A job is lost with the worker that had popped it, with the answer to a pop, or with its reply, which nobody keeps. So
the moment of the loss is known: while a worker had the job, before the jobs behind it were begun, or when it had ended.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate

import msgspec

from endurance.chaos.plan import Kind

__all__ = ["Happened", "Losses", "Moment"]

_NOTICED = 1.0
"""Seconds for which a job may be on its way before a fault, and in which everybody is connected again after it."""
_OF_WORKERS: tuple[Kind, ...] = ("kill",)
"""A worker that is told to stop puts back what it has not begun, and ends what it has: that is no cause."""
_OF_THE_WAY: tuple[Kind, ...] = (
    "storm",
    "restart",
    "half",
    "proxy",
    "replica",
    "slot",
    "pause",
    "memory",
    "trickle",
    "late",
)
"""From those that lose most to those that lose only where they make a connection look dead."""


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """One fault as it was done. ``pid`` of the victim, where it had one; ``until`` when it was over."""

    kind: Kind
    at: float
    until: float
    pid: int = 0
    under_way: int = 0


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """The time in which a job was lost. ``pid``: the worker that had it then, 0 where that is not known.
    ``running``: that worker had begun it, and not ended it.
    """

    begun: float
    over: float
    pid: int = 0
    running: bool = False


class Losses:
    """The faults of a run, asked for the cause of a loss. ``queued`` are, of each client, the times of its submissions,
    in order, and when each was begun (infinite where it was not).
    """

    def __init__(self, faults: Sequence[Happened], queued: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        self._faults = faults
        self._at = {client: [at for at, _ in jobs] for client, jobs in queued.items()}
        self._begun_behind = {
            client: list(accumulate((begun for _, begun in reversed(jobs)), min))[::-1]
            for client, jobs in queued.items()
        }

    def waiting(self, client: str, at: float) -> Moment:
        """The time in which a job was popped that was never begun: before any that its client submitted later was."""
        behind = bisect_left(self._at.get(client, ()), at + 1e-6)
        begun = self._begun_behind.get(client, ())[behind:]
        return Moment(begun=at, over=begun[0] if begun else float("inf"))

    def cause(self, moment: Moment) -> Kind | None:
        """The fault that a loss in this moment is due to; None where there was none."""
        if moment.running:
            return self._first(_OF_WORKERS, moment, soon=0.0)
        return self._first((*_OF_WORKERS, *_OF_THE_WAY), moment, soon=_NOTICED)

    def _first(self, kinds: Sequence[Kind], moment: Moment, *, soon: float) -> Kind | None:
        found = {
            fault.kind
            for fault in self._faults
            if fault.at <= moment.over + soon
            and moment.begun <= fault.until + soon
            and (not moment.pid or not fault.pid or fault.pid == moment.pid)
        }
        return next((kind for kind in kinds if kind in found), None)
