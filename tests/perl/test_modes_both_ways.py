"""The modes that Perl documents and never got, across languages: Perl's side from ``perl_fixtures/lib``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis as redis_py

import jobwire
from tests.perl.test_both_ways import nothing_left, python_worker

StartPerl = Callable[..., Awaitable[Any]]
QUEUES = ["urgent", "normal", "idle"]
MODES = ["simple", "recoverable"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("use_multi", [False, True], ids=["plain", "multi"])
async def test_a_thousand_jobs_in_three_queues_from_perl(
    perl: StartPerl, redis_url: str, redis: redis_py.Redis, mode: str, use_multi: bool
) -> None:
    async with python_worker(redis_url, mode=mode, pending_queues=QUEUES, use_multi=use_multi) as worker:
        client = await perl("client", mode=mode, use_multi=use_multi)
        jobs = [client.submit({"op": "add", "first": n, "second": 1}, queue=QUEUES[n % 3]) for n in range(1000)]
        assert [int(await job.result(within=60)) for job in jobs] == [n + 1 for n in range(1000)]
        await client.stop()
    assert worker.counts == {"done": 1000}
    nothing_left(redis)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("use_multi", [False, True], ids=["plain", "multi"])
async def test_a_thousand_jobs_in_three_queues_to_perl(
    perl: StartPerl, redis_url: str, redis: redis_py.Redis, mode: str, use_multi: bool
) -> None:
    worker = await perl(
        "worker", mode=mode, queues=QUEUES, max_concurrent_jobs=8, job_poll_interval=1, use_multi=use_multi
    )
    async with jobwire.Client(redis_url, mode=mode, use_multi=use_multi, timeout=60) as client:
        handles = [client.submit({"op": "add", "first": n, "second": 1}, queue=QUEUES[n % 3]) for n in range(1000)]
        assert [int(value) for value in await asyncio.gather(*handles)] == [n + 1 for n in range(1000)]
    await worker.stop()
    nothing_left(redis)


@pytest.mark.parametrize("mode", MODES)
async def test_python_takes_what_perl_submitted_by_priority(perl: StartPerl, redis_url: str, mode: str) -> None:
    client = await perl("client", mode=mode)
    jobs = [client.submit({"op": "echo", "value": queue}, queue=queue) for queue in reversed(QUEUES) for _ in range(3)]
    for job in jobs:
        await job.job_id()
    order: list[Any] = []
    async with python_worker(
        redis_url,
        mode=mode,
        pending_queues=QUEUES,
        max_concurrent_jobs=1,
        trace=lambda event: order.append(event.job_id) if event.event == "start" else None,
    ):
        for job in jobs:
            await job.result(within=30)
    by_id = {
        await job.job_id(): queue for job, queue in zip(jobs, [q for q in reversed(QUEUES) for _ in "123"], strict=True)
    }
    assert [by_id[job_id] for job_id in order] == [queue for queue in QUEUES for _ in range(3)]


@pytest.mark.parametrize("mode", MODES)
async def test_perl_takes_what_python_submitted_by_priority(perl: StartPerl, redis_url: str, mode: str) -> None:
    async with jobwire.Client(redis_url, mode=mode, timeout=60, route=lambda data: data["value"]) as client:
        pushed = asyncio.Event()
        client.on_queue_length(lambda _length: pushed.set())
        handles = [client.submit({"op": "echo", "value": queue}) for queue in reversed(QUEUES) for _ in range(3)]
        await pushed.wait()
        worker = await perl("worker", mode=mode, queues=QUEUES, max_concurrent_jobs=1, job_poll_interval=1)
        await asyncio.gather(*handles)
    assert [job.data["value"] for job in worker.jobs] == [queue for queue in QUEUES for _ in range(3)]


async def test_simple_failures_cross_both_ways(perl: StartPerl, redis_url: str) -> None:
    await perl("worker", mode="simple", queues=["to-perl"])
    async with jobwire.Client(redis_url, mode="simple", queue="to-perl", timeout=30) as client:
        with pytest.raises(jobwire.JobFailed, match="no luck"):
            await client.submit({"op": "fail", "message": "no luck"})
    async with python_worker(redis_url, mode="simple", pending_queues=["to-python"]):
        perl_client = await perl("client", mode="simple", queue="to-python")
        with pytest.raises(Exception, match="no luck"):
            await perl_client.call({"op": "fail", "message": "no luck"})


async def test_simple_values_cross_both_ways(perl: StartPerl, redis_url: str) -> None:
    values = ["", "é ☺", [1, 2.5, None, True, {"k": ["v"]}], {"deep": [[[["x"]]]]}, 2**53, None]
    await perl("worker", mode="simple", queues=["to-perl"])
    async with jobwire.Client(redis_url, mode="simple", queue="to-perl", timeout=30) as client:
        for value in values:
            assert await client.submit({"op": "echo", "value": value}) == value
    async with python_worker(redis_url, mode="simple", pending_queues=["to-python"]):
        perl_client = await perl("client", mode="simple", queue="to-python")
        for value in values[:-2]:
            assert await perl_client.call({"op": "echo", "value": value}) == value


async def test_recoverable_python_workers_are_fed_by_perls_own_client(
    perl: StartPerl, redis_url: str, redis: redis_py.Redis
) -> None:
    """A stock 0.004 client knows nothing of the mode: its submissions are the same bytes."""
    async with python_worker(redis_url, mode="recoverable") as worker:
        client = await perl("client")
        jobs = [client.submit({"op": "add", "first": n, "second": 1}) for n in range(100)]
        assert [await job.result(within=30) for job in jobs] == [str(n + 1) for n in range(100)]
        await client.stop()
    assert worker.counts == {"done": 100}
    nothing_left(redis)


async def test_perls_own_worker_serves_recoverable_python_clients(
    perl: StartPerl, redis_url: str, redis: redis_py.Redis
) -> None:
    worker = await perl("worker", max_concurrent_jobs=4, job_poll_interval=1)
    async with jobwire.Client(redis_url, mode="recoverable", timeout=30) as client:
        handles = await client.submit_many({"op": "add", "first": n, "second": 1} for n in range(100))
        assert await asyncio.gather(*handles) == [str(n + 1) for n in range(100)]
    await worker.stop()
    nothing_left(redis)


async def test_a_mismatch_of_modes_is_said_and_nothing_is_lost(
    perl: StartPerl, redis_url: str, redis: redis_py.Redis
) -> None:
    client = await perl("client", mode="simple")
    client.submit({"op": "echo", "value": "x"})
    rejected = asyncio.Event()
    async with python_worker(
        redis_url, mode="reliable", trace=lambda event: rejected.set() if event.event == "reject" else None
    ):
        await asyncio.wait_for(rejected.wait(), 30)
    (record,) = redis.lrange("jobs::rejected", 0, -1)
    assert b"a client of mode 'simple'" in record
    assert redis.llen("jobs::pending") == 0
