"""The files of docs/DEPLOYING.md, used: their command lines run, their applications answer, their periods fit."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobwire.testing.server import free_port

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "examples" / "deploy"
UNIT = (DEPLOY / "jobwire-worker@.service").read_text()
yaml = pytest.importorskip("yaml", reason="LEFT OUT: pyyaml is not installed")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yml").read_text())
POD = yaml.safe_load((DEPLOY / "kubernetes.yml").read_text())["spec"]["template"]["spec"]


def docker_command() -> list[str]:
    found = re.search(r"^CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    command: list[str] = json.loads(found[1])
    return command


def unit_command() -> list[str]:
    found = re.search(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    assert found is not None
    program, *arguments = shlex.split(found[1])
    return [Path(program).name, *arguments]


COMMANDS = {"systemd": unit_command(), "docker": docker_command(), "kubernetes": POD["containers"][0]["args"]}


def jobwire_command(arguments: list[str], port: int) -> list[str]:
    assert arguments[0] == "jobwire"
    with_port = [re.sub(r"^[\d.]+:8081$", f"127.0.0.1:{port}", word) for word in arguments[1:]]
    assert with_port != arguments[1:], "it has a health address"
    return [sys.executable, "-m", "jobwire", *with_port]


@contextmanager
def worker(arguments: list[str], redis_url: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    environment = {
        **os.environ,
        "JOBWIRE_TARGETS": "reports:worker",
        "JOBWIRE_URL": redis_url,
        "PYTHONPATH": str(DEPLOY),
    }
    process = subprocess.Popen(jobwire_command(arguments, port), cwd=DEPLOY, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while ask(port, "GET", "/ready")[0] != 200:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(said) if is_json else None
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


@pytest.mark.parametrize("place", COMMANDS)
def test_the_command_runs_is_healthy_and_ends_in_order(place: str, redis_url: str) -> None:
    with worker(COMMANDS[place], redis_url) as (process, port):
        check = jobwire_command(COMPOSE["services"]["worker"]["healthcheck"]["test"][1:], port)
        assert subprocess.run(check, capture_output=True, timeout=30, check=False).returncode == 0
        for probe in ("livenessProbe", "readinessProbe"):
            path = POD["containers"][0][probe]["httpGet"]["path"]
            assert ask(port, "GET", path)[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def test_whoever_stops_a_worker_waits_longer_than_its_grace() -> None:
    for command in COMMANDS.values():
        assert command[command.index("--grace") + 1] == "30"
    assert "TimeoutStopSec=45" in UNIT
    assert COMPOSE["services"]["worker"]["stop_grace_period"] == "45s"
    assert POD["terminationGracePeriodSeconds"] == 45


def test_redis_keeps_jobs() -> None:
    command = COMPOSE["services"]["redis"]["command"]
    assert command[1:] == ["--appendonly", "yes", "--maxmemory-policy", "noeviction"]


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("LEFT OUT: systemd-analyze is not here")
    program = tmp_path / "jobwire"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "jobwire-worker@.service"
    unit.write_text(UNIT.replace("/srv/%i/.venv/bin/jobwire", str(program)).replace("WorkingDirectory=/srv/%i", ""))
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    assert "jobwire-worker@.service:" not in done.stderr, done.stderr


def test_the_tests_of_ones_own_project() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-o",
        "asyncio_mode=auto",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        DEPLOY,
    ]
    environment = {**os.environ, "PYTHONPATH": str(DEPLOY)}
    done = subprocess.run(
        [*command, "-c", os.devnull, DEPLOY / "test_reports.py"],
        cwd=DEPLOY, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "2 passed" in done.stdout, done.stdout


@contextmanager
def application(command: list[str], redis_url: str, port: int) -> Iterator[None]:
    environment = {**os.environ, "JOBWIRE_URL": redis_url, "PYTHONPATH": str(DEPLOY)}
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=DEPLOY, env=environment, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 30
        while ask(port, "GET", "/")[0] == 0:
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_fastapi(redis_url: str) -> None:
    pytest.importorskip("fastapi", reason="LEFT OUT: fastapi is not installed")
    port = free_port()
    app = ["uvicorn", "--port", str(port), "--log-level", "warning", "reports_fastapi:app"]
    with application(app, redis_url, port):
        status, answer = ask(port, "POST", "/reports", {"customer": "Ann", "pages": 3})
        assert status == 202
        assert ask(port, "GET", f"/reports/{answer['id']}")[0] == 202, "nobody works yet"
        with worker(COMMANDS["docker"], redis_url):
            deadline = time.monotonic() + 20
            while (found := ask(port, "GET", f"/reports/{answer['id']}"))[0] == 202:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert found == (200, {"customer": "Ann", "pages": 3})
        assert ask(port, "GET", f"/reports/{answer['id']}") == found, "it is kept"
        assert ask(port, "GET", "/reports/no-such")[0] == 404


def test_flask(redis_url: str) -> None:
    pytest.importorskip("flask", reason="LEFT OUT: flask is not installed")
    port = free_port()
    app = ["flask", "--app", "reports_flask", "run", "--port", str(port)]
    with application(app, redis_url, port), worker(COMMANDS["docker"], redis_url):
        assert ask(port, "POST", "/reports", {"customer": "Ann"}) == (200, {"customer": "Ann", "pages": 1})


def test_the_page_names_every_file() -> None:
    page = (ROOT / "docs" / "DEPLOYING.md").read_text()
    for path in DEPLOY.iterdir():
        if path.is_file():
            assert path.name in page, path.name


def test_ten_commands_from_an_empty_folder(tmp_path: Path) -> None:
    """Those of the page, but for the environment, which is this one."""
    if shutil.which("curl") is None:
        pytest.skip("LEFT OUT: curl is not here")
    block = re.search(r"```bash\n(.*?)```", (ROOT / "docs" / "DEPLOYING.md").read_text(), re.DOTALL)
    assert block is not None
    lines = block[1].splitlines()
    commands = [line for line in lines if re.match(r"(python3|pip|cat|jobwire|export|curl) ", line)]
    assert len(commands) == 11, "export is part of the command before it"
    assert lines[0].startswith("python3 -m venv")
    assert lines[1].startswith("pip install")
    port = free_port(in_a_row=2)  # one for each process
    script = "\n".join(lines[2:]).replace("8081", str(port))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    shell = subprocess.Popen(
        ["bash", "-c", f"set -e; trap 'kill $(jobs -p)' EXIT\n{script}"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, log = shell.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGKILL)
        said, log = shell.communicate(timeout=20)
    assert "a report for Bob" in said, said + log
    assert '"ready": true' in said
    assert "jobwire_worker_slots" in said
