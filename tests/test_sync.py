"""The blocking face: the same client, driven from ordinary threads."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import get_overloads

import msgspec
import pytest

import jobwire
from jobwire import sync
from jobwire.sync.loop_thread import LoopThread
from jobwire.worker.threads import DaemonThreadPool, HandlerThreads


class Sum(msgspec.Struct):
    a: int
    b: int


@pytest.fixture
def worker(redis_url: str) -> Iterator[sync.Worker]:
    worker = sync.Worker(redis_url, max_concurrent_jobs=8, job_poll_interval=0.2)

    @worker.handler
    def work(job: jobwire.Job) -> object:
        match job.data.get("op"):
            case "fail":
                raise ValueError("as asked")
            case "sleep":
                time.sleep(float(str(job.data["seconds"])))
                return "slept"
            case "sum":
                return msgspec.to_builtins(Sum(3, 4))
        return str(job.data.get("text", ""))[::-1]

    with worker:
        yield worker


@pytest.fixture
def client(redis_url: str, worker: sync.Worker) -> Iterator[sync.Client]:
    with sync.Client(redis_url, timeout=20) as client:
        yield client


def test_a_result(client: sync.Client) -> None:
    handle = client.submit({"text": "reverse me please"})
    assert handle.result() == "esaelp em esrever"
    assert handle.result() == "esaelp em esrever"
    assert handle.done()
    assert client.outstanding == 0
    assert isinstance(handle.id, str)
    assert client.queue_length is not None


def test_a_typed_result(client: sync.Client) -> None:
    assert client.submit({"op": "sum"}, result_type=Sum).result() == Sum(3, 4)


def test_a_failure_is_raised(client: sync.Client) -> None:
    with pytest.raises(jobwire.JobFailed, match="ValueError: as asked"):
        client.submit({"op": "fail"}).result()


def test_many_and_their_results_as_they_complete(client: sync.Client) -> None:
    handles = client.submit_many([{"text": f"{number}-"} for number in range(200)] + [{"op": "fail"}])
    outcomes = dict(client.results(handles))
    assert [outcomes[handle] for handle in handles[:200]] == [f"-{str(number)[::-1]}" for number in range(200)]
    assert isinstance(outcomes[handles[200]], jobwire.JobFailed)


def test_results_may_be_left_early(client: sync.Client) -> None:
    handles = client.submit_many([{"text": "a"}, {"op": "sleep", "seconds": 0.3}])
    for handle, value in client.results(handles):
        assert (handle, value) == (handles[0], "a")
        break
    assert handles[1].result() == "slept"


def test_waiting_ends_and_the_job_goes_on(client: sync.Client) -> None:
    handle = client.submit({"op": "sleep", "seconds": 0.5})
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        handle.result(timeout=0.05)
    assert time.monotonic() - began < 0.4
    assert handle.result() == "slept"


def test_the_deadline_of_a_job(redis_url: str) -> None:
    with sync.Client(redis_url, timeout=0.1) as client, pytest.raises(jobwire.JobTimeout, match="still in"):
        client.submit({}).result()


def test_cancel(redis_url: str) -> None:
    with sync.Client(redis_url) as client:
        handle = client.submit({})
        assert handle.cancel()
        assert not handle.cancel()
        with pytest.raises(jobwire.JobCancelled):
            handle.result()


def test_a_callback_may_read_the_result(client: sync.Client) -> None:
    seen: list[object] = []
    told = threading.Event()

    def done(handle: sync.JobHandle[str]) -> None:
        seen.append(handle.result())
        told.set()

    client.submit({"text": "ab"}).add_done_callback(done)
    assert told.wait(10)
    assert seen == ["ba"]


def test_a_callback_that_waits_for_another_job_is_told(client: sync.Client) -> None:
    slow = client.submit({"op": "sleep", "seconds": 0.5})
    errors: list[Exception] = []
    told = threading.Event()

    def done(_: object) -> None:
        try:
            slow.result()
        except RuntimeError as error:
            errors.append(error)
        told.set()

    client.submit({"text": "x"}).add_done_callback(done)
    assert told.wait(10)
    assert "another thread" in str(errors[0])
    assert slow.result() == "slept"


def test_a_callback_may_submit(client: sync.Client) -> None:
    second: list[sync.JobHandle[object]] = []
    told = threading.Event()

    def done(_: object) -> None:
        second.append(client.submit({"text": "again"}))
        told.set()

    client.submit({"text": "x"}).add_done_callback(done)
    assert told.wait(10)
    assert second[0].result() == "niaga"


def test_many_threads_share_a_client(client: sync.Client) -> None:
    def one(number: int) -> bool:
        return client.submit({"text": f"{number}."}).result() == f".{str(number)[::-1]}"

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(400)))


def test_attach_and_state(redis_url: str) -> None:
    with sync.Client(redis_url, id="me") as first:
        job = first.submit({"text": "abc"}).id
        assert first.state(job).place == "queued"
    worker = sync.Worker(redis_url, job_poll_interval=0.2)
    worker.handler(lambda job: job.data["text"][::-1])
    with sync.Client(redis_url, id="me", timeout=20) as second, worker:
        assert second.attach(job).result() == "cba"
        assert second.state(job).place == "gone"


def test_room_and_queue_length(redis_url: str) -> None:
    lengths: list[int] = []
    with sync.Client(redis_url, max_outstanding=2) as client:
        client.on_queue_length(lengths.append)
        first = client.submit({})
        client.room()
        client.submit({})
        with pytest.raises(jobwire.TooManyJobs):
            client.submit({})
        with pytest.raises(TimeoutError):
            client.room(timeout=0.05)
        first.cancel()
        client.room(timeout=5)
    assert lengths == [1, 2]


def test_results_outlive_the_client(redis_url: str, worker: sync.Worker) -> None:
    with sync.Client(redis_url) as client:
        handle = client.submit({"text": "ab"})
        handle.result()
    assert handle.result() == "ba"


def test_whoever_waits_when_the_client_stops_is_told(redis_url: str) -> None:
    client = sync.Client(redis_url)
    client.start()
    handles = [client.submit({}), client.submit({})]
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(handles[0].result)
        looping = pool.submit(lambda: list(client.results([handles[1]])))
        time.sleep(0.1)
        client.stop()
        for future in (waiting, looping):
            with pytest.raises(jobwire.ClosedError):
                future.result(10)
    client.stop()


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.submit({}),
        lambda client: client.submit_many([{}]),
        lambda client: client.state("x"),
        lambda client: client.attach("x"),
        lambda client: list(client.results([])),
    ],
)
def test_before_start_and_after_stop(redis_url: str, use: Callable[[sync.Client], object]) -> None:
    client = sync.Client(redis_url)
    with pytest.raises(jobwire.ClosedError):
        use(client)
    with client, pytest.raises(jobwire.ClosedError, match="started once"):
        client.start()
    with pytest.raises(jobwire.ClosedError):
        use(client)


def test_no_server(unused_tcp_port: int) -> None:
    client = sync.Client(f"redis://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(jobwire.ConnectError):
        client.start()
    assert threading.active_count() == 1 or not any("jobwire-client" in t.name for t in threading.enumerate())


def test_options_are_checked_at_once() -> None:
    with pytest.raises(jobwire.ConfigError, match="unknown mode"):
        sync.Client(mode="quick")
    with pytest.raises(jobwire.ConfigError, match="max_concurrent_jobs"):
        sync.Worker(max_concurrent_jobs=0)


def test_a_worker_starts_once_and_needs_a_handler(redis_url: str) -> None:
    worker = sync.Worker(redis_url)
    with pytest.raises(jobwire.ConfigError, match="needs a handler"):
        worker.start()
    worker = sync.Worker(redis_url, job_poll_interval=0.1)
    worker.route("ping")(lambda job: "pong")
    with worker:
        with pytest.raises(jobwire.ClosedError, match="started once"):
            worker.start()
        with sync.Client(redis_url, timeout=10) as client:
            assert client.submit({"name": "ping"}).result() == "pong"
        assert worker.running == 0
        assert worker.counts["done"] == 1
    worker.stop()


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # which is what is tried here
def test_after_a_fork_the_child_gets_an_error(client: sync.Client) -> None:
    handle = client.submit({"op": "sleep", "seconds": 0.3})
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        try:
            handle.result(timeout=2)
        except jobwire.ClosedError as error:
            os._exit(0 if "fork" in str(error) else 2)
        except BaseException:
            os._exit(3)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert handle.result() == "slept"


INTERRUPTED = """
import sys
from jobwire.sync import Client
with Client(sys.argv[1]) as client:
    handle = client.submit({})
    print("waiting", flush=True)
    handle.result()
