"""A batch that is cut off: before its command reaches the server, or after, when nobody hears the reply any more.

For each joint of both sides, a connection that breaks there, and a worker that dies there.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import redis

from jobwire import Job
from jobwire.errors import TransportError
from jobwire.transport import Connection, Replies, open_transport
from jobwire.transport.connection import RedisConnection
from jobwire.wire.commands import Command
from jobwire.wire.scripts import COMPLETE_MANY, TAKE_MANY
from tests.support.faces import WAYS, Faces, eventually, nothing_left, within
from tests.support.victims import FAST

JOBS = 60
#: The joints, by the first words of a command of each.
WORKER = {"take": TAKE_MANY.sha, "load": b"HGETALL", "complete": COMPLETE_MANY.sha}
CLIENT = {"push": b"LPUSH", "collect": b"HMGET", "delete": b"DEL"}
CUTS = [(joint, when) for joint in (*WORKER, *CLIENT) for when in ("before", "after")]


def is_joint(words: bytes, commands: Sequence[Command]) -> bool:
    """Whether these are the commands of a batch: several jobs at least."""
    size = max(len(commands), max((len(command) for command in commands), default=0))
    return size > 4 and any(words in command[:2] for command in commands)


class Cutting:
    """A transport that does ``cut(connection)`` once, before or after the server has had a batch."""

    def __init__(self, url: str, words: bytes, when: str, cut: Callable[[RedisConnection], object]) -> None:
        self._inner = open_transport(url)
        self._words = words
        self._when = when
        self._cut = cut
        self.made = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def connect(self, **options: Any) -> Connection:
        connection: Any = await self._inner.connect(**options)
        connection.send = partial(self._send, connection, connection.send)
        return connection  # type: ignore[no-any-return]

    def _send(self, connection: Any, send: Any, commands: Sequence[Command], then: Any = None) -> None:
        if self.made or not is_joint(self._words, commands):
            send(commands, then)
            return
        self.made = 1
        if self._when == "before":
            self._cut(connection)
            send(commands, then)
        else:
            send(commands, partial(self._answered, connection, then))

    def _answered(self, connection: Any, then: Any, outcome: Replies | TransportError) -> None:
        self._cut(connection)
        if then is not None:
            then(TransportError("cut off") if not isinstance(outcome, TransportError) else outcome)


def break_off(connection: RedisConnection) -> None:
    connection.fail("cut off by the test")


@pytest.mark.parametrize(("joint", "when"), CUTS)
async def test_a_connection_that_breaks_loses_nothing(
    faces: Faces, raw: redis.Redis, redis_url: str, joint: str, when: str
) -> None:
    words = (WORKER | CLIENT)[joint]
    transport = Cutting(redis_url, words, when, break_off)
    ours, theirs = ({"transport": transport}, {}) if joint in WORKER else ({}, {"transport": transport})
    runs: Counter[str] = Counter()

    async def work(job: Job) -> object:
        runs[str(job.id)] += 1
        return job.data["n"]

    client = await faces.client(reconnect_delay=0.01, **theirs)
    handles = [client.submit({"n": n}) for n in range(JOBS)]
    await asyncio.sleep(0.05)
    worker = await faces.worker(work, max_concurrent_jobs=64, reconnect_delay=0.01, **ours)
    assert await within(asyncio.gather(*handles)) == [str(n) for n in range(JOBS)]
    assert transport.made
    await eventually(lambda: nothing_left(raw))
    # Only an entry that was in hand and unfinished may be begun again; nobody heard of its first end.
    assert set(runs) == {str(handle.id) for handle in handles}
    assert set(runs.values()) <= {1, 2}
    assert joint in ("load", "complete") or set(runs.values()) == {1}
    await eventually(lambda: worker.running == 0)


VICTIM = """
import asyncio, os, signal, sys
sys.path[:0] = {path!r}
from tests.recovery.test_batches import Cutting
import jobwire
transport = Cutting({url!r}, {words!r}, {when!r}, lambda connection: os.kill(os.getpid(), signal.SIGKILL))
worker = jobwire.Worker(transport=transport, id="victim", max_concurrent_jobs=64, **{fast!r})
async def work(job: jobwire.Job) -> object:
    return job.data["n"]
worker.handler(work)
asyncio.run(worker.run())
"""


@pytest.mark.parametrize(("joint", "when"), [cut for cut in CUTS if cut[0] in WORKER])
async def test_a_worker_that_dies_loses_nothing(
    faces: Faces, raw: redis.Redis, redis_url: str, joint: str, when: str
) -> None:
    client = await faces.client(timeout=30)
    handles = [client.submit({"n": n}) for n in range(JOBS)]
    await handles[-1].submitted()
    told = {"path": sys.path, "url": redis_url, "words": WORKER[joint], "when": when, "fast": FAST}
    victim = await asyncio.create_subprocess_exec(sys.executable, "-c", VICTIM.format(**told))
    assert await asyncio.wait_for(victim.wait(), 20) == -signal.SIGKILL
    await faces.worker(lambda job: job.data["n"], max_concurrent_jobs=64, **FAST)
    assert await within(asyncio.gather(*handles), 20) == [str(n) for n in range(JOBS)]
    await eventually(lambda: not raw.keys("job::*"))
    assert raw.llen("jobs::dead") == 0


@pytest.mark.parametrize("way", ["recoverable", "reliable-shared", "reliable-own"])
async def test_a_completion_does_not_wait_for_many_handlers_that_compute(
    faces: Faces, raw: redis.Redis, way: str
) -> None:
    """One turn of the loop may take long: what is done is told meanwhile."""
    told: list[int] = []

    async def compute(job: Job) -> object:
        time.sleep(0.004)  # noqa: ASYNC251 - as a template or a checksum would
        told.append(sum(bool(raw.hexists(key, "result")) for key in raw.scan_iter("job::*")))
        return job.data["n"]

    client = await faces.client(mode=WAYS[way]["mode"])
    handles = [client.submit({"n": number}) for number in range(32)]
    await within(handles[-1].submitted())
    await faces.worker(compute, max_concurrent_jobs=32, **WAYS[way])
    assert [await within(handle) for handle in handles] == [str(number) for number in range(32)]
    # All but the first few are taken at once, and begun in one turn, in which nothing is collected.
    assert max(told) > 16
