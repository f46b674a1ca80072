"""Forked children: they keep no connection of their parent, and hear their signals themselves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from jobwire.errors import ConnectionLost
from jobwire.testing.server import RedisServer
from jobwire.transport import open_transport
from tests.support.faces import Faces, eventually, raw_client, within

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="LEFT OUT: this system has no fork")


@contextmanager
def forked(check: Any = lambda: True) -> Iterator[int]:
    """A child that lives until the block is left; raises where ``check`` does not hold in it."""
    told, heard = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a process with threads that is forked
        child = os.fork()
    if not child:
        code = 1
        try:
            os.close(heard)
            code = 0 if check() else 2
            os.read(told, 1)
        finally:
            os._exit(code)
    os.close(told)
    try:
        yield child
    finally:
        os.close(heard)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0


@contextmanager
def started(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def names(raw: redis.Redis) -> list[str]:
    return [one["name"] for one in raw.client_list()]


@pytest.mark.parametrize("socket", ["tcp", "unix"])
async def test_a_child_keeps_no_connection(server_binary: Path, socket: str) -> None:
    with RedisServer(binary=server_binary, unix_socket=socket == "unix") as server:
        transport = open_transport(server.url)
        connection = await transport.connect(name="popping")
        before = connection.call((b"BRPOP", b"list", b"5"))
        with raw_client(server.url) as raw:

            def has_none() -> bool:
                # What is sent there goes nowhere, and the parent's socket is not touched.
                connection.send([(b"LPUSH", b"list", b"the child was here")])
                connection.flush()  # what the loop would do
                return connection.closed

            with forked(has_none):
                await asyncio.sleep(0.1)
                assert not connection.closed
                raw.lpush("list", "a")
                assert await within(before) == [[b"list", b"a"]]
                assert await within(connection.execute((b"LLEN", b"list"))) == 0
                await connection.close()
                # The child lives, and the server has seen the connection end.
                await eventually(lambda: "popping" not in names(raw))
        await transport.close()


async def test_what_a_child_does_to_the_parents_connection_is_an_error_there(redis_url: str) -> None:
    transport = open_transport(redis_url)
    connection = await transport.connect()

    def refused() -> bool:
        async def use() -> None:
            await connection.execute((b"PING",))

        try:
            asyncio.run(use())
        except (ConnectionLost, RuntimeError):
            return True
        return False

    with forked(refused):
        assert await within(connection.execute((b"PING",))) == b"PONG"
    await transport.close()


APP = """
import asyncio, multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
import jobwire
FORK = multiprocessing.get_context("fork")
worker = jobwire.Worker(sys.argv[1], id="w", heartbeat=0.3, heartbeat_ttl=1.0)

def work(op):
    if op == "pool":
        with FORK.Pool(2) as pool:
            return pool.map(abs, [1, -2])
    if op == "executor":
        with ProcessPoolExecutor(2, mp_context=FORK) as pool:
            return list(pool.map(abs, [1, -2]))
    if op == "terminate":
        child = FORK.Process(target=time.sleep, args=(100,))
        child.start()
        time.sleep(0.2)
        child.terminate()
        child.join(5)
        return child.exitcode
    if op == "interrupt":
        child = os.fork()
        if not child:
            try:
                time.sleep(100)
            except KeyboardInterrupt:
                os._exit(7)
        time.sleep(0.2)
        os.kill(child, 2)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return op

%s handler(job):
    return work(job.data["op"])

worker.handler(handler)
asyncio.run(worker.run(grace=5))
print("stopped in order", dict(worker.counts))
"""


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_multiprocessing_in_a_handler(faces: Faces, kind: str) -> None:
    client = await faces.client(timeout=20)
    expected = {"pool": [1, 2], "executor": [1, 2], "terminate": -signal.SIGTERM, "interrupt": 7, "plain": "plain"}
    with started(APP % kind, faces.url) as worker:
        for op, result in expected.items():
            assert await client.submit({"op": op}) == result
            assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)  # which the worker itself still hears
        out, _ = await asyncio.to_thread(worker.communicate, timeout=20)
    assert out == f"stopped in order {{'done': {len(expected)}}}\n"


DESERTED = """
import asyncio, sys, threading, time
import jobwire
worker = jobwire.Worker(sys.argv[1], id="deserted", mode=sys.argv[2], heartbeat=0.3, heartbeat_ttl=1.0)

@worker.handler
def handler(job):
    print("took it", flush=True)
    time.sleep(60)

async def main():
    await worker.start()
    await asyncio.sleep(float(sys.argv[3]))

if sys.argv[4] == "closed":
    asyncio.run(main())
else:
    asyncio.new_event_loop().run_until_complete(main())
threading.Event().wait()
"""


@pytest.mark.parametrize("end", ["closed", "left alone"])
@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_a_worker_whose_event_loop_has_ended_does_not_go_on_beating(
    faces: Faces, raw: redis.Redis, mode: str, end: str
) -> None:
    client = await faces.client(mode=mode, timeout=20)
    with started(DESERTED, faces.url, mode, "1.5", end) as deserted:
        handle = client.submit({"text": "abc"})
        assert deserted.stdout is not None
        assert await asyncio.to_thread(deserted.stdout.readline) == "took it\n"
        assert raw.exists("jobs::worker::deserted")
        await faces.worker(mode=mode, heartbeat=0.3, heartbeat_ttl=1.0)
        assert await within(handle, 15) == "cba"
        await eventually(lambda: not raw.exists("jobs::worker::deserted"))
        assert deserted.poll() is None
