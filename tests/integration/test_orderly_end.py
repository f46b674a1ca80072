"""An orderly end sends: what was submitted is in Redis when ``stop`` returns, or ``stop`` says what is not."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jobwire import Client, ClosedError, ConfigError, Worker
from jobwire.testing.server import RedisServer
from jobwire.transport import open_transport
from tests.support.faces import hashes, raw_client, until, within

MODES = ("reliable", "recoverable", "simple")


@pytest.fixture(scope="module")
def one_server(server_binary: Path) -> Iterator[RedisServer]:
    with RedisServer(binary=server_binary) as made:
        yield made


@pytest.fixture
def server(one_server: RedisServer) -> RedisServer:
    with raw_client(one_server.url) as raw:
        raw.flushall()
    return one_server


def busy(server: RedisServer, seconds: float) -> None:
    """For so long the server does something else."""
    server.pause()
    threading.Timer(seconds, server.resume).start()


def queued(raw: redis.Redis, number: int) -> int:
    """How many entries there are in the end; waits for those that may still be on their way."""
    end = time.monotonic() + 0.5
    while (found := raw.llen("jobs::pending")) < number and time.monotonic() < end:
        time.sleep(0.02)
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("jobs", "size"), [(300, 1), (8, 1_000_000)], ids=["many small jobs", "large jobs"])
async def test_what_was_submitted_is_there_after_the_stop(server: RedisServer, mode: str, jobs: int, size: int) -> None:
    async with Client(server.url, mode=mode) as client:
        busy(server, 0.4)
        handles = [client.submit({"pad": "x" * size}) for _ in range(jobs)]
    assert {handle._pending.acknowledged for handle in handles} == {True}
    with raw_client(server.url) as raw:
        assert raw.llen("jobs::pending") == jobs
        assert len(hashes(raw)) == (0 if mode == "simple" else jobs)
    for handle in handles:
        with pytest.raises(ClosedError, match="the job goes on") as caught:
            await handle
        assert caught.value.submitted is True


async def test_the_hash_of_a_collected_result_goes_as_well(server: RedisServer) -> None:
    worker = Worker(server.url)
    worker.handler(lambda job: "done")
    async with worker:
        for _ in range(20):
            async with Client(server.url) as client:
                assert await within(client.submit()) == "done"
            with raw_client(server.url) as raw:
                assert hashes(raw) == []


async def test_a_server_that_does_not_answer_is_not_waited_for_without_end(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(server.url)
    await client.start()
    server.pause()
    try:
        handles = [client.submit({"n": n}) for n in range(30)]
        begun = time.monotonic()
        await client.stop(0.3)
        assert 0.25 < time.monotonic() - begun < 7.0
    finally:
        server.resume()
    for handle in handles:
        with pytest.raises(ClosedError, match="is not known") as caught:
            await handle
        assert caught.value.submitted is None
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "has not acknowledged 30 submissions" in said
    assert str(handles[0].id) in said
    assert str(handles[20].id) not in said  # the first ten are named


@pytest.mark.parametrize("mode", MODES)
async def test_a_job_that_could_not_be_sent(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer(appendonly=True) as server:
        client = Client(server.url, mode=mode, id="shop", timeout=20)
        await client.start()
        before = client.submit()
        await until(lambda: before._pending.acknowledged)
        server.kill()
        await asyncio.sleep(0.1)
        handle = client.submit()
        await client.stop(0.3)
        with pytest.raises(ClosedError, match="Redis has not got it") as caught:
            await handle
        assert caught.value.submitted is False
        with pytest.raises(ClosedError, match="the job goes on") as kept:
            await before
        assert ("attach" in str(kept.value)) is (mode != "simple")
        assert f"1 submissions: {str(handle.id)!r}" in caplog.text


async def test_a_stop_waits_for_a_connection_that_comes_back() -> None:
    with RedisServer(appendonly=True) as server:
        client = Client(server.url, reconnect_delay=0.01)
        await client.start()
        server.kill()
        await asyncio.sleep(0.1)
        handle = client.submit({"n": 1})
        stopping = asyncio.ensure_future(client.stop())
        await asyncio.sleep(0.1)
        with pytest.raises(ClosedError, match="stopped"):
            client.submit()
        await asyncio.to_thread(server.restart)
        await within(stopping)
        with raw_client(server.url) as raw:
            assert raw.exists(f"job::{handle.id}")
        with pytest.raises(ClosedError, match="stopped"):
            client.submit()


async def test_a_stop_that_is_cancelled_closes_all_the_same(server: RedisServer) -> None:
    client = Client(server.url)
    await client.start()
    server.pause()
    try:
        client.submit()
        stopping = asyncio.ensure_future(client.stop(30))
        await asyncio.sleep(0.1)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(stopping)
    finally:
        server.resume()
    assert client.outstanding == 0
    await asyncio.sleep(0.05)
    with raw_client(server.url) as raw:
        assert not [one for one in raw.client_list() if one["name"].startswith("jobwire-client")]


async def test_closing_twice_after_much_was_written(server: RedisServer) -> None:
    """A transport that asyncio has let go of must not be touched again."""
    transport = open_transport(server.url)
    for _ in range(20):
        connection = await transport.connect()
        connection.send([(b"SET", b"k", b"x" * 4_000_000)] * 3)
        await connection.close()
        connection.abort()
        await connection.close()
    await transport.close()


# -- the blocking face

SYNC = """
import sys
from jobwire.sync import Client
def submit(client):
    for n in range(int(sys.argv[2])):
        client.submit({"n": str(n), "pad": "x" * int(sys.argv[3])})
