"""``jobwire worker`` as a process: targets, log, health, and how it ends."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py

from jobwire import fast, sync
from jobwire.cli import common, http
from jobwire.testing.server import RedisServer
from tests.support.command import Process, Start, get

APPLICATION = """
import time

import jobwire

def make(prefix="jobs", **options):
    worker = jobwire.Worker({url!r}, prefix=prefix, job_poll_interval=0.2, **options)

    @worker.handler
    async def handle(job):
        if job.data.get("fail"):
            raise ValueError("as asked")
        return prefix

    return worker

mail, charge = make("mail"), make("charge")
several = make(max_concurrent_jobs=4)

def broken():
    return inner()

def inner():
    raise LookupError("no settings")
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
        process.popen.kill()
        process.popen.wait()


# -- targets


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_several_targets_stop_at_one_signal(start: Start, redis_url: str, number: signal.Signals) -> None:
    process = start("worker", "app:mail", "app:charge")
    for prefix in ("mail", "charge"):
        with sync.Client(redis_url, prefix=prefix, timeout=15) as client:
            assert client.submit({}).result() == prefix
    log = process.stops(number)
    assert log.count(f"is stopping: {number.name}") == 2
    assert log.count("has stopped; jobs: 1 done") == 2


def test_one_that_fails_ends_all(start: Start, folder: Path, unused_tcp_port: int) -> None:
    with (folder / "app.py").open("a") as application:
        application.write(f"\nlost = jobwire.Worker('redis://127.0.0.1:{unused_tcp_port}')\nlost.handler(print)\n")
    log = start("worker", "app:mail", "app:lost").ends(3)
    assert "jobwire worker: " in log


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say which worker"),
        (["app:mail", "app:mail"], "named before"),
        (["app:mail()"], "cannot be called"),
        (["app:mail", "--health", "nowhere"], "not HOST:PORT"),
        (["app:mail", "--log-config", "no-such.ini"], "no-such.ini"),
    ],
)
def test_asked_for_wrongly(start: Start, arguments: list[str], words: str) -> None:
    assert words in start("worker", *arguments).ends(2)


def test_a_factory_that_fails_shows_the_users_own_traceback(start: Start) -> None:
    log = start("worker", "app:broken()").ends(1)
    assert "in broken" in log
    assert "in inner" in log
    assert "targets.py" not in log
    assert log.endswith("jobwire worker: 'app:broken()' made no worker: LookupError: no settings\n")


# -- the log


def test_the_log_says_what_runs_and_how_it_ended(start: Start) -> None:
    process = start("worker", "app:several")
    process.has_logged("takes reliable jobs")
    log = process.stops()
    head = log.splitlines()[0]
    for part in fast.PARTS:
        reason = fast.missing(part)
        assert f"{part}: compiled" in head if reason is None else reason in head
    assert f"pid {process.popen.pid} on " in head
    assert "is stopping: SIGTERM, 0 jobs running, up to 30 s" in log


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_event_loop_is_chosen_and_named(start: Start, redis_url: str, loop: str) -> None:
    process = start("worker", "app:several", "--loop", loop)
    with sync.Client(redis_url, timeout=15) as client:
        assert client.submit({}).result() == "jobs"
    assert f", {loop};" in process.stops().splitlines()[0]


def test_uvloop_is_taken_where_it_is(start: Start) -> None:
    process = start("worker", "app:several")
    process.has_logged("takes reliable jobs")
    assert ", uvloop;" in process.stops().splitlines()[0]


def test_json_lines(start: Start, redis_url: str) -> None:
    process = start("worker", "app:several", "--log-format", "json")
    with sync.Client(redis_url, timeout=15) as client, pytest.raises(Exception, match="as asked"):
        client.submit({"fail": "1"}).result()
    lines = [json.loads(line) for line in process.stops().splitlines()]
    assert {"time", "level", "logger", "message"} <= lines[0].keys()
    (failed,) = [line for line in lines if line["level"] == "error"]
    assert "Traceback" in failed["exception"]
    assert "ValueError: as asked" in failed["exception"]


