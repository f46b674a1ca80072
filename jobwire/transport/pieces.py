"""Ask for much in pieces.

One command that read a list of a million would hold the server, and all others, for it; replies that are waited for
together are all held until the last is there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from jobwire.transport.protocols import Replies
from jobwire.wire.commands import Command, Reply, list_items

__all__ = ["HELD", "TOGETHER", "Pace", "entries_of", "first_entries"]

TOGETHER = 16
"""Replies that are waited for together, where they are small."""
HELD = 512 * 1024
"""Their bytes, as far as earlier ones tell."""

_AT_FIRST = 16
_MOST = 1000
_BYTES = 1 << 20


class Pace:
    """How many to ask for next (``step``): few at first, and as many more as ``held`` bytes hold of those that came."""

    def __init__(self, most: int = _MOST, held: int = _BYTES) -> None:
        self._most = most
        self._held = held
        self.step = min(_AT_FIRST, most)

    def learn(self, entries: Sequence[bytes]) -> None:
        """These were the last ones."""
        self._learn(len(entries), sum(map(len, entries)))

    def sample(self, replies: Replies) -> None:
        """The first of the last ones stands for all of them: to measure each would cost as much as to read it."""
        first: Any = replies[0] if replies else None
        try:
            size = sum(map(len, filter(None, first))) if isinstance(first, list) else 0
        except TypeError:  # not all of them strings
            size = 0
        self._learn(1, size)

    def _learn(self, count: int, size: int) -> None:
        self.step = max(1, min(self._most, 2 * self.step, count * self._held // max(1, size)))


async def entries_of(
    ask: Callable[[Command], Awaitable[Reply]], key: bytes, *, newest: bool = True
) -> AsyncIterator[list[bytes]]:
    """Yield the entries of a list in pieces, from the left (the newest) or from the right, as ``ask`` answers.

    Entries that are pushed at that end meanwhile make others come twice; ones that are taken there leave others out.
    Raises what ``ask`` raises.
    """
    pace, first = Pace(), 0
    while True:
        last = first + pace.step
        reply = await ask(list_items(key, first, last - 1) if newest else list_items(key, -last, -first - 1))
        entries = [entry for entry in reply if isinstance(entry, bytes)] if isinstance(reply, list) else []
        if not entries:
            return
        yield entries if newest else entries[::-1]
        pace.learn(entries)
        first += len(entries)


async def first_entries(
    ask: Callable[[Command], Awaitable[Reply]], key: bytes, count: int, *, newest: bool = True
) -> list[bytes]:
    """Return up to ``count`` entries from one end of a list, asked for in pieces."""
    found: list[bytes] = []
    if count > 0:
        async for entries in entries_of(ask, key, newest=newest):
            found += entries
            if len(found) >= count:
                break
    return found[:count]
