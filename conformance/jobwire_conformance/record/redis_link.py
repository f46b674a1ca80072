"""The runner's own line to Redis: a few commands, plain replies, no client library.

The suite judges implementations by the contents of Redis; its own eyes must not share code with them.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from jobwire_conformance.record.proxy import Upstream
from jobwire_conformance.record.resp import Decoder, RespError, pack

__all__ = ["RedisLink", "RedisReplyError"]


class RedisReplyError(RuntimeError):
    """Redis answered a command of the runner with an error."""


class RedisLink:
    """One connection; commands in order, each waits for its reply; reconnects by itself."""

    def __init__(self, upstream: Upstream, *, password: str | None = None, username: str | None = None, db: int = 0):
        self._upstream = upstream
        self._password = password
        self._username = username
        self._db = db
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._decoder = Decoder()
        self._lock = asyncio.Lock()
        self._waiting: list[Any] = []

    async def call(self, *words: str | bytes | float) -> Any:
        """One command; its reply (bytes, int, None, list). Raises :class:`RedisReplyError`, ``OSError``."""
        reply = await self.try_call(*words)
        if isinstance(reply, RespError):
            raise RedisReplyError(f"{_word(words[0]).decode()}: {reply.message.decode('utf-8', 'replace')}")
        return reply

    async def try_call(self, *words: str | bytes | float) -> Any:
        """Like :meth:`call`, but an error reply is a value."""
        async with self._lock:
            try:
                return await self._exchange([_word(word) for word in words])
            except OSError:
                # One more try on a fresh connection: the server may have been restarted on purpose.
                await self.close()
                return await self._exchange([_word(word) for word in words])

    async def wait_until_up(self, seconds: float) -> None:
        """Wait until PING is answered; raises ``TimeoutError``."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if await self.try_call("PING") == b"PONG":
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError("Redis did not answer PING")
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Leave."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
        self._decoder = Decoder()
        self._waiting.clear()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._streams = streams = await self._upstream.open()
        if self._password is not None:
            names = [self._username] if self._username else []
            await self._exchange([_word(word) for word in ("AUTH", *names, self._password)])
        if self._db:
            await self._exchange([b"SELECT", b"%d" % self._db])
        return streams

    async def _exchange(self, command: list[bytes]) -> Any:
        reader, writer = self._streams or await self._connect()
        writer.write(pack(command))
        await writer.drain()
        while not self._waiting:
            chunk = await reader.read(65536)
            if not chunk:
                await self.close()
                raise ConnectionResetError("Redis closed the runner's connection")
            self._waiting += [frame.value for frame in self._decoder.feed(chunk)]
        return self._waiting.pop(0)


def _word(word: str | bytes | float) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()
