"""What a worker has in hand: each entry from the moment it was popped until nothing of it is left to do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from jobwire.endings import tell_failure
from jobwire.errors import DecodeError, JobDecodeError, ServerError, TransportError, printable
from jobwire.execution import cancelled_from_outside, execute, failure_of
from jobwire.handlers import Handler, current
from jobwire.refusals import Refusals
from jobwire.run import ENDS, AfterFirstSteps, FailurePolicy, Run, ignore, with_replies
from jobwire.tracing import Trace, TraceEvent, tell
from jobwire.transport import Connection, Replies, call_insisting
from jobwire.upkeep import Upkeep
from jobwire.wire import Command, Failure, HashMode, Job, Mode, Result, Success, Taken
from jobwire.wire.commands import first_error
from jobwire.wire.rejected import encode_rejected
from jobwire.wire.scripts import insist, is_out_of_memory
from jobwire.wire.text import Text, readable

__all__ = ["FailurePolicy", "Run", "Runs"]


class Runs:
    """All entries that one worker has in hand."""

    def __init__(
        self,
        mode: Mode,
        *,
        worker_id: Text,
        find_handler: Callable[[Job], Handler],
        policy: FailurePolicy,
        timeout: float | None,
        threads: int,
        on_free: Callable[[], None],
        log: logging.Logger,
        trace: Trace | None,
        upkeep: Upkeep,
    ) -> None:
        self.mode = mode
        self.hashes = mode if isinstance(mode, HashMode) else None
        self.counts: Counter[str] = Counter()
        self.log = log
        self.active: dict[object, Run] = {}
        self._worker_id = worker_id
        self._find_handler = find_handler
        self._policy = policy
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="jobwire-handler")
        self._on_free = on_free
        self._upkeep = upkeep
        self._later = AfterFirstSteps(self._say_start)
        self._trace = trace
        self._commands: Connection | None = None
        self._idle: asyncio.Event | None = None
        self._draining = asyncio.Event()
        self.refusals = Refusals(log)
        self.refused = False  # Redis would not take an end: something may have been left behind

    # -- life

    def connected(self, commands: Connection) -> None:
        """Take up again what a lost connection interrupted."""
        self._commands = commands
        self._loop = asyncio.get_running_loop()
        for run in list(self.active.values()):
            self._again(run)

    def disconnected(self) -> None:
        self._commands = None
        if self.mode.own_list:
            # Not begun yet, and perhaps given away until we are back: what is still ours is found in the list.
            for run in [run for run in self.active.values() if run.phase == "loading"]:
                self._leave(run)

    @property
    def draining(self) -> bool:
        return self._draining.is_set()

    def drain(self) -> None:
        """From now on what comes is given back, and nothing is waited for but handlers."""
        self._draining.set()

    async def pause(self, seconds: float) -> None:
        """Wait that long, or until ``drain``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()

    async def idle(self, *, within: float) -> None:
        """Return when nothing is in hand, or after so many seconds."""
        self._idle = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.active:
                    self._idle.clear()
                    await self._idle.wait()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _again(self, run: Run) -> None:
        run.try_no_more()
        if run.phase == "loading":
            self._load(run)
        elif run.phase == "completing":
            self._look_before_completing(run)
        elif run.phase == "failing" and run.task is not None and run.task.done():
            run.task = self._loop.create_task(self._fail(run))
        elif run.phase == "dropping":
            if run.sent and run.count == "returned" and self.hashes is None:
                self._finish(run)  # at most once: it may stand in its queue already
            else:
                self._send_ending(run)  # saying it twice does no harm

    def send(self, commands: tuple[Command, ...], then: Callable[[Replies], None]) -> None:
        """``then`` is only called with replies: after a lost connection the run's phase says how to go on."""
        if self._commands is not None:
            self._commands.send(commands, partial(with_replies, then))

    async def call(self, commands: tuple[Command, ...]) -> Replies:
        """Raises ``TransportError``, also for the first error that the server answers with."""
        if self._commands is None:
            raise TransportError("there is no connection to Redis at the moment")
        replies = await call_insisting(self._commands, *commands)
        if (error := first_error(replies)) is not None:
            raise error
        return replies

    # -- an entry, step by step

    def begin(self, taken: Taken) -> None:
        """Take an entry in hand."""
        key: object = taken.entry if self.hashes is not None else object()
        before = self.active.get(key)
        if before is not None and before.phase == "dropping":
            # We gave it back, and were faster to take it again than to hear that it is back.
            self._finish(before)
        elif before is not None:
            self._drop_duplicate(taken)
            return
        run = Run(key, taken)
        self.active[key] = run
        if self._trace is not None and self.hashes is not None:
            self._tell("take", run)
        if self._draining.is_set():
            self.drop(run, self.mode.give_back(taken), "returned")
        else:
            self._load(run)

    def _drop_duplicate(self, taken: Taken) -> None:
        # It runs here at this moment, so one of the two entries is enough; the client is told once.
        self.counts["duplicate"] += 1
        self.log.warning("job %s came again while it runs; the second entry is dropped", printable(taken.entry))
        self.send(self.mode.forget_duplicate(taken), ignore)

    def _load(self, run: Run) -> None:
        command = self.mode.load(run.taken)
        if command is None:
            self._loaded(run, [None])
        elif self._commands is not None:
            self._commands.send((command,), partial(self._loaded, run))

    def _loaded(self, run: Run, outcome: Replies | TransportError) -> None:
        if isinstance(outcome, TransportError) or run.phase != "loading":
            return
        try:
            job = self.mode.read(run.taken, outcome[0])
        except ServerError as error:
            if error.code == "WRONGTYPE":
                self.reject(run, JobDecodeError(f"the key of job {printable(run.taken.entry)} holds no hash: {error}"))
            else:
                run.later = self._loop.call_later(self.refusals.refused("read jobs", error), self._load, run)
            return
        except DecodeError as error:
            self.reject(run, error)
            return
        run.job = job
        if self.refusals:
            self.refusals.accepted("read jobs")
        if self._trace is not None and self.hashes is None:
            self._tell("take", run)
        if job is None:
            self._vanished(run)
        elif job.result is not None:
            self._notify_again(run, job)
        elif job.expires is not None and job.expires < time.time():
            self._expired(run, job)
        else:
            self._start(run, job)

    def _vanished(self, run: Run) -> None:
        self.log.info("job %s has no hash any more: it was cancelled or collected", printable(run.taken.entry))
        if self.hashes is not None:
            self.drop(run, self.hashes.vanished(run.taken), "vanished")

    def _notify_again(self, run: Run, job: Job) -> None:
        self.log.info("job %s has a result already; its client is told again", printable(run.taken.entry))
        if self.hashes is not None:
            self.drop(run, self.hashes.notify(job, run.taken), "notified again")

    def _expired(self, run: Run, job: Job) -> None:
        self.log.warning("job %s had expired before it was begun", printable(run.taken.entry))
        self._tell("expire", run)
        run.started = time.time()
        failure = Failure("Expired", "the job was not begun before its time (_expires)")
        if self.hashes is None or "E" in job.accept:
            self.counts["expired"] += 1
            self.complete(run, failure)
        else:
            self.drop(run, self.hashes.bury(run.taken, f"{failure.type}: {failure.message}"), "expired")

    def _start(self, run: Run, job: Job) -> None:
        run.phase = "running"
        run.started = time.time()
        # The task first: what a handler that does not wait gives back then leaves in the same write.
        run.task = self._loop.create_task(self._execute(run, job))
        if self.mode.completion_says_start:
            # Where the handler is done by then, its completion says all.
            self._later.add(run, self._loop)
        else:
            self._say_start(run)
        if self._trace is not None:
            self._tell("start", run)

    def _say_start(self, run: Run) -> None:
        if run.phase == "running" and not run.start_said and run.job is not None:
            run.start_said = True
            commands = self.mode.start(run.job, run.taken, at=run.started)
            if commands:
                self.send(commands, partial(self._start_told, commands))

    def _start_told(self, commands: tuple[Command, ...], replies: Replies) -> None:
        if any(map(is_out_of_memory, replies)):
            self.send(insist(commands), ignore)

    async def _execute(self, run: Run, job: Job) -> None:
        current.set(job)
        try:
            value = await execute(self._find_handler(job), job, threads=self._threads, timeout=self._timeout)
            if run.phase == "running":
                self.complete(run, Success(value))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # whatever a handler raises is the job's failure, never the worker's
            if isinstance(error, asyncio.CancelledError) and cancelled_from_outside():
                if run.phase == "running":
                    # Its event loop ends. Somebody else may run it.
                    self.drop(run, self.mode.give_back(run.taken), "returned")
                raise
            if run.phase == "running":
                self._say_start(run)  # its hash stays
                run.failure = failure_of(error)
                self.log.warning(
                    "job %s failed: %s: %s", printable(run.taken.entry), run.failure.type, ascii(run.failure.message)
                )
                await self._fail(run)

    def complete(self, run: Run, result: Result) -> None:
        """Write and publish a result. Raises ``EncodeError`` for a value that the wire cannot say."""
        assert run.job is not None  # noqa: S101 - only jobs that were read are ever completed
        commands = self.mode.complete(run.job, run.taken, result, started=run.started, at=time.time())
        if run.insists:
            commands = insist(commands)
        run.result = result
        run.phase = "completing"
        if self._commands is not None:
            self._commands.send(commands, partial(self._completed, run))

    def _completed(self, run: Run, outcome: Replies | TransportError) -> None:
        if isinstance(outcome, TransportError):
            return  # once there is a connection, the hash shows whether it arrived
        try:
            written = self.mode.completed(outcome)
        except ServerError as error:
            self._complete_later(run, error)
            return
        if self.refusals:
            self.refusals.accepted("complete jobs")
        if written:
            self.counts[run.outcome] += 1
            if self.hashes is not None and run.job is not None and "_error" in run.job.meta:
                self.send((self.hashes.forget_attempts(run.taken),), ignore)
            if self._upkeep.expires and run.job is not None:
                self._upkeep.completed(run.job, run.taken.entry, self.send)
            if self._trace is not None:
                if self.hashes is not None:
                    self._tell("finish", run)
                self._tell("notify", run)
        else:
            self.counts["given away"] += 1
            self.log.warning(
                "job %s was given to another worker meanwhile; this result is dropped", printable(run.taken.entry)
            )
        self._finish(run)

    def _complete_later(self, run: Run, error: ServerError) -> None:
        delay = 0.0
        if error.code == "NOSCRIPT":  # the server was restarted, or its scripts were flushed
            self.send(self.mode.prepare(), ignore)
        elif is_out_of_memory(error) and not run.insists:
            run.insists = True
        else:
            delay = self.refusals.refused("complete jobs", error)
        run.later = self._loop.call_later(delay, self._complete_again, run)

    def _complete_again(self, run: Run) -> None:
        if run.result is not None and run.phase == "completing":
            self.complete(run, run.result)

    def _look_before_completing(self, run: Run) -> None:
        """A completion was sent and not answered: whether it arrived shows in the hash."""
        command = self.mode.load(run.taken)
        if command is None:
            self._complete_again(run)
        else:
            self.send((command,), partial(self._looked, run))

    def _looked(self, run: Run, replies: Replies) -> None:
        try:
            job = self.mode.read(run.taken, replies[0])
        except (ServerError, DecodeError):
            self._complete_again(run)
            return
        if run.phase != "completing":
            return
        if job is None:
            self._vanished(run)
        elif job.result is not None and self.hashes is not None:
            self.drop(run, self.hashes.notify(job, run.taken), run.outcome)
        else:
            self._complete_again(run)

    async def _fail(self, run: Run) -> None:
        if run.job is not None and run.failure is not None:
            run.phase = "failing"
            self._tell("fail", run, f"{run.failure.type}: {run.failure.message}")
            await tell_failure(self, run, run.job, run.failure, self._policy)

    # -- ends without a result

    def reject(self, run: Run, error: DecodeError) -> None:
        """Set aside, whole, what cannot be read."""
        self.log.error("set aside in %s: %s", printable(self.mode.keyspace.rejected), error)
        record = encode_rejected(
            run.taken.entry, queue=run.taken.queue, worker=self._worker_id, reason=str(error), at=time.time()
        )
        self.drop(run, self.mode.reject(run.taken, record), "rejected")
        self._tell("reject", run, str(error))

    def drop(self, run: Run, commands: tuple[Command, ...], count: str) -> None:
        """Send what ends this run, and count it."""
        run.phase = "dropping"
        run.ending = commands
        run.count = count
        if commands:
            self._send_ending(run)
        else:
            self._finish(run)

    def _send_ending(self, run: Run) -> None:
        run.sent = self._commands is not None
        self.send(run.ending, partial(self._dropped, run))

    def _dropped(self, run: Run, replies: Replies) -> None:
        if not run.insists and any(map(is_out_of_memory, replies)):
            run.insists = True
            run.ending = insist(run.ending)
            self._send_ending(run)
            return
        for reply in replies:
            if isinstance(reply, ServerError):
                self.log.error("job %s: %s", printable(run.taken.entry), reply)
                self.refused = True
        if run.count == "rejected":
            self._upkeep.rejected(self.send)
        self._finish(run)

    def abandon(self) -> None:
        """All this is somebody else's now: cancel what runs, and say nothing."""
        for run in list(self.active.values()):
            self._leave(run)

    def _leave(self, run: Run) -> None:
        del self.active[run.key]
        run.phase = "dropping"
        run.try_no_more()
        if run.task is not None:
            run.task.cancel()

    def _finish(self, run: Run) -> None:
        if self.active.get(run.key) is not run:
            return
        del self.active[run.key]
        if run.count:
            self.counts[run.count] += 1
            if run.count in ENDS:
                self._tell(ENDS[run.count], run)
        if self._idle is not None and not self.active:
            self._idle.set()
        self._on_free()

    def _tell(self, event: Any, run: Run, detail: str = "") -> None:
        if self._trace is None:
            return
        # In mode simple an entry is the whole job; what its ID is shows when it was read.
        name = run.job.id if run.job is not None else readable(run.taken.entry) if self.hashes is not None else ""
        tell(self._trace, TraceEvent(event, "worker", name, time.time(), detail), self.log)
