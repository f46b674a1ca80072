"""Workers that die, stop, or compute: what they had in hand is done, once where they live, at least once where not."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter

import pytest
import redis

from jobwire import Job, JobTimeout
from tests.support.faces import Faces, entries, eventually, faces_for, nothing_left, until, within
from tests.support.victims import BEAT, BOUND, FAST, TTL, Victims, recovery_at


async def watch(faces: Faces, **options: object) -> None:
    """A live worker that has no part in the work: it looks after the others."""
    await faces.worker(id="watcher", pending_queues=["nothing"], **FAST, **options)


def popping(raw: redis.Redis) -> bool:
    return any("b" in connection["flags"] for connection in raw.client_list())


async def test_what_a_killed_worker_had_goes_back_in_order_within_the_bound(
    faces: Faces, raw: redis.Redis, victims: Victims
) -> None:
    victim = await victims.worker("victim", max_concurrent_jobs=3)
    client = await faces.client(timeout=20)
    handles = [client.submit({"op": "sleep", "seconds": 60 if n < 3 else 0, "value": n}, id=f"j{n}") for n in range(6)]
    await eventually(lambda: len(victims.runs()) == 3)
    await watch(faces)
    died = await victim.kill()
    await eventually(lambda: raw.llen("jobs::pending") == 6)
    took = time.monotonic() - died
    assert entries(raw, "jobs::pending") == [b"j%d" % n for n in range(6)]
    # A beat that was due when it died is missing; one that had just gone out makes the wait the longest.
    assert TTL - BEAT - 0.1 <= took <= BOUND + 0.5, took
    assert raw.hgetall("jobs::attempts") == {b"j0": b"1", b"j1": b"1", b"j2": b"1"}
    for n in range(3):
        raw.hset(f"job::j{n}", "text_seconds", "0")
    await faces.worker(lambda job: job.data["value"], **FAST)
    assert await within(asyncio.gather(*handles)) == [str(n) for n in range(6)]


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_no_job_is_lost_between_pop_and_mark(faces: Faces, raw: redis.Redis, victims: Victims, mode: str) -> None:
    """Killed at any moment under load: what a pop had taken, and nobody had marked, comes back as well."""
    client = await faces.client(timeout=60, mode=mode, max_outstanding=10_000)
    handles = await client.submit_many({"op": "echo", "value": n} for n in range(3000))
    for number in range(4):
        victim = await victims.worker(f"v{number}", mode=mode, max_concurrent_jobs=64)
        done = client.outstanding
        await eventually(lambda done=done: client.outstanding < done - 50)
        await victim.kill()
    await watch(faces, mode=mode)
    await victims.worker("last", mode=mode, max_concurrent_jobs=64)
    await within(asyncio.gather(*handles), 60)
    await eventually(lambda: not raw.keys("job::*"))


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_a_job_that_kills_its_workers_ends_among_the_dead_whole(
    faces: Faces, raw: redis.Redis, victims: Victims, mode: str
) -> None:
    await watch(faces, mode=mode, max_losses=3)
    client = await faces.client(timeout=30, mode=mode)
    handle = client.submit({"op": "exit", "value": "x" * 1000}, id="killer")
    before = raw.hgetall("job::killer")
    for number in range(3):
        victim = await victims.worker(f"v{number}", mode=mode, max_losses=3)
        await asyncio.wait_for(victim.process.wait(), 10)
    await eventually(lambda: entries(raw, "jobs::dead") == [b"killer"])
    assert [job for job, _ in victims.runs()] == ["killer"] * 3
    hash_ = raw.hgetall("job::killer")
    assert hash_[b"_error"] == b"lost its worker too often"
    assert {name: hash_[name] for name in before} == before
    assert raw.llen("jobs::pending") == 0
    assert raw.hlen("jobs::attempts") == 0
    handle.cancel()


async def test_a_worker_that_comes_back_under_its_name_counts_the_loss(
    faces: Faces, raw: redis.Redis, victims: Victims
) -> None:
    """The crash loop of one worker with a fixed ID: nobody else is there to count."""
    client = await faces.client(timeout=30)
    handle = client.submit({"op": "exit"}, id="killer")
    for _ in range(2):
        victim = await victims.worker("fixed", max_losses=2)
        await asyncio.wait_for(victim.process.wait(), 10)
        await asyncio.sleep(TTL)
    await victims.worker("fixed", max_losses=2)
    await eventually(lambda: entries(raw, "jobs::dead") == [b"killer"])
    assert len(victims.runs()) == 2
    handle.cancel()


async def test_a_recoverable_worker_that_comes_back_finds_its_marks(faces: Faces, victims: Victims) -> None:
    client = await faces.client(timeout=30, mode="recoverable")
    victim = await victims.worker("fixed", mode="recoverable")
    handle = client.submit({"op": "sleep", "seconds": 1, "value": "v"})
    await eventually(victims.runs)
    await victim.kill()
    await asyncio.sleep(TTL)
    await victims.worker("fixed", mode="recoverable")
    assert await within(handle) == "v"
    assert len(victims.runs()) == 2


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_a_killed_workers_jobs_are_done_by_another_and_reach_the_client_once(
    faces: Faces, raw: redis.Redis, victims: Victims, mode: str
) -> None:
    client = await faces.client(timeout=30, mode=mode)
    victim = await victims.worker("victim", mode=mode, max_concurrent_jobs=20)
    handles = [client.submit({"op": "sleep", "seconds": 0.4, "value": n}) for n in range(40)]
    await eventually(lambda: len(victims.runs()) >= 20)
    await victim.kill()
    await victims.worker("heir", mode=mode, max_concurrent_jobs=20)
    assert await within(asyncio.gather(*handles)) == [str(n) for n in range(40)]
    runs = Counter(job for job, _ in victims.runs())
    twice = {job for job, count in runs.items() if count > 1}
    begun = {job for job, worker in victims.runs() if worker == "victim"}
    assert len(runs) == 40
    assert twice <= begun
    await eventually(lambda: raw.keys("job::*") == [])


async def test_a_worker_stopped_for_longer_than_its_heartbeat_is_refused_and_says_so(
    faces: Faces, raw: redis.Redis, victims: Victims
) -> None:
    client = await faces.client(timeout=30)
    paused = await victims.worker("paused", max_concurrent_jobs=1)
    handle = client.submit({"op": "sleep", "seconds": 0.5, "value": "v"}, id="job")
    await eventually(victims.runs)
    paused.signal(signal.SIGSTOP)
    results: list[object] = []
    handle.add_done_callback(results.append)
    await victims.worker("heir")
    assert await within(handle) == "v"
    assert victims.runs() == [("job", "paused"), ("job", "heir")]
    await eventually(lambda: not raw.exists("job::job"))
    # It is there again, in the middle of a job that is another's: a new life of the ID, with no result, shows that
    # nothing is written.
    raw.hset("job::job", mapping={"_reply_to": "nobody", "text_value": "x"})
    paused.signal(signal.SIGCONT)
    await eventually(lambda: "was given to another worker meanwhile" in paused.log)
    assert raw.hgetall("job::job") == {b"_reply_to": b"nobody", b"text_value": b"x"}
    # By the next beat, which may come before or after the end of the job.
    await eventually(lambda: "its jobs may have been given to others" in paused.log)
    assert len(results) == 1
    # And it works on.
    assert await within(client.submit({"value": "again"})) == "again"
    await eventually(lambda: set(raw.smembers("jobs::workers")) == {b"paused", b"heir"})
    assert raw.hlen("jobs::gone") == 0


async def test_the_pops_of_a_stopped_worker_take_no_jobs(faces: Faces, raw: redis.Redis, victims: Victims) -> None:
    """They wait at the server, one after the other, for as long as nobody closes their connection."""
    paused = await victims.worker("paused", max_concurrent_jobs=16, job_poll_interval=10)
    await eventually(lambda: popping(raw))
    paused.signal(signal.SIGSTOP)
    await watch(faces)
    await eventually(lambda: raw.hexists("jobs::gone", "paused"))
    client = await faces.client(timeout=20)
    await faces.worker(lambda job: "done", **FAST)
    assert await within(asyncio.gather(*[client.submit({}) for _ in range(40)])) == ["done"] * 40
    assert victims.runs() == []
    paused.signal(signal.SIGCONT)
    await asyncio.sleep(0.2)
    await eventually(lambda: raw.exists("jobs::worker::paused"))
    assert paused.process.returncode is None


async def test_pops_that_may_not_be_closed_lose_nothing(
    faces: Faces, raw: redis.Redis, victims: Victims, redis_url: str
) -> None:
    """Where CLIENT KILL is forbidden, what a stopped worker's pops take is returned, long after its death."""
    raw.acl_setuser("fenced", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", "-@dangerous"])
    url = redis_url.replace("redis://", "redis://fenced:x@")
    try:
        paused = await victims.worker("paused", max_concurrent_jobs=1, job_poll_interval=30)
        await eventually(lambda: popping(raw))
        paused.signal(signal.SIGSTOP)
        async with faces_for(url) as fenced:
            await watch(fenced)
            await eventually(lambda: raw.hexists("jobs::gone", "paused"))
            raw.hset("job::late", mapping={"_reply_to": "c", "text_value": "v"})
            raw.lpush("jobs::pending", "late")
            await eventually(lambda: raw.hget("jobs::attempts", "late") == b"1")
            assert entries(raw, "jobs::pending") == [b"late"]
            await paused.kill()
    finally:
        raw.acl_deluser("fenced")


@pytest.mark.parametrize("operation", ["block", "spin"])
async def test_a_worker_that_computes_is_never_swept(
    faces: Faces, raw: redis.Redis, victims: Victims, operation: str
) -> None:
    await watch(faces)
    busy = await victims.worker("busy", max_concurrent_jobs=2)
    client = await faces.client(timeout=30)
    handles = [client.submit({"op": operation, "seconds": 1.25 * TTL}) for _ in range(2)]
    async with recovery_at(faces.url) as recovery:
        while not all(handle.done() for handle in handles):
            assert await recovery.run() == []
            await asyncio.sleep(0.05)
    assert await within(asyncio.gather(*handles)) == ["done"] * 2
    assert len(victims.runs()) == 2
    assert raw.hlen("jobs::attempts") == 0
    assert "given to" not in busy.log


async def test_threads_that_compute_are_never_swept(faces: Faces) -> None:
    def spin(job: Job) -> str:
        end = time.monotonic() + 1.5 * TTL
        while time.monotonic() < end:
            pass
        return "spun"

    worker = await faces.worker(spin, max_concurrent_jobs=3, threads=3, **FAST)
    client = await faces.client(timeout=20)
    handles = [client.submit({}) for _ in range(3)]
    async with recovery_at(faces.url) as recovery:
        while not all(handle.done() for handle in handles):
            assert await recovery.run() == []
            await asyncio.sleep(0.02)
    assert worker.counts["done"] == 3


async def test_a_job_given_away_that_comes_back_while_it_still_runs_is_not_lost(faces: Faces, raw: redis.Redis) -> None:
    """Its one entry is both the duplicate of what runs, and the only trace of the job."""
    gate = asyncio.Event()
    runs = 0

    async def work(job: Job) -> str:
        nonlocal runs
        runs += 1
        await gate.wait()
        return "done"

    worker = await faces.worker(work, id="w", **FAST)
    client = await faces.client()
    handle = client.submit({}, id="job")
    await until(lambda: runs == 1)
    assert raw.lmove("jobs::processing::w", "jobs::pending", "LEFT", "RIGHT") == b"job"
    await until(lambda: worker.counts["duplicate"] == 1)
    await eventually(lambda: entries(raw, "jobs::processing::w") == [b"job"])
    gate.set()
    assert await within(handle) == "done"
    assert runs == 1
    await eventually(lambda: nothing_left(raw))


async def test_an_entry_whose_pop_was_never_answered_goes_back(faces: Faces, raw: redis.Redis) -> None:
    worker = await faces.worker(lambda job: job.data["value"], id="w", **FAST)
    raw.hset("job::lost", mapping={"_reply_to": "c", "text_value": "v"})
    raw.lpush("jobs::processing::w", "lost")
    await eventually(lambda: raw.hget("job::lost", "result") == b"Tv")
    await until(lambda: worker.counts["done"] == 1)


async def test_shared_lists_and_simple_leave_no_sign_of_life(faces: Faces, raw: redis.Redis) -> None:
    await faces.worker(processing_queue="processing")
    await faces.worker(mode="simple")
    assert raw.keys("jobs::*") == []


async def test_without_any_worker_left_the_client_is_told_where_its_job_is(faces: Faces, victims: Victims) -> None:
    victim = await victims.worker("victim")
    client = await faces.client(timeout=1.0)
    handle = client.submit({"op": "sleep", "seconds": 60})
    await eventually(victims.runs)
    await victim.kill()
    with pytest.raises(JobTimeout):
        await within(handle)
