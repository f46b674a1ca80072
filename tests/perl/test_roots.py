"""Perl of other Debian releases, in the roots that ``ci/perl-roots`` makes; skipped, with the reason, without them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

import jobwire
from jobwire_conformance.peers.operations import run_operation
from jobwire_conformance.peers.perl import stacks_folder
from jobwire_conformance.peers.perl_roots import KEPT, SUITES, PerlRoot, lay, roots_folder
from tests.support.perl_peer import PEER, PerlPeer

MAKE_ROOTS = Path(__file__).resolve().parents[2] / "ci" / "perl-roots"
JOBS = 100
STACKS = ["0.004", "master", "0.004+nar5"]
#: Perl's and Sereal's versions, where the release no longer moves.
RELEASED = {"bullseye": ("5.32.", "4.018"), "trixie": ("5.40.", "5.004")}
VERSIONS = """
    use JSON::PP ();
    my %found = (perl => sprintf '%vd', $^V);
    for my $module (qw(Sereal Sereal::Encoder Sereal::Decoder Cpanel::JSON::XS JSON::XS JSON::PP)) {
        eval "require $module; 1" or die $@;
        $found{$module} = '' . $module->VERSION;
    }
    print JSON::PP->new->canonical->encode(\\%found);
"""

StartInRoot = Callable[..., Coroutine[Any, Any, PerlPeer]]


def require(root: PerlRoot, stack: str) -> None:
    reason = root.missing(stack)
    if reason:
        pytest.skip(f"NO PERL: {reason}")


def release(root: PerlRoot) -> str:
    return subprocess.check_output(root.command("perl", "-e", "printf '%vd', $^V"), text=True)


@pytest.fixture(params=SUITES)
def root(request: pytest.FixtureRequest) -> PerlRoot:
    return PerlRoot(request.param, stacks_folder())


@pytest.fixture
async def in_root(redis_url: str, root: PerlRoot) -> AsyncIterator[StartInRoot]:
    """``await in_root("worker", "0.004", …)``: a Perl peer in the root; killed at the end."""
    started: list[PerlPeer] = []

    async def start(role: Any, stack: str, **options: Any) -> PerlPeer:
        require(root, stack)
        command = root.peer_command(stack, PEER)
        peer = await PerlPeer.start(role, redis=redis_url, dialect=stack, command=command, **options)
        started.append(peer)
        return peer

    yield start
    for peer in started:
        await peer.kill()


def test_versions(root: PerlRoot) -> None:
    require(root, "0.004")
    found: dict[str, str] = json.loads(subprocess.check_output(root.perl_command("0.004", "-e", VERSIONS), text=True))
    print(root.suite, found)
    for name, version in found.items():
        assert re.fullmatch(r"v?\d+(\.\d+)*(_\d+)?", version), name
    if root.suite in RELEASED:
        perl, sereal = RELEASED[root.suite]
        assert found["perl"].startswith(perl)
        assert found["Sereal"] == sereal


@pytest.mark.parametrize("stack", STACKS)
async def test_perl_worker(
    in_root: StartInRoot, root: PerlRoot, redis: redis_py.Redis, redis_url: str, stack: str
) -> None:
    worker = await in_root("worker", stack, max_concurrent_jobs=8)
    assert worker.hello.runtime == f"perl {release(root)}"
    sent = [
        {"op": "echo", "value": {"n": number, "text": f"déjà {number}", "half": number / 2}} for number in range(JOBS)
    ]
    async with jobwire.Client(redis_url, timeout=60) as client:
        answers = await asyncio.gather(*(client.submit(data) for data in sent))
    assert [answer["n"] for answer in answers] == list(range(JOBS))
    assert [answer["half"] for answer in answers] == [number / 2 for number in range(JOBS)]
    assert sorted(job.data["value"]["n"] for job in worker.jobs) == list(range(JOBS))
    assert {job.data["value"]["text"] for job in worker.jobs} == {f"déjà {number}" for number in range(JOBS)}
    assert (await worker.stop()).jobs == JOBS
    assert redis.keys("*") == []


@pytest.mark.parametrize("stack", STACKS)
async def test_perl_client(in_root: StartInRoot, redis: redis_py.Redis, redis_url: str, stack: str) -> None:
    worker = jobwire.Worker(redis_url, job_poll_interval=1, max_concurrent_jobs=8)

    @worker.handler
    async def operation(job: jobwire.Job) -> Any:
        return await run_operation(job.data)

    async with worker:
        client = await in_root("client", stack)
        await client.call({"op": "reverse", "value": "subscribed"})
        submissions = [client.submit({"op": "add", "first": number, "second": 0.5}) for number in range(JOBS)]
        answers = [await submission.result(within=60) for submission in submissions]
        assert answers == [f"{number}.5" for number in range(JOBS)]
        assert (await client.stop()).jobs == JOBS + 1
    assert redis.keys("*") == []


def test_a_root_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JOBWIRE_ROOTS", str(tmp_path))
    assert roots_folder() == tmp_path
    assert PerlRoot("potato", tmp_path).missing() == (
        "there is no root file system of Debian potato: ci/perl-roots potato makes it, as root"
    )


def test_a_copy_is_made_once_for_the_same_content(tmp_path: Path) -> None:
    source, place = tmp_path / "source", tmp_path / "place"
    (source / "lib").mkdir(parents=True)
    (source / "lib" / "A.pm").write_text("package A; 1;")
    first = lay(source, place)
    made = (first / "lib").stat().st_ino
    assert lay(source, place) == first
    assert (first / "lib").stat().st_ino == made
    (source / "lib" / "A.pm").write_text("package A; 2;")
    second = lay(source, place)
    assert second != first
    assert (first / "lib" / "A.pm").read_text() == "package A; 1;"
    assert (second / "lib" / "A.pm").read_text() == "package A; 2;"
    assert sorted(place.iterdir()) == sorted([first, second])


def test_a_copy_that_nobody_uses_goes(tmp_path: Path) -> None:
    source, place = tmp_path / "source", tmp_path / "place"
    source.mkdir()
    (source / "a").write_text("1")
    old = lay(source, place)
    (source / "a").write_text("2")
    os.utime(old, (0, time.time() - KEPT - 60))
    new = lay(source, place)
    assert new != old
    assert list(place.iterdir()) == [new]


@pytest.mark.parametrize("argument", ["--what", "../sid", "Sid"])
def test_a_wrong_argument_makes_nothing(tmp_path: Path, argument: str) -> None:
    environment = {**os.environ, "JOBWIRE_ROOTS": str(tmp_path / "roots")}
    run = subprocess.run([MAKE_ROOTS, argument], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert not (tmp_path / "roots").exists()


def test_without_root_nothing_is_made(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        command = [str(MAKE_ROOTS), "sid"]
    else:
        command = ["setpriv", "--reuid", "65534", "bash", "-c", MAKE_ROOTS.read_text(), str(MAKE_ROOTS), "sid"]
    environment = {**os.environ, "JOBWIRE_ROOTS": str(tmp_path / "roots")}
    run = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert run.returncode == 3
    assert run.stderr == "ci/perl-roots: no root can be made: only root may run debootstrap (sid not made)\n"
    assert not (tmp_path / "roots").exists()