"""


def test_keyboard_interrupt_ends_cleanly(redis_url: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, redis_url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, errors = process.communicate(timeout=10)
    assert time.monotonic() - began < 5
    assert process.returncode == -signal.SIGINT
    assert errors.strip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1, errors


WORKER = """
import sys
from jobwire.sync import Worker
worker = Worker(sys.argv[1], job_poll_interval=0.2)
worker.handler(lambda job: "done")
worker.run()
"""


def test_run_until_a_signal(redis_url: str, client_alone: sync.Client) -> None:
    process = subprocess.Popen([sys.executable, "-c", WORKER, redis_url])
    assert client_alone.submit({}).result() == "done"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


@pytest.fixture
def client_alone(redis_url: str) -> Iterator[sync.Client]:
    with sync.Client(redis_url, timeout=20) as client:
        yield client


# -- the two faces stay the same


def public(kind: type) -> dict[str, object]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


@pytest.mark.parametrize(
    ("blocking", "asynchronous"),
    [(sync.Client, jobwire.Client), (sync.JobHandle, jobwire.JobHandle), (sync.Worker, jobwire.Worker)],
)
def test_every_public_name_is_there(blocking: type, asynchronous: type) -> None:
    assert public(asynchronous).keys() <= public(blocking).keys()


@pytest.mark.parametrize("kind", ["Client", "Worker"])
def test_the_constructor_has_the_same_options(kind: str) -> None:
    assert inspect.signature(getattr(sync, kind)) == inspect.signature(getattr(jobwire, kind))


@pytest.mark.parametrize("name", ["submit_many", "attach", "state"])
def test_methods_take_the_same_parameters(name: str) -> None:
    ours = inspect.signature(getattr(sync.Client, name)).parameters
    theirs = inspect.signature(getattr(jobwire.Client, name)).parameters
    assert ours == theirs


@pytest.mark.parametrize("name", ["handler", "route", "run", "stop"])
def test_methods_of_a_worker_take_the_same_parameters(name: str) -> None:
    ours = inspect.signature(getattr(sync.Worker, name)).parameters
    theirs = inspect.signature(getattr(jobwire.Worker, name)).parameters
    assert ours == theirs


def test_the_overloads_of_submit_are_those_of_the_asynchronous_face() -> None:
    ours = [inspect.signature(form).parameters for form in get_overloads(sync.Client.submit)]
    theirs = [inspect.signature(form).parameters for form in get_overloads(jobwire.Client.submit)]
    assert len(ours) == 2
    assert ours == theirs


# -- a start that is not possible

NO_DESCRIPTORS = """
import asyncio, os, resource, sys
import jobwire, jobwire.sync, jobwire.transport.connection, jobwire.transport.sentinel

