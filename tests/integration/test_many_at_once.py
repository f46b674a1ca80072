"""Very many at a time: what one job costs the server does not grow with the queues, nor with what was given up."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any

import pytest
import redis

from jobwire import Job, JobTimeout
from tests.support.faces import Faces, client_options, entries, eventually, within

DEEP = 3000


def calls(raw: redis.Redis) -> Counter[str]:
    return Counter({name.removeprefix("cmdstat_"): facts["calls"] for name, facts in raw.info("commandstats").items()})


async def reasons(handles: list[Any]) -> Counter[str]:
    """How the waits ended, numbers left out."""
    ends = await within(asyncio.gather(*handles, return_exceptions=True), 30)
    assert all(isinstance(end, JobTimeout) for end in ends), ends[:3]
    return Counter(re.sub(r"\d+", "N", str(end).split(" s: ", 1)[1]) for end in ends)


async def test_many_deadlines_at_once_share_their_looks(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    client = await faces.client(**client_options(kept_way), timeout=1.0)
    handles = await client.submit_many({"n": n} for n in range(DEEP))
    await within(handles[-1].submitted())
    raw.config_resetstat()
    found = await reasons(handles)
    shares = {why.split(";")[0] for why in found}
    assert shares == {
        "it is still in 'jobs::pending', N jobs ahead of it, N in the queue",
        (
            "it has not been begun, and is neither among the next nor among the last N of 'jobs::pending', "
            "which holds N: most likely it waits in between"
        ),
    }
    assert sum(count for why, count in found.items() if "still in" in why) == 1000
    asked = calls(raw)
    assert asked["lpos"] == 4 * DEEP
    assert asked["scard"] <= DEEP / 20, "for each look, not for each job"
    assert asked["hmget"] == DEEP
    assert asked["scan"] <= 20, "looked around once"


async def test_dead_jobs_are_told_from_others_where_many_time_out(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    def fail(job: Job) -> None:
        raise ValueError("no")

    await faces.worker(fail, **kept_way)
    client = await faces.client(**client_options(kept_way), accept="", timeout=1.5)
    handles = await client.submit_many({"n": n} for n in range(40))
    assert await reasons(handles) == {"it was set aside as dead: 'ValueError: no'": 40}


async def test_what_was_given_up_costs_an_idle_client_nothing_more(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobwire.client.outstanding._SWEEP_EVERY", 0.05)
    client = await faces.client(**client_options(kept_way), timeout=0.2)
    handles = await client.submit_many({"n": n} for n in range(2000))
    await reasons(handles)
    raw.config_resetstat()
    await asyncio.sleep(0.5)
    asked = calls(raw)
    assert asked["hmget"] <= 500, "a sweep looks for the late results of a few, in turn"


@pytest.mark.parametrize("deep", [False, True])
async def test_a_job_that_is_cancelled_is_not_run_wherever_it_waits(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any], deep: bool
) -> None:
    ran: list[Any] = []
    client = await faces.client(**client_options(kept_way))
    others = [client.submit({}, id=f"o{n}") for n in range(20)]
    handle = client.submit({}, id="unwanted")
    others += [client.submit({}, id=f"p{n}") for n in range(20)]
    await within(others[-1].submitted())
    if deep:  # in the middle of a long queue: between jobs whose hashes are gone
        raw.lpush("jobs::pending", *(f"left{n}" for n in range(1500)))
        raw.rpush("jobs::pending", *(f"right{n}" for n in range(1500)))
    raw.config_resetstat()
    assert handle.cancel()
    await eventually(lambda: calls(raw)["lpos"] >= 1)
    await eventually(lambda: (raw.hget("job::unwanted", "_expires") is not None) == deep)
    assert (b"unwanted" in entries(raw, "jobs::pending")) == deep
    worker = await faces.worker(lambda job: ran.append(job.id), **kept_way)
    await within(asyncio.gather(*others), 30)
    await eventually(lambda: not raw.keys("job::*"))
    assert sorted(ran) == sorted(other.id for other in others)
    assert worker.counts["expired"] == int(deep)
