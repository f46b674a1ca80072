"""How long the jobs of a killed worker stay in its list, and how long they may.

The promise of ``worker.rescuer``: back in its queue ``ttl + 1.6 × heartbeat`` after the death of its owner. Whoever
takes a job next may be killed as well, before it has begun it, too; then it stands in that one's list, whose time
counts from that one's death. So the list of each victim is timed, until it is empty. How long a job needs to be
run again is told beside it, with the number of workers that it lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import redis

from jobwire.wire import Keyspace
from jobwire.worker.registration import settling

__all__ = ["Returned", "Watch", "allowed", "late", "run_again"]

_EVERY = 0.03
_WATCHED = 60.0
_SLACK = 0.75
"""Seconds beside the waiting: noticing, a round trip a job, and two cores for everybody."""
_HELD_UP = 0.4
"""Seconds that a look may be late; beyond that the machine, rather than the workers, made everybody wait."""
_RECONNECT = 1.0
"""Seconds until everybody is connected again after a cut (``reconnect_delay`` is 0.05 s, doubled while that fails)."""


class Returned(msgspec.Struct, kw_only=True):
    """The remains of one killed worker: since when it was dead, until when its list held something, and which jobs."""

    worker: str
    died: float
    held: set[str] = set()
    until: float = 0.0

    @property
    def seconds(self) -> float:
        return max(0.0, self.until - self.died)


class Watch:
    """Looks at the lists of the victims, again and again. ``raw`` gives a client of redis-py for their server."""

    def __init__(self, raw: Callable[[], Any], prefix: str = "jobs") -> None:
        self.victims: list[Returned] = []
        #: From when until when this process itself was not given the processor.
        self.held_up: list[tuple[float, float]] = []
        self._raw = raw
        self._keyspace = Keyspace(prefix)

    def add(self, worker: str, died: float) -> None:
        """From now on look at this one too."""
        self.victims.append(Returned(worker=worker, died=died))
        with contextlib.suppress(redis.RedisError):  # away at this moment, by another fault
            self.look()

    def look(self) -> None:
        """Which lists hold something now?"""
        now = time.time()
        victims = [victim for victim in self.victims if now - max(victim.died, victim.until) < _WATCHED]
        pipe = self._raw().pipeline(transaction=False)
        for victim in victims:
            pipe.lrange(self._keyspace.own_list(victim.worker.encode()), 0, -1)
        for victim, entries in zip(victims, pipe.execute(), strict=True):
            if entries:
                victim.until = now
                victim.held.update(entry.decode("utf-8", "replace") for entry in entries)

    async def run(self) -> None:
        """Until cancelled; a server that is away is asked again."""
        while True:
            before = time.time()
            await asyncio.sleep(_EVERY)
            if (now := time.time()) > before + _EVERY + _HELD_UP:
                self.held_up.append((before, now))
            with contextlib.suppress(redis.RedisError):
                self.look()


def allowed(victim: Returned, others: Sequence[tuple[float, float]], *, heartbeat: float, ttl: float) -> float:
    """Seconds after its death within which the list of ``victim`` must be empty.

    ``others``: from when until when connections were cut, Redis was away, or the machine gave nobody the processor.
    After that everybody has to connect (the heartbeat notices a cut at its next beat), and waits until everybody else
    must have beaten again.
    """
    turn = 1.6 * heartbeat + _SLACK
    due = victim.died + ttl + turn
    for begun, over in sorted(others):
        if victim.died - _RECONNECT <= over and begun <= due:
            due = max(due, over + _RECONNECT + heartbeat + settling(heartbeat, ttl) + turn)
    return due - victim.died


def late(
    victims: Iterable[Returned], others: Sequence[tuple[float, float]], *, heartbeat: float, ttl: float
) -> list[str]:
    """The recoveries that took too long."""
    return [
        f"{victim.worker}: {victim.seconds:.2f} s, allowed {limit:.2f} s"
        for victim in victims
        if victim.seconds > (limit := allowed(victim, others, heartbeat=heartbeat, ttl=ttl))
    ]


def run_again(victims: Iterable[Returned], begun: Mapping[str, Sequence[float]]) -> tuple[float, int] | None:
    """The longest time from a death to the next run of a job in the victim's list, and how many workers that job lost
    in this time; None where nothing was begun again. ``begun``: when each job was.
    """
    found: list[tuple[float, int]] = []
    known = list(victims)
    for victim in known:
        for job in victim.held:
            again = min((at for at in begun.get(job, ()) if at > victim.died), default=None)
            if again is not None:
                lost = sum(job in other.held and victim.died <= other.died < again for other in known)
                found.append((round(again - victim.died, 3), lost))
    return max(found, default=None)
