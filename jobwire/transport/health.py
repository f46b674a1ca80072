"""Notice a connection that is of no use any more: the peer is gone, and TCP has not found out, or it was demoted."""

from __future__ import annotations

import asyncio
from typing import Protocol

from jobwire.errors import TransportError
from jobwire.transport.protocols import OnReplies, Replies
from jobwire.wire.commands import Command
from jobwire.wire.connection_commands import PING, ROLE, not_master


class Watched(Protocol):
    """The part of a connection that the health check needs."""

    received: bool

    @property
    def closed(self) -> bool: ...
    @property
    def outstanding(self) -> int: ...
    def send(self, commands: list[Command], on_replies: OnReplies | None = None) -> None: ...
    def fail(self, reason: str) -> None: ...


class HealthCheck:
    """Every ``interval`` seconds: has anything arrived? An idle connection is sent a PING, or, with ``asks_role``, the
    question whether this is the master still: nothing else would tell one that only waits.

    A connection that owes replies is lost when nothing at all has arrived for ``interval + longest_silence``
    seconds, counted from the check that first saw it so; that is at most ``2 * interval + longest_silence`` after
    the peer vanished. ``longest_silence`` is the timeout of the blocking pops on that connection: during a pop the
    server rightly says nothing, and pipelined pops end one after the other.
    """

    def __init__(
        self,
        connection: Watched,
        loop: asyncio.AbstractEventLoop,
        *,
        interval: float,
        longest_silence: float = 0.0,
        asks_role: bool = False,
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._interval = interval
        self._asks_role = asks_role
        self._patience = interval + longest_silence
        self._silent_since: float | None = None
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._again(self._interval)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        connection = self._connection
        if connection.closed:
            return
        now = self._loop.time()
        # A loop that was held up for long (by a handler, or a stopped process) may run its timers before it reads
        # data that has long arrived: our lateness is no sign of the peer's.
        late = now - self._due > self._interval / 2
        if connection.received or late or self._silent_since is None:
            connection.received = False
            self._silent_since = now
            if not connection.outstanding:
                self._probe()
        elif now - self._silent_since >= self._patience:
            connection.fail(f"nothing was heard for {now - self._silent_since:.1f} s, though replies are owed")
            return
        # Come back no later than patience ends.
        self._again(max(0.001, min(self._interval, self._silent_since + self._patience - now)))

    def _probe(self) -> None:
        if self._asks_role:
            self._connection.send([ROLE], self._judge)
        else:
            self._connection.send([PING])

    def _judge(self, outcome: Replies | TransportError) -> None:
        if not isinstance(outcome, TransportError) and (what_it_is := not_master(outcome[0])):
            self._connection.fail(f"the server is not the master any more: {what_it_is}")

    def _again(self, delay: float) -> None:
        self._due = self._loop.time() + delay
        self._timer = self._loop.call_later(delay, self._check)


__all__ = ["HealthCheck"]
