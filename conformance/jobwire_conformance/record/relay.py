"""Between a peer and Redis: a listener whose connections are joined to connections to the server.

The traffic is left to those who build on it: the recorder of the suite (:mod:`record.proxy`), which sees whole frames
and injects faults, and ``jobwire tap`` (:mod:`jobwire_conformance.tap.relay`), which lets everything pass and looks on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Direction", "Link", "Relay", "Upstream"]

Direction: TypeAlias = Literal[">", "<"]
"""``>`` to Redis, ``<`` from Redis."""

CHUNK = 256 * 1024


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
            return await asyncio.open_unix_connection(self.unix_path, limit=CHUNK)
        return await asyncio.open_connection(self.host, self.port, ssl=self.tls, limit=CHUNK)


@dataclass(eq=False, slots=True)
class Link:
    """One connection of a peer, and the one to Redis that it is joined to."""

    number: int
    peer: asyncio.StreamWriter
    redis: asyncio.StreamWriter
    cut: bool = False

    def abort(self) -> None:
        """Both sides see a reset."""
        self.cut = True
        self.peer.transport.abort()
        self.redis.transport.abort()


class Relay:
    """Listens; every connection is joined to one of its own to ``upstream``.

    Both directions are read no faster than the other side takes it, so that a slow reader slows the writer
    down, as it would without a relay, and nothing piles up here.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.port = 0
        self.links: set[Link] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        unix_path: str | None = None,
    ) -> None:
        """Listen, with TLS where there is ``tls``; :attr:`port` says where. Or listen at ``unix_path``."""
        if unix_path is not None:
            self._server = await asyncio.start_unix_server(self._accept, unix_path, limit=CHUNK)
            return
        self._server = await asyncio.start_server(self._accept, host, port, limit=CHUNK, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut the connections still open."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._server.wait_closed(), 1)

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self.links)

    def cut(self) -> None:
        """Cut every open connection (a reset on both sides)."""
        for link in list(self.links):
            link.abort()

    # --- for those who build on it ------------------------------------------------------------

    def number(self) -> int:
        """The number of a new connection."""
        raise NotImplementedError

    def admits(self) -> bool:
        """Whether a new connection is let in; otherwise its peer sees a reset."""
        return True

    def opened(self, link: Link) -> None:
        """A connection is there, on both sides."""

    def closed(self, link: Link, direction: Direction) -> None:
        """One direction of a connection has ended."""

    def unreachable(self, error: OSError) -> None:
        """The server could not be reached; the peer sees a reset."""

    def passage(self, link: Link, direction: Direction) -> Callable[[bytes], bytes | None]:
        """For one direction of a new connection: the bytes to write for the bytes read; None where it was cut."""
        raise NotImplementedError

    async def flowing(self, direction: Direction) -> None:
        """Returns when the bytes read may go on."""

    async def write(self, sink: asyncio.StreamWriter, data: bytes) -> None:
        """Pass bytes on, no faster than they are taken."""
        sink.write(data)
        await sink.drain()

    # --- plumbing -----------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.admits():
            writer.transport.abort()
            return
        try:
            redis_reader, redis_writer = await self.upstream.open()
        except OSError as error:
            writer.transport.abort()
            self.unreachable(error)
            return
        link = Link(self.number(), writer, redis_writer)
        self.links.add(link)
        self.opened(link)
        try:
            await asyncio.gather(
                self._pump(link, reader, redis_writer, ">"), self._pump(link, redis_reader, writer, "<")
            )
        finally:
            self.links.discard(link)
            link.peer.close()
            link.redis.close()

    async def _pump(
        self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: Direction
    ) -> None:
        """Forward one direction until its end."""
        passed = self.passage(link, direction)
        try:
            while chunk := await source.read(CHUNK):
                await self.flowing(direction)
                out = passed(chunk)
                if out is None:
                    return
                if out:
                    await self.write(sink, out)
        except OSError:
            pass
        finally:
            self.closed(link, direction)
            if not link.cut and not sink.is_closing():
                _end(sink)


def _end(sink: asyncio.StreamWriter) -> None:
    """Pass an end of input on; the other direction may still have bytes under way, where TLS does not forbid it."""
    with contextlib.suppress(OSError, RuntimeError):
        if sink.can_write_eof():
            sink.write_eof()
        else:
            sink.close()
