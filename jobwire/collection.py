"""What a client has outstanding, and how each job comes to its end.

A job's end is a notice and its result, a deadline, a cancellation, or news that its hash is gone. Notices can be
lost (pub/sub keeps none), so after every reconnection, every 30 s and before any deadline error the hashes of the
outstanding jobs are looked at.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from jobwire.deadlines import Deadlines
from jobwire.diagnosis import explain_timeout
from jobwire.errors import (
    ClosedError,
    ConnectionLost,
    DecodeError,
    JobFailed,
    JobLost,
    JobTimeout,
    JobwireError,
    ResultDecodeError,
    TransportError,
    printable,
)
from jobwire.handles import Pending
from jobwire.tracing import Trace, TraceEvent
from jobwire.transport import Connection, Replies, Reply
from jobwire.wire import HashMode, Mode, Result, Success
from jobwire.wire.inspection import JobState, read_state
from jobwire.wire.text import readable

__all__ = ["Collector"]

_REMEMBERED = 10_000
_SWEEP_EVERY = 30.0
_SWEEP_AT_ONCE = 256


class Collector:
    """The outstanding jobs of one client. Lives in one event loop; nothing here blocks."""

    def __init__(self, mode: Mode, client_id: bytes, log: logging.Logger, trace: Trace | None) -> None:
        self.pending: dict[bytes, Pending] = {}
        self.queue_length: int | None = None
        self.on_queue_length: list[Callable[[int], object]] = []
        self._mode = mode
        # The same object where jobs have hashes, so that every use of one is visibly guarded.
        self._hashes = mode if isinstance(mode, HashMode) else None
        self._client_id = client_id
        self._log = log
        self._trace = trace
        self._commands: Connection | None = None
        self._connections: list[Connection] = []
        # Given up here, perhaps running there: their late results are deleted.
        self._abandoned: dict[bytes, None] = {}
        # Collected, but Redis has not yet said that the hash is deleted.
        self._discarding: dict[bytes, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._room: asyncio.Event = asyncio.Event()

    # -- life

    def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadlines: Deadlines[bytes] = Deadlines(self._loop, self._deadline)
        if self._hashes is not None:
            self._spawn(self._sweep_for_ever())

    def future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    async def connected(self, commands: Connection, notices: Connection) -> None:
        """Take up work on fresh connections: listen first, then look at what happened meanwhile."""
        self._connections = [commands, notices]
        await notices.execute(self._mode.subscribe(self._client_id))
        self._commands = commands
        for job_id in list(self._discarding):
            self._discard(job_id)
        for pending in list(self.pending.values()):
            if pending.acknowledged:
                continue
            if self._hashes is not None:
                self._spawn(self._submit_again(self._hashes, pending))
            elif pending.submission is not None:
                self._push(pending)
        if self._hashes is not None:
            await self._sweep(self._hashes)

    async def disconnect(self) -> None:
        self._commands = None
        connections, self._connections = self._connections, []
        for connection in connections:
            await connection.close()

    async def close(self) -> None:
        self.fail_all(
            ClosedError("the client was stopped; the job goes on (client.attach with the same client ID finds it)")
        )
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "_deadlines"):
            self._deadlines.close()

    def fail_all(self, error: JobwireError) -> None:
        for pending in list(self.pending.values()):
            self._end(pending, error)

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # A connection that broke under it is the supervisor's business, and the work is done again afterwards.
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, TransportError):
            self._log.error("%s", error, exc_info=error)

    # -- submitting

    def submit(self, pending: Pending) -> None:
        """Send a submission, or keep it until there is a connection. Raises ``EncodeError``; nothing is kept then."""
        self._push(pending)
        self._expect(pending)

    def attach(self, pending: Pending) -> None:
        self._abandoned.pop(pending.id, None)
        self._expect(pending)
        if self._hashes is not None:
            self._check(self._hashes, pending)

    def _expect(self, pending: Pending) -> None:
        self.pending[pending.id] = pending
        if pending.timeout is not None:
            self._deadlines.add(pending.id, pending.timeout)

    def _push(self, pending: Pending) -> None:
        if pending.submission is None:
            return
        commands = self._mode.submit(pending.submission, pending.queue)
        if self._commands is not None:
            self._commands.send(commands, partial(self._pushed, pending))
            if self._trace is not None:
                self._tell("push", pending.id, repr(pending.queue))

    def _pushed(self, pending: Pending, outcome: Replies | TransportError) -> None:
        if isinstance(outcome, TransportError):
            if self._hashes is None:
                # At most once: whether it arrived cannot be known, and sending it again could run it twice.
                lost = ConnectionLost(f"{outcome}; whether job {printable(pending.id)} was submitted is not known")
                self._end(pending, lost)
            return
        try:
            length = self._mode.submitted(outcome)
        except TransportError as error:
            self._end(pending, error)
            if self._hashes is not None:
                self._discard(pending.id)
            return
        pending.acknowledged = True
        self.queue_length = length
        for callback in self.on_queue_length:
            callback(length)

    async def _submit_again(self, mode: HashMode, pending: Pending) -> None:
        """After a reconnection: a submission that was never answered is sent again where it did not arrive whole."""
        state = await self.inspect(pending.id, pending.queue)
        if pending.future.done() or pending.acknowledged:
            return
        if state.place in ("gone", "unknown"):
            self._push(pending)
        else:
            pending.acknowledged = True
            self._check(mode, pending)

    async def drained(self) -> None:
        if self._commands is not None:
            try:
                await self._commands.drained()
            except TransportError:
                return  # what was not sent is sent after the reconnection

    async def fewer_than(self, limit: int) -> None:
        while len(self.pending) >= limit:
            self._room.clear()
            await self._room.wait()

    # -- collecting

    def on_push(self, message: list[Reply]) -> None:
        """A message on the notice channel."""
        if message[0] != b"message" or not isinstance(message[2], bytes):
            return
        try:
            job_id, result = self._mode.notice(message[2])
        except DecodeError as error:
            self._log.error("notice ignored: %s", error)
            return
        pending = self.pending.get(job_id)
        if pending is None:
            if job_id in self._abandoned:
                del self._abandoned[job_id]
                self._discard(job_id)
            # Anything else is not ours to touch: Perl would delete the hash, whoever's it is.
            return
        if result is not None:
            self._resolve(pending, result)
        elif self._hashes is not None and self._commands is not None:
            self._commands.send((self._hashes.collect(job_id),), partial(self._collected, self._hashes, pending))

    def _collected(self, mode: HashMode, pending: Pending, outcome: Replies | TransportError) -> None:
        if isinstance(outcome, TransportError) or pending.future.done():
            return  # the sweep after the reconnection collects it; or another notice was faster
        try:
            result = mode.collected(pending.id, outcome[0])
        except JobwireError as error:
            self._end(pending, error)
            return
        if result is None:
            # A notice without result: forged, or the hash is gone.
            self._check(mode, pending)
        else:
            self._resolve(pending, result)
            self._discard(pending.id)

    def _check(self, mode: HashMode, pending: Pending) -> None:
        if self._commands is not None:
            self._commands.send(mode.check(pending.id), partial(self._checked, mode, pending))

    def _checked(self, mode: HashMode, pending: Pending, outcome: Replies | TransportError) -> None:
        if isinstance(outcome, TransportError) or pending.future.done():
            return
        try:
            result, present = mode.checked(pending.id, outcome)
        except JobwireError as error:
            self._end(pending, error)
            return
        if result is not None:
            self._resolve(pending, result)
            self._discard(pending.id)
        elif not present and pending.acknowledged:
            name = printable(pending.id)
            self._end(
                pending,
                JobLost(
                    f"the hash of job {name} is gone from Redis and no result was seen: it was deleted, evicted, or "
                    "collected by another client with this client's ID",
                    job_id=readable(pending.id),
                ),
            )

    def _resolve(self, pending: Pending, result: Result) -> None:
        if not isinstance(result, Success):
            failed = JobFailed(
                result.message, job_id=readable(pending.id), type=result.type, traceback=result.traceback
            )
            self._end(pending, failed)
            return
        value = result.value
        if pending.result_type is not None:
            try:
                value = msgspec.convert(value, pending.result_type, strict=False)
            except msgspec.ValidationError as error:
                raw = repr(value).encode()
                self._end(
                    pending, ResultDecodeError(f"not a {pending.result_type!r}: {error}", key=pending.id, raw=raw)
                )
                return
        self._end(pending, None, value)

    def _end(self, pending: Pending, error: JobwireError | None, value: object = None) -> None:
        if pending.future.done():
            return
        self.pending.pop(pending.id, None)
        if pending.timeout is not None:
            self._deadlines.remove(pending.id, pending.timeout)
        if error is None:
            pending.future.set_result(value)
        else:
            pending.future.set_exception(error)
        if not self._room.is_set():
            self._room.set()
        if self._trace is not None:
            self._tell("collect" if error is None else "fail", pending.id, "" if error is None else str(error))

    def _discard(self, job_id: bytes) -> None:
        if self._hashes is None:
            return
        self._discarding[job_id] = None
        if self._commands is not None:
            self._commands.send((self._hashes.discard(job_id),), partial(self._discarded, job_id))

    def _discarded(self, job_id: bytes, outcome: Replies | TransportError) -> None:
        if not isinstance(outcome, TransportError):
            self._discarding.pop(job_id, None)

    # -- giving up

    def abandon(self, pending: Pending, error: JobwireError, *, withdraw: bool) -> None:
        """End the wait for a job; ``withdraw`` takes it out of the queue where no worker has taken it yet."""
        self._end(pending, error)
        if self._hashes is None:
            return
        while len(self._abandoned) >= _REMEMBERED:
            del self._abandoned[next(iter(self._abandoned))]
        self._abandoned[pending.id] = None
        if withdraw and self._commands is not None:
            self._commands.send(
                (self._hashes.withdraw(pending.id, pending.queue),), partial(self._withdrawn, pending.id)
            )

    def _withdrawn(self, job_id: bytes, outcome: Replies | TransportError) -> None:
        if not isinstance(outcome, TransportError) and outcome[0] == 1:
            self._abandoned.pop(job_id, None)

    def _deadline(self, job_id: bytes) -> None:
        pending = self.pending.get(job_id)
        if pending is not None:
            self._spawn(self._expire(pending))

    async def _expire(self, pending: Pending) -> None:
        """The deadline of a job has come: look once more, then say what was found."""
        found = "there is no connection to Redis"
        try:
            if self._hashes is not None and self._commands is not None:
                outcome = await self._commands.call(*self._hashes.check(pending.id))
                self._checked(self._hashes, pending, outcome)
            if not pending.future.done() and self._commands is not None:
                found = await explain_timeout(self._commands, self._mode, pending.id, pending.queue)
        except TransportError as error:
            found = str(error)
        if not pending.future.done():
            message = f"no result of job {printable(pending.id)} within {pending.timeout:g} s: {found}"
            self.abandon(pending, JobTimeout(message, job_id=readable(pending.id)), withdraw=False)

    # -- looking

    async def inspect(self, job_id: bytes, queue: bytes) -> JobState:
        if self._commands is None or self._hashes is None:
            raise ConnectionLost("there is no connection to Redis at the moment")
        return read_state(await self._commands.call(*self._hashes.inspect(job_id, queue)))

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            if self._hashes is not None:
                await self._sweep(self._hashes)

    async def _sweep(self, mode: HashMode) -> None:
        """Collect what finished without our hearing of it."""
        for number, pending in enumerate(list(self.pending.values())):
            if pending.acknowledged and not pending.future.done():
                self._check(mode, pending)
            if number % _SWEEP_AT_ONCE == _SWEEP_AT_ONCE - 1:
                await self.drained()
                await asyncio.sleep(0)

    def _tell(self, event: Any, job_id: bytes, detail: str) -> None:
        if self._trace is None:
            return
        try:
            self._trace(TraceEvent(event, "client", readable(job_id), time.time(), detail))
        except Exception:
            self._log.exception("the trace hook raised")
