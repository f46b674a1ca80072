"""The command as a process: signals, pipes, colours."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobwire import sync
from jobwire.cli import common

APPLICATION = """
import jobwire, jobwire.sync

worker = jobwire.Worker({url!r}, job_poll_interval=0.2)

@worker.handler
async def handle(job: jobwire.Job) -> str:
    return "from the application"

def make():
    made = jobwire.sync.Worker({url!r}, job_poll_interval=0.2)
    made.handler(handle)
    return made

class Group:
    inner = worker

number = 5
"""

Start = Callable[..., subprocess.Popen[str]]
COMMAND = [sys.executable, "-c", "import sys; from jobwire.cli import main; sys.exit(main())"]


@pytest.fixture
def start() -> Iterator[Start]:
    """``subprocess.Popen`` that leaves nothing behind."""
    started: list[subprocess.Popen[str]] = []

    def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
        started.append(subprocess.Popen(command, text=True, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def application(tmp_path: Path, redis_url: str) -> Path:
    (tmp_path / "application.py").write_text(APPLICATION.format(url=redis_url))
    (tmp_path / "broken.py").write_text("raise ValueError('at import')\n")
    (tmp_path / "lacking.py").write_text("import no_such_module_at_all\n")
    return tmp_path


@pytest.mark.parametrize("target", ["application:worker", "application:make()", "application:Group.inner"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker(start: Start, application: Path, redis_url: str, target: str, number: signal.Signals) -> None:
    process = start([*COMMAND, "worker", target, "--grace", "5"], cwd=application, stderr=subprocess.PIPE)
    with sync.Client(redis_url, timeout=20) as client:
        assert client.submit({}).result() == "from the application"
    process.send_signal(number)
    _, log = process.communicate(timeout=10)
    assert process.returncode == 0, log
    assert "takes reliable jobs from jobs::pending" in log


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("application", 2, "is not MODULE:NAME"),
        ("application:", 2, "is not MODULE:NAME"),
        (":worker", 2, "is not MODULE:NAME"),
        ("application:nope", 2, "no 'nope' in 'application'"),
        ("application:number", 2, "is a int, not a jobwire.Worker"),
        ("application:make", 2, "write it with ()"),
        ("no_such_application:worker", 2, "ModuleNotFoundError"),
        ("lacking:worker", 1, "no_such_module_at_all"),
        ("broken:worker", 1, "ValueError: at import"),
    ],
)
def test_a_target_that_is_none(application: Path, target: str, code: int, words: str) -> None:
    done = subprocess.run(
        [*COMMAND, "worker", target], cwd=application, check=False, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == code
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_traceback_of_a_failed_import(application: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "worker", "broken:worker", "--verbose"],
        cwd=application,
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert "broken.py" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server(start: Start, number: signal.Signals) -> None:
    process = start([*COMMAND, "server", "--appendonly"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    with sync.Client(url) as client:
        assert client.submit({}).id
    process.send_signal(number)
    assert process.wait(10) == 0
    with pytest.raises(OSError, match="127"):
        sync.Client(url).start()


def test_a_server_program_that_is_not_there() -> None:
    done = subprocess.run(
        [*COMMAND, "server", "--binary", "/no/such"], check=False, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 3
    assert done.stderr.startswith("jobwire server: ")
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_enough(start: Start, redis_url: str) -> None:
    process = start(
        [*COMMAND, "top", "--json", "--interval", "0.1", "--url", redis_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(10) == 1
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_an_interrupt_ends_top(start: Start, redis_url: str) -> None:
    process = start([*COMMAND, "top", "--url", redis_url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (130, "")


@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_on_a_terminal(redis_url: str, extra: dict[str, str], coloured: bool) -> None:
    primary, secondary = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"} | extra
    command = [*COMMAND, "top", "--once", "--prefix", "jobs", "--url", redis_url]
    done = subprocess.run(command, stdout=secondary, env=environment, check=True, timeout=20)
    os.close(secondary)
    shown = os.read(primary, 4096)
    os.close(primary)
    assert done.returncode == 0
    assert (b"\x1b[1mjobs\x1b[0m" in shown) == coloured


# -- small functions


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"plain", "plain"),
        ("two words", "'two words'"),
        (b"\xff", r"b'\xff'"),
        ("a\nb", r"'a\nb'"),
        ("", "''"),
        ("it's", '"it\'s"'),
    ],
)
def test_bare(value: Any, shown: str) -> None:
    assert common.bare(value) == shown


def test_one_line() -> None:
    assert common.one_line("a\n  b\x1b[31m\n\n") == r"a b\x1b[31m"


def test_what_json_cannot_say() -> None:
    from jobwire.sereal.values import PerlObject, PerlRegexp, ScalarRef

    jsonable: Callable[[object], object] = common.jsonable
    assert jsonable(PerlObject("A", {b"k": ScalarRef(1)})) == {"$object": "A", "value": {"b'k'": {"$ref": 1}}}
    assert jsonable(PerlRegexp("x", "i")) == {"$regexp": "x", "flags": "i"}


def test_top_is_a_screen_that_fits_the_terminal(redis_url: str) -> None:
    with redis_py.Redis.from_url(redis_url) as redis:
        for number in range(60):
            redis.sadd("jobs::workers", f"worker{number:02}")
        redis.hset("jobs::hosts", "worker00", '{"host": "web1", "pid": 4711}')
        redis.lpush("jobs::pending", "[bold]1", "2")
        redis.lpush(b"jobs::[red]\x1b[31m", "3")
        redis.lpush("jobs::processing::worker00", "one")
        redis.hset("job::one", mapping={"_reply_to": "c", "_queued": "1", "text_name": "日本"})
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [*COMMAND, "top", "--interval", "0.2", "--url", redis_url]
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdin=secondary, stdout=secondary, stderr=secondary, env=environment)
    try:
        os.close(secondary)
        seen = b""
        while seen.count(b"jobwire top") < 3:
            seen += os.read(primary, 65536)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the terminal has gone with its process
            while chunk := os.read(primary, 65536):
                seen += chunk
        assert process.wait(10) == 130
    finally:
        process.kill()
        process.wait()
        os.close(primary)
    text = seen.decode()
    assert "\x1b[?1049h" in text
    assert text.rstrip().endswith(("\x1b[?25h", "\x1b[?1049l")), text[-100:]
    looks = text.split("jobwire top")
    assert "pending" in looks[1]
    assert "web1:4711" in looks[1]
    assert "[red]\\x1b[31m" in looks[1]
    # A look has no more lines than the terminal.
    assert looks[2].count("\n") <= 24
