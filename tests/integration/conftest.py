"""Fixtures of the tests that need a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

from jobwire.testing.server import RedisServer
from tests.support.faces import WAYS, Faces, faces_for, raw_client


@pytest.fixture
async def faces(redis_url: str) -> AsyncIterator[Faces]:
    async with faces_for(redis_url) as made:
        yield made


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    with raw_client(redis_url) as connection:
        yield connection


@pytest.fixture(params=list(WAYS), scope="module")
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each way in which a worker takes jobs."""
    return WAYS[request.param]


@pytest.fixture(params=[name for name in WAYS if name != "simple"], scope="module")
def kept_way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each way of the modes that keep jobs."""
    return WAYS[request.param]


@pytest.fixture(scope="module")
def durable_server() -> Iterator[RedisServer]:
    """A server of this module's own, which may be restarted: with appendonly and every write on disk."""
    with RedisServer(appendonly=True, config=["appendfsync always"]) as server:
        yield server


@pytest.fixture
def durable(durable_server: RedisServer) -> RedisServer:
    with raw_client(durable_server.url) as connection:
        connection.flushall()
    return durable_server
