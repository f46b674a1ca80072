"""The contract between jobwire and the carrier of its commands to Redis.

``jobwire.client`` and ``jobwire.worker`` are written against these two Protocols alone; the real thing is
``jobwire.transport.open_transport``, the double for tests ``jobwire.testing.scripted.ScriptedTransport``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from jobwire.errors import TransportError
from jobwire.wire.commands import Command, Reply

#: Fewer jobs in hand are not worth a wait for the end of the turn of the loop: where it is ``fresh``, they go at once.
FEW = 4
#: Seconds that commands wait for others at the most: where handlers compute, a turn of the loop takes long.
LONGEST_WAIT = 0.002
Replies: TypeAlias = list[Reply]
#: Called exactly once for a ``send``: with all replies, one for each command, or with the error that ended the
#: connection.
OnReplies: TypeAlias = Callable[[Replies | TransportError], object]
#: Called with each piece of subscription traffic: ``[b"message", channel, payload]``, ``[b"subscribe", …]``.
OnPush: TypeAlias = Callable[[list[Reply]], object]
#: Called once when a connection ends that nobody here asked to end.
OnLost: TypeAlias = Callable[[TransportError], object]


def with_replies(then: Callable[[Replies], None], outcome: Replies | TransportError) -> None:
    """Call ``then`` with the replies; not where the connection was lost instead."""
    if not isinstance(outcome, TransportError):
        then(outcome)


class Connection(Protocol):
    """One connection to Redis: commands in, replies out, in order.

    Errors that the server answers with are *values* among the replies (``ServerError``); only ``execute``
    raises them.
    """

    @property
    def closed(self) -> bool:
        """True from the moment ``close``, ``abort`` or a failure ended the connection."""
        ...

    @property
    def client_id(self) -> int | None:
        """CLIENT ID of this connection where the server told it, else None."""
        ...

    def send(self, commands: Sequence[Command], on_replies: OnReplies | None = None) -> None:
        """Queue ``commands``; those of one turn of the event loop leave in one write, or in a few where they are large
        or the turn is long. The commands of one ``send`` are never parted.

        ``on_replies`` is called exactly once, never from within ``send``: with the list of replies, or with
        ``ConnectionLost``. An exception that it raises goes to the loop's exception handler. On a connection
        that is closed it gets ``ConnectionLost`` in the next turn of the loop.
        """
        ...

    @property
    def fresh(self) -> bool:
        """True where nothing was sent, and no work is waiting, in this turn of the event loop: what comes first may be
        alone, and goes at once; what comes behind it is worth joining.
        """
        ...

    def before_write(self, work: Callable[[], object]) -> None:
        """Call ``work`` once, right before the commands of this turn of the event loop are written; its own commands
        leave with them. So callers join several changes in few commands. On a connection that is closed it is called
        in the next turn.
        """
        ...

    def flush(self) -> None:
        """Do now the work due at the end of this turn: the work ``before_write``, and the write."""
        ...

    def call(self, *commands: Command) -> asyncio.Future[Replies]:
        """Send; return a future of the replies. It fails with ``ConnectionLost``; cancelling it recalls no command."""
        ...

    async def execute(self, command: Command) -> Reply:
        """Send one command and return its reply. Raises ``ServerError`` or ``ConnectionLost``."""
        ...

    async def drained(self) -> None:
        """Back-pressure: return when the write buffer is below its high-water mark.

        Raises ``ConnectionLost`` where the connection ends, or has ended.
        """
        ...

    async def answered(self) -> None:
        """Return when there is an answer to all that was sent so far, or the connection has ended."""
        ...

    async def close(self) -> None:
        """Write out the queued commands, close, wait until closed (a few seconds at the most).

        Replies still outstanding become ``ConnectionLost``; ``on_lost`` is not called. Commands not ``answered`` yet
        may be lost: a socket that is closed with replies unread is reset, and the server drops its unread input.
        """
        ...

    def abort(self) -> None:
        """Close at once, without writing out anything; otherwise as ``close``."""
        ...


class Transport(Protocol):
    """A factory of connections to one place: a server, a unix socket, the master of a Sentinel service, a cluster."""

    @property
    def description(self) -> str:
        """The address, without credentials, for messages."""
        ...

    @property
    def spread(self) -> bool:
        """True where keys live on several servers, so that no script or transaction can touch any two of them."""
        ...

    def anchor(self, key: bytes) -> None:
        """Name the key of most commands to come, before the first ``connect``; only a spread transport minds."""
        ...

    async def connect(
        self,
        *,
        name: str = "",
        on_push: OnPush | None = None,
        on_lost: OnLost | None = None,
        longest_silence: float = 0.0,
    ) -> Connection:
        """Return a new connection, authenticated and ready.

        ``name`` is told to the server (CLIENT SETNAME) where that is permitted. ``on_push`` makes it a connection
        that may subscribe. ``longest_silence`` is how long, in seconds, the server may rightly say nothing
        while it owes a reply: the timeout of the blocking pops sent on this connection; only health checks use it.

        Raises ``ConnectError``, and its subclass ``AuthError``.
        """
        ...

    async def close(self) -> None:
        """Abort the connections that are still open, and release all other resources."""
        ...


__all__ = [
    "FEW",
    "LONGEST_WAIT",
    "Command",
    "Connection",
    "OnLost",
    "OnPush",
    "OnReplies",
    "Replies",
    "Reply",
    "Transport",
    "with_replies",
]
