"""How workers end: signals in every order, several workers of one process, and threads that do not return."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jobwire import Job, Worker, sync
from jobwire.testing.server import RedisServer
from jobwire.worker import signals
from tests.support.faces import Faces, entries, eventually, within

SETTING = """
import asyncio, contextlib, logging, os, signal, sys, threading, time
import jobwire, jobwire.sync

URL, FOLDER = sys.argv[1:3]
logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")

def say(words):
    with open(FOLDER + "/said", "a") as file:
        file.write(words + "\\n")

async def busy(job):
    say("begin " + job.data["seconds"])
    await asyncio.sleep(float(job.data["seconds"]))
    say("end " + job.data["seconds"])
    return "done"

def worker(kind=jobwire.Worker, handler=busy, **options):
    made = kind(URL, **{"max_concurrent_jobs": 2, "job_poll_interval": 0.2, **options})
    made.handler(handler)
    return made
"""


class Program:
    """A program in a process of its own, with all that it says."""

    def __init__(self, text: str, url: str, folder: Path) -> None:
        self._folder = folder
        (folder / "program.py").write_text(SETTING + text)
        with (folder / "log").open("wb") as log:
            command = [sys.executable, str(folder / "program.py"), url, str(folder)]
            self.process = subprocess.Popen(command, stderr=log)

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    @property
    def said(self) -> list[str]:
        file = self._folder / "said"
        return file.read_text().splitlines() if file.exists() else []

    def has_said(self, *words: str) -> None:
        wait_until(lambda: set(words) <= set(self.said), lambda: f"{words} in {self.said}; {self.log}")

    def has_logged(self, words: str) -> None:
        wait_until(lambda: words in self.log, lambda: f"{words!r} in {self.log}")

    def ends(self, within: float = 15) -> int:
        return self.process.wait(within)


def wait_until(predicate: Callable[[], Any], what: Callable[[], str], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, f"did not come about: {what()}"
        time.sleep(0.02)


Run = Callable[[str], Program]


@pytest.fixture
def run(redis_url: str, tmp_path: Path) -> Iterator[Run]:
    made: list[Program] = []

    def run(text: str) -> Program:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Program(text, redis_url, folder))
        return made[-1]

    yield run
    for program in made:
        program.process.kill()
        program.process.wait()


@pytest.fixture
def client(redis_url: str) -> Iterator[sync.Client]:
    with sync.Client(redis_url, timeout=30) as made:
        yield made


TERM, INT = signal.SIGTERM, signal.SIGINT
FACES = {"asynchronous": "asyncio.run(worker().run(grace=20))", "blocking": "worker(jobwire.sync.Worker).run(grace=20)"}


# -- signals


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("numbers", [(TERM,), (INT,), (TERM, TERM, TERM), (INT, TERM), (TERM, INT)], ids=str)
def test_further_signals_are_no_news(
    run: Run, client: sync.Client, raw: redis.Redis, face: str, numbers: tuple[signal.Signals, ...]
) -> None:
    program = run(FACES[face])
    job = client.submit({"seconds": "1.5"})
    program.has_said("begin 1.5")
    for number in numbers:
        program.process.send_signal(number)
        time.sleep(0.25)
    assert program.ends() == 0
    assert job.result() == "done"
    assert program.said == ["begin 1.5", "end 1.5"]
    assert not raw.exists("jobs::attempts", "jobs::workers")


def test_the_log_says_when_a_worker_begins_why_it_stops_and_how_it_ended(run: Run, client: sync.Client) -> None:
    program = run('asyncio.run(worker(id="w").run(grace=7))')
    assert client.submit({"seconds": "0"}).result() == "done"
    jobs = [client.submit({"seconds": "1"}) for _ in range(2)]
    wait_until(lambda: program.said.count("begin 1") == 2, lambda: str(program.said))
    program.process.terminate()
    assert program.ends() == 0
    assert [job.result() for job in jobs] == ["done", "done"]
    lines = [line.removeprefix("jobwire.worker: ") for line in program.log.splitlines()]
    assert lines[0].startswith("worker w takes reliable jobs from jobs::pending")
    assert lines[1:] == [
        "worker w is stopping: SIGTERM, 2 jobs running, up to 7 s",
        "worker w has stopped; jobs: 3 done",
    ]


def test_two_interrupts_of_one_keystroke_are_one(run: Run, client: sync.Client) -> None:
    """The terminal tells a process, and its parent passes on what the terminal told it."""
    program = run(FACES["asynchronous"])
    job = client.submit({"seconds": "1"})
    program.has_said("begin 1")
    program.process.send_signal(INT)
    time.sleep(0.02)
    program.process.send_signal(INT)
    assert program.ends() == 0
    assert job.result() == "done"


@pytest.mark.parametrize("face", FACES)
def test_a_second_interrupt_gives_the_jobs_back_at_once(
    run: Run, client: sync.Client, raw: redis.Redis, face: str
) -> None:
    program = run(FACES[face])
    job = client.submit({"seconds": "60"})
    program.has_said("begin 60")
    program.process.send_signal(INT)
    program.has_logged("is stopping: SIGINT")
    time.sleep(0.3)
    program.process.send_signal(INT)
    assert program.ends(5) == 0
    assert entries(raw, "jobs::pending") == [str(job.id).encode()]
    assert not raw.exists("jobs::attempts", "jobs::workers")
    assert "SIGINT once more" in program.log


PAIR = """
async def main():
    await asyncio.gather(worker(id="a", pending_queues=["one"]).run(), worker(id="b", pending_queues=["two"]).run())
    say("both have ended")

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [TERM, INT])
def test_one_signal_stops_all_workers_of_a_loop_and_the_last_keeps_listening(
    run: Run, client: sync.Client, number: signal.Signals
) -> None:
    program = run(PAIR)
    short, long = client.submit({"seconds": "0.2"}, queue="one"), client.submit({"seconds": "1.5"}, queue="two")
    program.has_said("begin 0.2", "begin 1.5")
    program.process.send_signal(number)
    program.has_logged("worker a has stopped")
    program.process.send_signal(TERM)  # to one of them alone
    assert program.ends() == 0
    assert [short.result(), long.result()] == ["done", "done"]
    assert program.said[-1] == "both have ended"
    assert program.log.count(f"is stopping: {number.name}") == 2


