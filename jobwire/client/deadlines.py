"""Deadlines for very many waits at the price of one timer.

One heap, in the order in which the waits end. A wait that has ended before leaves its entry in the heap until it comes
up, or until most entries are such; a timer for every job would cost more than the job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

__all__ = ["Deadlines"]

_AT_ONCE = 500
"""Waits that end in one turn of the event loop."""
_SLACK = 1000
"""Entries of ended waits that the heap may hold in any case."""


class Deadlines(Generic[K]):
    """Calls ``expired(keys)`` for the keys that were added and not removed within their seconds, each once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[list[K]], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._moments: dict[K, float] = {}
        # By moment, then by the order in which they were added: keys need not be comparable.
        self._heap: list[tuple[float, int, K]] = []
        self._added = 0
        self._timer: asyncio.TimerHandle | None = None
        self._next = inf
        """The moment of ``_timer``."""

    def add(self, key: K, seconds: float) -> None:
        """Begin a wait; a key has one at a time."""
        moment = self._loop.time() + seconds
        self._moments[key] = moment
        self._added += 1
        heappush(self._heap, (moment, self._added, key))
        if moment < self._next:
            self._arm(moment)

    def remove(self, key: K) -> None:
        """End a wait; nothing happens where there is none."""
        moments, heap = self._moments, self._heap
        moments.pop(key, None)
        if len(heap) > 2 * len(moments) + _SLACK:
            heap[:] = [entry for entry in heap if moments.get(entry[2]) == entry[0]]
            heapify(heap)

    def close(self) -> None:
        """Forget all waits."""
        self._moments.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._next = None, inf

    def _arm(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = moment
        self._timer = self._loop.call_at(moment, self._look)

    def _look(self) -> None:
        self._timer, self._next = None, inf
        now = self._loop.time()
        heap, moments = self._heap, self._moments
        late: list[K] = []
        while heap and len(late) < _AT_ONCE:
            moment, _, key = heap[0]
            if moments.get(key) == moment:
                if moment > now:
                    break
                del moments[key]
                late.append(key)
            heappop(heap)
        if heap:
            self._arm(heap[0][0])
        if late:
            self._expired(late)
