"""Containers: Redis servers of several versions, Perl peers, and what pausing, killing and restarting them does."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from jobwire_conformance.cases.case import load_cases
from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.process import PeerCommand, PeerFault, PeerProcess
from jobwire_conformance.peers.container_peers import ContainerProcess, launcher, perl_container
from jobwire_conformance.peers.containers import ContainerFault, RedisContainer, engine, redis_images, remove
from jobwire_conformance.peers.perl import stacks_folder
from jobwire_conformance.peers.registry import MissingPeer, resolve
from jobwire_conformance.peers.servers import EnvironmentFault, Server, make_factory
from jobwire_conformance.record.redis_link import RedisLink
from jobwire_conformance.report.report import VerdictLine
from jobwire_conformance.report.verdicts import Verdict
from jobwire_conformance.run.expected import default_lists, load_expected
from jobwire_conformance.run.session import Request, make_plan, meet_peers, run_session

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker_engine")]
SECONDS = 20.0


@pytest.fixture(scope="session")
def docker_engine() -> str:
    """The version of the engine that answers."""
    try:
        return engine()
    except ContainerFault as fault:
        pytest.skip(f"LEFT OUT: {fault}")


@pytest.fixture(scope="session")
def perl(docker_engine: str) -> PeerCommand:
    """The Perl peer 0.004 in a container."""
    return _peer("perl@docker")


def _peer(name: str) -> PeerCommand:
    try:
        return resolve(name)[0]
    except MissingPeer as missing:
        pytest.skip(f"LEFT OUT: {missing}")


@asynccontextmanager
async def redis_in_container(image: str) -> AsyncIterator[Server]:
    async with make_factory(f"docker:{image}").factory() as server:
        yield server


@pytest.fixture(params=redis_images())
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A Redis server of each image in turn."""
    async with redis_in_container(request.param) as server:
        yield server


@pytest.fixture
async def one_redis(docker_engine: str) -> AsyncIterator[Server]:
    """A Redis server of the first image."""
    async with redis_in_container(redis_images()[0]) as server:
        yield server


def container_of(server: Server) -> RedisContainer:
    assert isinstance(server.launched, RedisContainer)
    return server.launched


@asynccontextmanager
async def linked(server: Server) -> AsyncIterator[RedisLink]:
    link = server.link()
    try:
        yield link
    finally:
        await link.close()


def existing(container_id: str) -> bool:
    """Whether the engine still knows a container."""
    from testcontainers.core.docker_client import DockerClient

    client = DockerClient().client
    try:
        return any(one.id == container_id for one in client.containers.list(all=True))
    finally:
        client.close()


# --- Redis ------------------------------------------------------------------------------------


async def test_a_redis_container_answers_and_keeps_data_and_port_when_restarted(redis: Server) -> None:
    container = container_of(redis)
    port = container.port
    assert redis.version.split()[0] in {"Redis", "Valkey"}
    assert redis.breakable
    async with linked(redis) as link:
        await link.call("SET", "kept", "yes")
        await redis.restart()
        assert container.port == port
        assert await link.call("GET", "kept") == b"yes"


async def test_a_killed_redis_container_refuses_and_comes_back_with_its_data(redis: Server) -> None:
    async with linked(redis) as link:
        await link.call("RPUSH", "list", "a", "b")
        await redis.stop()
        assert not container_of(redis).running
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the engine's forwarder has it
            await link.call("PING")
        await redis.restart()
        assert container_of(redis).running
        assert await link.call("LRANGE", "list", 0, -1) == [b"a", b"b"]


async def test_a_paused_redis_container_answers_late_not_wrongly(one_redis: Server) -> None:
    async with linked(one_redis) as link:
        await link.call("SET", "key", "value")
        container_of(one_redis).pause()
        waiting = asyncio.ensure_future(link.call("GET", "key"))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        container_of(one_redis).resume()
        assert await asyncio.wait_for(waiting, SECONDS) == b"value"


async def test_nothing_is_left_of_a_redis_container(docker_engine: str) -> None:
    async with redis_in_container(redis_images()[0]) as server:
        container_id = container_of(server).container_id
        assert existing(container_id)
    assert not existing(container_id)


async def test_an_image_that_is_no_redis_is_an_environment_fault(perl: PeerCommand) -> None:
    with pytest.raises(EnvironmentFault, match="does not answer PING; its log ends"):
        async with redis_in_container(perl.argv[-1]):
            pass


# --- the suite, with containers on one side or everywhere ---------------------------------------


