"""What a worker shows to Prometheus."""

from __future__ import annotations

import pytest
import redis as redis_py
from prometheus_client import CollectorRegistry, generate_latest

import jobwire
from jobwire import sync
from jobwire.metrics import observe_worker
from tests.support.faces import eventually


async def fails(job: jobwire.Job) -> str:
    if "fail" in job.data:
        raise ValueError("wrong")
    return "fine"


async def test_jobs_are_counted_and_timed(redis_url: str) -> None:
    registry = CollectorRegistry()
    workers = [jobwire.Worker(redis_url, max_concurrent_jobs=2) for _ in range(2)]
    for worker in workers:
        worker.handler(fails)
        for _ in range(2):  # twice does no harm
            observe_worker(worker, registry=registry)
    labels = {"prefix": "jobs", "mode": "reliable"}
    value = registry.get_sample_value
    assert value("jobwire_workers", labels) == 2
    assert value("jobwire_workers_ready", labels) == 0
    async with jobwire.Client(redis_url, timeout=8) as client, workers[0], workers[1]:
        assert value("jobwire_workers_ready", labels) == 2
        assert value("jobwire_worker_slots", labels) == 4
        assert [await handle for handle in await client.submit_many([{}] * 5)] == ["fine"] * 5
        with pytest.raises(jobwire.JobFailed):
            await client.submit({"fail": "1"})
        await eventually(lambda: value("jobwire_jobs_total", {**labels, "outcome": "failed"}) == 1)
        assert value("jobwire_worker_running_jobs", labels) == 0
    assert value("jobwire_jobs_total", {**labels, "outcome": "done"}) == 5
    queue = {"prefix": "jobs", "queue": "pending"}
    assert value("jobwire_job_seconds_count", {**queue, "outcome": "done"}) == 5
    assert value("jobwire_job_seconds_count", {**queue, "outcome": "failed"}) == 1
    assert value("jobwire_job_wait_seconds_count", queue) == 6
    assert value("jobwire_workers_ready", labels) == 0
    assert b"jobwire_jobs_total" in generate_latest(registry)


def test_the_blocking_face_and_a_prefix_in_bytes() -> None:
    registry = CollectorRegistry()
    worker = sync.Worker(prefix=b"\xff", mode="simple")
    observe_worker(worker, registry=registry)
    assert registry.get_sample_value("jobwire_workers", {"prefix": "\\xff", "mode": "simple"}) == 1


async def test_health_follows_the_worker(redis_url: str) -> None:
    worker = jobwire.Worker(redis_url, pending_queues=["high"], job_poll_interval=0.1)
    worker.handler(fails)
    before = worker.health
    assert (before.connected, before.taking, before.ready, before.queues) == (False, False, False, ("high",))
    async with worker:
        during = worker.health
        assert (during.connected, during.taking, during.ready, during.stopping) == (True, True, True, False)
        assert during.beat is not None
        assert 0 <= during.beat < during.beat_ttl
    after = worker.health
    assert (after.connected, after.ready, after.stopping) == (False, False, True)


async def test_a_worker_whose_pops_are_refused_is_not_ready(redis_url: str) -> None:
    worker = jobwire.Worker(redis_url, processing_queue="processing", job_poll_interval=0.1)
    worker.handler(fails)
    with redis_py.Redis.from_url(redis_url) as raw:
        async with worker:
            assert worker.health.ready
            assert worker.health.beat is None
            raw.set("jobs::pending", "no list")
            await eventually(lambda: not worker.health.ready)
            assert worker.health.connected
