"""The data plane: one RESP2 connection as an ``asyncio.Protocol``.

Every job passes here ten times over, so the two methods on its way, ``send`` and ``data_received``, do as little
as they can: compiled code packs and parses, commands queued in one turn of the loop leave in one write, and replies
go to plain callbacks in the order of a FIFO. Everything else that a connection needs stands around them.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import hiredis

from jobwire import fast
from jobwire.errors import ServerError, TransportError, printable
from jobwire.transport import forks
from jobwire.transport.outbox import new_outbox
from jobwire.transport.protocols import LONGEST_WAIT, OnLost, OnReplies, Replies
from jobwire.transport.translate import lost_error, reason_of
from jobwire.wire.commands import Command, Reply
from jobwire.wire.connection_commands import is_read_only

#: Bytes in the transport's own buffer above which ``drained`` waits.
HIGH_WATER = 256 * 1024
#: Commands queued in one turn of the loop that are written without waiting for its end: Redis works on them while more
#: are made here. Few enough that it begins early, so many that the calls of the system do not count.
EARLY_WRITE = 64
#: Seconds that ``close`` gives the other side to take the remaining output.
CLOSE_TIMEOUT = 5.0


class ErrorReplies:
    """Maker of the errors among the replies; it notices those that concern the connection itself."""

    __slots__ = ("read_only",)

    def __init__(self) -> None:
        #: The server's words, where it said that it takes no writes.
        self.read_only = ""

    def __call__(self, message: str) -> ServerError:
        error = ServerError(message)
        if is_read_only(error):
            self.read_only = printable(message, at_most=200)
        return error


class RedisConnection(asyncio.Protocol):
    """A ``Connection`` (see ``jobwire.transport.protocols``) over one byte stream."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, description: str = "Redis") -> None:
        self.description = description
        self.client_id: int | None = None
        #: Set whenever bytes arrive; health checks clear it.
        self.received = False
        #: The server's unsolicited error before it hung up ("max number of clients reached").
        self.final_error: ServerError | None = None
        self._loop = loop
        #: Told once when the connection ends that nobody here asked to end; kept until then.
        self.on_lost: OnLost | None = None
        #: Called when the connection is gone, for any reason.
        self.on_gone: Callable[[], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._errors = ErrorReplies()
        self._reader = hiredis.Reader(replyError=self._errors)
        self._outbox = new_outbox()
        self._before: list[Callable[[], object]] = []
        #: False where ``flush`` is called at the end of this turn of the loop.
        self.fresh = True
        #: The moment of the first command that waits.
        self._since = 0.0
        self._queue: deque[tuple[int, OnReplies | None]] = deque()
        self._replies: Replies = []
        self.closed = False
        #: Why the connection ended; empty while it has not.
        self.reason = ""
        self._writable: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] = loop.create_future()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self._queue)} outstanding"
        return f"<{type(self).__name__} {self.description} ({state})>"

    @property
    def outstanding(self) -> int:
        """The number of sends still waiting for replies."""
        return len(self._queue)

    @property
    def socket(self) -> socket.socket | None:
        """The socket, to set its options."""
        return None if self._transport is None else self._transport.get_extra_info("socket")

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 where there is none."""
        sock = self.socket
        return -1 if sock is None else sock.fileno()

    def left_to_parent(self) -> None:
        """In a forked child: the connection is the parent's."""
        self.on_lost = None
        self._before.clear()
        self._mark("it belongs to the process that this one was forked from")
        self._outbox.clear()

    # The way out

    def send(self, commands: Sequence[Command], on_replies: OnReplies | None = None) -> None:
        if self.closed:
            if on_replies is not None:
                self._loop.call_soon(self._deliver, on_replies, lost_error(self.description, self.reason))
            return
        outbox = self._outbox
        waiting = len(outbox)
        count = outbox.add(commands)
        if count:
            self._queue.append((count, on_replies))
            if waiting + count >= EARLY_WRITE:
                self._write()
            elif self.fresh:
                self.fresh = False
                self._since = self._loop.time()
                self._loop.call_soon(self.flush)
            elif not waiting:
                self._since = self._loop.time()
            elif self._loop.time() - self._since > LONGEST_WAIT:
                self._write()
        elif on_replies is not None:
            self._loop.call_soon(self._deliver, on_replies, [])

    def before_write(self, work: Callable[[], object]) -> None:
        if self.closed:
            self._loop.call_soon(work)
            return
        self._before.append(work)
        if self.fresh:
            self.fresh = False
            self._loop.call_soon(self.flush)

    def call(self, *commands: Command) -> asyncio.Future[Replies]:
        future: asyncio.Future[Replies] = self._loop.create_future()
        self.send(commands, partial(_settle, future))
        return future

    async def execute(self, command: Command) -> Reply:
        reply = (await self.call(command))[0]
        if isinstance(reply, ServerError):
            raise reply
        return reply

    async def drained(self) -> None:
        if self._writable is not None:
            await asyncio.shield(self._writable)
        if self.closed:
            raise lost_error(self.description, self.reason)

    async def answered(self) -> None:
        self.flush()
        if self._queue:
            last: asyncio.Future[None] = self._loop.create_future()
            count, on_replies = self._queue[-1]
            self._queue[-1] = (count, partial(_hand_on, on_replies, last))
            await last

    def flush(self) -> None:
        self.fresh = False  # commands of the work are written below
        while self._before:
            before, self._before = self._before, []
            for work in before:
                try:
                    work()
                except Exception as error:  # of any kind: the others have work to do as well
                    self._report(error, work)
        self.fresh = True
        self._write()

    def _write(self) -> None:
        if self._outbox and self._transport is not None:
            self._transport.write(self._outbox.take())

    # The way in

    def data_received(self, data: bytes) -> None:
        self.received = True
        try:
            self._reader.feed(data)
            self._take()
        except hiredis.HiredisError as error:
            self.fail(f"what the server sent is not RESP2 ({printable(str(error))})")
        if self._errors.read_only:
            self.fail(self._read_only_reason())

    def _take(self) -> None:
        """Hand every complete reply to the send that it belongs to."""
        gets = self._reader.gets
        queue = self._queue
        errors = self._errors
        while queue:
            count, on_replies = queue[0]
            replies = self._replies
            if not fast.gather(gets, replies, count):
                return
            self._replies = []
            # All state is in order before foreign code runs.
            queue.popleft()
            if on_replies is not None:
                try:
                    on_replies(self._heeded(replies) if errors.read_only else replies)
                except Exception as error:  # of any kind: the replies behind this one still have owners
                    self._report(error, on_replies)
        stray = gets()
        if stray is not False:
            self._stray(stray)

    def _heeded(self, replies: Replies) -> Replies | TransportError:
        """Return ``replies``, or, where the server took no writes among these commands, the end of this connection."""
        if not any(map(_says_read_only, replies)):
            return replies
        lost = lost_error(self.description, self._read_only_reason())
        lost.replies = tuple(replies)
        return lost

    def _read_only_reason(self) -> str:
        return f"the server takes no writes, so it is not the master (any more) ({self._errors.read_only})"

    def _stray(self, reply: Reply) -> None:
        if isinstance(reply, ServerError):
            # Redis says why before it hangs up on a connection that it does not want.
            self.final_error = reply
            self.fail(f"the server said {printable(reply.code)}")
        else:
            self.fail("the server sent a reply that nobody had asked for")

    # The end

    def fail(self, reason: str) -> None:
        """End the connection as lost; ``on_lost`` is told."""
        self._mark(reason)
        self._outbox.clear()
        if (
            self._transport is not None and not self._gone.done()
        ):  # asyncio's own transport bears no abort after its end
            self._transport.abort()

    def abort(self) -> None:
        self.on_lost = None
        self.fail("aborted on this side")

    async def close(self) -> None:
        self.on_lost = None
        if self._transport is None:
            return
        if not self.closed:
            self.flush()
            self._mark("closed on this side")
            self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await asyncio.shield(self._gone)
        except TimeoutError:
            self.fail("it could not be closed in time")
            await asyncio.shield(self._gone)

    def _mark(self, reason: str) -> None:
        """From now on the connection is closed; the first reason is the one that counts."""
        if not self.closed:
            self.closed = True
            self.reason = reason
            before, self._before = self._before, []
            for work in before:
                self._loop.call_soon(work)

    # Callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        forks.remember(self)

    def connection_lost(self, exc: Exception | None) -> None:
        forks.forget(self)
        self._mark(reason_of(exc))
        self._outbox.clear()
        self.resume_writing()
        queue, self._queue = self._queue, deque()
        self._replies = []
        for _, on_replies in queue:
            if on_replies is not None:
                # An error of its own for each: a raised exception collects the traceback of whoever raises it.
                self._deliver(on_replies, lost_error(self.description, self.reason))
        on_lost, self.on_lost = self.on_lost, None
        if self.on_gone is not None:
            self.on_gone()
        if not self._gone.done():
            self._gone.set_result(None)
        if on_lost is not None:
            try:
                on_lost(lost_error(self.description, self.reason))
            except Exception as error:
                self._report(error, on_lost)

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def _deliver(self, on_replies: OnReplies, outcome: Replies | TransportError) -> None:
        try:
            on_replies(outcome)
        except Exception as error:
            self._report(error, on_replies)

    def _report(self, error: Exception, callback: object) -> None:
        self._loop.call_exception_handler(
            {
                "message": f"a callback of a connection to {self.description} raised {type(error).__name__}",
                "exception": error,
                "callback": callback,
                "protocol": self,
            }
        )


def _hand_on(on_replies: OnReplies | None, last: asyncio.Future[None], outcome: Replies | TransportError) -> None:
    if not last.done():
        last.set_result(None)
    if on_replies is not None:
        on_replies(outcome)


def _says_read_only(reply: Reply) -> bool:
    if isinstance(reply, list):  # of a transaction
        return any(map(_says_read_only, reply))
    return isinstance(reply, ServerError) and is_read_only(reply)


def _settle(future: asyncio.Future[Replies], outcome: Replies | TransportError) -> None:
    if future.done():
        return
    if isinstance(outcome, TransportError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


__all__ = ["RedisConnection"]
