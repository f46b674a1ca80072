"""Handlers in processes: what they are given, how they end, and that they are killed in time."""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import Any

import pytest
import redis

from jobwire import ConfigError, JobFailed, Worker, sync
from tests.support import computing
from tests.support.faces import Faces, eventually, within


def in_process(faces: Faces, function: Any, **options: Any) -> Worker:
    worker = faces.unstarted(None, **options)
    worker.handler(in_process=True)(function)
    return worker


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


async def test_a_typed_handler_computes_elsewhere(faces: Faces) -> None:
    async with in_process(faces, computing.total):
        client = await faces.client()
        assert await within(client.submit({"upto": 1000})) == 499500


async def test_a_process_is_kept_and_knows_its_job(faces: Faces, way: dict[str, Any]) -> None:
    worker = in_process(faces, computing.where, **{**way, "max_concurrent_jobs": 1})
    async with worker:
        client = await faces.client(mode=way["mode"])
        answers = [await within(client.submit({})) for _ in range(3)]
    assert len({pid for pid, _, _ in answers}) == 1
    assert all(current == own for _, current, own in answers)
    pid = int(answers[0][0])
    assert pid != os.getpid()
    await eventually(lambda: not alive(pid))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise", "ValueError: wrong"),
        ("odd", "Odd: 5 reasons"),
        ("local", "Local: local"),
        ("exit", "SystemExit: 3"),
        ("stop", "StopIteration"),
        ("interrupt", "KeyboardInterrupt"),
        ("die", "ChildProcessError: .* with status 7"),
        ("kill", "ChildProcessError: .* by signal 9"),
        ("unsendable", "pickle"),
    ],
)
async def test_every_end_is_the_jobs_failure_and_the_worker_goes_on(faces: Faces, how: str, words: str) -> None:
    worker = in_process(faces, computing.ends_oddly, max_concurrent_jobs=1, send_tracebacks=True)
    async with worker:
        client = await faces.client()
        with pytest.raises(JobFailed, match=words) as caught:
            await within(client.submit({"how": how}))
        if how == "raise":
            assert "in ends_oddly" in str(caught.value.traceback)
        assert await within(client.submit({"how": "well"})) == "fine"


async def test_a_time_out_kills_the_process_and_frees_the_slot(faces: Faces) -> None:
    worker = in_process(faces, computing.ends_oddly, max_concurrent_jobs=1, timeout=0.3)
    async with worker:
        client = await faces.client()
        begun = time.monotonic()
        with pytest.raises(JobFailed, match=r"longer than 0.3 s"):
            await within(client.submit({"how": "long"}))
        assert await within(client.submit({"how": "well"})) == "fine"
        assert time.monotonic() - begun < 8


async def test_what_does_not_end_within_the_grace_is_killed_and_given_back(faces: Faces, raw: redis.Redis) -> None:
    worker = in_process(faces, computing.ends_oddly, max_concurrent_jobs=1)
    await worker.start()
    client = await faces.client()
    handle = client.submit({"how": "long"}, id="long")
    await eventually(multiprocessing.active_children)
    pids = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
    await worker.stop(0.1)
    await eventually(lambda: not any(map(alive, pids)))
    assert raw.lrange("jobs::pending", 0, -1) == [b"long"]
    handle.cancel()


def test_what_cannot_be_sent_is_refused(redis_url: str) -> None:
    with pytest.raises(ConfigError, match="is async"):
        Worker().handler(in_process=True)(computing.in_loop)
    worker = sync.Worker(redis_url)
    worker.route("local", in_process=True)(lambda job: None)
    with pytest.raises(ConfigError, match="cannot run in a process"):
        worker.start()
