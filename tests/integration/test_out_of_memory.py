"""A server at its ``maxmemory``: submissions are refused, and the backlog that fills it is worked off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jobwire import Job, ServerError
from jobwire.testing.server import RedisServer
from jobwire.wire import Reliable
from jobwire.wire.keys import Keyspace
from jobwire.wire.scripts import COMPLETE, GIVE_BACK, insist, is_out_of_memory
from tests.support.faces import WAYS, Faces, entries, eventually, faces_for, hashes, nothing_left, raw_client, within

BEAT = {"heartbeat": 0.3, "heartbeat_ttl": 1.0}
EVERY_WAY = {
    **WAYS,
    "reliable-shared-multi": {**WAYS["reliable-shared"], "use_multi": True},
    "recoverable-multi": {**WAYS["recoverable"], "use_multi": True},
    "simple-multi": {**WAYS["simple"], "use_multi": True},
}


@pytest.fixture(scope="module")
def one_server(server_binary: Path) -> Iterator[RedisServer]:
    with RedisServer(binary=server_binary, config=["maxmemory-policy noeviction"]) as made:
        yield made


@pytest.fixture
def full(one_server: RedisServer) -> Iterator[redis.Redis]:
    with raw_client(one_server.url) as raw:
        raw.flushall()
        yield raw
        raw.config_set("maxmemory", "0")


@pytest.fixture
async def faces(one_server: RedisServer) -> AsyncIterator[Faces]:
    async with faces_for(one_server.url) as made:
        yield made


async def value(job: Job) -> Any:
    await asyncio.sleep(float(str(job.data.get("seconds", 0))))
    if "fail" in job.data:
        raise ValueError("no")
    return job.data["value"]


@pytest.mark.parametrize("way", list(EVERY_WAY))
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_backlog_is_worked_off(
    faces: Faces, full: redis.Redis, way: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the worker was there before the memory was full or comes afterwards."""
    options = EVERY_WAY[way]
    client = await faces.client(mode=options["mode"], use_multi=options.get("use_multi", False), timeout=60)
    if when == "before":
        worker = await faces.worker(value, **options, **BEAT)
        held = [client.submit({"value": f"held {number}", "seconds": "0.3"}) for number in range(4)]
        await eventually(lambda: worker.running == 4)
    else:
        held = []
    waiting = [client.submit({"value": str(number)}) for number in range(300)]
    await eventually(lambda: all(handle._pending.acknowledged for handle in waiting))
    full.config_set("maxmemory", "1")
    with pytest.raises(ServerError, match="OOM"):
        await within(client.submit({"value": "refused"}))
    if when == "after":
        await faces.worker(value, **options, **BEAT)
    results = await within(asyncio.gather(*held, *waiting), 30)
    assert results == [*(f"held {number}" for number in range(len(held))), *map(str, range(300))]
    assert len([line for line in caplog.messages if "cannot take jobs" in line]) <= 1
    await eventually(lambda: nothing_left(full) or not hashes(full))
    full.config_set("maxmemory", "0")
    assert await within(client.submit({"value": "again"}), 20) == "again"


@pytest.mark.parametrize("way", list(EVERY_WAY))
async def test_an_orderly_stop_gives_back_what_it_has(faces: Faces, full: redis.Redis, way: str) -> None:
    options = EVERY_WAY[way]
    client = await faces.client(mode=options["mode"], timeout=60)
    worker = await faces.worker(value, **options, **BEAT)
    handles = [client.submit({"value": str(number), "seconds": "0.5"}) for number in range(8)]
    await eventually(lambda: worker.running == 4)
    full.config_set("maxmemory", "1")
    await worker.stop(0.05)
    assert len(entries(full, "jobs::pending")) == 8
    assert worker.counts == {"returned": 4}
    await faces.worker(value, **options, **BEAT)
    assert await within(asyncio.gather(*handles), 20) == [str(number) for number in range(8)]


@pytest.mark.parametrize("policy", ["leave", "retry", "reply"])
@pytest.mark.parametrize("way", [name for name in WAYS if name != "simple"])
async def test_failures_are_told(faces: Faces, full: redis.Redis, way: str, policy: str) -> None:
    client = await faces.client(mode=WAYS[way]["mode"], accept="", timeout=60)
    failing = client.submit({"fail": "1"})
    await eventually(lambda: failing._pending.acknowledged)
    full.config_set("maxmemory", "1")
    worker = await faces.worker(value, **WAYS[way], on_failure=policy, max_attempts=2, retry_delay=0.01, **BEAT)
    if policy == "reply":
        assert await within(failing) == {"error": {"type": "ValueError", "message": "no"}}
    else:
        await eventually(lambda: entries(full, "jobs::dead") == [str(failing.id).encode()])
        assert (full.hget(f"job::{failing.id}", "_error") or b"").startswith(b"ValueError: no\n")
        assert worker.counts["retried"] == (policy == "retry")


