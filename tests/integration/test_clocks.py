"""``_expires`` by the server's clock: machines whose clocks are two minutes apart agree."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import time
from typing import Any

import pytest
import redis

from jobwire import Job, JobFailed
from jobwire.wire.server_clock import ServerClock
from tests.support.faces import Faces, client_options, eventually, within

MINUTES = [120.0, -120.0]


async def another_machine(program: str, *words: str) -> asyncio.subprocess.Process:
    """A process whose clock is off by so many seconds."""
    head = """
        import asyncio, sys, time
        real, off = time.time, float(sys.argv[2])
        time.time = lambda: real() + off
        import jobwire
        url, mode = sys.argv[1], sys.argv[3]
    """
    source = textwrap.dedent(head) + textwrap.dedent(program)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", source, *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )


WORKER = """
    async def main():
        worker = jobwire.Worker(url, mode=mode)
        @worker.handler
        async def handler(job): return "done"
        async with worker:
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.read)
    asyncio.run(main())
"""
CLIENT = """
    async def main():
        async with jobwire.Client(url, mode=mode, id="away") as client:
            handles = [client.submit({"n": n}, expires_in=30.0 if n else 0.2) for n in range(2)]
            for handle in handles: await handle.submitted()
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.read)
    asyncio.run(main())
"""


@pytest.mark.parametrize("off", MINUTES)
async def test_a_worker_whose_clock_is_off_runs_fresh_jobs_alone(
    faces: Faces, redis_url: str, way: dict[str, Any], off: float
) -> None:
    client = await faces.client(**client_options(way))
    late, fresh = client.submit({"n": 0}, expires_in=0.05), client.submit({"n": 1}, expires_in=60.0)
    await within(fresh.submitted())
    await asyncio.sleep(0.1)
    process = await another_machine(WORKER, redis_url, str(off), way["mode"])
    try:
        with pytest.raises(JobFailed, match="_expires"):
            await within(late, 20)
        assert await within(fresh, 20) == "done"
    finally:
        await within(process.communicate(b""), 20)


@pytest.mark.parametrize("off", MINUTES)
async def test_a_client_whose_clock_is_off_says_when_by_the_servers(
    faces: Faces, raw: redis.Redis, redis_url: str, kept_way: dict[str, Any], off: float
) -> None:
    process = await another_machine(CLIENT, redis_url, str(off), kept_way["mode"])
    try:
        assert process.stdout is not None
        await within(process.stdout.readline(), 20)
        said = sorted(float(str(raw.hget(key, "_expires"), "ascii")) for key in raw.keys("job::*"))  # type: ignore[arg-type]
        assert time.time() < said[1] < time.time() + 30
        assert said[1] - said[0] == pytest.approx(29.8, abs=0.1)
        await asyncio.sleep(0.3)
        began = []

        async def handler(job: Job) -> str:
            began.append(str(job.data["n"]))
            return "done"

        worker = await faces.worker(handler, **kept_way)
        await eventually(lambda: worker.counts["done"] + worker.counts["expired"] == 2)
        assert began == ["1"]
    finally:
        await within(process.communicate(b""), 20)


async def test_only_jobs_that_expire_ask_for_the_time(faces: Faces, raw: redis.Redis, way: dict[str, Any]) -> None:
    def asked() -> int:
        stats: Any = raw.info("commandstats")
        return int(stats.get("cmdstat_time", {"calls": 0})["calls"])

    raw.config_resetstat()
    await faces.worker(**way)
    client = await faces.client(**client_options(way))
    assert await within(client.submit({"text": "abc"})) == "cba"
    before = asked()
    for _ in range(20):
        assert await within(client.submit({"text": "abc"}, expires_in=30)) == "cba"
    assert asked() - before <= 2


async def test_a_server_that_does_not_tell_the_time(faces: Faces, raw: redis.Redis, way: dict[str, Any]) -> None:
    raw.acl_setuser("timeless", enabled=True, nopass=True, keys="*", channels="*", commands=["+@all", "-time"])
    url = faces.url.replace("redis://", "redis://timeless:x@")
    try:
        other = Faces(url, faces._stack)
        await other.worker(**way)
        client = await other.client(**client_options(way))
        assert await within(client.submit({"text": "abc"}, expires_in=30)) == "cba"
    finally:
        raw.acl_deluser("timeless")


def test_the_clock_is_the_servers_within_half_a_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ServerClock()
    moment = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    monkeypatch.setattr(time, "time", lambda: 5.0)
    assert clock.due
    assert (clock.now(), clock.ahead) == (5.0, 0.0)
    clock.learn([b"1795434940", b"250000"], asked=999.0)
    assert not clock.due
    assert clock.now() == 1795434940.75
    moment[0] += 60
    assert clock.now() == 1795435000.75
    assert clock.ahead == 1795435000.75 - 5
    assert not clock.due
    moment[0] += 0.5
    assert clock.due
