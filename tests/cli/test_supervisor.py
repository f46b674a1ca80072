"""``jobwire worker --processes`` and ``--reload``: real processes, killed, replaced, and started again."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_py

from jobwire import sync
from tests.support.command import Process, Start, get

APPLICATION = """
import asyncio, os
import jobwire

worker = jobwire.Worker({url!r}, job_poll_interval=0.2, heartbeat=0.2, heartbeat_ttl=2.0)
named = jobwire.Worker({url!r}, id="mine")
named.handler(print)

@worker.handler
async def handle(job):
    await asyncio.sleep(float(job.data.get("seconds", 0)))
    return [os.getpid(), "first"]
"""


@pytest.fixture
def folder(tmp_path: Path, redis_url: str) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION.format(url=redis_url))
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    started: list[Process] = []

    def start(*arguments: str, **environment: str) -> Process:
        started.append(Process(folder, *arguments, **environment))
        return started[-1]

    yield start
    for process in started:
        process.popen.kill()  # its children notice
        process.popen.wait()
        until(lambda process=process: not any(map(alive, pids(process))))


def until(predicate: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end
        time.sleep(0.02)


def pids(process: Process) -> list[int]:
    return [int(pid) for pid in re.findall(r"process \d+ \((\d+)\) has begun", process.log)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def client(redis_url: str) -> Iterator[sync.Client]:
    with sync.Client(redis_url, timeout=30) as client:
        yield client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_processes_work_and_stop_in_order(
    start: Start, client: sync.Client, redis: redis_py.Redis, number: signal.Signals
) -> None:
    process = start("worker", "app:worker", "--processes", "2")
    process.has_logged("takes reliable jobs", times=2)
    assert redis.scard("jobs::workers") == 2
    handles = client.submit_many([{"seconds": "0.3"}] * 2)
    assert {handle.result()[0] for handle in handles} == set(pids(process))
    under_way = client.submit({"seconds": "1"})
    time.sleep(0.3)
    log = process.stops(number)
    assert under_way.result()[1] == "first"
    assert log.count("has stopped; jobs: ") == 2
    assert not any(map(alive, pids(process)))
    assert redis.scard("jobs::workers") == 0


def test_one_that_is_killed_is_started_again(start: Start, client: sync.Client) -> None:
    process = start("worker", "app:worker", "--processes", "2")
    process.has_logged("takes reliable jobs", times=2)
    os.kill(pids(process)[0], signal.SIGKILL)
    process.has_logged("takes reliable jobs", times=3)
    assert "ended with status -9; another one starts" in process.log
    assert client.submit({}).result()[1] == "first"
    process.stops()


def test_a_rolling_restart_loses_nothing(start: Start, client: sync.Client, folder: Path) -> None:
    process = start("worker", "app:worker", "--processes", "2")
    process.has_logged("takes reliable jobs", times=2)
    handles = client.submit_many([{"seconds": "0.05"}] * 20)
    text = (folder / "app.py").read_text()
    (folder / "app.py").write_text(text.replace('"first"', '"second version"'))
    process.popen.send_signal(signal.SIGHUP)
    while "the rolling restart is done" not in process.log:
        handles.append(client.submit({"seconds": "0.05"}))
        time.sleep(0.05)
        assert len(handles) < 1000
    assert len([handle.result() for handle in handles]) == len(handles)
    assert client.submit({}).result()[1] == "second version"
    old, new = pids(process)[:2], pids(process)[2:]
    assert len(new) == 2
    assert not any(map(alive, old))
    process.stops()


def test_a_rolling_restart_that_cannot_leaves_the_old_ones(start: Start, client: sync.Client, folder: Path) -> None:
    process = start("worker", "app:worker", "--processes", "2")
    process.has_logged("takes reliable jobs", times=2)
    (folder / "app.py").write_text("1 / 0\n")
    process.popen.send_signal(signal.SIGHUP)
    process.has_logged("the old ones stay")
    assert client.submit({}).result()[0] in pids(process)[:2]
    assert all(map(alive, pids(process)[:2]))
    process.stops()


def test_where_the_supervisor_is_killed_the_processes_stop(start: Start, redis: redis_py.Redis) -> None:
    process = start("worker", "app:worker", "--processes", "2")
    process.has_logged("takes reliable jobs", times=2)
    process.popen.kill()
    process.has_logged("has stopped; jobs: ", times=2)
    assert redis.scard("jobs::workers") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["app:nothing", "--processes", "2"], 2, "could not start"),
        (["app:named", "--processes", "2"], 2, r"leave it out"),
        (["app:worker", "--processes", "0"], 2, "at least 1"),
        (["broken:worker", "--processes", "2"], 1, "could not start"),
    ],
)
def test_what_cannot_start_ends_all(start: Start, folder: Path, arguments: list[str], code: int, words: str) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    assert words in start("worker", *arguments).ends(code)


def test_bursts_end_and_limits_renew(start: Start, client: sync.Client) -> None:
    handles = client.submit_many([{}] * 20)
    start("worker", "app:worker", "--processes", "2", "--burst").ends(0)
    assert all(handle.done() for handle in handles)
    process = start("worker", "app:worker", "--processes", "1", "--max-jobs", "2")
    assert len({client.submit({}).result()[0] for _ in range(6)}) == 3
    process.stops()


def test_each_process_has_a_port_of_its_own(start: Start, unused_tcp_port: int) -> None:
    process = start("worker", "app:worker", "--processes", "2", "--health", str(unused_tcp_port))
    process.has_logged("takes reliable jobs", times=2)
    answers = [json.loads(get(unused_tcp_port + number, "/ready")[1]) for number in range(2)]
    assert len({answer["workers"][0]["id"] for answer in answers}) == 2
    process.stops()


def test_reload(start: Start, client: sync.Client, folder: Path) -> None:
    process = start("worker", "app:worker", "--reload")
    assert client.submit({}).result()[1] == "first"
    text = (folder / "app.py").read_text()
    (folder / "app.py").write_text("this is no Python\n")
    process.has_logged("starts again when a file changes")
    (folder / "app.py").write_text(text.replace('"first"', '"third"'))
    assert client.submit({}).result()[1] == "third"
    process.stops()
