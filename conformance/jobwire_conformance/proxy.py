"""The recorder: a loopback TCP proxy between one peer and Redis that writes down every frame.

Frames are forwarded whole, byte for byte, in both directions, and given to the :class:`Recorder`
with the time, the connection and the role. The same place injects faults: connections cut before,
after or in the middle of a frame, messages dropped, replies held back.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from .resp import Decoder, Frame
from .transcripts import Event, broken_event, make_event

__all__ = ["Action", "Proxy", "Recorder", "Rule", "Upstream"]

Action = Literal["drop", "cut", "cut-after", "half"]
"""What a rule does to a frame: leave it out; cut the connection before it; after it; in its middle."""

_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where Redis listens: host and port, or a unix socket; ``tls`` where it speaks TLS."""

    host: str = "127.0.0.1"
    port: int = 6379
    unix_path: str | None = None
    tls: ssl.SSLContext | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One connection to it."""
        if self.unix_path is not None:
            return await asyncio.open_unix_connection(self.unix_path, limit=_CHUNK)
        return await asyncio.open_connection(self.host, self.port, ssl=self.tls, limit=_CHUNK)


@dataclass(slots=True)
class Rule:
    """Do ``action`` to the next ``times`` frames that ``matches`` accepts (``times`` −1: for ever)."""

    matches: Callable[[Event], bool]
    action: Action
    times: int = 1
    hits: int = 0


class Recorder:
    """The events of all connections of one case, on one clock."""

    def __init__(self, on_event: Callable[[Event], None] | None = None) -> None:
        self.events: list[Event] = []
        self._began = time.monotonic()
        self._connections = 0
        self._on_event = on_event
        self._changed = asyncio.Event()

    def now(self) -> float:
        """Seconds since the recording began."""
        return time.monotonic() - self._began

    def next_connection(self) -> int:
        """A number for a new connection."""
        self._connections += 1
        return self._connections

    def add(self, event: Event) -> None:
        """Write an event down."""
        self.events.append(event)
        self._changed.set()
        if self._on_event is not None:
            self._on_event(event)

    async def changed(self) -> None:
        """Wait for the next event."""
        self._changed.clear()
        await self._changed.wait()


@dataclass(eq=False, slots=True)
class _Link:
    number: int
    peer: asyncio.StreamWriter
    redis: asyncio.StreamWriter
    cut: bool = False

    def abort(self) -> None:
        """Both sides see a reset."""
        self.cut = True
        self.peer.transport.abort()
        self.redis.transport.abort()


@dataclass(eq=False)
class Proxy:
    """Listens on a free loopback port; every connection is forwarded to ``upstream``."""

    upstream: Upstream
    recorder: Recorder
    role: str
    rules: list[Rule] = field(default_factory=list)
    port: int = 0
    refusing: bool = False
    _server: asyncio.Server | None = None
    _links: set[_Link] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; :attr:`port` says where."""
        self._flowing.set()
        self._server = await asyncio.start_server(self._accept, host, port, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut what is still open."""
        if self._server is not None:
            self._server.close()
        self._flowing.set()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._server.wait_closed(), 1)

    # --- faults -------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._links)

    def cut(self) -> None:
        """Cut every open connection (a reset on both sides)."""
        for link in list(self._links):
            link.abort()

    def hold(self, held: bool) -> None:
        """Hold all replies back (a server that does not answer), or let them flow again."""
        if held:
            self._flowing.clear()
        else:
            self._flowing.set()

    # --- plumbing -----------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            redis_reader, redis_writer = await self.upstream.open()
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self.recorder.next_connection(), writer, redis_writer)
        self._links.add(link)
        self._note(link, "open")
        try:
            await asyncio.gather(
                self._pump(link, reader, redis_writer, ">"), self._pump(link, redis_reader, writer, "<")
            )
        finally:
            self._links.discard(link)
            link.peer.close()
            link.redis.close()

    def _note(self, link: _Link, kind: Literal["open", "close"], direction: Literal[">", "<", ""] = "") -> None:
        now = round(self.recorder.now(), 6)
        self.recorder.add(Event(t=now, connection=link.number, role=self.role, direction=direction, kind=kind))

    async def _pump(
        self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: Literal[">", "<"]
    ) -> None:
        """Forward one direction until its end, frame by frame."""
        decoder = Decoder()
        opaque = False
        try:
            while chunk := await source.read(_CHUNK):
                if direction == "<" and not self._flowing.is_set():
                    await self._flowing.wait()
                if opaque:
                    sink.write(chunk)
                else:
                    for frame in decoder.feed(chunk):
                        if not self._forward(link, frame, sink, direction):
                            return
                    opaque = decoder.broken is not None
                    if opaque:
                        sink.write(self._give_up_on(link, decoder, direction))
                await sink.drain()
        except OSError:
            pass
        finally:
            self._note(link, "close", direction)
            # An end of input is passed on; the other direction may still have bytes under way.
            if not link.cut and sink.can_write_eof() and not sink.is_closing():
                with contextlib.suppress(OSError, RuntimeError):
                    sink.write_eof()

    def _give_up_on(self, link: _Link, decoder: Decoder, direction: str) -> bytes:
        event = broken_event(
            t=self.recorder.now(), connection=link.number, role=self.role, direction=direction, decoder=decoder
        )
        self.recorder.add(event)
        return event.raw

    def _forward(self, link: _Link, frame: Frame, sink: asyncio.StreamWriter, direction: str) -> bool:
        """Record and forward one frame; False where a rule has cut the connection."""
        event = make_event(
            t=self.recorder.now(),
            connection=link.number,
            role=self.role,
            direction=direction,
            value=frame.value,
            raw=frame.raw,
        )
        action = self._action(event)
        if action not in {"drop", "cut"}:
            self.recorder.add(event)
        if action is None:
            sink.write(frame.raw)
            return True
        if action == "drop":
            return True
        if action == "half":
            sink.write(frame.raw[: max(1, len(frame.raw) // 2)])
        elif action == "cut-after":
            sink.write(frame.raw)
        # What was written leaves before the connection is cut: half a frame is the point of it.
        asyncio.get_running_loop().call_later(0.02 if action != "cut" else 0, link.abort)
        link.cut = True
        return False

    def _action(self, event: Event) -> Action | None:
        for rule in self.rules:
            if rule.times and rule.matches(event):
                rule.times -= 1
                rule.hits += 1
                return rule.action
        return None