def taken(free):
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    files = []
    try:
        while True:
            files.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        for _ in range(free):
            os.close(files.pop())
    return files

kind, free, url = getattr(jobwire.sync, sys.argv[1]), int(sys.argv[2]), sys.argv[3]
one = kind(url)
if kind is jobwire.sync.Worker:
    one.handler(print)
files = taken(free)
try:
    one.start()
except jobwire.ConnectError as error:
    print(error)
else:
    print("started")
    one.stop()
finally:
    for file in files:
        os.close(file)
kind(url)
one = kind(url)
if kind is jobwire.sync.Worker:
    one.handler(print)
with one:
    print("now it works")
"""


@pytest.mark.parametrize("kind", ["Client", "Worker"])
def test_no_file_descriptors_are_said_at_the_start(redis_url: str, kind: str) -> None:
    """Whichever it is that there is no descriptor for: an event loop, that of the heartbeat, a connection."""
    outcomes = []
    for free in range(12):
        done = subprocess.run(
            [sys.executable, "-c", NO_DESCRIPTORS, kind, str(free), redis_url],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        first, last = done.stdout.splitlines()
        assert last == "now it works"
        assert first == "started" or "Too many open files" in first, free
        # asyncio itself may tell of an event loop that is half made.
        assert "jobwire" not in done.stderr, (free, done.stderr)
        outcomes.append(first)
    assert "cannot make an event loop" in outcomes[0]
    assert outcomes[-1] == "started"


@pytest.mark.parametrize("kind", [sync.Client, sync.Worker])
def test_a_system_without_threads_is_said_at_the_start(
    redis_url: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    one = kind(redis_url)
    if kind is sync.Worker:
        one.handler(print)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(jobwire.ConnectError, match="can't start new thread"):
            one.start()
    one.start()
    one.stop()


async def test_the_thread_of_a_heartbeat_that_cannot_be_had_is_said_at_the_start(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    worker = jobwire.Worker(redis_url)
    worker.handler(print)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(jobwire.ConnectError, match="can't start new thread"):
            await worker.start()


async def test_threads_that_are_none_are_said_at_the_start(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under gevent: a second event loop in what is one real thread."""
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.run)
    client = sync.Client(redis_url)
    with pytest.raises(jobwire.ConfigError, match=r"no event loop can run in a thread of its own.*gevent"):
        client.start()