BEFORE_AND_AFTER = """
def mine(number, frame):
    say("mine")

signal.signal(signal.SIGTERM, mine)

async def main():
    await worker(id="w").run()
    os.kill(os.getpid(), signal.SIGTERM)
    say("after")

asyncio.run(main())
"""


def test_the_program_s_own_handler_is_back_when_the_worker_has_stopped(run: Run) -> None:
    program = run(BEFORE_AND_AFTER)
    program.has_logged("worker w takes")
    program.process.terminate()
    assert program.ends() == 0
    assert program.said == ["mine", "after"]


async def test_nothing_is_left_of_a_loop_whose_workers_have_stopped(faces: Faces) -> None:
    before = signal.getsignal(TERM), signal.getsignal(INT)
    workers = [faces.unstarted() for _ in range(3)]
    running = [asyncio.ensure_future(worker.run()) for worker in workers]
    await eventually(lambda: signal.getsignal(TERM) != before[0])
    for worker in workers:
        await eventually(lambda worker=worker: worker._state == "up")
        await worker.stop()
    await within(asyncio.gather(*running))
    assert (signal.getsignal(TERM), signal.getsignal(INT)) == before
    assert not signals._by_loop
    assert not signals._handled


def test_a_signal_while_the_worker_waits_for_its_id_ends_it(run: Run, raw: redis.Redis) -> None:
    raw.set("jobs::worker::w", "another's nonce", ex=30)
    program = run('asyncio.run(worker(id="w").run())')
    program.has_logged("waiting up to 30 s")
    program.process.terminate()
    assert program.ends(5) == 0
    assert raw.get("jobs::worker::w") == b"another's nonce"
    assert raw.keys("*") == [b"jobs::worker::w"]
    assert "SIGTERM came before it had its ID" in program.log


# -- threads that do not return

HANGING = """
async def hang(job):
    say("begin")
    await asyncio.to_thread(time.sleep, 60)
"""


def test_the_blocking_face_does_not_wait_for_to_thread(run: Run, client: sync.Client, raw: redis.Redis) -> None:
    program = run(HANGING + "worker(jobwire.sync.Worker, hang).run(grace=0.5)\nsay('after run')\n")
    job = client.submit({})
    program.has_said("begin")
    began = time.monotonic()
    program.process.terminate()
    assert program.ends(10) == 0
    assert time.monotonic() - began < 6
    assert program.said == ["begin", "after run"]
    assert entries(raw, "jobs::pending") == [str(job.id).encode()]


def test_stop_of_the_blocking_face_does_not_wait_for_to_thread(redis_url: str, client: sync.Client) -> None:
    begun, release = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        release.wait(60)

    async def handle(job: Job) -> None:
        await asyncio.to_thread(hang)

    worker = sync.Worker(redis_url, job_poll_interval=0.2)
    worker.handler(handle)
    worker.start()
    client.submit({})
    assert begun.wait(10)
    began = time.monotonic()
    worker.stop(grace=0.2)
    assert time.monotonic() - began < 5
    release.set()


