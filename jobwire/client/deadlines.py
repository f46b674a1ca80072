"""Deadlines for very many waits at the price of one timer.

Waits of the same length expire in the order they began, so each length keeps its own queue and only the oldest of
each is ever looked at; a timer for every job would cost more than the job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

__all__ = ["Deadlines"]


class Deadlines(Generic[K]):
    """Calls ``expired(key)`` once for each key that was added and not removed within its seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[K], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._lengths: dict[float, dict[K, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: K, seconds: float) -> None:
        """Begin a wait; a key has one at a time."""
        waits = self._lengths.get(seconds)
        if waits is None:
            waits = self._lengths[seconds] = {}
        moment = self._loop.time() + seconds
        waits[key] = moment
        if len(waits) == 1 and (self._timer is None or self._timer.when() > moment):
            self._arm(moment)

    def remove(self, key: K, seconds: float) -> None:
        """End a wait; nothing happens where there is none."""
        waits = self._lengths.get(seconds)
        if waits is not None:
            waits.pop(key, None)

    def close(self) -> None:
        """Forget all waits."""
        self._lengths.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        late: list[K] = []
        oldest: list[float] = []
        for seconds, waits in list(self._lengths.items()):
            while waits:
                key = next(iter(waits))
                if waits[key] > now:
                    oldest.append(waits[key])
                    break
                del waits[key]
                late.append(key)
            if not waits:
                del self._lengths[seconds]
        if oldest:
            self._arm(min(oldest))
        for key in late:
            self._expired(key)
