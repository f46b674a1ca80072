"""Notices that nobody heard, said again (PROTOCOL.md, NOT-12).

Redis hands a message to whoever is subscribed at that moment. A Perl client may submit before it is, and one that lost
its connection is back a second later; neither ever looks at the hash. To be told a second time does no harm (NOT-5).
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial

from jobwire.errors import TransportError
from jobwire.transport import Connection, Replies
from jobwire.wire import Command

__all__ = ["DELAYS", "Notices"]

DELAYS = (0.005, 0.05, 0.5, 5.0)
"""Seconds until the next attempt: for a client that is about to subscribe, and for one that connects again."""
MOST = 10_000
"""Notices that wait at a time. Above that, and above ``LARGEST``, those go that were said most often."""
LARGEST = 8 * 1024 * 1024
"""Bytes of the notices that wait: in mode ``simple`` a notice carries the result, and a channel is as long as what
somebody wrote into ``_reply_to``."""


def _size(notice: Command) -> int:
    return len(notice[1]) + len(notice[2])


class Notices:
    """The notices of one worker that wait to be said again: a line for each delay, so that the first is due first.

    Notices for one client go together, and of these only the first as long as nobody hears it: the notices to a
    client that is gone cost a few commands a second, however many there are.
    """

    def __init__(self) -> None:
        self._lines: tuple[deque[tuple[float, Command]], ...] = tuple(deque() for _ in DELAYS)
        self._timers: list[asyncio.TimerHandle | None] = [None] * len(DELAYS)
        self._connection: Connection | None = None
        self._asked = 0
        self._bytes = 0
        self._none_soon: asyncio.Event | None = None

    def connected(self, connection: Connection) -> None:
        """Send the notices that waited for a connection; whoever else lost it is about to be back, too."""
        self._connection = connection
        waiting = [notice for line in self._lines for _, notice in line]
        for line in self._lines:
            line.clear()
        self._bytes = 0
        self._wait(0, waiting)

    def disconnected(self) -> None:
        """Keep the notices until there is a connection again."""
        self._connection = None
        for number in range(len(DELAYS)):
            self._cancel(number)

    def unheard(self, notice: Command) -> None:
        """Say ``notice``, a PUBLISH that reached nobody, again in a moment."""
        self._wait(0, [notice])

    def __len__(self) -> int:
        return sum(map(len, self._lines))

    def _wait(self, number: int, notices: list[Command]) -> None:
        """Put ``notices`` at the end of a line."""
        loop = asyncio.get_running_loop()
        due = loop.time() + DELAYS[number]
        self._lines[number].extend((due, notice) for notice in notices)
        self._bytes += sum(map(_size, notices))
        while len(self) > MOST or self._bytes > LARGEST:
            self._pop(next(line for line in reversed(self._lines) if line))
        self._watch(number)

    def _pop(self, line: deque[tuple[float, Command]]) -> Command:
        notice = line.popleft()[1]
        self._bytes -= _size(notice)
        return notice

    def _watch(self, number: int) -> None:
        line = self._lines[number]
        if line and self._timers[number] is None and self._connection is not None:
            loop = asyncio.get_running_loop()
            at = max(line[0][0], loop.time() + DELAYS[number] / 2)
            self._timers[number] = loop.call_at(at, self._say, number)

    def _cancel(self, number: int) -> None:
        timer, self._timers[number] = self._timers[number], None
        if timer is not None:
            timer.cancel()

    def _say(self, number: int) -> None:
        self._timers[number] = None
        line = self._lines[number]
        now = asyncio.get_running_loop().time() + DELAYS[number] / 4  # those of many jobs go together
        clients: dict[bytes, list[Command]] = {}
        while line and line[0][0] <= now:
            notice = self._pop(line)
            clients.setdefault(notice[1], []).append(notice)
        for notices in clients.values():
            self._ask(number, notices)
        self._watch(number)

    def _ask(self, number: int, notices: list[Command]) -> None:
        if self._connection is None:
            self._wait(0, notices)
        else:
            self._asked += 1
            self._connection.send(notices[:1], partial(self._answered, number, notices))

    def _answered(self, number: int, notices: list[Command], replies: Replies | TransportError) -> None:
        self._asked -= 1
        if isinstance(replies, TransportError):
            self._wait(0, notices)
        elif isinstance(replies[0], int) and replies[0]:
            if self._connection is not None:
                self._connection.send(notices[1:])
        elif number + 1 < len(DELAYS):
            self._wait(number + 1, notices)
        if self._none_soon is not None and not self._soon:
            self._none_soon.set()

    @property
    def _soon(self) -> bool:
        return bool(self._asked or any(self._lines[:-1]))

    async def said(self, *, within: float) -> None:
        """Return when nothing is due soon, or after so many seconds; notices still open were said once more."""
        self._none_soon = asyncio.Event()
        if self._soon:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none_soon.wait(), within)
        if self._connection is not None:
            self._connection.send([self._pop(line) for line in self._lines for _ in range(len(line))])