def test_handlers_share_the_threads_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = HandlerThreads(2)
    release = threading.Event()
    first = threads.submit(release.wait, begun=lambda: None)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        second = threads.submit(lambda: "second", begun=lambda: None)
        with pytest.raises(RuntimeError, match="can't start"):
            HandlerThreads(2).submit(lambda: None, begun=lambda: None)
    release.set()
    assert first.result(10)
    assert second.result(10) == "second"
    threads.close(within=10)


# -- the loop thread


def test_a_loop_does_not_wait_for_other_threads_when_it_ends() -> None:
    release = threading.Event()
    thread = LoopThread("test")
    thread.start()
    assert thread.run(asyncio.to_thread(lambda: threading.current_thread().daemon))
    hanging = thread.call(lambda: asyncio.get_running_loop().run_in_executor(None, release.wait, 60))
    began = time.monotonic()
    thread.stop()
    assert time.monotonic() - began < 5
    assert not hanging.done() or hanging.cancelled()
    release.set()


def test_a_pool_takes_no_more_after_its_end() -> None:
    pool = DaemonThreadPool()
    assert pool.submit(divmod, 7, 2).result(10) == (3, 1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(divmod, 7, 2)


def test_a_loop_thread_hands_over_everything_or_refuses() -> None:
    for _ in range(30):
        thread = LoopThread("test")
        thread.start()
        answers: list[object] = []

        def ask(thread: LoopThread = thread, answers: list[object] = answers) -> None:
            while True:
                try:
                    answers.append(thread.call(lambda: 1))
                except jobwire.ClosedError:
                    return

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        time.sleep(0.005)
        thread.stop()
        for asker in askers:
            asker.join(5)
            assert not asker.is_alive()
