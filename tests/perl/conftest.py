"""Fixtures for tests with real Perl processes; where Perl is missing they skip and say what to install where."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobwire.testing.server import RedisServer
from tests.support.perl_peer import PerlPeer, missing

StartPerl = Callable[..., Coroutine[Any, Any, PerlPeer]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder runs real Perl."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.perl)


@pytest.fixture(scope="session")
def require_perl() -> Callable[[str], None]:
    """``require_perl("0.003")`` skips the test, saying what is missing and where to get it, unless that stack runs."""

    def require(stack: str = "0.004") -> None:
        reason = missing(stack)
        if reason:
            pytest.skip(f"NO PERL: {reason}")

    return require


@pytest.fixture(scope="session")
def perl_redis_server() -> Iterator[RedisServer]:
    """The server that this folder's tests share."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis(perl_redis_server: RedisServer) -> Iterator[redis_py.Redis]:
    """A blocking client of the server, which is empty now: for looking at what is in it."""
    with redis_py.Redis.from_url(perl_redis_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def redis_url(perl_redis_server: RedisServer, redis: redis_py.Redis) -> str:
    """The URL of the server, which is empty now."""
    del redis
    return perl_redis_server.url


@pytest.fixture
async def perl(redis_url: str, require_perl: Callable[[str], None]) -> AsyncIterator[StartPerl]:
    """``await perl("worker", dialect="0.004", …)``: :meth:`PerlPeer.start` on this test's server; killed at the end."""
    started: list[PerlPeer] = []

    async def start(role: Any, *, dialect: str = "0.004", **options: Any) -> PerlPeer:
        require_perl(dialect)
        peer = await PerlPeer.start(role, redis=options.pop("redis", redis_url), dialect=dialect, **options)
        started.append(peer)
        return peer

    yield start
    for peer in started:
        await peer.kill()
