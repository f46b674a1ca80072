"""``jobwire tap`` as a process: what it prints, where, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis as redis_py

from jobwire import sync
from jobwire.cli import main
from jobwire.cli.tap import GROUP
from jobwire.testing.server import free_port
from jobwire_conformance.cases.places import GOLDEN
from jobwire_conformance.record.transcripts import read_transcript
from jobwire_conformance.rules.steps import Begin, Line, Step, Summary

COMMAND = [sys.executable, "-c", "import sys; from jobwire.cli import main; sys.exit(main())", "tap"]
GOOD = GOLDEN / "0.004-multi0-nested.jsonl"
BAD = GOLDEN / "0.004-multi0-undef.jsonl"


class Process:
    """A running tap."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
        """Exit status, stdout, stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


Start = Callable[..., "Process"]


@contextmanager
def started(*arguments: str, url: str, **options: Any) -> Iterator[Process]:
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "--listen", f"127.0.0.1:{port}", "--url", url, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield Process(process, f"redis://127.0.0.1:{port}")
    finally:
        process.kill()
        process.communicate()


def work(url: str, value: Any = "s3cret", count: int = 1) -> None:
    """Jobs through the tap."""
    worker = sync.Worker(url, job_poll_interval=0.2)

    @worker.handler
    def handle(job: Any) -> Any:
        return job["value"]

    with worker, sync.Client(url, timeout=20) as client:
        for _ in range(count):
            assert client.submit({"value": value}).result() == value


def run(*arguments: str, **options: Any) -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, *arguments], check=False, capture_output=True, text=True, timeout=60, **options
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


# --- live -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_exchange_on_the_screen(redis_url: str, number: signal.Signals) -> None:
    with started(url=redis_url) as tap:
        work(tap.url)
        status, out, err = tap.end(number)
    assert status == 0, out + err
    assert "values of jobs are hidden (--values shows them)" in err
    assert f"Give clients and workers {tap.url}" in err
    assert "s3cret" not in out
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    for pattern in (
        r"^\d\d:\d\d:\d\d\.\d{3} +c\d+ client  ▸ HMSET +[0-9a-f]{8}…  value=‹6 B›$",
        r" client  ▸ LPUSH +[0-9a-f]{8}…  jobs::pending$",
        r" worker  ◂ BRPOPLPUSH +[0-9a-f]{8}…  jobs::pending → jobs::processing::[0-9a-f]{8}…$",
        r" worker  ▸ EVALSHA .* script COMPLETE  jobs::processing::[0-9a-f]{8}…",
        r"result=T ‹7 B›$",
        r" client  ◂ message +[0-9a-f]{8}…  client::[0-9a-f]{8}…$",
        r"^\d\.\d s, \d connections, \d+ commands, \d+ B$",
        r"^jobs: 1 submitted, 1 taken, 1 completed, 1 collected, 0 open$",
        r"^shown: client 0\.004 or master × 1, worker 0\.004 or master × 1$",
    ):
        assert re.search(pattern, out, re.MULTILINE), pattern
    assert lines[-1] == "✓ nothing flagged"
    assert "+OK" not in out
    assert "\x1b" not in out


def test_values_where_they_are_asked_for(redis_url: str) -> None:
    with started("--values", url=redis_url) as tap:
        work(tap.url, {"a": ["s3cret"]})
        _, out, err = tap.end()
    assert 'value={"a": ["s3cret"]} (Sereal v3)' in out
    assert 'result=J {"a": ["s3cret"]}' in out
    assert "values of jobs are shown" in err


def test_json_lines(redis_url: str) -> None:
    with started("--json", url=redis_url) as tap:
        work(tap.url)
        status, out, _ = tap.end()
    decode = msgspec.json.Decoder(Line).decode
    lines = [decode(line) for line in out.splitlines()]
    first, *steps, last = lines
    assert status == 0
    assert isinstance(first, Begin)
    assert (first.values, first.listen) == (False, tap.url.removeprefix("redis://"))
    assert isinstance(last, Summary)
    assert (last.jobs_collected, last.flags) == (1, {})
    assert all(isinstance(step, Step) for step in steps)
    assert {step.kind for step in steps if isinstance(step, Step)} >= {"open", "command", "reply", "push", "close"}
    assert all(abs((step.at or 0) - time.time()) < 120 for step in steps if isinstance(step, Step))
    assert "s3cret" not in out


def test_flags_give_status_1_and_quiet_shows_them_alone(redis_url: str) -> None:
    with started("--quiet", "--patience", "0.5", url=redis_url) as tap:
        work(tap.url)
        with redis_py.Redis.from_url(tap.url) as link:
            link.execute_command("HMSET", "job::odd", "_reply_to", "nobody", "_queued", "1795434940", "op", "x")
            link.lpush("jobs::pending", "odd")
            link.lpush("jobs::pending", "never-written")
            time.sleep(1.5)
            link.delete("jobs::pending", "job::odd")
        status, out, _ = tap.end()
    assert status == 1
    *steps, total = out.splitlines()
    assert "HMSET" in steps[0]
    assert [line.strip() for line in steps if "✗" in line and "flagged" not in line][:2] == [
        "✗ FLD-13  a field without a type",
        "✗ SUB-8  pushed before its client listens",
    ]
    assert "key job::odd, field op: expected text_, sereal_, json_ or _; seen op" in out
    assert "SUB-1  an ID whose hash nobody has seen" in out
    assert "✗ 3 flagged: FLD-13 × 1, SUB-1 × 1, SUB-8 × 1" in total


def test_a_record_and_its_replay(redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with started("--record", str(path), url=redis_url) as tap:
        work(tap.url, count=3)
        status, _, _ = tap.end()
    assert status == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    transcript = read_transcript(path)
    assert {event.role for event in transcript.events if event.kind == "command"} >= {"client", "worker"}
    status, out, err = run("--replay", str(path))
    assert (status, err) == (0, "")
    assert out.count('result=T "s3cret"') == 6, "as written and as read; files are shown with their values"
    _, hidden, _ = run(str(path), "--no-values")
    assert "s3cret" not in hidden


def test_filters(redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with started("--record", str(path), url=redis_url) as tap:
        work(tap.url, count=2)
        tap.end()
    jobs = [event.command[-1].decode() for event in read_transcript(path).events if event.name == "LPUSH"]
    _, out, _ = run(str(path), "--job", jobs[0][:8])
    assert jobs[0][:8] in out
    assert jobs[1][:8] not in out
    _, out, _ = run(str(path), "--only", "worker")
    assert " worker " in out
    assert " client " not in out.replace("client 0.004", "")
    _, everything, _ = run(str(path), "--all")
    assert len(everything.splitlines()) > len(out.splitlines())
    assert " reply" not in out


@pytest.mark.parametrize("limit", [["--seconds", "1"], ["--jobs", "2"]])
def test_an_end_by_itself(redis_url: str, limit: list[str]) -> None:
    with started(*limit, url=redis_url) as tap:
        if limit[0] == "--jobs":
            work(tap.url, count=2)
        out, err = tap.process.communicate(timeout=20)
        assert tap.process.returncode == 0, err
    assert out.endswith("✓ nothing flagged\n")


def test_a_reader_that_has_enough(redis_url: str) -> None:
    with started(url=redis_url) as tap:
        assert tap.process.stdout is not None
        work(tap.url)
        tap.process.stdout.readline()
        tap.process.stdout.close()
        with contextlib.suppress(redis_py.ConnectionError), redis_py.Redis.from_url(tap.url) as link:
            for _ in range(1000):
                link.set("key", "x")
        tap.process.wait(10)
        assert tap.process.stderr is not None
        assert "Traceback" not in tap.process.stderr.read()


def test_a_reader_that_reads_nothing_holds_nothing_up(redis_url: str) -> None:
    with started("--all", "--values", url=redis_url) as tap:
        began = time.monotonic()
        with redis_py.Redis.from_url(tap.url) as link:
            for number in range(3000):
                link.set("key", "x" * 2000 + str(number))
        assert time.monotonic() - began < 30, "nobody reads the pipe, and all goes on"
        assert tap.process.poll() is None


@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_on_a_terminal(extra: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"} | extra
    process = subprocess.Popen([*COMMAND, str(BAD), "--quiet"], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(ours)
    assert process.wait(20) == 1
    assert (b"\x1b[31;1m\xe2\x9c\x97 NUM-7" in shown) == coloured
    assert (b"\x1b[" in shown) == coloured
    assert "✗ NUM-7" in re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())


# --- transcripts, usage, surroundings ---------------------------------------------------------


def test_recordings() -> None:
    status, out, err = run(str(GOOD))
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "✓ nothing flagged"
    assert max(map(len, out.splitlines())) <= 100
    status, out, _ = run(str(GOOD), str(BAD), "--quiet")
    assert status == 1
    assert out.startswith(f"{GOOD}\n")
    assert "NUM-7  null as a bulk string without a length" in out


def test_the_suites_command_is_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobwire_conformance", "tap", str(BAD), "--json"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [lines[0]["type"], lines[-1]["type"]] == ["begin", "summary"]
    assert lines[-1]["flags"] == {"NUM-7": 1}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--listen", "nowhere"], 2, "give HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], 2, "give HOST:PORT"),
        (["--listen", "0.0.0.0:6390"], 2, "can be reached from other machines"),
        (["--listen", "[::]:6390"], 2, "Say --expose"),
        (["--url", "http://x"], 2, "a Redis URL begins with"),
        (["--url", "redis+sentinel://x/y"], 2, "a Redis URL begins with"),
        (["/no/such/file"], 2, "No such file"),
        ([str(Path(__file__))], 2, "test_tap.py:1: not the header"),
        ([str(GOOD), "--record", "x"], 2, "--record is for live traffic"),
        (["--url", "redis://127.0.0.1:1"], 3, "cannot reach redis://127.0.0.1:1: Connection refused"),
        (["--url", "unix:///no/such.sock"], 3, "cannot reach unix:///no/such.sock: No such file"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(arguments: list[str], status: int, words: str) -> None:
    found, out, err = run(*arguments)
    assert (found, out) == (status, "")
    assert words in err
    assert err.startswith("jobwire tap: ")
    assert err.count("\n") == 1


def test_more_surroundings(redis_url: str, tmp_path: Path) -> None:
    with started(url=redis_url) as tap:
        address = tap.url.removeprefix("redis://")
        status, _, err = run("--listen", address, "--url", redis_url)
        assert (status, err) == (3, f"jobwire tap: cannot listen on {address}: Address already in use\n")
    status, _, err = run("--url", redis_url, "--record", str(tmp_path / "no" / "x"), "--seconds", "0.1")
    assert (status, "cannot write" in err) == (3, True)
    url = redis_url.replace("://", "://me:s3cret@") + "/2"
    status, _, err = run("--url", url, "--seconds", "0.1", "--listen", "127.0.0.1:0")
    assert status == 0
    assert "peers bring their own" in err
    assert "s3cret" not in err


def test_help_names_the_exit_status_and_the_secret() -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert "Exit status: 0 nothing was flagged, 1 something was, 2 usage, 3 environment" in out
    assert "never shown and never recorded" in out


# --- an entry point ---------------------------------------------------------------------------


def test_no_other_command_loads_the_suite() -> None:
    program = (
        "import sys; from jobwire.cli import main; main(['top', '--once', '--url', 'redis://127.0.0.1:1']);"
        "print(sorted(name for name in sys.modules if name.startswith('jobwire_conformance')))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert "jobwire top: " in done.stderr, "it ran"
    assert done.stdout.splitlines()[-1] == "[]"
    listed = subprocess.run(
        [sys.executable, "-c", "import sys; from jobwire.cli import main; main(['--help'])"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert re.search(r"^ +tap +decode and lint live traffic", listed.stdout, re.MULTILINE)


def test_without_the_suite_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("jobwire.cli.tap.entry_points", lambda **_: ())
    assert main(["tap", "--listen", "127.0.0.1:0"]) == 3
    said = capsys.readouterr().err
    assert said.startswith("jobwire tap: ")
    assert "pip install 'jobwire[conformance]'" in said
    assert main(["top", "--once", "--url", "redis://127.0.0.1:1"]) == 3


def test_the_entry_point_is_the_suite_s() -> None:
    (found,) = entry_points(group=GROUP, name="tap")
    assert found.value == "jobwire_conformance.tap.entry"
