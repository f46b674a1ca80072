"""Real Perl processes on one side of a crash, jobwire on the other."""

from __future__ import annotations

import time

import pytest
import redis

from tests.support.faces import Faces, entries, eventually, within
from tests.support.perl_peer import PerlPeer, missing
from tests.support.victims import FAST, Victims, recovery_at

WHY = missing("0.004")
pytestmark = [
    pytest.mark.perl,
    pytest.mark.skipif(WHY is not None, reason=f"LEFT OUT: {WHY}"),
]


async def test_what_a_killed_perl_worker_left_comes_back_by_age(faces: Faces, raw: redis.Redis, redis_url: str) -> None:
    async with await PerlPeer.start("client", redis=redis_url) as client:
        async with await PerlPeer.start("worker", redis=redis_url) as worker:
            job = client.submit({"op": "sleep", "seconds": 60, "value": "v"})
            await worker.taken(1)
            await eventually(lambda: raw.llen("jobs::processing") == 1)
            await worker.kill()
        async with recovery_at(redis_url) as recovery:
            assert await recovery.run() == []
            assert await recovery.shared(older_than=3600, dry_run=False) == []
            began = time.monotonic()
            await eventually(lambda: time.monotonic() - began > 0.3)
            (found,) = await recovery.shared(older_than=0.2, dry_run=False)
            assert found.outcome == "returned"
        await faces.worker(lambda job: job.data["value"], **FAST)
        assert await job.result(within=10) == "v"
        await eventually(lambda: raw.keys("job::*") == [])


async def test_a_perl_client_gets_its_result_though_two_workers_die_of_it(
    raw: redis.Redis, redis_url: str, victims: Victims
) -> None:
    async with await PerlPeer.start("client", redis=redis_url) as client:
        worker = await victims.worker("first")
        job = client.submit({"op": "sleep", "seconds": "60", "value": "v"})
        for number, heir in enumerate(("second", "third"), start=1):
            await eventually(lambda number=number: len(victims.runs()) == number)
            following = await victims.worker(heir)
            if heir == "third":
                raw.hset(f"job::{await job.job_id()}", "text_seconds", "0")
            await worker.kill()
            worker = following
        assert await job.result(within=10) == "v"
        assert [worker for _, worker in victims.runs()] == ["first", "second", "third"]
        await eventually(lambda: raw.keys("job::*") == [] and entries(raw, "jobs::pending") == [])
        assert await within(client.stop())
