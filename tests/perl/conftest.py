"""Fixtures for tests with real Perl processes; where Perl is missing they skip and say what to install where."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis as redis_py
from perl_peer import PerlPeer, missing

StartPerl = Callable[..., Coroutine[Any, Any, PerlPeer]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder runs real Perl."""
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]):
            item.add_marker(pytest.mark.perl)


def require_perl(stack: str = "0.004") -> None:
    """Skip, with what is missing and where to get it, unless ``stack`` runs here."""
    reason = missing(stack)
    if reason:
        pytest.skip(f"NO PERL: {reason}")


@pytest.fixture(scope="session")
def redis_server_url() -> Iterator[str]:
    """A server for this folder's tests."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        pytest.skip("NO REDIS: neither redis-server nor valkey-server is on PATH")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            with redis_py.Redis(port=port) as client:
                for _ in range(100):
                    try:
                        client.ping()
                        break
                    except redis_py.ConnectionError:
                        time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def redis(redis_server_url: str) -> Iterator[redis_py.Redis]:
    """A blocking client of an empty server, for looking at what is left."""
    with redis_py.Redis.from_url(redis_server_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def redis_url(redis_server_url: str, redis: redis_py.Redis) -> str:
    """The URL of an empty server."""
    return redis_server_url


@pytest.fixture
async def perl(redis_url: str) -> AsyncIterator[StartPerl]:
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