async def run_cases(server_name: str, clients: list[str], workers: list[str], ids: list[str]) -> list[VerdictLine]:
    wanted = [case for case in load_cases() if case.id in ids]
    assert sorted(case.id for case in wanted) == sorted(ids)
    request = Request(cases=wanted, clients=clients, workers=workers, jobs=2)
    peers = await meet_peers(request)
    if peers.missing:
        pytest.skip(f"LEFT OUT: {'; '.join(peers.missing.values())}")
    # One mode will do: this is about containers, and the suite's own run goes through all of them.
    plan = [item for item in make_plan(request, peers) if item.instance.mode == "reliable"]
    report = await run_session(request, peers, plan, make_factory(server_name), load_expected(default_lists()))
    assert report.footer.ended
    return report.verdicts


def passed(verdicts: list[VerdictLine]) -> set[str]:
    """The cases that passed at least once; anything but passes and what a peer does not claim fails the test."""
    wrong = [line for line in verdicts if line.verdict not in {Verdict.PASS, Verdict.UNSUPPORTED, Verdict.LENIENT}]
    assert not wrong, "\n".join(
        f"{line.case}: {line.verdict}: {line.reason} {line.expected} {line.actual} {line.steps} {line.stderr}"
        for line in wrong
    )
    return {line.case for line in verdicts if line.verdict is Verdict.PASS}


EXCHANGE = [
    "fault/client-paused",
    "fault/handler-exits",
    "fault/worker-killed-running",
    "fault/worker-paused",
    "values/text/utf8",
]
REDIS_FAULTS = ["fault/redis-gone-for-a-while", "fault/redis-restarted-idle", "fault/redis-restarted-queued"]


@pytest.mark.parametrize("image", redis_images())
async def test_python_peers_outlive_a_redis_container_that_is_restarted_and_killed(image: str) -> None:
    assert passed(await run_cases(f"docker:{image}", ["python"], ["python"], REDIS_FAULTS)) == set(REDIS_FAULTS)


async def test_a_perl_worker_in_a_container_serves_a_python_client(perl: PeerCommand) -> None:
    assert passed(await run_cases("docker", ["python"], [perl.name], EXCHANGE)) == set(EXCHANGE)


async def test_a_perl_client_in_a_container_is_served_by_a_python_worker(perl: PeerCommand) -> None:
    cases = ["fault/client-killed", "fault/client-paused", "values/text/utf8"]
    assert passed(await run_cases("docker", [perl.name], ["python"], cases)) == set(cases)


async def test_perl_in_containers_on_both_sides(perl: PeerCommand) -> None:
    cases = ["fault/client-killed", "fault/worker-killed-running", "values/text/utf8"]
    assert passed(await run_cases("docker", [perl.name], [perl.name], cases)) == set(cases)


# --- one Perl peer ----------------------------------------------------------------------------


@asynccontextmanager
async def running(command: PeerCommand, server: Server | None = None) -> AsyncIterator[tuple[PeerProcess, list[str]]]:
    """A peer after its handshake (a worker at work, where a server is given), and the IDs of the jobs that it took."""
    took: list[str] = []
    peer = PeerProcess(command, lambda answer: took.append(str(answer.id)) if isinstance(answer, driver.Job) else None)
    await peer.start()
    try:
        await peer.handshake(SECONDS)
        if server is not None:
            await peer.ask(driver.Ready, SECONDS, worker_of(server))
        yield peer, took
    finally:
        await peer.close()


def worker_of(server: Server) -> driver.Start:
    url = server.url_through(server.upstream.port)
    return driver.Start(role="worker", redis=url, processing_queue="processing", job_poll_interval=0.5)


async def submit(link: RedisLink, name: str, **data: str) -> None:
    fields = [word for key, value in data.items() for word in (f"text_{key}", value)]
    await link.call("HSET", f"job::{name}", "_reply_to", "nobody", *fields)
    await link.call("LPUSH", "jobs::pending", name)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.02)


async def result_of(link: RedisLink, name: str) -> bytes:
    async with asyncio.timeout(SECONDS):
        while (value := await link.call("HGET", f"job::{name}", "result")) is None:  # noqa: ASYNC110 - nor has this
            await asyncio.sleep(0.02)
    assert isinstance(value, bytes)
    return value


def container_id_of(peer: PeerProcess) -> str:
    process = peer._process
    assert isinstance(process, ContainerProcess)
    return process.container_id


async def test_the_peer_says_what_it_runs_and_leaves_nothing(perl: PeerCommand) -> None:
    async with running(perl) as (peer, _):
        assert peer.hello is not None
        assert (peer.hello.language, peer.hello.libraries["Job::Async::Redis"]) == ("Perl", "0.004")
        container_id = container_id_of(peer)
        assert existing(container_id)
    assert peer.status == 0
    assert not existing(container_id)


