"""A transport without a server: the other end of each connection is played by a script or a function.

The connections are the real ones (packing, coalescing, FIFO, subscriptions); only the socket under them is not, so
that a test sees the bytes that would have been written to Redis, write by write::

    def handler(command):
        return {b"PING": b"PONG"}.get(command[0], 0)

    transport = ScriptedTransport(handler)
    connection = await transport.connect()
    assert await connection.execute((b"PING",)) == b"PONG"
    link = transport.links[0]
    assert link.commands == [(b"PING",)]
    link.push([b"message", b"channel", b"payload"])        # on a connection made with on_push
    link.lose()                                            # the server is gone

A handler answers with a ``Reply``, with ``LOST`` (the connection breaks instead of an answer) or with ``SILENT``
(nothing is answered, and as with a blocking pop no later command is looked at, until ``link.answer(reply)``).
Subscription commands on a connection with ``on_push`` are acknowledged unless the handler answers with something else
than None. An exception of a handler breaks the connection, and is raised again by ``transport.check()``.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias

import hiredis

from jobwire.errors import ClosedError, ConnectError, ServerError
from jobwire.transport.connection import RedisConnection
from jobwire.transport.protocols import Command, Connection, OnLost, OnPush, Reply
from jobwire.transport.subscription import SubscribingConnection
from jobwire.wire.connection_commands import acknowledgements


class Mark(enum.Enum):
    """The alternatives of a handler to an answer."""

    LOST = "lost"
    SILENT = "silent"


LOST: Final = Mark.LOST
"""An ``Outcome``: the connection is lost instead of an answer."""
SILENT: Final = Mark.SILENT
"""An ``Outcome``: no answer, as of a blocking pop."""

Outcome: TypeAlias = Reply | Literal[Mark.LOST, Mark.SILENT]
"""A reply, an error, ``LOST`` or ``SILENT``."""
Handler: TypeAlias = Callable[[Command], Outcome]
"""A function from a command to its ``Outcome``."""
Expected: TypeAlias = Command | Callable[[Command], bool]


class Script:
    """A handler that expects commands in order, over all connections: pairs of a command (or predicate) and an outcome.

    Raises ``AssertionError`` for a command that is not the next one.
    """

    def __init__(self, steps: Iterable[tuple[Expected, Outcome]]) -> None:
        self._steps = deque(steps)
        self._taken = 0

    @property
    def finished(self) -> bool:
        return not self._steps

    def __call__(self, command: Command) -> Outcome:
        if not self._steps:
            raise AssertionError(f"the script is over, and here comes {command!r}")
        expected, outcome = self._steps.popleft()
        self._taken += 1
        fits = expected(command) if callable(expected) else expected == command
        if not fits:
            raise AssertionError(f"step {self._taken} of the script expects {expected!r}, not {command!r}")
        return outcome


class ScriptedTransport:
    """A ``jobwire.transport.Transport`` without a server.

    ``script`` is a handler, or the steps of a ``Script``. ``chunk`` cuts the server's output into pieces of that many
    bytes. ``spread`` makes client and worker speak as to a cluster.
    """

    def __init__(
        self,
        script: Handler | Iterable[tuple[Expected, Outcome]],
        *,
        chunk: int | None = None,
        description: str = "scripted://",
        spread: bool = False,
    ) -> None:
        self.handler: Handler = script if callable(script) else Script(script)
        self.description = description
        self.chunk = chunk
        #: The server's ends of all connections made so far, the closed ones too.
        self.links: list[ScriptedLink] = []
        self._refusals: deque[ConnectError] = deque()
        self._failures: list[BaseException] = []
        self.spread = spread
        self._closed = False

    def anchor(self, key: bytes) -> None:
        """Do nothing: there is one server."""
        del key

    @property
    def commands(self) -> list[Command]:
        """The commands received on all connections, in order of the connections."""
        return [command for link in self.links for command in link.commands]

    def refuse(self, times: int = 1, error: ConnectError | None = None) -> None:
        """Let the next ``times`` attempts to connect fail."""
        for _ in range(times):
            self._refusals.append(error or ConnectError(f"cannot connect to {self.description}: refused by the test"))

    def check(self) -> None:
        """Raise a handler's exception, or ``AssertionError`` for a script that is not at its end."""
        for failure in self._failures:
            raise failure
        if isinstance(self.handler, Script) and not self.handler.finished:
            raise AssertionError("the script is not at its end")

    async def connect(
        self,
        *,
        name: str = "",
        on_push: OnPush | None = None,
        on_lost: OnLost | None = None,
        longest_silence: float = 0.0,
    ) -> Connection:
        """Raises ``ConnectError`` after ``refuse``, ``ClosedError`` after ``close``."""
        if self._closed:
            raise ClosedError(f"the transport to {self.description} has been closed")
        await asyncio.sleep(0)
        if self._refusals:
            raise self._refusals.popleft()
        loop = asyncio.get_running_loop()
        connection = (
            RedisConnection(loop, description=self.description)
            if on_push is None
            else SubscribingConnection(loop, description=self.description, on_push=on_push)
        )
        connection.client_id = len(self.links) + 1
        connection.on_lost = on_lost
        link = ScriptedLink(self, connection, loop, name=name, longest_silence=longest_silence)
        self.links.append(link)
        connection.connection_made(link)
        return connection

    async def close(self) -> None:
        """End every connection."""
        self._closed = True
        for link in self.links:
            link.connection.abort()
            await link.connection.close()

    def failed(self, failure: BaseException) -> None:
        """Keep a handler's exception for ``check``."""
        self._failures.append(failure)


