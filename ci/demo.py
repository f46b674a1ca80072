"""Jobs cross between Python and Perl through an embedded Redis; every step on the wire is shown, decoded.

python ci/demo.py              Python → Python; where Perl has Job::Async::Redis also Perl → Python and Python → Perl,
                               else a recorded Perl client against the live Python worker
python ci/demo.py --no-perl    the recorded Perl client, even where Perl is there

Each side reaches Redis through a recording proxy of the conformance suite, so every byte shown was really sent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

from story import say, shown, styled, tell_steps

import jobwire
from jobwire.testing.server import RedisServer
from jobwire.transport import open_transport
from jobwire.wire import Failure, decode_job, decode_result, new_id
from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.process import PeerCommand, PeerFault, PeerProcess, PeerUnsupported
from jobwire_conformance.driver.values import decode_value, encode_value
from jobwire_conformance.peers.operations import run_operation
from jobwire_conformance.peers.registry import MissingPeer, resolve
from jobwire_conformance.record.proxy import Proxy, Recorder, Upstream
from jobwire_conformance.record.transcripts import read_transcript

ROOT = Path(__file__).resolve().parents[1]

Data: TypeAlias = dict[str, Any]
Submit: TypeAlias = Callable[[Data], Awaitable[tuple[str, Any]]]
"""Submits a job and waits for its end: its ID, and its result (or the failure)."""

JOBS: list[tuple[Data, Any]] = [
    ({"op": "reverse", "value": "reverse me please"}, "esaelp em esrever"),
    ({"op": "add", "first": 40, "second": 2}, 42),
    ({"op": "echo", "value": {"city": "Łódź", "at": [51.8, 19.5]}}, {"city": "Łódź", "at": [51.8, 19.5]}),
]
RECORDING = ROOT / "conformance" / "golden" / "0.004-multi0-basic.jsonl"
SHOWN = {"reverse", "add", "href"}  # the jobs of the recording whose steps are printed
PEER_TIMEOUT = 20.0

NAMED = ("Job::Async::Redis", "Net::Async::Redis", "Sereal::Encoder")


# -- one exchange


class Stage:
    """One Redis, a recording proxy for each side, and the traffic so far."""

    def __init__(self, server: RedisServer) -> None:
        self.recorder = Recorder()
        upstream = Upstream(port=server.port)
        self._proxies = {role: Proxy(upstream, self.recorder, role) for role in ("client", "worker")}
        self.jobs = self.failures = 0
        self._told = False

    async def __aenter__(self) -> Self:
        for proxy in self._proxies.values():
            await proxy.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for proxy in self._proxies.values():
            await proxy.close()

    def url(self, role: str) -> str:
        return f"redis://127.0.0.1:{self._proxies[role].port}"

    async def settled(self) -> None:
        """Wait until nothing has been said for a moment, so that the last steps are there."""
        while True:
            seen = len(self.recorder.events)
            await asyncio.sleep(0.03)
            if len(self.recorder.events) == seen:
                return

    async def run(self, submit: Submit, data: Data, expected: Any, *, steps: bool = True) -> None:
        """Submit one job, print its steps and its result."""
        began = time.perf_counter()
        job_id, result = await submit(data)
        took = (time.perf_counter() - began) * 1000
        await self.settled()
        say(f"  {styled('head', 'job')}     {shown(data)}")
        if steps:
            tell_steps(self.recorder.events, job_id, every_field=not self._told)
            self._told = True
        right = result == expected or (isinstance(expected, int) and result == str(expected))
        self.jobs += 1
        self.failures += not right
        mark = styled("good", "✓") if right else styled("bad", f"✗ expected {shown(expected)}, got")
        say(f"  result  {mark} {styled('good', shown(result))}  {styled('dim', f'{took:.1f} ms')}")
        say()


Exchange: TypeAlias = Callable[[Stage], Awaitable[None]]


@contextlib.asynccontextmanager
async def python_worker(stage: Stage, do: Callable[[Data], Awaitable[Any]] = run_operation) -> AsyncIterator[None]:
    worker = jobwire.Worker(stage.url("worker"), job_poll_interval=0.5)

    @worker.handler
    async def handle(job: jobwire.Job) -> object:
        data: Any = job.data
        return await do(data)

    async with worker:
        yield


@contextlib.asynccontextmanager
async def python_client(stage: Stage) -> AsyncIterator[Submit]:
    async with jobwire.Client(stage.url("client"), timeout=PEER_TIMEOUT) as client:

        async def submit(data: Data) -> tuple[str, Any]:
            handle = client.submit(data)
            try:
                return str(handle.id), await handle
            except jobwire.JobFailed as error:
                return str(handle.id), Failure(error.type, error.message)

        yield submit


@contextlib.asynccontextmanager
async def perl_peer(
    command: PeerCommand, stage: Stage, role: driver.Role
) -> AsyncIterator[tuple[PeerProcess, asyncio.Queue[driver.Answer]]]:
    answers: asyncio.Queue[driver.Answer] = asyncio.Queue()
    peer = PeerProcess(command, answers.put_nowait)
    await peer.start()
    try:
        await peer.handshake(PEER_TIMEOUT)
        await peer.ask(driver.Ready, PEER_TIMEOUT, driver.Start(role=role, redis=stage.url(role)))
        yield peer, answers
        await peer.ask(driver.Stopped, PEER_TIMEOUT, driver.Stop())
    finally:
        await peer.close()


@contextlib.asynccontextmanager
async def perl_worker(command: PeerCommand, stage: Stage) -> AsyncIterator[None]:
    async with perl_peer(command, stage, "worker"):
        yield


@contextlib.asynccontextmanager
async def perl_client(command: PeerCommand, stage: Stage) -> AsyncIterator[Submit]:
    async with perl_peer(command, stage, "client") as (peer, answers):

        async def submit(data: Data) -> tuple[str, Any]:
            peer.send(driver.Submit(seq=1, data=encode_value(data)))
            async with asyncio.timeout(PEER_TIMEOUT):
                while True:
                    answer = await answers.get()
                    if isinstance(answer, driver.Result):
                        return str(answer.id), decode_value(answer.value)
                    if not isinstance(answer, driver.Submitted):
                        raise PeerFault(f"the Perl client says {answer}")

        yield submit


# -- where there is no Perl: a recorded Perl client


class RecordedJob(NamedTuple):
    """The bytes of a real Perl client for one job, and the answer of a real Perl worker."""

    job_id: bytes
    client_id: bytes
    commands: list[tuple[bytes, ...]]
    data: Data
    result: Any


def recorded_jobs() -> Iterator[RecordedJob]:
    recording = read_transcript(RECORDING)
    answers = {words[1]: words for words in recording.commands("worker") if words[0] == b"HMSET" and b"result" in words}
    written = recording.commands("client")
    for at, words in enumerate(written):
        if words[0] == b"HMSET":
            fields = dict(zip(words[2::2], words[3::2], strict=True))
            job_id = words[1].removeprefix(b"job::")
            answer = answers[words[1]]
            outcome = decode_result(answer[answer.index(b"result") + 1])
            if not isinstance(outcome, Failure):
                data: Any = decode_job(job_id, fields).data
                yield RecordedJob(job_id, fields[b"_reply_to"], [words, written[at + 1]], data, outcome.value)


async def as_recorded(data: Data) -> Any:
    """Do the work of the recorded worker's handler: the same table, and the empty string for a job without ``op``."""
    return await run_operation(data) if "op" in data else ""