def test_levels_and_files(start: Start, folder: Path) -> None:
    assert start("worker", "app:several", "--burst", "--log-level", "warning").ends(0) == ""
    loud = start("worker", "app:several", JOBWIRE_LOG_LEVEL="debug")
    loud.has_logged("DEBUG")
    loud.stops()
    settings = {
        "formatters": {"odd": {"format": "odd %(message)s"}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "odd"}},
        "root": {"level": "INFO", "handlers": ["out"]},
    }
    (folder / "log.json").write_text(json.dumps(settings))
    odd = start("worker", "app:several", "--log-config", "log.json")
    odd.has_logged("odd worker .* takes reliable jobs")
    odd.stops()


def test_the_applications_own_logging_stays(start: Start, folder: Path) -> None:
    with (folder / "app.py").open("a") as application:
        application.write("\nimport logging\nlogging.basicConfig(format='mine %(message)s', level=logging.INFO)\n")
    process = start("worker", "app:several", "--log-format", "json")
    process.has_logged("mine worker .* takes reliable jobs")
    assert all(line.startswith("mine ") for line in process.stops().splitlines())


# -- the environment


def test_every_option_has_a_variable(start: Start, redis_url: str) -> None:
    process = start("worker", JOBWIRE_TARGETS="app:mail app:charge", JOBWIRE_GRACE="7", JOBWIRE_LOOP="asyncio")
    process.has_logged("takes reliable jobs", times=2)
    log = process.stops()
    assert ", asyncio;" in log
    assert log.count("up to 7 s") == 2


@pytest.mark.parametrize(
    "variables", [{"JOBWIRE_GRACE": "soon"}, {"JOBWIRE_LOOP": "gevent"}, {"JOBWIRE_BURST": "perhaps"}]
)
def test_a_variable_that_cannot_be_is_named(start: Start, variables: dict[str, str]) -> None:
    assert f"${next(iter(variables))} is " in start("worker", "app:mail", **variables).ends(2)


def test_variables_of_the_worker_are_none_of_other_commands(start: Start, redis_url: str) -> None:
    start("submit", "--no-wait", "a=b", JOBWIRE_GRACE="soon", JOBWIRE_URL=redis_url).ends(0)


# -- health


def test_health_over_http(start: Start, redis_url: str, unused_tcp_port: int, redis: redis_py.Redis) -> None:
    address = f"127.0.0.1:{unused_tcp_port}"
    process = start("worker", "app:several", "app:mail", "--health", address)
    process.has_logged("takes reliable jobs", times=2)
    assert get(unused_tcp_port, "/live")[0] == 200
    status, body = get(unused_tcp_port, "/ready")
    said = json.loads(body)
    assert (status, said["ready"]) == (200, True)
    assert [one["prefix"] for one in said["workers"]] == ["jobs", "mail"]
    with sync.Client(redis_url, timeout=15) as client:
        client.submit({}).result()
    status, body = get(unused_tcp_port, "/metrics")
    assert status == 200
    assert b'jobwire_jobs_total{mode="reliable",outcome="done",prefix="jobs"} 1.0' in body
    assert get(unused_tcp_port, "/other")[0] == 404
    assert start("worker", "--check", "--health", address).ends(0).endswith("ready\n")
    # A worker whose pops are refused is alive, and not ready.
    redis.delete("jobs::pending")
    redis.set("jobs::pending", "no list")
    end = time.monotonic() + 15
    while get(unused_tcp_port, "/ready")[0] != 503:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert get(unused_tcp_port, "/live")[0] == 200
    assert start("worker", "--check", "--health", address).ends(1).endswith("not ready\n")
    redis.delete("jobs::pending")
    process.stops()
    assert "no worker answers" in start("worker", "--check", "--health", address).ends(1)


