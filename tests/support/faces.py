"""What the tests of client and worker share: both started with one call each, and stopped after the test."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import redis

from jobwire import Client, Job, Worker

MODES = ("simple", "recoverable", "reliable")
KEPT = ("recoverable", "reliable")
#: Every way in which a worker takes jobs: mode, and the options that choose its intake.
WAYS: dict[str, dict[str, Any]] = {
    "simple": {"mode": "simple"},
    "recoverable": {"mode": "recoverable"},
    "reliable-shared": {"mode": "reliable", "processing_queue": "processing"},
    "reliable-own": {"mode": "reliable", "processing_queue": None},
}
#: Seconds after which something that should have happened has not.
PATIENCE = 8.0


async def eventually(predicate: Callable[[], Any], what: str = "the condition", every: float = 0.005) -> Any:
    """For what only Redis knows, and nobody tells: ask until it is so."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while not (found := predicate()):
        assert loop.time() < end, f"{what} did not come about within {PATIENCE} s"
        await asyncio.sleep(every)
    return found


async def until(predicate: Callable[[], Any]) -> None:
    """For what happens in this event loop alone."""
    await eventually(predicate, every=0)


async def within(awaitable: Any, seconds: float = PATIENCE) -> Any:
    async with asyncio.timeout(seconds):
        return await awaitable


async def reverse(job: Job) -> Any:
    return str(job.data["text"])[::-1]


class Faces:
    """Makes clients and workers for one server."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self._stack = stack

    async def client(self, **options: Any) -> Client:
        client = Client(self.url, **{"timeout": PATIENCE, "reconnect_delay": 0.01, **options})
        await client.start()
        self._stack.push_async_callback(client.stop)
        return client

    async def worker(self, handler: Any = reverse, **options: Any) -> Worker:
        worker = self.unstarted(handler, **options)
        await worker.start()
        self._stack.push_async_callback(worker.stop, 0.2)
        return worker

    def unstarted(self, handler: Any = reverse, **options: Any) -> Worker:
        defaults = {"max_concurrent_jobs": 4, "reconnect_delay": 0.01, "job_poll_interval": 1.0}
        worker = Worker(self.url, **{**defaults, **options})
        if handler is not None:
            worker.handler(handler)
        return worker


@asynccontextmanager
async def faces_for(url: str) -> AsyncIterator[Faces]:
    async with AsyncExitStack() as stack:
        yield Faces(url, stack)


def client_options(way: dict[str, Any]) -> dict[str, Any]:
    return {"mode": way["mode"]}


def raw_client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, protocol=2)


def entries(raw: redis.Redis, key: str | bytes) -> list[bytes]:
    """A list, in the order in which it will be taken."""
    found = raw.lrange(key, 0, -1)
    assert isinstance(found, list)
    return found[::-1]


def hashes(raw: redis.Redis) -> list[bytes]:
    return sorted(raw.keys("job::*"))


def nothing_left(raw: redis.Redis, prefix: bytes = b"jobs") -> bool:
    """True where Redis holds nothing but who the workers are."""
    fleet = (
        prefix + b"::workers",
        prefix + b"::queues",
        prefix + b"::worker::",
        prefix + b"::looked",
        prefix + b"::hosts",
    )
    return all(key.startswith(fleet) for key in raw.keys("*"))


def kill(raw: redis.Redis, name: str) -> int:
    """End, at the server, the connections whose name begins like this; how many there were."""
    victims = [entry["id"] for entry in raw.client_list() if entry["name"].startswith(name)]
    for victim in victims:
        raw.client_kill_filter(_id=victim)
    return len(victims)


class Recorder(logging.Handler):
    """The log lines of jobwire, to be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