async def test_a_worker_stops_though_handlers_have_all_threads_of_the_loop(faces: Faces, raw: redis.Redis) -> None:
    release = threading.Event()
    count = min(32, (os.cpu_count() or 1) + 4)
    begun: list[int] = []

    def hang() -> None:
        begun.append(1)
        release.wait(60)

    async def handle(job: Job) -> None:
        await asyncio.to_thread(hang)

    try:
        worker = await faces.worker(handle, max_concurrent_jobs=count)
        for n in range(count):
            raw.hset(f"job::{n}", "text_x", "y")
        raw.lpush("jobs::pending", *map(str, range(count)))
        await eventually(lambda: len(begun) == count)
        await within(worker.stop(grace=0.1))
        assert len(entries(raw, "jobs::pending")) == count
        assert not raw.exists("jobs::workers")
    finally:
        release.set()


@pytest.mark.parametrize("way", [{}, {"processing_queue": "processing"}, {"mode": "recoverable"}], ids=str)
async def test_no_more_jobs_are_taken_than_there_are_threads(
    faces: Faces, raw: redis.Redis, way: dict[str, Any]
) -> None:
    release = threading.Event()
    running: list[Any] = []

    def hold(job: Job) -> None:
        running.append(job.id)
        release.wait(60)

    worker = await faces.worker(hold, max_concurrent_jobs=6, threads=2, **way)
    for n in range(6):
        raw.hset(f"job::{n}", "text_x", "y")
    raw.lpush("jobs::pending", *map(str, range(6)))
    try:
        await eventually(lambda: len(running) == 2)
        await asyncio.sleep(0.3)
        assert (worker.running, len(running), raw.llen("jobs::pending")) == (2, 2, 4)
    finally:
        release.set()
    await eventually(lambda: worker.counts["done"] == 6)


async def test_handlers_that_need_no_thread_have_all_slots(faces: Faces, raw: redis.Redis) -> None:
    release = asyncio.Event()

    async def hold(job: Job) -> None:
        await release.wait()

    worker: Worker = faces.unstarted(hold, max_concurrent_jobs=6, threads=2)
    worker.route("plain")(lambda job: None)
    await worker.start()
    for n in range(6):
        raw.hset(f"job::{n}", "text_x", "y")
    raw.lpush("jobs::pending", *map(str, range(6)))
    with contextlib.suppress(TimeoutError):
        await eventually(lambda: worker.running == 6)
    assert worker.running == 6
    release.set()
    await worker.stop()


# -- what ``jobwire worker`` adds

COMMAND = "import sys; from jobwire.cli import main; sys.exit(main())"
APPLICATION = SETTING.replace("sys.argv[1:3]", 'os.environ["URL"], os.environ["FOLDER"]').replace(
    "logging.basicConfig", "# "
)


@pytest.fixture
def command(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """``jobwire worker`` for an application of this text."""
    made: list[subprocess.Popen[bytes]] = []

    class Command(Program):
        def __init__(self, text: str, *options: str, url: str = redis_url, target: str = "application:made") -> None:
            self._folder = tmp_path
            (tmp_path / "application.py").write_text(APPLICATION + text)
            with (tmp_path / "log").open("wb") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", COMMAND, "worker", target, *options],
                    cwd=tmp_path,
                    env={**os.environ, "URL": url, "FOLDER": str(tmp_path)},
                    stderr=log,
                )
            made.append(self.process)

    yield Command
    for process in made:
        process.kill()
        process.wait()


HOLDS = {
    "to_thread": "await asyncio.to_thread(time.sleep, 60)",
    "a pool of its own": "await asyncio.get_running_loop().run_in_executor(POOL, time.sleep, 60)",
    "a thread": "threading.Thread(target=time.sleep, args=(60,)).start(); await asyncio.sleep(60)",
    "a lock of the log": "await asyncio.get_running_loop().run_in_executor(POOL, hold_the_log)",
}
HOLDING = """
from concurrent.futures import ThreadPoolExecutor

POOL = ThreadPoolExecutor()

def hold_the_log():
    while "has stopped" not in open(FOLDER + "/log").read():
        time.sleep(0.02)
    with logging.getLogger().handlers[0].lock:
        time.sleep(60)

async def hang(job):
    say("begin")
    {}

made = worker(handler=hang, **{})
"""


@pytest.mark.parametrize("hold", [name for name in HOLDS if name != "a lock of the log"])
def test_the_process_ends_after_the_grace_whatever_holds_it(
    command: Callable[..., Program], client: sync.Client, raw: redis.Redis, hold: str
) -> None:
    program = command(HOLDING.format(HOLDS[hold], {}), "--grace", "0.5")
    job = client.submit({})
    program.has_said("begin")
    began = time.monotonic()
    program.process.terminate()
    assert program.ends(10) == 0
    assert time.monotonic() - began < 7
    assert entries(raw, "jobs::pending") == [str(job.id).encode()]
    assert ("it ends for good" in program.log) == (hold != "to_thread")