def test_a_port_that_is_taken(start: Start, redis_url: str) -> None:
    port = redis_py.Redis.from_url(redis_url).connection_pool.connection_kwargs["port"]
    assert "cannot listen at" in start("worker", "app:mail", "--health", f"127.0.0.1:{port}").ends(3)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8081", ("127.0.0.1", 8081)),
        ("8081", ("127.0.0.1", 8081)),
        (":8081", ("0.0.0.0", 8081)),
        ("[::1]:8081", ("::1", 8081)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert http.address_of(text) == address


@pytest.mark.parametrize("text", ["", "host", "host:", "1.2.3.4:99999"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(common.CliError, match="not HOST:PORT"):
        http.address_of(text)


@pytest.mark.parametrize("request_", [b"\r\n\r\n", b"POST /ready HTTP/1.1\r\n\r\n", b"x" * 20_000, b"GET /re"])
def test_whoever_does_not_ask_properly_harms_nobody(start: Start, unused_tcp_port: int, request_: bytes) -> None:
    import socket

    process = start("worker", "app:several", "--health", str(unused_tcp_port))
    process.has_logged("takes reliable jobs")
    with socket.create_connection(("127.0.0.1", unused_tcp_port)) as peer:
        peer.sendall(request_)
        peer.shutdown(socket.SHUT_WR)
        peer.settimeout(5)
        answer = peer.recv(100)
    assert answer[:12] in (b"", b"HTTP/1.1 405", b"HTTP/1.1 404")
    assert get(unused_tcp_port, "/ready")[0] == 200
    assert "Traceback" not in process.stops()


def test_check_without_an_address_loads_and_connects(start: Start, unused_tcp_port: int, folder: Path) -> None:
    assert "loads, and reaches redis://" in start("worker", "--check", "app:mail").ends(0)
    with (folder / "app.py").open("a") as application:
        application.write(f"\nlost = jobwire.Worker('redis://127.0.0.1:{unused_tcp_port}')\nlost.handler(print)\n")
    start("worker", "--check", "app:lost").ends(3)


# -- ends


def submit(redis_url: str, count: int) -> None:
    with sync.Client(redis_url) as client:
        for handle in client.submit_many([{}] * count):
            handle.cancel  # noqa: B018 - they stay


def test_a_burst_ends_with_the_queue(start: Start, redis_url: str, redis: redis_py.Redis) -> None:
    submit(redis_url, 20)
    log = start("worker", "app:several", "--burst").ends(0)
    assert "there are no more jobs" in log
    assert "jobs: 20 done" in log
    assert redis.llen("jobs::pending") == 0


def test_so_many_jobs_and_no_more(start: Start, redis_url: str, redis: redis_py.Redis) -> None:
    submit(redis_url, 20)
    log = start("worker", "app:several", "--max-jobs", "7").ends(0)
    assert "it has taken as many jobs as it was to" in log
    assert "jobs: 7 done" in log
    assert redis.llen("jobs::pending") == 13


def test_a_worker_that_waits_for_redis(start: Start, folder: Path) -> None:
    with RedisServer() as server:
        with (folder / "app.py").open("a") as application:
            application.write(f"\nlate = jobwire.Worker({server.url!r})\nlate.handler(lambda job: 'there')\n")
        server.kill()
        start("worker", "app:late").ends(3)
        start("worker", "app:late", "--wait-for-redis", "0.1").ends(3)
        patient = start("worker", "app:late", "--wait-for-redis", "inf")
        patient.has_logged("waiting for Redis")
        assert "a signal came before Redis was reached" in patient.stops()
        process = start("worker", "app:late", "--wait-for-redis", "60")
        process.has_logged("waiting for Redis")
        server.restart()
        with sync.Client(server.url, timeout=15) as client:
            assert client.submit({}).result() == "there"
        process.stops()