class ScriptedLink(asyncio.Transport):
    """The server's end of one connection.

    ``commands`` all commands that have arrived, ``writes`` the same, one tuple for each write; ``name`` and
    ``longest_silence`` as given to ``connect``; ``connection`` our end.
    """

    def __init__(
        self,
        owner: ScriptedTransport,
        connection: RedisConnection,
        loop: asyncio.AbstractEventLoop,
        *,
        name: str,
        longest_silence: float,
    ) -> None:
        super().__init__()
        self.connection = connection
        self.name = name
        self.longest_silence = longest_silence
        self.commands: list[Command] = []
        self.writes: list[tuple[Command, ...]] = []
        self._owner = owner
        self._loop = loop
        self._reader = hiredis.Reader()
        self._waiting: deque[Command] = deque()
        self._blocked = False
        self._over = False
        self._broken = False
        self._subscriptions: set[tuple[bytes, bytes]] = set()

    # For tests

    def push(self, message: list[Reply]) -> None:
        """Send something that nobody asked for."""
        self._say(encode_reply(message))

    def answer(self, reply: Reply) -> None:
        """Answer the command that met with ``SILENT``, and go on with those behind it."""
        if not self._blocked:
            raise AssertionError("no command is waiting for an answer")
        self._blocked = False
        self._say(encode_reply(reply))
        self._work()

    def lose(self, error: OSError | None = None) -> None:
        """Break the connection, as a server that dies would."""
        if not self._over:
            self._over = True
            self._loop.call_soon(self._break, error)

    def say(self, raw: bytes) -> None:
        """Send these very bytes."""
        self._say(raw)

    def pause_writing(self) -> None:
        """Note that the write buffer is full: ``drained`` waits until ``resume_writing``."""
        self.connection.pause_writing()

    def resume_writing(self) -> None:
        """Tell the connection that its peer reads again."""
        self.connection.resume_writing()

    # For the connection: asyncio.Transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._over:
            return
        self._reader.feed(bytes(data))
        arrived: list[Command] = []
        while (request := self._reader.gets()) is not False:
            arrived.append(tuple(request))
        self.writes.append(tuple(arrived))
        self.commands += arrived
        self._waiting += arrived
        self._loop.call_soon(self._work)

    def close(self) -> None:
        self.lose()

    def abort(self) -> None:
        self.lose()

    def is_closing(self) -> bool:
        return self._over

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered here."""

    def _work(self) -> None:
        answers: list[bytes] = []
        while self._waiting and not self._blocked and not self._over:
            command = self._waiting.popleft()
            try:
                outcome = self._owner.handler(command)
                if outcome is None and isinstance(self.connection, SubscribingConnection):
                    answers += self._acknowledge(command)
                elif outcome is SILENT:
                    self._blocked = True
                elif outcome is LOST:
                    # Earlier answers still arrive.
                    self._say(b"".join(answers))
                    answers.clear()
                    self.lose()
                else:
                    answers.append(encode_reply(outcome))
            except Exception as failure:
                self._owner.failed(failure)
                self.lose(ConnectionResetError(f"the handler raised {failure!r}"))
        self._say(b"".join(answers))

    def _acknowledge(self, command: Command) -> list[bytes]:
        if not acknowledgements(command):
            return [encode_reply(None)]
        kind = command[0].lower()
        answers = []
        for channel in command[1:]:
            entry = (kind.replace(b"un", b"", 1), channel)
            if b"un" in kind:
                self._subscriptions.discard(entry)
            else:
                self._subscriptions.add(entry)
            answers.append(encode_reply([kind, channel, len(self._subscriptions)]))
        return answers

    def _say(self, raw: bytes) -> None:
        step = self._owner.chunk or len(raw) or 1
        for start in range(0, len(raw), step):
            self._loop.call_soon(self._arrive, raw[start : start + step])

    def _arrive(self, raw: bytes) -> None:
        if not self._broken:
            self.connection.data_received(raw)

    def _break(self, error: OSError | None) -> None:
        self._broken = True
        self.connection.connection_lost(error)


def encode_reply(reply: Reply) -> bytes:
    """Encode ``reply`` as RESP2, as a server would send it (status lines as bulk strings)."""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, ServerError):
        return b"-%b\r\n" % str(reply).replace("\r", " ").replace("\n", " ").encode()
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"*%d\r\n%b" % (len(reply), b"".join(encode_reply(item) for item in reply))


__all__ = [
    "LOST",
    "SILENT",
    "Handler",
    "Mark",
    "Outcome",
    "Script",
    "ScriptedLink",
    "ScriptedTransport",
    "encode_reply",
]
