"""What a job costs in commands, writes and reads: counted, never timed. A change that makes these worse is slower
everywhere; docs/PERFORMANCE.md says what each of them is for.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from typing import Any

import msgspec
import pytest
import redis

from jobwire import Client, Job, JobError, JobHandle, Worker
from jobwire.client.handle import Pending
from jobwire.testing.scripted import SILENT, Outcome, ScriptedTransport
from jobwire.wire import Failure, Submission, Success
from jobwire.wire.commands import Command, Reply
from jobwire.wire.scripts import COMPLETE_MANY, TAKE_MANY
from jobwire.worker.delivery import Delivery
from tests.support.faces import raw_client, until, within

CONTROL = {"config|resetstat", "info"}


class Add(msgspec.Struct):
    a: int
    b: int


async def add(args: Add) -> int:
    return args.a + args.b


def statistics(raw: redis.Redis) -> Counter[str]:
    info: Any = raw.info("everything")
    calls = {name: stat["calls"] for name, stat in info.items() if name.startswith("cmdstat_")}
    counted = {name.removeprefix("cmdstat_"): count for name, count in calls.items()}
    return Counter({name: count for name, count in counted.items() if name not in CONTROL})


async def one_by_one(redis_url: str, handler: Any, **options: Any) -> Counter[str]:
    """What the server was asked for 100 jobs, one after the other; all else left out."""
    with raw_client(redis_url) as raw:
        worker = Worker(redis_url, **options)
        worker.handler(handler)
        async with Client(redis_url) as client, worker:
            assert await within(client.submit({"a": 1, "b": 2})) == 3
            await asyncio.sleep(0.05)
            raw.config_resetstat()
            for number in range(100):
                assert await within(client.submit({"a": number, "b": 7})) == number + 7
            await asyncio.sleep(0.05)
            return statistics(raw)


async def test_a_job_costs_seven_commands_and_three_in_a_script(redis_url: str) -> None:
    asked = await one_by_one(redis_url, add)
    wanted = ("hmset", "lpush", "brpoplpush", "hgetall", "evalsha", "lrem", "hset", "publish", "hmget", "del")
    assert {name: asked.pop(name, 0) for name in wanted} == dict.fromkeys(wanted, 100)
    # Heartbeats and the like do not grow with the jobs.
    assert asked.total() < 20, asked


async def test_a_handler_that_waits_costs_one_more(redis_url: str) -> None:
    async def waits(args: Add) -> int:
        await asyncio.sleep(0.001)
        return args.a + args.b

    asked = await one_by_one(redis_url, waits)
    assert (asked["hmset"], asked["evalsha"]) == (200, 100)


async def test_perls_shared_list_gets_perls_commands(redis_url: str) -> None:
    asked = await one_by_one(redis_url, add, processing_queue="processing")
    wanted = ("lpush", "brpoplpush", "hgetall", "publish", "lrem", "hmget", "del")
    assert {name: asked[name] for name in wanted} == dict.fromkeys(wanted, 100)
    assert asked["hmset"] == 300
    assert asked["evalsha"] == 0


def ordinary(command: Command) -> Outcome:
    return None if command[0] == b"SUBSCRIBE" else 1


def link(transport: ScriptedTransport, name: str) -> Any:
    return [link for link in transport.links if link.name.startswith(name)][-1]


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_is_submitted_and_collected_in_one_turn_leaves_in_few_writes() -> None:
    transport = ScriptedTransport(lambda command: [b"V1"] if command[0] == b"HMGET" else ordinary(command))
    async with Client(transport=transport) as client:
        commands, notices = link(transport, "jobwire-client"), link(transport, "jobwire-notices")
        before = len(commands.writes)
        handles = [client.submit({"a": number}) for number in range(100)]
        await turns()
        assert [len(write) for write in commands.writes[before:]] == [2 + 33, 33, 33, 4]
        for handle in handles:
            notices.push([b"message", b"client::x", str(handle.id).encode()])
        await turns()
        assert [handle.done() for handle in handles] == [True] * 100
        deletions = [command for command in commands.commands if command[0] == b"DEL"]
        assert sum(len(command) - 1 for command in deletions) == 100
        assert len(deletions) <= 2
        assert len(commands.writes) - before <= 4 + 2 + 2


class Queue:
    """Gives out as many jobs as there are, then waits as a blocking pop does."""

    def __init__(self, jobs: int) -> None:
        self.left = jobs

    def __call__(self, command: Command) -> Outcome:
        match command[0]:
            case b"BRPOPLPUSH":
                return self.pop(1)[0] if self.left else SILENT
            case b"EVALSHA" if command[1] == TAKE_MANY.sha:
                return self.pop(int(command[-1]))
            case b"EVALSHA" if command[1] == COMPLETE_MANY.sha:
                return [1] * (int(command[2]) - 1)
            case b"HGETALL":
                return [b"_reply_to", b"me", b"_queued", b"1", b"text_a", b"1", b"text_b", b"2"]
            case b"LRANGE":
                return []
        return 1

    def pop(self, count: int) -> list[Reply]:
        popped: list[Reply] = [b"j%d" % (self.left - at) for at in range(min(count, self.left))]
        self.left -= len(popped)
        return popped


async def test_a_worker_takes_and_completes_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # However long the machine takes for a turn of the loop: what has waited for two milliseconds leaves before its end.
    monkeypatch.setattr("jobwire.worker.executor.LONGEST_WAIT", 60.0)
    transport = ScriptedTransport(Queue(64))
    worker = Worker(transport=transport, max_concurrent_jobs=64)
    worker.handler(add)
    async with worker:
        await until(lambda: worker.counts["done"] == 64)
        popping, commands = link(transport, "jobwire-popping"), link(transport, "jobwire-worker")
        # Then the first is done before the second is read, each is completed alone, and two pops wait at the end.
        eager = sys.version_info >= (3, 12)
        # Two came by pops that waited, so there were more; the last look found none, so the worker waits again.
        popped = [command[0] for command in popping.commands]
        assert popped == [b"BRPOPLPUSH"] * 3 + [b"BRPOPLPUSH" if eager else b"EVALSHA"]
        takes = [int(command[-1]) for command in commands.commands if command[:2] == (b"EVALSHA", TAKE_MANY.sha)]
        assert takes[0] == 62
        assert len(takes) <= 3
        loads = [command for command in commands.commands if command[0] == b"HGETALL"]
        assert len(loads) == 64
        completions = [command for command in commands.commands if command[:2] == (b"EVALSHA", COMPLETE_MANY.sha)]
        assert [int(command[2]) - 1 for command in completions] == ([62] if eager else [2, 62])


async def test_memory_does_not_grow_with_the_jobs_done(redis_url: str) -> None:
    worker = Worker(redis_url, max_concurrent_jobs=64)
    worker.handler(add)

    async def rounds(client: Client, count: int) -> int:
        for _ in range(count):
            await within(asyncio.gather(*(client.submit({"a": 1, "b": 2}) for _ in range(64))))
        await asyncio.sleep(0.05)
        gc.collect()
        return sys.getallocatedblocks()

    async with Client(redis_url) as client, worker:
        await rounds(client, 20)
        before = await rounds(client, 5)
        # 3,200 jobs more; each leaves nothing behind. What is cached (names, channels) is there by now.
        assert await rounds(client, 50) - before < 1500


async def test_what_is_over_leaves_nothing_to_the_garbage_collector(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure that its handle keeps, and whose traceback keeps the handle, would stay for minutes, with its job."""
    caplog.set_level("CRITICAL", "jobwire.worker")  # a captured record keeps its traceback, and that the job
    worker = Worker(redis_url, max_concurrent_jobs=8, timeout=0.2)

    @worker.handler
    async def handle(job: Job) -> Any:
        if job.data["op"] == "fail":
            raise ValueError("meant to")
        if job.data["op"] == "sleep":
            await asyncio.sleep(0.5)
        return job.data["value"]

    async def outcome(client: Client, operation: str, **options: Any) -> str:
        handle = client.submit({"op": operation, "value": "x" * 1000}, **options)
        if operation == "cancel":
            asyncio.get_running_loop().call_soon(handle.cancel)
        try:
            await handle
        except JobError as error:
            return type(error).__name__
        return "result"

    def left() -> Counter[str]:
        kinds = (JobHandle, Pending, Submission, Job, Delivery, JobError, asyncio.Task, Success, Failure)
        return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, kinds))

    async with Client(redis_url, id="c") as client, worker:
        assert await within(outcome(client, "echo")) == "result"
        await asyncio.sleep(0.05)
        gc.collect()
        gc.disable()
        try:
            before = left()
            for operation, options, expected in (
                ("echo", {}, "result"),
                ("fail", {}, "JobFailed"),
                ("sleep", {}, "JobFailed"),
                ("sleep", {"timeout": 0.05}, "JobTimeout"),
                ("cancel", {}, "JobCancelled"),
            ):
                for _ in range(3):
                    assert await within(outcome(client, operation, **options)) == expected
                await until(lambda: not worker.running)
                await asyncio.sleep(0.05)
                assert left() - before == Counter(), operation
        finally:
            gc.enable()


async def test_a_submission_that_redis_has_is_not_kept_as_well(redis_url: str) -> None:
    async with Client(redis_url) as client:
        handle = client.submit({"value": "x" * 1000})
        assert handle._pending.submission is not None
        await within(handle.submitted())
        assert handle._pending.submission is None
        handle.cancel()
