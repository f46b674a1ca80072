"""A client that is not there yet when its result is: Redis forgets the notice, the worker says it again (NOT-12)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jobwire import Job, Worker
from jobwire.testing.server import RedisServer
from tests.support.faces import raw_client, until

WAYS: dict[str, dict[str, Any]] = {
    "own list": {},
    "shared list": {"processing_queue": "processing"},
    "shared list, MULTI": {"processing_queue": "processing", "use_multi": True},
    "recoverable": {"mode": "recoverable"},
    "recoverable, two queues": {"mode": "recoverable", "pending_queues": ["urgent", "pending"]},
    "recoverable, MULTI": {"mode": "recoverable", "use_multi": True},
    "simple": {"mode": "simple"},
    "simple, MULTI": {"mode": "simple", "use_multi": True},
}


@pytest.fixture(scope="module")
def one_server(server_binary: Path) -> Iterator[RedisServer]:
    with RedisServer(binary=server_binary) as made:
        yield made


@pytest.fixture
def raw(one_server: RedisServer) -> Iterator[redis.Redis]:
    with raw_client(one_server.url) as client:
        client.flushall()
        client.config_resetstat()
        yield client


def push(raw: redis.Redis, job_id: str, *, mode: str = "reliable", **fields: str) -> None:
    """Submit as a Perl client does."""
    if mode == "simple":
        raw.lpush("jobs::pending", json.dumps({"id": job_id, "_reply_to": "me", "_queued": 1, "data": {"text": "abc"}}))
        return
    raw.hset(f"job::{job_id}", mapping={"_reply_to": "me", "_queued": "1.5", "text_text": "abc", **fields})
    raw.lpush("jobs::pending", job_id)


def reverse(job: Job) -> str:
    return str(job.data["text"])[::-1]


def published(raw: redis.Redis) -> int:
    stats: Any = raw.info("commandstats")
    return int(stats.get("cmdstat_publish", {}).get("calls", 0))


async def hears(raw: redis.Redis, *, within: float = 10.0) -> bytes:
    """Subscribe now, and return the first message."""
    with raw.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("client::me")
        async with asyncio.timeout(within):
            while True:
                message = pubsub.get_message()
                if message is not None:
                    return bytes(message["data"])
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("late", [0.0, 0.2], ids=["at once", "later"])
async def test_a_client_that_subscribes_after_the_notice_gets_its_answer(
    raw: redis.Redis, one_server: RedisServer, way: str, late: float
) -> None:
    mode = WAYS[way].get("mode", "reliable")
    worker = Worker(one_server.url, **WAYS[way])
    worker.handler(reverse)
    async with worker:
        push(raw, "j", mode=mode)
        await until(lambda: worker.counts == Counter(done=1))
        await asyncio.sleep(late)
        said = await hears(raw)
        assert json.loads(said)["result"] == "cba" if mode == "simple" else said == b"j"


@pytest.mark.parametrize("way", WAYS)
async def test_a_notice_that_was_heard_is_said_once(raw: redis.Redis, one_server: RedisServer, way: str) -> None:
    worker = Worker(one_server.url, **WAYS[way])
    worker.handler(reverse)
    with raw.pubsub() as pubsub:
        pubsub.subscribe("client::me")
        await until(lambda: raw.pubsub_numsub("client::me")[0][1] == 1)
        async with worker:
            push(raw, "j", mode=WAYS[way].get("mode", "reliable"))
            await until(lambda: worker.counts == Counter(done=1))
            await asyncio.sleep(0.1)
        assert published(raw) == 1


@pytest.mark.parametrize("way", ["own list", "shared list", "recoverable"])
async def test_a_client_that_looks_by_itself_is_told_once(raw: redis.Redis, one_server: RedisServer, way: str) -> None:
    worker = Worker(one_server.url, **WAYS[way])
    worker.handler(reverse)
    async with worker:
        push(raw, "j", _accept="E,V")
        await until(lambda: worker.counts == Counter(done=1))
        await asyncio.sleep(0.1)
    assert published(raw) == 1


async def test_a_result_that_was_there_already(raw: redis.Redis, one_server: RedisServer) -> None:
    worker = Worker(one_server.url)
    worker.handler(reverse)
    async with worker:
        push(raw, "j", result="Tcba")
        await until(lambda: worker.counts == Counter(notified_again=1))
        assert await hears(raw) == b"j"


async def test_an_envelope_that_was_set_aside(raw: redis.Redis, one_server: RedisServer) -> None:
    worker = Worker(one_server.url, mode="simple")
    worker.handler(reverse)
    async with worker:
        raw.lpush("jobs::pending", '{"id":"j","_reply_to":"me","_queued":"no number","data":{}}')
        await until(lambda: worker.counts == Counter(rejected=1))
        assert "error" in json.loads(await hears(raw))


async def test_a_stop_waits_a_moment_for_a_client_that_is_about_to_subscribe(
    raw: redis.Redis, one_server: RedisServer
) -> None:
    worker = Worker(one_server.url)
    worker.handler(reverse)
    await worker.start()
    push(raw, "j")
    await until(lambda: worker.counts == Counter(done=1))
    stopping = asyncio.ensure_future(worker.stop())
    try:
        assert await hears(raw) == b"j"
    finally:
        await stopping


async def test_a_client_that_lost_its_connection_with_redis(raw: redis.Redis, one_server: RedisServer) -> None:
    """Everybody's connections are cut; the worker is back first."""
    worker = Worker(one_server.url, reconnect_delay=0.01)
    worker.handler(reverse)
    async with worker:
        raw.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: len(raw.client_list()) > 1)
        push(raw, "j")
        await until(lambda: worker.counts == Counter(done=1))
        await asyncio.sleep(1.0)
        assert await hears(raw) == b"j"
