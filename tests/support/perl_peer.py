"""Real Perl processes for tests: a Job::Async client or worker behind ``perl_fixtures/bin/peer.pl``.

    async with await PerlPeer.start("worker", redis=url, dialect="0.004", max_concurrent_jobs=8) as worker:
        async with await PerlPeer.start("client", redis=url) as client:
            assert await client.call({"op": "reverse", "value": "abc"}) == "cba"
        assert [job.data["op"] for job in worker.jobs] == ["reverse"]

Values are those of :mod:`jobwire_conformance.driver.values`: ``bytes``, ``Chars``, ``Ref`` and ``Blessed``
besides what JSON has. A process that dies, answers ``error`` or says nothing for too long raises
:class:`PerlPeerError` with the end of its stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.values import decode_value, encode_value

__all__ = [
    "DIALECTS",
    "PEER",
    "PerlJobFailed",
    "PerlPeer",
    "PerlPeerError",
    "Submission",
    "TakenJob",
    "environment",
    "missing",
]

PEER = Path(__file__).resolve().parents[2] / "perl_fixtures" / "bin" / "peer.pl"
#: Library stacks that the tests know; ``0.004+nar5`` is dialect 0.004 on Net::Async::Redis 5.
DIALECTS = ("0.001", "0.002", "0.003", "0.004", "master", "0.004+nar5")
STDERR_LIMIT = 64 * 1024
LINE_LIMIT = 256 * 1024 * 1024


class PerlPeerError(AssertionError):
    """The peer died, could not do what was asked, or did not answer; the message holds its stderr."""


class PerlJobFailed(PerlPeerError):
    """The Perl client said ``failed`` or ``timeout`` for a job; ``answer`` is the message."""

    def __init__(self, answer: driver.Failed | driver.Timeout) -> None:
        super().__init__(f"the Perl client says {type(answer).__name__.lower()}: {answer.error}")
        self.answer = answer


def library_path(stack: str) -> Path | None:
    """The folder to put into PERL5LIB for ``stack`` (layout of ``cpanm -L``), if it is there."""
    data_home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    root = Path(os.environ.get("JOBWIRE_PERL_ROOT") or data_home / "jobwire" / "perl")
    folder = root / stack / "lib" / "perl5"
    return folder if folder.is_dir() else None


def environment(stack: str) -> dict[str, str]:
    """This process's environment with PERL5LIB set for ``stack``."""
    env = dict(os.environ)
    folder = library_path(stack)
    if folder is not None:
        env["PERL5LIB"] = os.pathsep.join(filter(None, [str(folder), env.get("PERL5LIB", "")]))
    return env


@cache
def missing(stack: str = "0.004") -> str | None:
    """Why ``stack`` cannot run here and what to install where; None if it can."""
    perl = shutil.which("perl")
    if perl is None:
        return "no perl on PATH: install Debian's package perl, then see perl_fixtures/README.md"
    if library_path(stack) is None and stack != "0.004":
        return (
            f"Perl stack {stack} is not installed: expected $JOBWIRE_PERL_ROOT/{stack}/lib/perl5 "
            f"(default root ${{XDG_DATA_HOME:-~/.local/share}}/jobwire/perl); perl_fixtures/README.md has the command"
        )
    load = ["-MJob::Async", "-MJob::Async::Redis", "-e", "1"]
    probe = subprocess.run(
        [perl, *load], env=environment(stack), capture_output=True, text=True, timeout=60, check=False
    )
    if probe.returncode:
        reason = probe.stderr.strip().splitlines()[:1]
        return (
            f"Perl stack {stack} does not load ({' '.join(reason)[:200]}): perl_fixtures/README.md says what it needs"
        )
    return None


@dataclass(slots=True)
class TakenJob:
    """A job that a Perl worker took: its ID and what the handler saw, without the fields that start with ``_``."""

    id: str | bytes
    data: dict[Any, Any]
    meta: dict[Any, Any]


@dataclass(slots=True)
class Submission:
    """A job that a Perl client submitted; ``submitted`` and ``outcome`` are futures of the driver's answers."""

    seq: int
    submitted: asyncio.Future[driver.Submitted]
    outcome: asyncio.Future[Any]

    async def job_id(self, *, within: float = 30) -> str | bytes:
        """The job ID, once Redis has answered to the submission."""
        answer = await asyncio.wait_for(asyncio.shield(self.submitted), within)
        job_id: str | bytes = decode_value(answer.id)
        return job_id

    async def result(self, *, within: float = 30) -> Any:
        """The result as Perl got it; raises :class:`PerlJobFailed`, or ``TimeoutError`` after ``within`` seconds."""
        return await asyncio.wait_for(asyncio.shield(self.outcome), within)


