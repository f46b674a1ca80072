"""Deadlines for very many waits at the price of one timer.

Waits that end at almost the same moment, as those of one turn of the event loop do, end together: a *wave*. The waves
stand in one heap, in the order in which they end; a timer, or a place in a heap, for every job would cost more than
what is done for it. A wave whose waits have all ended before stays in the heap until it comes up, or most are such.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from heapq import heapify, heappop, heappush
from itertools import islice
from math import inf
from typing import Generic, TypeAlias, TypeVar

K = TypeVar("K", bound=Hashable)
_Wave: TypeAlias = dict[K, None]

__all__ = ["Deadlines"]

_AT_ONCE = 500
"""Waits that end in one turn of the event loop."""
_SLACK = 1000
"""Waves without waits that the heap may hold in any case."""
_LATER = 0.001
"""The part of its length by which a wait may end later, so that others end with it."""
_LATEST = 0.05
"""The same in seconds, at the most."""


class Deadlines(Generic[K]):
    """Calls ``expired(keys)`` for the keys that were added and not removed within their seconds, each once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[list[K]], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._waves: dict[K, _Wave[K]] = {}
        # By moment, then by the order in which they began: waves cannot be compared.
        self._heap: list[tuple[float, int, _Wave[K]]] = []
        self._begun = 0
        self._empty = 0
        """Waves that have lost their last wait, counted again where one got another."""
        self._newest: _Wave[K] = {}
        self._ends = -inf
        """The moment of ``_newest``; in the past where nobody may join it any more."""
        self._timer: asyncio.TimerHandle | None = None
        self._next = inf
        """The moment of ``_timer``."""

    def add(self, key: K, seconds: float) -> None:
        """Begin a wait instead of the one that the key may have.

        It ends up to a thousandth of its length later, 0.05 s at the most, and never earlier.
        """
        if key in self._waves:
            self.remove(key)
        moment = self._loop.time() + seconds
        if not moment <= self._ends <= moment + seconds * _LATER:
            self._begin_wave(moment + min(seconds * _LATER, _LATEST))
        self._newest[key] = None
        self._waves[key] = self._newest

    def remove(self, key: K) -> None:
        """End a wait; nothing happens where there is none."""
        wave = self._waves.pop(key, None)
        if wave is not None:
            del wave[key]
            if not wave:
                self._emptied()

    def close(self) -> None:
        """Forget all waits."""
        self._waves.clear()
        self._heap.clear()
        self._ends = -inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._next = None, inf

    def _begin_wave(self, ends: float) -> None:
        self._newest, self._ends = {}, ends
        self._begun += 1
        heappush(self._heap, (ends, self._begun, self._newest))
        if ends < self._next:
            self._arm(ends)

    def _emptied(self) -> None:
        self._empty += 1
        if self._empty > _SLACK and 2 * self._empty > len(self._heap):
            self._empty = 0
            self._heap[:] = [entry for entry in self._heap if entry[2] or entry[2] is self._newest]
            heapify(self._heap)

    def _arm(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = moment
        self._timer = self._loop.call_at(moment, self._look)

    def _look(self) -> None:
        self._timer, self._next = None, inf
        now = self._loop.time()
        heap = self._heap
        late: list[K] = []
        while heap and len(late) < _AT_ONCE:
            moment, _, wave = heap[0]
            if wave and moment > now:
                break
            some = list(islice(wave, _AT_ONCE - len(late)))
            for key in some:
                del wave[key], self._waves[key]
            late += some
            if not wave:
                heappop(heap)
                if wave is self._newest:
                    self._ends = -inf
        if heap:
            self._arm(heap[0][0])
        if late:
            self._expired(late)