async def test_sigterm_lets_the_running_job_end(perl: PeerCommand, one_redis: Server) -> None:
    async with running(perl, one_redis) as (peer, took), linked(one_redis) as link:
        await submit(link, "j1", op="sleep", seconds="1")
        await until(lambda: took == ["j1"])
        peer.signal(signal.SIGTERM)
        assert await peer.wait_exit(SECONDS) == 0
        assert await result_of(link, "j1") == b"Tslept"


async def test_a_killed_container_leaves_its_job_and_another_takes_the_next(
    perl: PeerCommand, one_redis: Server
) -> None:
    async with linked(one_redis) as link:
        async with running(perl, one_redis) as (peer, took):
            await submit(link, "j1", op="sleep", seconds="30")
            await until(lambda: took == ["j1"])
            peer.signal(signal.SIGKILL)
            assert await peer.wait_exit(SECONDS) == -signal.SIGKILL
            with pytest.raises(PeerFault, match="not running"):
                peer.send(driver.Stop())
        assert await link.call("LRANGE", "jobs::processing", 0, -1) == [b"j1"]
        async with running(perl, one_redis):
            await submit(link, "j2", op="reverse", value="abc")
            assert await result_of(link, "j2") == b"Tcba"


async def test_a_paused_container_does_nothing_until_it_is_resumed(perl: PeerCommand, one_redis: Server) -> None:
    async with running(perl, one_redis) as (peer, took), linked(one_redis) as link:
        peer.signal(signal.SIGSTOP)
        await submit(link, "j1", op="echo", value="late")
        await asyncio.sleep(0.5)
        assert not took
        assert peer.alive
        peer.signal(signal.SIGCONT)
        assert await result_of(link, "j1") == b"Tlate"


async def test_a_paused_container_can_be_closed(perl: PeerCommand) -> None:
    async with running(perl) as (peer, _):
        container_id = container_id_of(peer)
        peer.signal(signal.SIGSTOP)
    assert not existing(container_id)


async def test_a_container_that_ended_is_started_again(perl: PeerCommand, one_redis: Server) -> None:
    container = perl_container("0.004", stacks_folder() if os.environ.get("JOBWIRE_DOCKER_CPAN") == "0" else None)
    again = replace(perl, launch=lambda _: ContainerProcess.open(container, keep=True))
    try:
        async with linked(one_redis) as link:
            async with running(again, one_redis) as (peer, _):
                first = container_id_of(peer)
                peer.signal(signal.SIGKILL)
                assert await peer.wait_exit(SECONDS) == -signal.SIGKILL
            async with running(again, one_redis) as (peer, _):
                assert container_id_of(peer) == first
                await submit(link, "j1", op="reverse", value="abc")
                assert await result_of(link, "j1") == b"Tcba"
    finally:
        remove(container)
    assert not existing(first)


async def test_a_value_of_two_million_bytes_crosses_the_streams(perl: PeerCommand, one_redis: Server) -> None:
    size = 2_000_000
    start = driver.Start(role="client", redis=one_redis.url_through(one_redis.upstream.port))
    answers: list[driver.Answer] = []
    client = PeerProcess(perl, answers.append)
    await client.start()
    try:
        await client.handshake(SECONDS)
        await client.ask(driver.Ready, SECONDS, start)
        async with running(perl, one_redis):
            client.send(driver.Submit(seq=1, data={"op": "reverse", "value": "ab" * (size // 2)}))
            await until(lambda: any(isinstance(answer, driver.Result) for answer in answers))
    finally:
        await client.close()
    result = next(answer for answer in answers if isinstance(answer, driver.Result))
    assert result.value == "ba" * (size // 2)


async def test_what_perl_says_before_it_dies_is_kept(perl: PeerCommand) -> None:
    container = perl_container("0.004", None).with_command("").with_env("PERL5OPT", "-MNo::Such::Module")
    peer = PeerProcess(replace(perl, launch=launcher(lambda: container)))
    await peer.start()
    try:
        assert await peer.wait_exit(SECONDS) not in {0, None}
        await until(lambda: "No/Such/Module.pm" in peer.stderr())
        with pytest.raises(PeerFault):
            await peer.handshake(SECONDS)
    finally:
        await peer.close()


@pytest.mark.parametrize("dialect", ["0.001", "0.002", "0.003", "master"])
async def test_other_dialects_run_in_containers(docker_engine: str, dialect: str) -> None:
    if os.environ.get("JOBWIRE_DOCKER_CPAN") != "0" and dialect != "0.003":
        pytest.skip(
            "LEFT OUT: an image built from CPAN for each dialect takes too long; JOBWIRE_DOCKER_CPAN=0 tries all"
        )
    async with running(_peer(f"perl@docker:{dialect}")) as (peer, _):
        assert peer.hello is not None
        assert list(peer.hello.dialects) == [dialect]