@pytest.mark.parametrize("way", ["reliable-own", "recoverable"])
async def test_a_dead_workers_jobs_come_back(faces: Faces, full: redis.Redis, way: str) -> None:
    client = await faces.client(mode=WAYS[way]["mode"], timeout=60)
    handle = client.submit({"value": "v"}, id="j")
    await eventually(lambda: handle._pending.acknowledged)
    full.sadd("jobs::workers", "dead")
    assert full.rpop("jobs::pending") == b"j"
    if way == "recoverable":
        full.hset("jobs::queues", "dead", b"\0jobs::pending")
        full.hset("job::j", mapping={"_worker": "dead", "_queue": "jobs::pending", "_started": "1"})
    else:
        full.hset("jobs::queues", "dead", "jobs::pending")
        full.lpush("jobs::processing::dead", "j")
    full.config_set("maxmemory", "1")
    worker = await faces.worker(value, **WAYS[way], **BEAT)
    assert await within(handle, 20) == "v"
    assert full.exists(f"jobs::worker::{worker.id}"), "its heartbeat is not refused"


def test_each_command_means_the_same(full: redis.Redis) -> None:
    """``insist`` changes how a command is said, not what it does or answers."""
    mode = Reliable(Keyspace("jobs"), processing=b"jobs::processing::w", own_list=True)
    full.rpush("jobs::pending", "a", "b", "c")
    full.hset("job::c", "_reply_to", "me")
    full.config_set("maxmemory", "1")

    def run(*commands: tuple[bytes, ...]) -> list[Any]:
        for command in commands:
            with pytest.raises(redis.RedisError, match=r"maxmemory|OOM|OutOfMemory"):
                full.execute_command(*command)
        return [full.execute_command(*command) for command in insist(commands)]

    assert run(mode.take_now(b"jobs::pending")) == [b"c"]
    assert run((b"HSET", b"job::c", b"f", b"1", b"g", b"2")) == [2]
    assert run((b"HMSET", b"job::c", b"f", b"3")) == [b"OK"]
    assert run((b"HINCRBY", b"jobs::attempts", b"c", b"1")) == [1]
    assert run((b"LPUSH", b"l", b"1", b"2"), (b"RPUSH", b"l", b"0")) == [2, 3]
    # Not refused as it is, because it removes the entry first; but a script by its SHA-1 has other words as well.
    (whole,) = insist((COMPLETE.call((b"jobs::processing::w", b"job::c"), b"c", b"client::me", b"Tdone"),))
    assert whole[0] == b"EVAL"
    assert full.execute_command(*whole) == 1
    assert run(GIVE_BACK.call_whole((b"l", b"jobs::pending"), b"1")) == [1]
    assert full.hgetall("job::c") == {b"_reply_to": b"me", b"f": b"3", b"g": b"2", b"result": b"Tdone"}
    assert entries(full, "jobs::pending") == [b"1", b"b", b"a"]
    assert entries(full, "l") == [b"0", b"2"]
    assert full.hgetall("jobs::attempts") == {b"c": b"1"}


def test_what_needs_no_memory_is_left_alone() -> None:
    plain = ((b"PUBLISH", b"c", b"j"), (b"LREM", b"l", b"1", b"j"), (b"DEL", b"k"), (b"EVALSHA", b"0" * 40, b"0"))
    assert insist(plain) == plain
    assert insist(((b"MULTI",), *plain, (b"EXEC",))) == plain


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (ServerError("OOM command not allowed when used memory > 'maxmemory'."), True),
        (ServerError("EXECABORT Transaction discarded because of: OOM command not allowed"), True),
        (ServerError("ERR Error running script (call to f_a): @user_script:1: @user_script: 1: -OOM command no"), True),
        (ServerError("EXECABORT Transaction discarded because of previous errors."), False),
        (ServerError("ERR OOM"), False),
        (b"OOM", False),
        (None, False),
    ],
)
def test_who_is_out_of_memory(reply: Any, expected: bool) -> None:
    assert is_out_of_memory(reply) is expected