%s
"""
WITH = "with Client(sys.argv[1]) as client: submit(client)"
WITHOUT = "client = Client(sys.argv[1]); client.start(); submit(client)"
FAILING = "client = Client(sys.argv[1]); client.start(); submit(client); raise SystemExit(3)"


@pytest.mark.parametrize(
    ("way", "code"), [(WITH, 0), (WITHOUT, 0), (FAILING, 3)], ids=["with", "without with", "a script that fails"]
)
@pytest.mark.parametrize(("jobs", "size"), [(1, 1), (1000, 1), (8, 1_000_000)])
def test_a_script(server: RedisServer, way: str, code: int, jobs: int, size: int) -> None:
    busy(server, 0.6)  # while it starts, and submits
    done = subprocess.run(
        [sys.executable, "-c", SYNC % way, server.url, str(jobs), str(size)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (code, "")
    with raw_client(server.url) as raw:
        assert queued(raw, jobs) == jobs


# -- another event loop


def elsewhere(function: Any) -> None:
    """Call it in an event loop of another thread; raises what it raises."""
    raised: list[BaseException] = []

    async def call() -> None:
        function()

    def run() -> None:
        try:
            asyncio.run(call())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


@pytest.mark.parametrize(
    "use",
    [
        lambda client, _: client.submit({"n": 1}),
        lambda client, _: client.attach("some-id"),
        lambda client, handle: handle.cancel(),
    ],
    ids=["submit", "attach", "cancel"],
)
async def test_another_event_loop_is_refused_before_anything_is_sent(server: RedisServer, use: Any) -> None:
    async with Client(server.url) as client:
        handle = client.submit({"n": 0}, timeout=5)
        await until(lambda: handle._pending.acknowledged)
        with pytest.raises(ConfigError, match="event loop"):
            await asyncio.to_thread(elsewhere, lambda: use(client, handle))
        with pytest.raises(ConfigError, match="event loop"):
            await asyncio.to_thread(use, client, handle)
        assert client.outstanding == 1
        assert not handle.done()
        await asyncio.sleep(0.05)
        with raw_client(server.url) as raw:
            assert raw.llen("jobs::pending") == 1
        handle.cancel()
