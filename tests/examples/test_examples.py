"""Every example runs as a process, on a server of its own and on one that is given, and ends with exit 0."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import jobwire
from tests.support.perl_peer import environment, missing

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


def run(*command: str | Path, **more: str) -> str:
    environment = {**os.environ, "PYTHONWARNINGS": "error", **more}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


def test_all_that_are_promised_are_there() -> None:
    names = {
        "attach.py",
        "cancel_and_timeout.py",
        "migrate_one_queue.py",
        "priority_queues.py",
        "rpc_backend.py",
        "service.py",
        "synopsis.pl",
        "synopsis.py",
    }
    assert names <= {path.name for path in EXAMPLES.iterdir()}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_on_a_server_of_its_own(script: Path) -> None:
    assert run(sys.executable, script)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_on_a_server_that_is_given(script: Path, redis_url: str) -> None:
    assert run(sys.executable, script, redis_url)


@pytest.mark.perl
def test_the_perl_synopsis_prints_what_its_twin_prints(redis_url: str) -> None:
    reason = missing("0.004")
    if reason:
        pytest.skip(f"NO PERL: {reason}")
    printed = run("perl", EXAMPLES / "synopsis.pl", redis_url, **environment("0.004"))
    assert printed == run(sys.executable, EXAMPLES / "synopsis.py", redis_url)


@pytest.mark.perl
async def test_the_perl_synopsis_with_a_python_worker_beside_it(redis_url: str) -> None:
    """Whoever of the two workers takes the job, the Perl client prints the same."""
    reason = missing("0.004")
    if reason:
        pytest.skip(f"NO PERL: {reason}")
    worker = jobwire.Worker(redis_url, job_poll_interval=0.2)

    @worker.handler
    async def reverse(job: jobwire.Job) -> str:
        return str(job.data["some_data"])[::-1]

    async with worker:
        for _ in range(3):
            printed = await asyncio.to_thread(run, "perl", EXAMPLES / "synopsis.pl", redis_url, **environment("0.004"))
            assert printed == "esaelp em esrever\n"