def test_threads_have_no_more_time_where_jobs_went_back(
    command: Callable[..., Program], client: sync.Client, raw: redis.Redis
) -> None:
    program = command(HOLDING.format(HOLDS["a pool of its own"], {}), "--grace", "60")
    client.submit({})
    program.has_said("begin")
    program.process.send_signal(INT)
    program.has_logged("is stopping")
    time.sleep(0.3)
    program.process.send_signal(INT)
    assert program.ends(10) == 0
    assert raw.llen("jobs::pending") == 1


@pytest.mark.parametrize(("grace", "whole"), [("20", True), ("inf", True), ("0.5", False)])
def test_threads_have_what_is_left_of_the_grace(
    command: Callable[..., Program], client: sync.Client, grace: str, whole: bool
) -> None:
    program = command(
        "def late():\n"
        "    say('thread')\n"
        "    threading.main_thread().join()\n"
        "    time.sleep(3)\n"
        "    say('thread ends')\n"
        "threading.Thread(target=late).start()\n"
        "made = worker()\n",
        "--grace",
        grace,
    )
    assert client.submit({"seconds": "0"}).result() == "done"
    program.process.terminate()
    assert program.ends() == 0
    assert ("thread ends" in program.said) == whole
    assert ("it ends for good" in program.log) != whole
    assert "Traceback" not in program.log


def test_the_process_ends_though_the_log_is_held(command: Callable[..., Program], client: sync.Client) -> None:
    program = command(HOLDING.format(HOLDS["a lock of the log"], {"timeout": 0.1}), "--grace", "0.5")
    with pytest.raises(Exception, match="longer than"):
        client.submit({}).result()
    program.process.terminate()
    assert program.ends(12) == 0
    assert "it ends for good" not in program.log  # nobody could say so


def test_the_status_says_how_the_worker_ended_whatever_holds_the_process(
    command: Callable[..., Program],
) -> None:
    with RedisServer() as server, sync.Client(server.url, timeout=30) as client:
        options = {"max_reconnects": 2, "reconnect_delay": 0.01}
        program = command(HOLDING.format(HOLDS["a thread"], options), "--grace", "0.5", url=server.url)
        client.submit({})
        program.has_said("begin")
        server.kill()
        assert program.ends(20) == 3
    assert "it ends for good" in program.log


def test_an_end_in_order_takes_its_time_and_no_signal_spoils_it(
    command: Callable[..., Program], client: sync.Client
) -> None:
    program = command(
        "import atexit\n"
        "@atexit.register\n"
        "def flush():\n"
        "    say('flushing'); time.sleep(2); say('flushed')\n"
        "made = worker()\n",
        "--grace",
        "0.5",
    )
    assert client.submit({"seconds": "0"}).result() == "done"
    program.process.terminate()
    program.has_said("flushing")
    for number in (TERM, INT):
        program.process.send_signal(number)
    assert program.ends() == 0
    assert program.said[-1] == "flushed"


OWN_LOGGING = """
async def handle(job):
    logging.getLogger("shop").warning("stock is low")
    logging.getLogger("library").info("request sent")

def make():
    logging.basicConfig(level=logging.WARNING, filename=FOLDER + "/own", format="own %(message)s")
    return worker(handler=handle)
"""


@pytest.mark.parametrize(("text", "target"), [("made = make()\n", "application:made"), ("", "application:make()")])
def test_the_application_s_logging_is_left_alone(
    command: Callable[..., Program], client: sync.Client, tmp_path: Path, text: str, target: str
) -> None:
    program = command(OWN_LOGGING + text, target=target)
    client.submit({}).result()
    program.process.terminate()
    assert program.ends() == 0
    assert (tmp_path / "own").read_text() == "own stock is low\n"
    assert program.log == ""


@pytest.mark.parametrize(
    ("text", "options", "shown", "hidden"),
    [
        ("", (), "INFO jobwire.worker: worker", "DEBUG"),
        ("", ("--verbose",), "DEBUG", "no such line"),
        ("logging.getLogger().setLevel(logging.ERROR)\n", (), "", "INFO"),
        ("logging.basicConfig(level=logging.INFO, format='own %(message)s')\n", (), "own worker", "INFO"),
    ],
)
def test_without_handlers_of_its_own_the_log_goes_to_stderr(
    command: Callable[..., Program], client: sync.Client, text: str, options: tuple[str, ...], shown: str, hidden: str
) -> None:
    program = command(text + "made = worker()\n", *options)
    assert client.submit({"seconds": "0"}).result() == "done"
    program.process.terminate()
    assert program.ends() == 0
    assert shown in program.log
    assert hidden not in program.log