@dataclass
class PerlPeer:
    """One Perl process: a Job::Async client or worker. Made by :meth:`start`."""

    process: asyncio.subprocess.Process
    stack: str
    hello: driver.HelloAnswer = field(init=False)
    ready: driver.Ready = field(init=False)
    jobs: list[TakenJob] = field(default_factory=list)
    answers: list[driver.Answer] = field(default_factory=list)
    _stderr: bytearray = field(default_factory=bytearray)
    _waiting: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    _submissions: dict[int, Submission] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _gone: bool = False

    @classmethod
    async def launch(
        cls,
        stack: str = "0.004",
        *,
        command: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        within: float = 60,
    ) -> Self:
        """Start the process and greet it; no role yet. ``command`` runs a peer elsewhere: in a root, for instance."""
        process = await asyncio.create_subprocess_exec(
            *(command or (shutil.which("perl") or "perl", str(PEER))),
            env={**environment(stack), **(env or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
        )
        peer = cls(process, stack)
        peer._tasks = [asyncio.create_task(peer._read_answers()), asyncio.create_task(peer._read_stderr())]
        try:
            peer.hello = await peer.ask(driver.Hello(), "HelloAnswer", within=within)
        except BaseException:
            await peer.kill()
            raise
        return peer

    @classmethod
    async def start(
        cls,
        role: Literal["client", "worker"],
        *,
        redis: str,
        dialect: str = "0.004",
        mode: Literal["simple", "recoverable", "reliable"] = "reliable",
        command: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        within: float = 60,
        **options: Any,
    ) -> Self:
        """A peer that is subscribed (client) or popping (worker).

        ``dialect`` names the library stack (one of :data:`DIALECTS`); ``options`` are the fields of
        :class:`jobwire_conformance.driver.protocol.Start`: ``prefix``, ``queue``, ``queues``, ``use_multi``,
        ``max_concurrent_jobs``, ``timeout`` (seconds), ``job_poll_interval`` (seconds), ``id``,
        ``processing_queue``, ``options`` (Perl's own, as they are).
        """
        peer = await cls.launch(dialect, command=command, env=env, within=within)
        request = driver.Start(role=role, redis=redis, mode=mode, dialect=dialect.partition("+")[0], **options)
        try:
            peer.ready = await peer.ask(request, "Ready", within=within)
        except BaseException:
            await peer.kill()
            raise
        return peer

    # --- asking ---------------------------------------------------------------------------------

    def send(self, request: driver.Request) -> None:
        """Write one request; raises :class:`PerlPeerError` if the process has ended."""
        self.send_line(driver.encode(request))

    def send_line(self, line: bytes) -> None:
        """Write one line as it is (for tests of the protocol itself)."""
        if self.process.stdin is None or self.process.returncode is not None:
            raise self._error("is gone")
        self.process.stdin.write(line)

    async def ask(self, request: driver.Request, answer: str, *, within: float) -> Any:
        """Send, and wait for the answer of that class; ``unsupported`` and ``error`` raise."""
        future = self._waiting[answer] = asyncio.get_running_loop().create_future()
        self.send(request)
        try:
            return await asyncio.wait_for(future, within)
        except TimeoutError:
            raise self._error(f"did not answer to {type(request).__name__} within {within} s") from None
        finally:
            self._waiting.pop(answer, None)

    def submit(self, data: Mapping[Any, Any], *, queue: str | None = None, id: str | bytes | None = None) -> Submission:
        """Submit one job; returns at once."""
        loop = asyncio.get_running_loop()
        submission = Submission(next(self._numbers), loop.create_future(), loop.create_future())
        for future in (submission.submitted, submission.outcome):
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._submissions[submission.seq] = submission
        job_id: Any = None if id is None else encode_value(id)
        self.send(driver.Submit(seq=submission.seq, data=encode_value(dict(data)), queue=queue, id=job_id))
        return submission

    async def call(self, data: Mapping[Any, Any], *, queue: str | None = None, within: float = 30) -> Any:
        """Submit one job and return its result."""
        try:
            return await self.submit(data, queue=queue).result(within=within)
        except TimeoutError:
            raise self._error(f"had no result for {dict(data)!r:.200} within {within} s") from None

    async def taken(self, count: int, *, within: float = 30) -> list[TakenJob]:
        """The jobs that the worker took, once there are at least ``count`` of them."""
        await self.wait_for(lambda: len(self.jobs) >= count, within=within, what=f"taken {count} jobs")
        return self.jobs

    async def wait_for(self, condition: Callable[[], bool], *, within: float, what: str) -> None:
        """Wait until ``condition`` holds; it is looked at after every answer."""
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(lambda: condition() or self._gone), within)
            except TimeoutError:
                raise self._error(f"has not {what} within {within} s") from None
        if not condition():
            raise self._error(f"ended before it had {what}")

    # --- ending ---------------------------------------------------------------------------------

    async def stop(self, *, within: float = 30) -> driver.Stopped:
        """Drain: ``stop``, its answer, ``bye``, exit 0."""
        stopped: driver.Stopped = await self.ask(driver.Stop(), "Stopped", within=within)
        self.send(driver.Bye())
        await self.exited(within=within)
        if self.process.returncode != 0:
            raise self._error("did not exit with 0 after bye")
        return stopped

    async def exited(self, *, within: float = 30) -> int:
        """The exit status, once the process has ended and everything it said is read."""
        try:
            status = await asyncio.wait_for(self.process.wait(), within)
        except TimeoutError:
            raise self._error(f"still runs after {within} s") from None
        await asyncio.gather(*self._tasks)
        return status

    async def kill(self) -> None:
        """SIGKILL, if it still runs; then wait for the end."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
            with contextlib.suppress(ConnectionError):
                await self.process.stdin.wait_closed()
        await asyncio.gather(*self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.kill()

    @property
    def stderr(self) -> str:
        """What the process wrote to stderr (the last 64 KiB)."""
        return self._stderr.decode("utf-8", "replace")

    # --- listening ------------------------------------------------------------------------------

    def _error(self, what: str) -> PerlPeerError:
        status = self.process.returncode
        state = "" if status is None else f" (exit status {status})"
        tail = self.stderr[-2000:].strip() or "(nothing)"
        return PerlPeerError(f"Perl peer {self.stack} {what}{state}; its stderr:\n{tail}")

    async def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        while chunk := await self.process.stderr.read(4096):
            self._stderr += chunk
            del self._stderr[:-STDERR_LIMIT]

    async def _read_answers(self) -> None:
        assert self.process.stdout is not None
        try:
            while line := await self.process.stdout.readline():
                answer = driver.decode_answer(line)
                self.answers.append(answer)
                self._take(answer)
                async with self._changed:
                    self._changed.notify_all()
        finally:
            await self.process.wait()
            self._fail_all(self._error("ended"))
            self._gone = True
            async with self._changed:
                self._changed.notify_all()

    def _fail_all(self, error: PerlPeerError) -> None:
        futures: list[asyncio.Future[Any]] = [*self._waiting.values()]
        for submission in self._submissions.values():
            futures += [submission.submitted, submission.outcome]
        for future in futures:
            if not future.done():
                future.set_exception(error)

    def _take(self, answer: driver.Answer) -> None:
        match answer:
            case driver.Job(id=job_id, data=data):
                seen = decode_value(data)
                meta = {key: seen.pop(key) for key in list(seen) if isinstance(key, str) and key.startswith("_")}
                self.jobs.append(TakenJob(decode_value(job_id), seen, meta))
            case driver.Submitted(seq=seq):
                _settle(self._submissions[seq].submitted, answer)
            case driver.Result(seq=seq, value=value):
                _settle(self._submissions[seq].outcome, decode_value(value))
            case driver.Failed(seq=seq) | driver.Timeout(seq=seq):
                _break(self._submissions[seq].outcome, PerlJobFailed(answer))
            case driver.Unsupported(what=why, seq=seq) | driver.Error(message=why, seq=seq):
                self._refused(answer, why, seq)
            case _:
                future = self._waiting.get(type(answer).__name__)
                if future is not None:
                    _settle(future, answer)

    def _refused(self, answer: driver.Answer, why: str, seq: int | None) -> None:
        error = PerlPeerError(f"Perl peer {self.stack} answers {type(answer).__name__.lower()}: {why}")
        submission = self._submissions.get(seq) if seq is not None else None
        futures = [submission.submitted, submission.outcome] if submission else list(self._waiting.values())
        for future in futures:
            _break(future, error)


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _break(future: asyncio.Future[Any], error: PerlPeerError) -> None:
    if not future.done():
        future.set_exception(error)