@contextlib.asynccontextmanager
async def recorded_client(stage: Stage) -> AsyncIterator[Callable[[RecordedJob], Submit]]:
    """Write the recording, byte for byte, under fresh IDs."""
    client_id = new_id().encode()
    heard: asyncio.Queue[Any] = asyncio.Queue()
    transport = open_transport(stage.url("client"))
    notices = await transport.connect(on_push=heard.put_nowait)
    commands = await transport.connect()
    notices.send([(b"SUBSCRIBE", b"client::" + client_id)])

    async def play(job: RecordedJob) -> tuple[str, Any]:
        job_id = new_id().encode()
        replaced = {job.job_id: job_id, b"job::" + job.job_id: b"job::" + job_id, job.client_id: client_id}
        commands.send([tuple(replaced.get(word, word) for word in words) for words in job.commands])
        async with asyncio.timeout(PEER_TIMEOUT):
            while (await heard.get())[2] != job_id:
                pass
        reply = await commands.execute((b"HMGET", b"job::" + job_id, b"result"))
        await commands.execute((b"DEL", b"job::" + job_id))
        raw = reply[0] if isinstance(reply, list) else None
        outcome = decode_result(raw if isinstance(raw, bytes) else b"")
        return job_id.decode(), outcome if isinstance(outcome, Failure) else outcome.value

    try:
        yield lambda job: lambda _: play(job)
    finally:
        await commands.close()
        await notices.close()
        await transport.close()


