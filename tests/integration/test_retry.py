"""Retry, losses and slots: a job that fails waits without a slot, its failures are counted apart from lost workers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import pytest
import redis

import jobwire
from jobwire import Job, JobFailed
from jobwire.wire import Failure, Success
from jobwire.worker.retry import Bury, Complete, Decision, Requeue
from tests.support.faces import Faces, client_options, entries, eventually, nothing_left, within


def wrong(job: Job) -> str:
    if job.data.get("ok") == "1":
        return "fine"
    raise ValueError("wrong")


async def test_a_job_that_waits_for_its_retry_holds_no_slot(faces: Faces, kept_way: dict[str, Any]) -> None:
    await faces.worker(wrong, **kept_way, max_concurrent_jobs=1, on_failure="retry", retry_delay=60)
    client = await faces.client(**client_options(kept_way))
    client.submit({})
    for _ in range(3):
        assert await within(client.submit({"ok": "1"})) == "fine"


async def test_a_job_that_waits_is_not_counted_as_running(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    worker = await faces.worker(wrong, **kept_way, on_failure="retry", retry_delay=60)
    client = await faces.client(**client_options(kept_way))
    client.submit({}, id="a")
    await eventually(lambda: raw.hget("job::a", "_attempts") == b"1")
    assert worker.running == 0
    assert worker.counts == Counter()


async def test_failures_and_lost_workers_are_counted_apart(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    """Four failures and one lost worker are no five lost workers."""
    attempts = 0

    def work(job: Job) -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 5:
            raise ValueError("wrong")
        return "done"

    raw.hset("jobs::attempts", "a", 4)  # lost so many workers before
    await faces.worker(work, **kept_way, on_failure="retry", max_attempts=6, retry_delay=0.001, max_losses=5)
    client = await faces.client(**client_options(kept_way))
    assert await within(client.submit({}, id="a")) == "done"
    assert attempts == 5
    assert raw.llen("jobs::dead") == 0


@pytest.mark.parametrize("cut", ["jobwire-worker", "jobwire"])
async def test_a_lost_reply_breaks_no_count_of_attempts(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any], cut: str
) -> None:
    runs: list[int] = []

    async def work(job: Job) -> str:
        runs.append(job.attempts)
        # The connections go in the moment in which the failure is written down.
        asyncio.get_running_loop().call_soon(kill, raw, cut)
        raise ValueError("wrong")

    await faces.worker(work, **kept_way, on_failure="retry", max_attempts=3, retry_delay=0.02)
    client = await faces.client(**client_options(kept_way), accept="")
    client.submit({}, id="a")
    await eventually(lambda: entries(raw, "jobs::dead") == [b"a"])
    # A run whose failure never reached Redis is a lost worker's: it may be repeated, but the count never runs ahead.
    assert runs == sorted(runs)
    assert runs[-1] == 2
    assert set(runs) == {0, 1, 2}


def kill(raw: redis.Redis, name: str) -> None:
    for client in raw.client_list():
        if client["name"].startswith(name) and "notices" not in client["name"]:
            raw.client_kill_filter(_id=client["id"])


DECISIONS: dict[str, Decision] = {
    "complete": Complete(Success("instead")),
    "fail": Complete(Failure("Told", "in other words")),
    "bury": Bury(),
    "requeue": Requeue(0.0),
}


@pytest.mark.parametrize("name", DECISIONS)
async def test_a_function_decides(faces: Faces, raw: redis.Redis, kept_way: dict[str, Any], name: str) -> None:
    asked: list[tuple[int, str]] = []

    def decide(job: Job, failure: Failure) -> Decision:
        asked.append((job.attempts, failure.type))
        return DECISIONS[name] if len(asked) == 1 else Complete(Success("at last"))

    await faces.worker(wrong, **kept_way, on_failure=decide)
    client = await faces.client(**client_options(kept_way))
    handle = client.submit({}, id="a")
    if name == "bury":
        await eventually(lambda: entries(raw, "jobs::dead") == [b"a"])
        assert (raw.hget("job::a", "_error") or b"").partition(b"\n-- traceback\n")[0] == b"ValueError: wrong"
        handle.cancel()
    elif name == "fail":
        with pytest.raises(JobFailed, match="in other words"):
            await within(handle)
    else:
        assert await within(handle) == ("instead" if name == "complete" else "at last")
    assert asked == [(0, "ValueError"), (1, "ValueError")][: 2 if name == "requeue" else 1]


async def test_in_simple_a_failure_is_told_whatever_is_decided(faces: Faces) -> None:
    await faces.worker(wrong, mode="simple", on_failure=lambda job, failure: Bury())
    client = await faces.client(mode="simple")
    with pytest.raises(JobFailed, match="wrong"):
        await within(client.submit({}))


async def test_a_handler_that_is_cancelled_by_its_program_counts_as_a_loss_and_waits(
    faces: Faces, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch, kept_way: dict[str, Any]
) -> None:
    monkeypatch.setattr("jobwire.worker.executor._LOST_DELAY", 0.02)
    runs = 0

    async def work(job: Job) -> None:
        nonlocal runs
        runs += 1
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.sleep(100)

    worker = await faces.worker(work, **kept_way, max_losses=3)
    client = await faces.client(**client_options(kept_way), accept="")
    client.submit({}, id="a")
    await eventually(lambda: entries(raw, "jobs::dead") == [b"a"])
    assert runs == 3
    await eventually(lambda: worker.counts["lost"] == 3)
    assert b"lost its worker" in (raw.hget("job::a", "_error") or b"")


async def test_a_slot_is_free_when_its_thread_is(faces: Faces, caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()
    begun: list[str] = []

    def work(job: Job) -> str:
        begun.append(str(job.data["name"]))
        if job.data["name"] == "stuck":
            release.wait(20)
        return "done"

    await faces.worker(work, max_concurrent_jobs=1, timeout=0.2)
    client = await faces.client()
    with pytest.raises(JobFailed, match="took longer"):
        await within(client.submit({"name": "stuck"}))
    assert any("still runs in its thread" in line and "work" in line for line in caplog.messages)
    healthy = client.submit({"name": "healthy"})
    await asyncio.sleep(0.3)
    assert begun == ["stuck"], "there is no thread for it yet, so it is not taken"
    release.set()
    assert await within(healthy) == "done", "its own deadline began when it was called"


async def test_a_deadline_begins_with_the_call(faces: Faces) -> None:
    """With fewer threads than slots a job waits for a thread, and that is not the handler's time."""

    def work(job: Job) -> str:
        time.sleep(0.25)
        return "done"

    await faces.worker(work, max_concurrent_jobs=4, threads=1, timeout=0.6)
    client = await faces.client()
    assert await within(asyncio.gather(*(client.submit({}) for _ in range(4)))) == ["done"] * 4


async def test_a_handle_says_when_redis_has_the_job(faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]) -> None:
    client = await faces.client(**client_options(kept_way))
    handle = client.submit({}, id="a")
    assert not raw.exists("job::a")
    await within(handle.submitted())
    assert raw.exists("job::a")
    assert entries(raw, "jobs::pending") == [b"a"]
    await within(handle.submitted())
    handle.cancel()
    await eventually(lambda: nothing_left(raw))


async def test_a_job_that_redis_refuses_is_not_submitted(faces: Faces, raw: redis.Redis) -> None:
    raw.set("jobs::pending", "no list")
    client = await faces.client()
    handle = client.submit({})
    with pytest.raises(jobwire.ServerError, match="WRONGTYPE"):
        await within(handle.submitted())
