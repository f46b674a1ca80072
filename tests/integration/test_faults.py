"""Lost connections, restarted servers, workers that stop: nothing is lost, nothing is run twice without need."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import textwrap
import time
import warnings
from collections import Counter
from typing import Any

import pytest
import redis

from jobwire import Client, ConnectError, Job, Worker
from jobwire.testing.server import RedisServer
from tests.support.faces import (
    PATIENCE,
    Faces,
    client_options,
    entries,
    eventually,
    faces_for,
    kill,
    nothing_left,
    raw_client,
    until,
    within,
)


def in_lists(raw: redis.Redis) -> list[bytes]:
    """Every job that stands in some list, those to be taken first last."""
    keys = sorted(key for key in raw.keys("jobs::processing*"))
    return [entry for key in [*keys, b"jobs::pending"] for entry in entries(raw, key)]


# -- stopping


@pytest.mark.parametrize("interval", [0, 30])
async def test_an_idle_worker_stops_at_once(faces: Faces, way: dict[str, Any], interval: float) -> None:
    workers = [await faces.worker(**way, job_poll_interval=interval, max_concurrent_jobs=slots) for slots in (1, 64)]
    begun = time.monotonic()
    await asyncio.gather(*[worker.stop() for worker in workers])
    assert time.monotonic() - begun < 1.0


async def test_stop_and_stop_again(faces: Faces, way: dict[str, Any]) -> None:
    gate = asyncio.Event()

    async def work(job: Job) -> str:
        await gate.wait()
        return "done"

    worker = await faces.worker(work, **way)
    client = await faces.client(**client_options(way))
    handle = client.submit({})
    await until(lambda: worker.running == 1)
    stops = [asyncio.create_task(worker.stop()) for _ in range(3)]
    await asyncio.sleep(0.02)
    assert not any(stop.done() for stop in stops)
    gate.set()
    await within(asyncio.gather(*stops), 2)
    assert await within(handle) == "done"
    unstarted = faces.unstarted(work, **way)
    await unstarted.stop()
    await unstarted.stop()


async def test_a_busy_worker_loses_nothing_and_keeps_the_order(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    order: list[str] = []

    async def note(job: Job) -> None:
        order.append(str(job.id))
        await asyncio.sleep(0)

    client = await faces.client(**client_options(kept_way))
    names = [f"j{n:03}" for n in range(400)]
    handles = [client.submit({}, id=name) for name in names]
    await client.state(names[-1])
    for slots in (1, 7, 64, 64, 64):
        worker = await faces.worker(note, **kept_way, max_concurrent_jobs=slots)
        target = len(order) + 20
        await until(lambda target=target: len(order) >= target)
        await within(worker.stop(), 3)
        assert worker.running == 0
        left = [entry.decode() for entry in in_lists(raw)]
        assert left == names[len(order) :]
        assert sorted(order) == names[: len(order)]
    await faces.worker(note, **kept_way)
    await within(asyncio.gather(*handles))
    assert order == names
    await eventually(lambda: nothing_left(raw))


async def test_grace_that_is_exceeded(faces: Faces, raw: redis.Redis, way: dict[str, Any]) -> None:
    ended: list[str] = []

    async def work(job: Job) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(str(job.id))

    worker = await faces.worker(work, **way, max_concurrent_jobs=3)
    client = await faces.client(**client_options(way))
    handles = [client.submit({"n": n}, id=f"j{n}") for n in range(5)]
    await until(lambda: worker.running == 3)
    await within(worker.stop(grace=0.05), 2)
    assert sorted(ended) == ["j0", "j1", "j2"]
    assert worker.counts["returned"] >= 3
    left = entries(raw, "jobs::pending")
    assert len(left) == 5
    for number, entry in enumerate(left):
        assert b"j%d" % number in entry
    assert in_lists(raw) == left
    await faces.worker(lambda job: "done", **way)
    assert await within(asyncio.gather(*handles)) == ["done"] * 5


async def test_a_handler_that_swallows_its_cancellation_is_given_back_once(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    async def work(job: Job) -> str:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return "late"
        return "never"

    worker = await faces.worker(work, **kept_way)
    client = await faces.client(**client_options(kept_way))
    handle = client.submit({}, id="j")
    await until(lambda: worker.running == 1)
    await within(worker.stop(grace=0.02), 2)
    assert in_lists(raw) == [b"j"]
    assert raw.hget("job::j", "result") is None
    assert worker.counts["done"] == 0
    await faces.worker(lambda job: "done", **kept_way)
    assert await within(handle) == "done"


# The sockets of that loop are nobody's any more, which Python rightly remarks.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_worker_in_a_loop_that_ends_gives_its_jobs_back(
    redis_url: str, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    async def main() -> None:
        async with Client(redis_url, mode=kept_way["mode"], accept="") as client:
            worker = Worker(redis_url, **kept_way, heartbeat=0.1, heartbeat_ttl=1.0)
            begun = asyncio.Event()

            @worker.handler
            async def work(job: Job) -> None:
                begun.set()
                await asyncio.sleep(100)

            await worker.start()
            client.submit({}, id="j")
            await begun.wait()

    def gone() -> bool:
        gc.collect()
        return not [one for one in raw.client_list() if one["name"].startswith("jobwire")]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # whoever does not stop a worker leaves sockets behind
        await asyncio.to_thread(asyncio.run, main())
        await eventually(gone, every=0.05)  # its heartbeat ends, and nothing holds the worker any more
    assert raw.lrange("jobs::dead", 0, -1) == []
    assert raw.hget("job::j", "result") is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_end_run(redis_url: str, raw: redis.Redis, way: dict[str, Any], number: int) -> None:
    program = textwrap.dedent(
        f"""
        import asyncio, jobwire
        worker = jobwire.Worker({redis_url!r}, max_concurrent_jobs=2, job_poll_interval=30, **{way!r})
        @worker.handler
        async def work(job):
            print("begun", flush=True)
            await asyncio.sleep(0.3)
            return "done"
        asyncio.run(worker.run())
        print("ended", dict(worker.counts), flush=True)
        """
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with Client(redis_url, mode=way["mode"], timeout=PATIENCE) as client:
        handle = client.submit({})
        assert process.stdout is not None
        assert process.stderr is not None
        assert await within(process.stdout.readline()) == b"begun\n"
        process.send_signal(number)
        assert await within(handle) == "done"
        output = await within(process.stdout.read())
        assert output.startswith(b"ended {'done': 1")
        assert await within(process.wait()) == 0
        assert await process.stderr.read() == b""
    await eventually(lambda: nothing_left(raw))


# -- lost connections


@pytest.mark.parametrize(
    "victim", ["jobwire-worker", "jobwire-popping", "jobwire-client", "jobwire-notices", "jobwire"]
)
async def test_connections_that_are_killed(faces: Faces, raw: redis.Redis, way: dict[str, Any], victim: str) -> None:
    ran: Counter[str] = Counter()

    async def work(job: Job) -> str:
        ran[str(job.id)] += 1
        await asyncio.sleep(0.001)
        return "done"

    worker = await faces.worker(work, **way, max_concurrent_jobs=8)
    client = await faces.client(**client_options(way), timeout=2.0 if way["mode"] == "simple" else PATIENCE)
    handles = []
    for number in range(200):
        handles.append(client.submit({"n": number}, id=f"j{number}"))
        if number % 50 == 25:
            assert kill(raw, victim) >= 1
        await asyncio.sleep(0.001)
    answers = await within(asyncio.gather(*handles, return_exceptions=True), 20)
    lost = [answer for answer in answers if answer != "done"]
    popped_blind = way.get("processing_queue", "") == "processing" or way["mode"] != "reliable"
    if way["mode"] == "simple":
        assert max(ran.values()) == 1, "at most once"
    elif popped_blind and victim in ("jobwire-popping", "jobwire"):
        # What a pop brought to a connection that is gone: nobody's, until an operator says so.
        assert len(lost) <= 4 * 8
    else:
        assert lost == []
        assert sum(ran.values()) <= 200 + 4 * 8
    await eventually(lambda: worker.running == 0)
    if way.get("processing_queue", "") is None:
        await eventually(lambda: nothing_left(raw))


async def test_jobs_that_come_while_the_other_connection_is_renewed(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    client = await faces.client(**client_options(kept_way))
    await faces.worker(**kept_way, job_poll_interval=30)
    for turn in range(20):
        # The pop waits on a connection that is well; closing it in the midst of this would lose the job.
        kill(raw, "jobwire-worker")
        assert await within(client.submit({"text": f"x{turn}"})) == f"x{turn}"[::-1]


async def test_the_server_is_restarted(durable: RedisServer, kept_way: dict[str, Any]) -> None:
    ran: Counter[str] = Counter()

    async def work(job: Job) -> str:
        ran[str(job.id)] += 1
        await asyncio.sleep(0.002)
        return "done"

    states: list[str] = []
    async with faces_for(durable.url) as faces:
        await faces.worker(work, **kept_way, max_concurrent_jobs=8)
        client = await faces.client(
            **client_options(kept_way), timeout=20, on_state=lambda state, error: states.append(state)
        )
        handles = [client.submit({}, id=f"a{number}") for number in range(100)]
        await until(lambda: len(ran) >= 30)
        await asyncio.to_thread(durable.restart)
        handles += [client.submit({}, id=f"b{number}") for number in range(100)]
        own = kept_way.get("processing_queue", "") is None
        answers = await within(asyncio.gather(*handles, return_exceptions=not own), 20 if own else 25)
        # A list of its own keeps what was popped; elsewhere a pop's reply may have died with the server.
        assert len([answer for answer in answers if answer == "done"]) >= (200 if own else 192)
        assert sum(ran.values()) <= 200 + 8
        assert states[:3] == ["up", "down", "up"]
        if own:
            with raw_client(durable.url) as raw:
                await eventually(lambda: nothing_left(raw))


async def test_the_scripts_of_a_server_that_forgot_them(faces: Faces, raw: redis.Redis) -> None:
    await faces.worker(processing_queue=None)
    client = await faces.client()
    assert await client.submit({"text": "abc"}) == "cba"
    raw.script_flush()
    assert await within(client.submit({"text": "abc"})) == "cba"
    raw.script_flush()
    assert await within(asyncio.gather(*[client.submit({"text": "abc"}) for _ in range(50)])) == ["cba"] * 50


async def test_a_server_that_hangs_keeps_no_deadline(durable: RedisServer) -> None:
    async with faces_for(durable.url) as faces:
        client = await faces.client(mode="reliable")
        durable.pause()
        try:
            with pytest.raises(TimeoutError, match="Redis does not answer"):
                await within(client.submit({}, timeout=0.1), 4)
        finally:
            durable.resume()


async def test_a_worker_that_gives_up_says_so_and_cleans_up(kept_way: dict[str, Any]) -> None:
    with RedisServer() as server:
        states: list[str] = []
        worker = Worker(
            server.url,
            **kept_way,
            reconnect_delay=0.01,
            max_reconnects=2,
            on_state=lambda state, error: states.append(state),
        )
        begun, cancelled = asyncio.Event(), asyncio.Event()

        @worker.handler
        async def work(job: Job) -> None:
            begun.set()
            try:
                await asyncio.sleep(100)
            finally:
                cancelled.set()

        running = asyncio.create_task(worker.run())
        await until(lambda: states == ["up"])
        async with Client(server.url, mode=kept_way["mode"]) as client:
            client.submit({})
            await within(begun.wait())  # a job that is taken is not yet one that runs
        server.kill()
        with pytest.raises(ConnectError, match="cannot connect"):
            await within(running)
        assert states[-1] == "closed"
        await within(cancelled.wait())