# -- the programme


async def meet_perl() -> tuple[PeerCommand | None, str]:
    """Return the command of a Perl peer, and its description; None, and the reason, where there is none."""
    try:
        command = resolve("perl")[0]
    except MissingPeer as missing:
        return None, str(missing)
    peer = PeerProcess(command)
    try:
        await peer.start()
        hello = await peer.handshake(PEER_TIMEOUT)
    except PeerFault as fault:
        return None, f"the Perl peer does not start: {(peer.stderr().splitlines() or [str(fault)])[0]}"
    finally:
        await peer.close()
    libraries = ", ".join(f"{name} {hello.libraries[name]}" for name in NAMED if name in hello.libraries)
    return command, f"{hello.runtime}, {libraries}"


def title(text: str) -> None:
    say(styled("head", f"── {text} {'─' * (84 - len(text))}"))
    say()


async def python_to_python(stage: Stage) -> None:
    title("Python client → Python worker")
    async with python_worker(stage), python_client(stage) as submit:
        for data, expected in JOBS:
            await stage.run(submit, data, expected)
        # A failure is told to clients that say, with _accept, that they read it.
        await stage.run(submit, {"op": "fail", "message": "no stamps left"}, Failure("Failing", "no stamps left"))


async def perl_to_python(stage: Stage, perl: PeerCommand) -> None:
    title("Perl client → Python worker")
    async with python_worker(stage), perl_client(perl, stage) as submit:
        for data, expected in JOBS:
            await stage.run(submit, data, expected)


async def python_to_perl(stage: Stage, perl: PeerCommand) -> None:
    title("Python client → Perl worker")
    async with perl_worker(perl, stage), python_client(stage) as submit:
        for data, expected in JOBS:
            await stage.run(submit, data, expected)


async def recording_to_python(stage: Stage) -> None:
    title("recorded Perl client (0.004) → Python worker")
    async with python_worker(stage, as_recorded), recorded_client(stage) as play:
        for job in recorded_jobs():
            await stage.run(play(job), job.data, job.result, steps=job.data.get("op") in SHOWN)
    if stage.failures == 0:
        say("  Every answer equals the one that a real Perl worker gave when this was recorded.")
        say()


async def programme(server: RedisServer, *, use_perl: bool) -> int:
    perl, about = await meet_perl() if use_perl else (None, "--no-perl was given")
    say(f"Redis:  {server.binary.name} {server.version}, started for this, on 127.0.0.1:{server.port}")
    say(f"Python: {sys.version.split()[0]}, jobwire {jobwire.__version__}")
    if perl is not None:
        say(f"Perl:   {about}")
    else:
        say(f"Perl:   not used ({about});")
        say("        a recorded Perl client is played instead:")
        say(f"        {RECORDING.relative_to(ROOT)}")
    say()
    say("▸ sent to Redis, ◂ received; ms since the job's first step; IDs cut to eight digits.")
    say("text_… plain text · sereal_… a Sereal document, its version, decoded · _… bookkeeping")
    say("result: T text · J JSON · V a JSON scalar, E a failure: only where _accept asks for them")
    say()
    exchanges: list[Exchange] = [python_to_python]
    if perl is None:
        exchanges.append(recording_to_python)
    else:
        exchanges += [partial(perl_to_python, perl=perl), partial(python_to_perl, perl=perl)]
    jobs = failures = 0
    for exchange in exchanges:
        async with Stage(server) as stage:
            await exchange(stage)
            jobs += stage.jobs
            failures += stage.failures
    if failures:
        say(styled("bad", f"{failures} of {jobs} jobs did not end as they should"))
        return 1
    say(styled("good", f"✓ {jobs} jobs, every result right.") + " Nothing is left running.")
    say("Next: README.md, examples/, and docs/PROTOCOL.md for the whole wire.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--no-perl", action="store_true", help="play a recorded Perl client even where Perl is there")
    options = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8
    logging.getLogger("jobwire").addHandler(logging.NullHandler())  # the failure that is shown is meant
    try:
        with RedisServer() as server:
            return asyncio.run(programme(server, use_perl=not options.no_perl))
    except BrokenPipeError:  # ci/demo | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (jobwire.JobwireError, PeerFault, PeerUnsupported, TimeoutError) as error:
        sys.stdout.flush()
        sys.stderr.write(f"ci/demo: {type(error).__name__}: {error}\n")
        return 3 if isinstance(error, jobwire.ConfigError) else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
