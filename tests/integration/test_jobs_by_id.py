"""Jobs by their IDs: submitted without waiting, their results kept, and found from any process."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import redis

from jobwire import ConfigError, Job, JobFailed, JobLost, JobTimeout, ResultDecodeError, sync
from tests.support.faces import Faces, eventually, within


class Sum(msgspec.Struct):
    total: int


async def work(job: Job) -> Any:
    if "seconds" in job.data:
        await asyncio.sleep(float(job.data["seconds"]))
    if "fail" in job.data:
        raise ValueError("wrong")
    return {"total": "5"}


async def test_enqueue_returns_when_redis_has_the_job(faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]) -> None:
    client = await faces.client(mode=kept_way["mode"])
    job_id = await within(client.enqueue({"a": 1}))
    assert raw.lrange("jobs::pending", 0, -1) == [job_id.encode()]
    assert client.outstanding == 0
    other = await faces.client(mode=kept_way["mode"])
    with pytest.raises(JobTimeout, match="it is queued"):
        await other.result(job_id)
    assert (await other.state(job_id)).place == "queued"
    await faces.worker(work, **kept_way)
    assert await within(other.result(job_id, timeout=8)) == {"total": "5"}
    assert await other.result(job_id, result_type=Sum) == Sum(5)
    with pytest.raises(ResultDecodeError):
        await other.result(job_id, result_type=int)
    assert (await client.state(job_id)).place == "processed"
    await eventually(lambda: 3_500_000 < raw.pttl(f"job::{job_id}") <= 3_600_000)


async def test_a_result_is_kept_for_as_long_as_was_said(faces: Faces, raw: redis.Redis) -> None:
    await faces.worker(work)
    client = await faces.client()
    handle = client.submit({}, keep=60)
    assert await within(handle) == {"total": "5"}
    await eventually(lambda: 50_000 < raw.pttl(f"job::{handle.id}") <= 60_000)
    other = await faces.client()
    assert await other.result(handle.id) == {"total": "5"}
    gone = await within(client.enqueue({}, keep=0))
    await eventually(lambda: not raw.exists(f"job::{gone}"))
    with pytest.raises(JobLost, match="no job"):
        await other.result(gone)


async def test_a_late_result_is_kept_too(faces: Faces, raw: redis.Redis) -> None:
    await faces.worker(work)
    client = await faces.client()
    handle = client.submit({"seconds": "0.5"}, keep=60, timeout=0.1)
    with pytest.raises(JobTimeout):
        await handle
    assert await within(client.result(handle.id, timeout=8)) == {"total": "5"}
    await asyncio.sleep(0)
    assert raw.exists(f"job::{handle.id}")


async def test_a_result_whose_worker_gave_it_no_end_gets_one(faces: Faces, raw: redis.Redis) -> None:
    raw.hset("job::x", mapping={"_reply_to": "c", "_keep": "60", "result": "Tfine"})
    raw.hset("job::y", mapping={"_reply_to": "c", "_keep": "odd", "result": "Tfine"})
    client = await faces.client()
    assert [await client.result(job_id) for job_id in ("x", "y")] == ["fine", "fine"]
    assert 50_000 < raw.pttl("job::x") <= 60_000
    assert raw.pttl("job::y") == -1


async def test_ends_without_a_result(faces: Faces, raw: redis.Redis) -> None:
    await faces.worker(work)
    client = await faces.client(accept="")
    told = await faces.client()
    failed = await told.enqueue({"fail": "1"})
    with pytest.raises(JobFailed, match="ValueError: wrong"):
        await within(told.result(failed, timeout=8))
    dead = await client.enqueue({"fail": "1"})
    await eventually(lambda: raw.lrange("jobs::dead", 0, -1) == [dead.encode()])
    with pytest.raises(JobFailed, match=r"Dead: ValueError: wrong$"):
        await client.result(dead)


async def test_simple_keeps_nothing(faces: Faces, raw: redis.Redis) -> None:
    client = await faces.client(mode="simple")
    assert isinstance(await client.enqueue({}), str)
    assert raw.llen("jobs::pending") == 1
    for call in (client.enqueue({}, keep=1), client.result("x")):
        with pytest.raises(ConfigError, match="keeps nothing"):
            await call


def test_the_blocking_face(redis_url: str) -> None:
    worker = sync.Worker(redis_url)
    worker.handler(work)
    with sync.Client(redis_url, timeout=8) as client, worker:
        job_id = client.enqueue({}, queue="pending")
        assert client.result(job_id, timeout=8, result_type=Sum) == Sum(5)


# -- aborting


async def test_a_job_that_runs_is_aborted_and_its_client_told(faces: Faces, kept_way: dict[str, Any]) -> None:
    cancelled: list[Any] = []

    async def long(job: Job) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(job.id)
            raise

    worker = await faces.worker(long, **kept_way)
    client = await faces.client(mode=kept_way["mode"], timeout=30)
    handle, other = client.submit({}), client.submit({})
    await eventually(lambda: worker.running == 2)
    stranger = await faces.client(mode=kept_way["mode"])
    assert await stranger.abort(handle.id) == "asked"
    with pytest.raises(JobFailed, match="Aborted: the job was aborted"):
        await within(handle)
    assert cancelled == [handle.id]
    await eventually(lambda: worker.running == 1)
    assert not other.done()
    other.cancel()


async def test_the_job_of_a_client_that_reads_no_failures_is_dead(faces: Faces, raw: redis.Redis) -> None:
    worker = await faces.worker(lambda job: asyncio.sleep(60))
    client = await faces.client(accept="")
    handle = client.submit({}, id="bad")
    await eventually(lambda: worker.running == 1)
    assert await client.abort("bad") == "asked"
    await eventually(lambda: raw.lrange("jobs::dead", 0, -1) == [b"bad"])
    assert (await client.state("bad")).error == "Aborted: the job was aborted while it ran"
    assert await client.abort("bad") == "ended"
    await eventually(lambda: not raw.exists("jobs::aborts"))
    handle.cancel()


async def test_a_job_that_waits_is_withdrawn(faces: Faces, raw: redis.Redis) -> None:
    client = await faces.client()
    job_id = await client.enqueue({})
    assert await client.abort(job_id) == "withdrawn"
    assert raw.keys("job::*") == raw.keys("jobs::*") == []
    assert await client.abort(job_id) == "ended"


async def test_where_nobody_may_look_jobs_are_done_all_the_same(faces: Faces, raw: redis.Redis) -> None:
    raw.set("jobs::aborts", "of another type")
    await faces.worker(work)
    client = await faces.client()
    assert await within(client.submit({"seconds": "1.5"})) == {"total": "5"}
