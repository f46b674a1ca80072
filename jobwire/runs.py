"""What a worker has in hand: each entry from the moment it was popped until nothing of it is left to do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Literal, Protocol

from jobwire.errors import DecodeError, EncodeError, JobDecodeError, ServerError, TransportError, printable
from jobwire.handlers import Handler, enter
from jobwire.tracing import Trace, TraceEvent
from jobwire.transport import Connection, Replies
from jobwire.wire import Command, Failure, HashMode, Job, Mode, Result, Success, Taken
from jobwire.wire.rejected import encode_rejected
from jobwire.wire.text import Text, readable

__all__ = ["FailurePolicy", "Run", "Runs"]

_RETRY_AFTER = 1.0


class Run:
    """One entry in hand. ``phase`` says what is done again after a connection was lost in the middle of it."""

    __slots__ = ("ending", "failure", "job", "key", "phase", "result", "started", "taken", "task")

    def __init__(self, key: object, taken: Taken) -> None:
        self.key = key
        self.taken = taken
        self.ending: tuple[Command, ...] = ()
        self.job: Job | None = None
        self.phase: Literal["loading", "running", "completing", "failing", "dropping"] = "loading"
        self.started = 0.0
        self.task: asyncio.Task[None] | None = None
        self.result: Result | None = None
        self.failure: Failure | None = None


class FailurePolicy(Protocol):
    """What becomes of a job whose handler failed; called in the job's task."""

    async def __call__(self, runs: Runs, run: Run, job: Job, failure: Failure) -> None: ...


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
    ) -> None:
        self.mode = mode
        self.hashes = mode if isinstance(mode, HashMode) else None
        self.counts: Counter[str] = Counter()
        self.log = log
        self.draining = False
        self.active: dict[object, Run] = {}
        self._worker_id = worker_id
        self._find_handler = find_handler
        self._policy = policy
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="jobwire-handler")
        self._on_free = on_free
        self._trace = trace
        self._commands: Connection | None = None
        self._idle: asyncio.Event | None = None

    # -- life

    def connected(self, commands: Connection) -> None:
        """Take up again what a lost connection interrupted."""
        self._commands = commands
        for run in list(self.active.values()):
            self._again(run)

    def disconnected(self) -> None:
        self._commands = None

    async def idle(self) -> None:
        """Return when nothing is in hand."""
        self._idle = asyncio.Event()
        while self.active:
            self._idle.clear()
            await self._idle.wait()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _again(self, run: Run) -> None:
        if run.phase == "loading":
            self._load(run)
        elif run.phase == "completing":
            self._look_before_completing(run)
        elif run.phase == "failing" and run.task is not None and run.task.done():
            run.task = asyncio.get_running_loop().create_task(self._fail(run))
        elif run.phase == "dropping":
            self.send(run.ending, partial(self._dropped, run))  # saying it twice does no harm

    def send(self, commands: tuple[Command, ...], then: Callable[[Replies], None]) -> None:
        """``then`` is only called with replies: after a lost connection the run's phase says how to go on."""
        if self._commands is not None:
            self._commands.send(commands, partial(_with_replies, then))

    async def call(self, commands: tuple[Command, ...]) -> Replies:
        """Raises ``TransportError``, also for the first error that the server answers with."""
        if self._commands is None:
            raise TransportError("there is no connection to Redis at the moment")
        replies = await self._commands.call(*commands)
        for reply in replies:
            if isinstance(reply, ServerError):
                raise reply
        return replies

    # -- an entry, step by step

    def begin(self, taken: Taken) -> None:
        """Take an entry in hand."""
        key: object = taken.entry if self.hashes is not None else object()
        if key in self.active:
            self._drop_duplicate(taken)
            return
        run = Run(key, taken)
        self.active[key] = run
        self._tell("take", taken.entry)
        if self.draining:
            self.drop(run, self.mode.give_back(taken), "returned")
        else:
            self._load(run)

    def _drop_duplicate(self, taken: Taken) -> None:
        # It runs here at this moment, so one of the two entries is enough; the client is told once.
        self.counts["duplicate"] += 1
        self.log.warning("job %s came again while it runs; the second entry is dropped", printable(taken.entry))
        self.send(self.mode.forget(taken), _ignore)

    def _load(self, run: Run) -> None:
        command = self.mode.load(run.taken)
        if command is None:
            self._loaded(run, [None])
        else:
            self.send((command,), partial(self._loaded, run))

    def _loaded(self, run: Run, replies: Replies) -> None:
        try:
            job = self.mode.read(run.taken, replies[0])
        except ServerError as error:
            if error.code == "WRONGTYPE":
                self.reject(run, JobDecodeError(f"the key of job {printable(run.taken.entry)} holds no hash: {error}"))
            else:
                self.log.error("cannot read job %s: %s; trying again", printable(run.taken.entry), error)
                asyncio.get_running_loop().call_later(_RETRY_AFTER, self._load, run)
            return
        except DecodeError as error:
            self.reject(run, error)
            return
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
        self._tell("expire", run.taken.entry)
        run.job = job
        run.started = time.time()
        failure = Failure("Expired", "the job was not begun before its time (_expires)")
        if "E" in job.accept:
            self.counts["expired"] += 1
            self.complete(run, failure)
        elif self.hashes is not None:
            self.drop(run, self.hashes.bury(run.taken, f"{failure.type}: {failure.message}"), "expired")

    def _start(self, run: Run, job: Job) -> None:
        run.job = job
        run.phase = "running"
        run.started = time.time()
        commands = self.mode.start(job, run.taken, at=run.started)
        if commands:
            self.send(commands, _ignore)
        self._tell("start", run.taken.entry)
        run.task = asyncio.get_running_loop().create_task(self._execute(run, job))

    async def _execute(self, run: Run, job: Job) -> None:
        enter(job)
        try:
            result = Success(await self._handle(job))
            self.complete(run, result)
        except asyncio.CancelledError:
            if not self.draining:
                run.failure = Failure("CancelledError", "the handler was cancelled")
                await self._fail(run)
                return
            raise
        except Exception as error:  # whatever a handler raises is the job's failure, never the worker's
            self.log.warning(
                "job %s failed: %s: %s", printable(run.taken.entry), type(error).__name__, ascii(str(error))
            )
            run.failure = _failure_of(error)
            await self._fail(run)

    async def _handle(self, job: Job) -> Any:
        handler = self._find_handler(job)
        argument = handler.prepare(job)
        if handler.in_thread:
            call: Callable[[], Any] = partial(copy_context().run, handler.function, argument)
            work: Any = asyncio.wrap_future(self._threads.submit(call))
        else:
            work = handler.function(argument)
        if self._timeout is None:
            return await work
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                return await work
        except TimeoutError:
            if deadline.expired():
                raise TimeoutError(f"the handler took longer than {self._timeout:g} s") from None
            raise

    def complete(self, run: Run, result: Result) -> None:
        """Write and publish a result. Raises ``EncodeError`` for a value that the wire cannot say."""
        assert run.job is not None  # noqa: S101 - only jobs that were read are ever completed
        commands = self.mode.complete(run.job, run.taken, result, started=run.started, at=time.time())
        run.result = result
        run.phase = "completing"
        self.send(commands, partial(self._completed, run))

    def _completed(self, run: Run, replies: Replies) -> None:
        try:
            written = self.mode.completed(replies)
        except ServerError as error:
            self._complete_later(run, error)
            return
        if written:
            self.counts["failed" if isinstance(run.result, Failure) else "done"] += 1
            self._tell("notify", run.taken.entry)
        else:
            self.counts["given away"] += 1
            self.log.warning(
                "job %s was given to another worker meanwhile; this result is dropped", printable(run.taken.entry)
            )
        self._finish(run)

    def _complete_later(self, run: Run, error: ServerError) -> None:
        delay = _RETRY_AFTER
        if error.code == "NOSCRIPT":
            # The server was restarted, or its scripts were flushed.
            self.send(self.mode.prepare(), _ignore)
            delay = 0.0
        else:
            self.log.error("cannot complete job %s: %s; trying again", printable(run.taken.entry), error)
        asyncio.get_running_loop().call_later(delay, self._complete_again, run)

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
        if job is None:
            self._vanished(run)
        elif job.result is not None:
            self._notify_again(run, job)
        else:
            self._complete_again(run)

    async def _fail(self, run: Run) -> None:
        run.phase = "failing"
        self._tell("fail", run.taken.entry, "" if run.failure is None else f"{run.failure.type}: {run.failure.message}")
        if run.job is None or run.failure is None:
            return
        try:
            await self._policy(self, run, run.job, run.failure)
        except ServerError as error:
            self.log.error("cannot say that job %s failed: %s; trying again", printable(run.taken.entry), error)
            await asyncio.sleep(_RETRY_AFTER)
            await self._fail(run)
        except TransportError:
            return  # taken up again once there is a connection
        except Exception as error:  # nothing may end without an outcome
            self.log.exception("cannot say that job %s failed", printable(run.taken.entry))
            self.reject(run, JobDecodeError(f"its failure could not be told: {error}"))

    # -- ends without a result

    def reject(self, run: Run, error: DecodeError) -> None:
        """Set aside, whole, what cannot be read."""
        self.log.error("set aside in %s: %s", printable(self.mode.keyspace.rejected), error)
        record = encode_rejected(
            run.taken.entry, queue=run.taken.queue, worker=self._worker_id, reason=str(error), at=time.time()
        )
        self.drop(run, self.mode.reject(run.taken, record), "rejected")
        self._tell("reject", run.taken.entry, str(error))

    def drop(self, run: Run, commands: tuple[Command, ...], count: str) -> None:
        """Send what ends this run, and count it."""
        run.phase = "dropping"
        run.ending = commands
        self.counts[count] += 1
        if not commands:
            self._finish(run)
            return
        self.send(commands, partial(self._dropped, run))

    def _dropped(self, run: Run, replies: Replies) -> None:
        for reply in replies:
            if isinstance(reply, ServerError):
                self.log.error("job %s: %s", printable(run.taken.entry), reply)
        self._finish(run)

    def give_back_unfinished(self) -> None:
        """The grace is over: cancel what still runs, and return it to the queue."""
        for run in list(self.active.values()):
            if run.phase not in ("running", "failing"):
                continue
            if run.task is not None:
                run.task.cancel()
            self.log.warning("job %s did not end in time; it goes back to its queue", printable(run.taken.entry))
            self.drop(run, self.mode.give_back(run.taken), "returned")

    def _finish(self, run: Run) -> None:
        if self.active.pop(run.key, None) is None:
            return
        if self._idle is not None and not self.active:
            self._idle.set()
        self._on_free()

    def _tell(self, event: Any, entry: bytes, detail: str = "") -> None:
        if self._trace is None:
            return
        try:
            self._trace(TraceEvent(event, "worker", readable(entry), time.time(), detail))
        except Exception:
            self.log.exception("the trace hook raised")


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, EncodeError):
        return Failure("EncodeError", f"the handler's result cannot be sent: {error}")
    return Failure(type(error).__name__, str(error))


def _ignore(replies: Replies) -> None:
    del replies


def _with_replies(then: Callable[[Replies], None], outcome: Replies | TransportError) -> None:
    if not isinstance(outcome, TransportError):
        then(outcome)
