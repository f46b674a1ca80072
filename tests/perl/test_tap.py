"""``jobwire tap`` between real Perl processes, and between Perl and Python, in RESP2 and RESP3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis as redis_py

import jobwire
from jobwire_conformance.peers.operations import run_operation
from jobwire_conformance.record.relay import Upstream
from jobwire_conformance.rules.steps import Step
from jobwire_conformance.rules.watch import Watch
from jobwire_conformance.tap.follow import Follower
from jobwire_conformance.tap.relay import TapRelay
from tests.support.perl_peer import environment

StartPerl = Callable[..., Awaitable[Any]]
JOBS: list[dict[str, Any]] = [
    {"op": "reverse", "value": "before"},
    {"op": "echo", "value": [1, {"a": "b"}, None]},
    {"op": "echo", "value": "☺"},
]


class Tap:
    def __init__(self, url: str, **told: Any) -> None:
        self.follower = Follower(Watch(**told), values=True)
        self.steps: list[Step] = []
        port = urlsplit(url).port or 0
        self.relay = TapRelay(Upstream(port=port), self.follower, on_step=self.steps.append)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.relay.port}"

    def flagged(self) -> list[tuple[str, str]]:
        self.steps += self.follower.end(self.relay.now())
        assert self.follower.faults == 0
        return [(flag.requirement, flag.what) for step in self.steps for flag in step.flags]

    async def until_collected(self, count: int) -> None:
        """Perl deletes a hash after it has handed the result over."""
        for _ in range(200):
            if self.follower.watch.jobs.collected >= count:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{self.follower.watch.jobs.collected} of {count} jobs collected")


@asynccontextmanager
async def tapped(url: str, **told: Any) -> AsyncIterator[Tap]:
    tap = Tap(url, **told)
    await tap.relay.start()
    try:
        yield tap
    finally:
        await tap.relay.close()


@pytest.mark.parametrize("told", [False, True], ids=["told nothing", "told all"])
@pytest.mark.parametrize("stack", ["0.002", "0.003", "0.004", "master", "0.004+nar5"])
async def test_a_perl_pair_shows_nothing_to_flag(redis_url: str, perl: StartPerl, stack: str, told: bool) -> None:
    dialect = stack.partition("+")[0]
    known = {"mode": "reliable", "dialect": dialect, "prefix": "jobs"} if told else {}
    jobs = JOBS if dialect != "0.002" else JOBS[:1]  # which writes ARRAY(0x…)
    async with tapped(redis_url, **known) as tap:
        worker = await perl("worker", dialect=stack, redis=tap.url)
        client = await perl("client", dialect=stack, redis=tap.url)
        for job in jobs:
            await client.call(job)
        await tap.until_collected(len(jobs))
        await client.stop()
        await worker.kill()
        assert tap.flagged() == []
        said = tap.follower.summary(1.0)
        assert (said.jobs_submitted, said.jobs_completed, said.jobs_collected) == (len(jobs),) * 3
        speaks_resp3 = any(step.command == "HELLO" for step in tap.steps)
        assert speaks_resp3 == ("nar5" in stack)
        roles = {step.command: step.role for step in tap.steps if step.direction == ">"}
        assert (roles["HMSET"], roles["BRPOPLPUSH"], roles["SUBSCRIBE"], roles["DEL"]) == (
            "worker", "worker", "client", "client",
        )  # fmt: skip


@pytest.mark.parametrize("stack", ["0.004", "master", "0.004+nar5"])
@pytest.mark.parametrize("perl_is", ["client", "worker"])
async def test_perl_and_python(redis_url: str, perl: StartPerl, stack: str, perl_is: str) -> None:
    async with tapped(redis_url, mode="reliable", dialect="0.004", prefix="jobs") as tap:
        if perl_is == "client":
            worker = jobwire.Worker(tap.url, job_poll_interval=0.5)

            @worker.handler
            async def operation(job: jobwire.Job) -> Any:
                return await run_operation(job.data)

            async with worker:
                peer = await perl("client", dialect=stack, redis=tap.url)
                assert await peer.call(JOBS[0]) == "erofeb"
                assert await peer.call(JOBS[1]) == JOBS[1]["value"]
                await tap.until_collected(2)
                await peer.stop()
        else:
            peer = await perl("worker", dialect=stack, redis=tap.url)
            async with jobwire.Client(tap.url, timeout=20) as client:
                assert await client.submit(JOBS[0]) == "erofeb"
                assert await client.submit(JOBS[1]) == JOBS[1]["value"]
            await peer.kill()
        assert tap.flagged() == []


async def test_a_client_of_0_002_and_a_worker_of_0_004_are_told_apart(redis_url: str, perl: StartPerl) -> None:
    """Tcba: nothing on the wire tells 0.002 from 0.003, so this takes the word of an operator."""
    async with tapped(redis_url, dialect="0.002") as tap:
        worker = await perl("worker", dialect="0.004", redis=tap.url)
        client = await perl("client", dialect="0.002", redis=tap.url)
        assert await client.call({"op": "reverse", "value": "abc"}) == "Tcba"
        await client.stop()
        await worker.kill()
        assert {requirement for requirement, _ in tap.flagged()} == {"TAK-4"}


async def test_a_client_of_0_004_and_a_worker_of_0_002(redis_url: str, perl: StartPerl) -> None:
    async with tapped(redis_url) as tap:
        worker = await perl("worker", dialect="0.002", redis=tap.url)
        client = await perl("client", dialect="0.004", redis=tap.url)
        assert await client.call({"op": "reverse", "value": "abc"}) == "ba"
        await client.stop()
        await worker.kill()
        assert "RES-1" in {requirement for requirement, _ in tap.flagged()}


HASTY = """
use strict; use warnings; use IO::Async::Loop; use Job::Async;
my $loop = IO::Async::Loop->new;
$loop->add(my $jobs = Job::Async->new);
my $client = $jobs->client(redis => { uri => $ARGV[0] });
$client->start->get;
print $client->submit(op => 'reverse', value => 'abc')->get, "\\n";
"""


async def test_a_perl_program_that_ends_with_its_result_leaves_the_hash(
    redis_url: str, redis: redis_py.Redis, perl: StartPerl
) -> None:
    async with tapped(redis_url) as tap:
        await perl("worker", redis=tap.url)
        process = await asyncio.create_subprocess_exec(
            "perl", "-e", HASTY, tap.url, env=environment("0.004"), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(process.communicate(), 30)
        assert output == b"cba\n"
        await asyncio.sleep(0.2)
        assert [key for key in redis.keys("*") if key.startswith(b"job::")], "its DEL has never left"
        assert tap.flagged() == [("NOT-3", "a hash stays whose result was read")]
