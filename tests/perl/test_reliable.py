"""Jobwire::Reliable: stock Perl workers, loaded with it, that die and lose nothing. Real processes on both sides."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

import jobwire
from jobwire.testing.server import RedisServer
from jobwire.wire import Keyspace, scripts
from jobwire.wire import workers as fleet
from jobwire.wire.scripts import Script
from tests.support.perl_peer import PerlPeer, environment

FIXTURES = Path(__file__).resolve().parents[2] / "perl_fixtures"
STACKS = ("0.003", "0.004", "master", "0.004+nar5")
StartReliable = Callable[..., Coroutine[Any, Any, PerlPeer]]


def loaded(stack: str) -> dict[str, str]:
    """The environment that loads the module into whatever Perl runs, as ``perl -MJobwire::Reliable`` does."""
    path = os.pathsep.join([str(FIXTURES / "lib"), environment(stack).get("PERL5LIB", "")])
    return {"PERL5LIB": path, "PERL5OPT": "-MJobwire::Reliable", "JOBWIRE_PEER_LOG": "warn"}


@pytest.fixture
async def reliable(redis_url: str, require_perl: Callable[[str], None]) -> AsyncIterator[StartReliable]:
    started: list[PerlPeer] = []

    async def start(stack: str = "0.004", *, redis: str = redis_url, ttl: float = 30, **options: Any) -> PerlPeer:
        require_perl(stack)
        own = {"heartbeat_ttl": ttl, "job_poll_interval": 1, **options.pop("options", {})}
        peer = await PerlPeer.start("worker", redis=redis, dialect=stack, env=loaded(stack), options=own, **options)
        started.append(peer)
        return peer

    yield start
    for peer in started:
        await peer.kill()


async def until(condition: Callable[[], bool], *, within: float = 20) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it has not come to that"
        await asyncio.sleep(0.02)


def decoded(values: Any) -> list[str]:
    return [value.decode() for value in values]


@pytest.mark.parametrize("stack", STACKS)
async def test_jobs_of_perl_and_of_python(
    reliable: StartReliable, perl: Callable[..., Any], redis: redis_py.Redis, redis_url: str, stack: str
) -> None:
    worker = await reliable(stack, max_concurrent_jobs=4)
    dialect = stack.partition("+")[0]
    client = await perl("client", dialect=stack)
    results = await asyncio.gather(*(client.call({"op": "add", "first": n, "second": 1}) for n in range(100)))
    assert [str(result) for result in results] == [str(n + 1) for n in range(100)]
    async with jobwire.Client(redis_url, dialect=dialect, timeout=20) as python:
        assert await python.submit({"op": "json", "value": '{"list":[1,"two",null]}'}) == {"list": [1, "two", None]}
        handles = await python.submit_many({"op": "reverse", "value": f"job {n}"} for n in range(100))
        assert await asyncio.gather(*handles) == [f"job {n}"[::-1] for n in range(100)]
    await client.stop()
    assert (await worker.stop()).jobs == 201
    assert decoded(redis.keys("*")) == []


@pytest.mark.parametrize("stack", STACKS)
async def test_a_worker_that_is_killed_gives_its_jobs_back(
    reliable: StartReliable, redis: redis_py.Redis, redis_url: str, stack: str
) -> None:
    doomed = await reliable(stack, max_concurrent_jobs=3)
    async with jobwire.Client(redis_url, dialect=stack.partition("+")[0], timeout=60) as client:
        handles = await client.submit_many({"op": "sleep", "seconds": 30, "value": f"{n}", "n": n} for n in range(5))
        await doomed.taken(3)
        own = f"jobs::processing::{doomed.ready.worker_id}"
        await until(lambda: redis.llen(own) == 3)
        await doomed.kill()
        began = time.monotonic()
        worker = jobwire.Worker(redis_url, dialect=stack.partition("+")[0], max_concurrent_jobs=5)
        worker.handler(lambda job: job.data["value"])
        async with asyncio.TaskGroup() as group:
            running = group.create_task(worker.run())
            assert await asyncio.gather(*handles) == [f"{n}" for n in range(5)]
            # The process beside it said that it was killed; nobody waited for the time to live.
            assert time.monotonic() - began < 25
            running.cancel()
    assert redis.hgetall("jobs::attempts") == {} or set(redis.hvals("jobs::attempts")) == {b"1"}
    assert redis.llen(own) == 0


async def test_failures_free_the_slot_and_are_told(
    reliable: StartReliable, redis: redis_py.Redis, redis_url: str
) -> None:
    await reliable(max_concurrent_jobs=1, timeout=1)
    async with jobwire.Client(redis_url, timeout=30) as client:
        for op, text in (("fail", "sorry"), ("die", "ouch"), ("wide", "wide character"), ("object", "result: ")):
            with pytest.raises(jobwire.JobFailed, match=text):
                await client.submit({"op": op, "message": text})
        with pytest.raises(jobwire.JobFailed, match="not done within 1 s"):
            await client.submit({"op": "sleep", "seconds": 60})
        assert await client.submit({"op": "reverse", "value": "abc"}) == "cba"
    async with jobwire.Client(redis_url, timeout=2, accept="") as deaf:
        with pytest.raises(jobwire.JobTimeout):
            await deaf.submit({"op": "fail", "message": "nobody hears"}, id="unheard")
    assert decoded(redis.lrange("jobs::dead", 0, -1)) == ["unheard"]
    assert b"nobody hears" in (redis.hget("job::unheard", "_error") or b"")


async def test_a_result_is_not_written_for_a_job_that_was_given_away(
    reliable: StartReliable, redis: redis_py.Redis, redis_url: str
) -> None:
    worker = await reliable(max_concurrent_jobs=1)
    own = f"jobs::processing::{worker.ready.worker_id}"
    async with jobwire.Client(redis_url, timeout=30) as client:
        handle = client.submit({"op": "sleep", "seconds": 1, "value": "first"}, id="shared")
        await worker.taken(1)
        redis.lrem(own, 1, "shared")
        redis.hset("job::shared", "result", "Tsecond")
        await asyncio.sleep(1.5)
        assert redis.hget("job::shared", "result") == b"Tsecond"
        redis.publish(f"client::{client.id}", "shared")
        assert await handle == "second"
    assert "given to another worker" in worker.stderr


async def test_what_cannot_be_read_is_set_aside_and_told(
    reliable: StartReliable, redis: redis_py.Redis, redis_url: str
) -> None:
    await reliable()
    redis.hset("job::broken", mapping={"_reply_to": "somebody", "_accept": "E", "data": b"\x01\x02", "=srl": "x"})
    redis.lpush("jobs::pending", "gone", '{"data":{}}', "broken", "text")
    redis.set("job::text", "no hash")
    async with jobwire.Client(redis_url, timeout=30) as client:
        assert await client.submit({"op": "reverse", "value": "on"}) == "no"
    await until(lambda: redis.llen("jobs::processing") == 0 and len(redis.keys("jobs::processing::*")) == 0)
    aside = {json.loads(entry)["reason"][:40] for entry in redis.lrange("jobs::rejected", 0, -1)}
    assert any("envelope" in reason for reason in aside), aside
    assert any("WRONGTYPE" in reason for reason in aside), aside
    told = redis.hget("job::broken", "result") or b""
    assert told[:1] == b"E"
    assert json.loads(told[1:])["rejected"] is True


async def test_redis_goes_away_and_comes_back(reliable: StartReliable, tmp_path: Path) -> None:
    server = RedisServer(persistence=True) if "persistence" in RedisServer.__init__.__annotations__ else RedisServer()
    with server:
        worker = await reliable(redis=server.url, ttl=6, max_concurrent_jobs=2)
        async with jobwire.Client(server.url, timeout=60) as client:
            assert await client.submit({"op": "reverse", "value": "before"}) == "erofeb"
            with redis_py.Redis.from_url(server.url) as redis:
                slow = client.submit({"op": "sleep", "seconds": 2, "value": "slow"})
                await worker.taken(2)
                for _ in range(3):
                    redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                    await asyncio.sleep(0.4)
            assert await slow == "slow"
            assert await client.submit({"op": "reverse", "value": "after"}) == "retfa"


async def test_an_entry_that_no_connection_was_told_of_is_taken(
    reliable: StartReliable, redis: redis_py.Redis, redis_url: str
) -> None:
    worker = await reliable(ttl=3)
    async with jobwire.Client(redis_url, queue="elsewhere", timeout=30) as client:
        handle = client.submit({"op": "reverse", "value": "stuck"})
        await handle.submitted()
        # As if the answer to a pop had gone to a connection that was cut.
        redis.rpoplpush("jobs::elsewhere", f"jobs::processing::{worker.ready.worker_id}")
        assert await handle == "kcuts"
        assert "and not in hand: taken now" in worker.stderr


async def test_an_id_that_another_worker_holds(reliable: StartReliable, redis: redis_py.Redis, redis_url: str) -> None:
    first = await reliable(id="fixed", ttl=2)
    with pytest.raises(AssertionError, match="another worker has this ID"):
        await reliable(id="fixed", ttl=2)
    await first.stop()
    assert redis.keys("*") == []


async def test_a_successor_of_the_same_id_returns_what_was_left(
    reliable: StartReliable, redis: redis_py.Redis, redis_url: str
) -> None:
    first = await reliable(id="fixed", max_concurrent_jobs=2)
    async with jobwire.Client(redis_url, timeout=30) as client:
        handle = client.submit({"op": "sleep", "seconds": 1, "value": "done"})
        await first.taken(1)
        await until(lambda: redis.llen("jobs::processing::fixed") == 1)
        await first.kill()
        second = await reliable(id="fixed")
        assert await handle == "done"
        assert redis.llen("jobs::processing::fixed") == 0
        await second.stop()


async def test_a_stopped_process_counts_as_dead_and_its_late_result_is_refused(
    reliable: StartReliable, redis: redis_py.Redis, redis_url: str
) -> None:
    frozen = await reliable(ttl=2, max_concurrent_jobs=1)
    async with jobwire.Client(redis_url, timeout=60) as client:
        handle = client.submit({"op": "sleep", "seconds": 1, "value": "late"})
        await frozen.taken(1)
        frozen.process.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: not redis.exists(f"jobs::worker::{frozen.ready.worker_id}"))
            worker = jobwire.Worker(redis_url)
            worker.handler(lambda data: "in time")
            async with asyncio.TaskGroup() as group:
                running = group.create_task(worker.run())
                assert await handle == "in time"
                running.cancel()
        finally:
            frozen.process.send_signal(signal.SIGCONT)
        assert await client.submit({"op": "reverse", "value": "on"}) == "no"


async def test_the_scripts_are_those_of_the_python_side(require_perl: Callable[[str], None]) -> None:
    require_perl("0.004")
    program = "use Jobwire::Redis::Scripts qw(%SCRIPT); use JSON::PP; print encode_json(\\%SCRIPT)"
    process = await asyncio.create_subprocess_exec(
        "perl", "-e", program, env={**os.environ, **loaded("0.004"), "PERL5OPT": ""}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    known = {
        value.source.decode()
        for module in (scripts, fleet)
        for value in vars(module).values()
        if isinstance(value, Script)
    }
    texts = json.loads(output)
    assert len(texts) >= 9
    assert {name for name, text in texts.items() if text not in known} == set()
    assert Keyspace().own_list(b"x") == b"jobs::processing::x"


# -- mode recoverable


@pytest.mark.parametrize("queues", [["pending"], ["high", "pending"]], ids=["in a list", "by marks"])
async def test_jobs_of_a_killed_worker_of_recoverable_go_back(
    require_perl: Callable[[str], None], redis: redis_py.Redis, redis_url: str, queues: list[str]
) -> None:
    require_perl("0.004")
    dying = await PerlPeer.start(
        "worker", redis=redis_url, mode="recoverable", max_concurrent_jobs=4, queues=queues,
        options={"heartbeat_ttl": 30, "job_poll_interval": 1, "own_list": True},
    )  # fmt: skip
    try:
        async with jobwire.Client(redis_url, mode="recoverable", timeout=30) as client:
            handles = await client.submit_many({"op": "sleep", "seconds": "2", "value": f"{n}"} for n in range(4))
            marks = [f"job::{handle.id}" for handle in handles]
            await until(lambda: all(redis.hget(key, "_worker") for key in marks))
            assert {redis.hget(key, "_queue") for key in marks} == {b"jobs::pending"}
            dying.process.kill()
            worker = jobwire.Worker(
                redis_url,
                mode="recoverable",
                pending_queues=queues,
                max_concurrent_jobs=4,
                heartbeat=0.3,
                heartbeat_ttl=1.5,
            )
            worker.handler(lambda job: f"again {job.data['value']}")
            async with worker:
                assert await asyncio.gather(*handles) == [f"again {n}" for n in range(4)]
    finally:
        await dying.kill()


async def test_a_worker_of_recoverable_that_stops_leaves_nothing(
    require_perl: Callable[[str], None], redis: redis_py.Redis, redis_url: str
) -> None:
    require_perl("0.004")
    options = {"job_poll_interval": 1, "own_list": True}
    peer = await PerlPeer.start("worker", redis=redis_url, mode="recoverable", options=options)
    async with jobwire.Client(redis_url, mode="recoverable", timeout=20) as client:
        assert await client.submit({"op": "reverse", "value": "abc"}) == "cba"
        with pytest.raises(jobwire.JobFailed, match="no luck"):
            await client.submit({"op": "fail", "message": "no luck"})
    await peer.stop()
    assert decoded(redis.keys("*")) == []
