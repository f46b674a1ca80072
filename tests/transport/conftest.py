"""A byte stream that is a list: the transport under a connection in unit tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from jobwire.transport.connection import RedisConnection


class FakeSocket(asyncio.Transport):
    """Keeps what is written; ``abort`` ends the connection in the next turn, as asyncio does."""

    def __init__(self, connection: RedisConnection) -> None:
        super().__init__()
        self.connection = connection
        self.written: list[bytes] = []
        self.closing = False
        self.slow_close = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.slow_close:
            self.abort()

    def abort(self) -> None:
        self.end(None)

    def end(self, error: Exception | None) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, error)


class Complaints(list[dict[str, object]]):
    """What went to the loop's exception handler."""


def attach(connection: RedisConnection) -> FakeSocket:
    sock = FakeSocket(connection)
    connection.connection_made(sock)
    return sock


@pytest.fixture
async def connection() -> RedisConnection:
    connection = RedisConnection(asyncio.get_running_loop(), description="redis://test")
    attach(connection)
    return connection


@pytest.fixture
async def wire(connection: RedisConnection) -> FakeSocket:
    sock = connection._transport
    assert isinstance(sock, FakeSocket)
    return sock


@pytest.fixture
async def complaints() -> AsyncIterator[Complaints]:
    """Collects them; a test that does not look at them fails if there are any."""
    found = Complaints()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: found.append(context))
    yield found
    loop.set_exception_handler(None)
