"""The outstanding jobs of a client, and how each comes to its end.

A job's end is a notice and its result, a deadline, a cancellation, or news that its hash is gone. Notices can be
lost (pub/sub keeps none), so after every reconnection, every 30 s and before any deadline error the hashes of the
outstanding jobs are looked at.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from msgspec.structs import replace

from jobwire.client.cleanup import REMEMBERED, Cleanup
from jobwire.client.deadlines import Deadlines
from jobwire.client.handle import Pending
from jobwire.client.timeout_report import TimeoutReport
from jobwire.errors import (
    ClosedError,
    ConnectionLost,
    DecodeError,
    JobCancelled,
    JobFailed,
    JobLost,
    JobTimeout,
    JobwireError,
    ResultDecodeError,
    ServerError,
    TransportError,
    printable,
)
from jobwire.events import AnyEvent, Events
from jobwire.transport import Connection, Replies, Reply
from jobwire.transport.pieces import HELD, TOGETHER, Pace
from jobwire.transport.protocols import FEW
from jobwire.wire import Failure, Mode, Result, Submission, Success
from jobwire.wire.codec.extensions import EXPIRES, KEEP, parse_keep
from jobwire.wire.commands import Command, expire_in, first_error, hash_get, time_to_live
from jobwire.wire.connection_commands import MESSAGE
from jobwire.wire.keys import job_key
from jobwire.wire.server_clock import ServerClock
from jobwire.wire.states import LOOKED_AT, SEARCHED, JobState
from jobwire.wire.text import Text, epoch, readable, words_of
from jobwire.wire.workers import ask_abort

__all__ = ["Collector"]

_EXPIRES = EXPIRES.decode()
_JOINED_AT_MOST = 32
"""Submissions that are pushed together, and at once: Redis and workers are at them while more are made here."""
_SWEEP_EVERY = 30.0
_SWEEP_AT_ONCE = 256
_GIVEN_UP_AT_ONCE = 8
"""Jobs given up whose late results a sweep looks for; after a reconnection it looks for all."""
_SETTLED_EVERY = 0.02
_NAMED = 10
"""Jobs that a log line names."""
_LOOKED_FOR_AT_ONCE = 500
"""Jobs that one look at Redis is about, after a reconnection or where many deadlines come together."""
_GATHER = 0.02
"""Seconds after such a look in which deadlines wait for others, so that they share the next one."""
_LOOK_WITHIN = 2.0
"""Seconds that the look at Redis may take at a deadline; a server that hangs must not keep a wait from ending."""
_PASSING = frozenset({"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "TRYAGAIN"})
"""Errors that say something of the server at this moment, and nothing of the job."""


class Collector:
    """The outstanding jobs of one client. Lives in one event loop; nothing here blocks."""

    def __init__(self, mode: Mode, client_id: bytes, log: logging.Logger, events: Events) -> None:
        self.pending: dict[bytes, Pending] = {}
        self.queue_length: int | None = None
        self.on_queue_length: list[Callable[[int], object]] = []
        self._mode = mode
        self._client_id = client_id
        self._log = log
        self._events = events
        self._commands: Connection | None = None
        self._connections: list[Connection] = []
        self._cleanup: Cleanup | None = None
        self._clock = ServerClock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._room: asyncio.Event = asyncio.Event()
        self._crowded = False
        """Somebody waits for room."""
        self._report = TimeoutReport(mode)
        self._late: deque[Pending] = deque()
        self._expiring = False
        # Of this turn of the loop: submissions to be pushed together, jobs whose notice has come.
        self._submissions: list[tuple[Pending, tuple[Command, ...]]] = []
        self._announced: list[Pending] = []
        self._pace = Pace(TOGETHER, HELD)

    # -- life

    def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._cleanup = Cleanup(self._mode, self.loop)
        self._deadlines: Deadlines[bytes] = Deadlines(self.loop, self._deadline)
        if self._mode.keeps_jobs:
            self._spawn(self._sweep_for_ever())

    def opened(self, connection: Connection) -> None:
        """A connection was made, and is closed by ``disconnect``, whether or not another one can be made as well."""
        self._connections.append(connection)

    async def connected(self, commands: Connection, notices: Connection) -> None:
        """Take up work on fresh connections: listen first, then look for missed results."""
        await notices.execute(self._mode.subscribe(self._client_id))
        self._commands = commands
        self._submissions.clear()
        self._announced.clear()
        if self._cleanup is not None:
            self._cleanup.connected(commands)
        unanswered: list[Pending] = []
        for pending in list(self.pending.values()):
            if pending.acknowledged:
                continue
            if pending.sent and self._mode.redeliverable:
                unanswered.append(pending)
            else:
                self._push(pending)
        if unanswered:
            self._spawn(self._submit_again(commands, unanswered))
        await self._sweep(given_up=REMEMBERED)

    async def disconnect(self) -> None:
        self._commands = None
        if self._cleanup is not None:
            self._cleanup.disconnected()
        connections, self._connections = self._connections, []
        for connection in connections:
            await connection.close()

    async def settle(self, within: float) -> None:
        """Return when Redis has every submission and has answered all else, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await asyncio.sleep(0)  # hashes collected in this turn of the loop are deleted at its end
                while True:
                    connection = self._commands
                    if connection is not None:
                        await connection.answered()
                    if all(pending.acknowledged for pending in self.pending.values()):
                        return
                    await asyncio.sleep(_SETTLED_EVERY)  # until there is a connection again

    async def close(self) -> None:
        unsure = [printable(job_id) for job_id, pending in self.pending.items() if not pending.acknowledged]
        if unsure:
            self._log.error(
                "stopped, and Redis has not acknowledged %d submissions: %s%s",
                len(unsure),
                ", ".join(unsure[:_NAMED]),
                ", …" if len(unsure) > _NAMED else "",
            )
        for pending in list(self.pending.values()):
            self._end(pending, self._left_alone(pending))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "_deadlines"):
            self._deadlines.close()

    def _left_alone(self, pending: Pending) -> ClosedError:
        """For whoever waits when the client is stopped: the fate of the job."""
        name = printable(pending.job_id)
        if pending.acknowledged:
            finds = (
                "client.attach with the same client ID finds it" if self._mode.keeps_jobs else "nobody hears its result"
            )
            error = ClosedError(f"the client was stopped; the job goes on ({finds})")
            error.submitted = True
        elif pending.sent:
            error = ClosedError(f"the client was stopped; whether Redis has job {name} is not known: it did not answer")
        else:
            error = ClosedError(f"the client was stopped before job {name} could be sent: Redis has not got it")
            error.submitted = False
        return error

    def fail_all(self, error: JobwireError) -> None:
        for pending in list(self.pending.values()):
            self._end(pending, error)

    def _spawn(self, work: Any) -> None:
        task = self.loop.create_task(work)
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
        self.pending[pending.job_id] = pending
        if pending.timeout is not None:
            self._deadlines.add(pending.job_id, pending.timeout)

    def wanted_again(self, job_id: bytes) -> None:
        """An ID that may have had a job before gets one: deletions for the earlier one go before it."""
        if self._cleanup is not None:
            self._cleanup.wanted_again(job_id)

    def attach(self, pending: Pending) -> None:
        self.wanted_again(pending.job_id)
        self.pending[pending.job_id] = pending
        if pending.timeout is not None:
            self._deadlines.add(pending.job_id, pending.timeout)
        self._check(pending)

    def _push(self, pending: Pending) -> None:
        submission = pending.submission
        if submission is None:
            return
        expires = submission.meta.get(_EXPIRES)
        if expires is not None:
            submission = self._by_the_clock_of_the_server(submission, expires)
        commands = self._mode.submit(submission, pending.queue)
        if self._commands is None or self._commands.closed:
            return
        if expires is not None and self._clock.due:
            self._commands.send((self._clock.ASK,), partial(self._told_time, pending, time.monotonic()))
            return
        if not self._submissions:
            if len(self.pending) < FEW and self._commands.fresh:
                self._push_alone(self._commands, pending, commands)
                return
            self._commands.before_write(self.push_all)
        self._submissions.append((pending, commands))
        if len(self._submissions) >= _JOINED_AT_MOST:
            self._commands.flush()

    def push_all(self) -> None:
        """Send the submissions of this turn of the loop, with one push for all to one queue."""
        submissions, self._submissions = self._submissions, []
        if self._commands is None or self._commands.closed:
            return  # they are sent once there is a connection
        if len({pending.queue for pending, _ in submissions}) == 1:  # as almost always
            self._push_together(self._commands, submissions)
            return
        queues: dict[bytes, list[tuple[Pending, tuple[Command, ...]]]] = {}
        for submission in submissions:
            queues.setdefault(submission[0].queue, []).append(submission)
        for together in queues.values():
            self._push_together(self._commands, together)

    def _push_together(self, connection: Connection, together: list[tuple[Pending, tuple[Command, ...]]]) -> None:
        jobs, commands = zip(*together, strict=True)
        joined = self._mode.join(commands) if len(together) > 1 else None
        if joined is None:
            for pending, alone in together:
                self._push_alone(connection, pending, alone)
            return
        connection.send(joined, partial(self._all_pushed, jobs))
        for pending in jobs:
            pending.sent = True
        if self._events.traced:
            for pending in jobs:
                self._tell_pushed(pending)

    def _push_alone(self, connection: Connection, pending: Pending, commands: tuple[Command, ...]) -> None:
        pending.sent = True
        connection.send(commands, partial(self._pushed, pending))
        if self._events.traced:
            self._tell_pushed(pending)

    def _tell_pushed(self, pending: Pending) -> None:
        if self._mode.keeps_jobs:
            self._events.emit("write", readable(pending.job_id))
        self._events.emit("push", readable(pending.job_id), printable(pending.queue))

    def _by_the_clock_of_the_server(self, submission: Submission, expires: Text) -> Submission:
        moved = epoch(float(expires) + self._clock.ahead).decode()
        return replace(submission, meta=submission.meta | {_EXPIRES: moved})

    def _told_time(self, pending: Pending, asked: float, outcome: Replies | TransportError) -> None:
        if isinstance(outcome, TransportError) or pending.ended or pending.sent:
            return  # without an answer it is sent once there is a connection
        if self._clock.due:
            self._clock.learn(outcome[0], asked=asked)
        self._push(pending)

    def _all_pushed(self, jobs: Sequence[Pending], outcome: Replies | TransportError) -> None:
        """The answer to a joined submission."""
        if isinstance(outcome, TransportError) or first_error(outcome) is not None:
            replies = outcome.replies if isinstance(outcome, ConnectionLost) else outcome
            apart = self._mode.apart(replies, len(jobs)) if isinstance(replies, Sequence) and replies else None
            for at, pending in enumerate(jobs):
                self._pushed(pending, outcome if apart is None else apart[at])
            return
        for pending in jobs:
            if pending.submitters is None:
                pending.acknowledged = True  # ``acknowledge``, without the call
                pending.submission = None
            else:
                pending.acknowledge()
        length = self.queue_length = self._mode.submitted(outcome)
        for callback in self.on_queue_length:
            for behind in reversed(range(len(jobs))):
                callback(length - behind)

    def _pushed(self, pending: Pending, outcome: Replies | TransportError) -> None:
        if isinstance(outcome, ConnectionLost) and outcome.replies:
            outcome = list(outcome.replies)  # a server that takes no writes has said so: that is an answer
        if isinstance(outcome, TransportError):
            if not self._mode.redeliverable:
                # At most once: whether it arrived cannot be known, and sending it again could run it twice.
                lost = ConnectionLost(f"{outcome}; whether job {printable(pending.job_id)} was submitted is not known")
                self._end(pending, lost)
            return
        try:
            length = self._mode.submitted(outcome)
        except ServerError as error:
            self._end(pending, error)
            if self._cleanup is not None:
                self._cleanup.undo(pending.job_id, pending.queue, outcome)
            return
        pending.acknowledge()
        self.queue_length = length
        for callback in self.on_queue_length:
            callback(length)

    async def _submit_again(self, connection: Connection, unanswered: Sequence[Pending]) -> None:
        """After a reconnection: submissions that were never answered are sent again where they did not arrive whole."""
        queues: dict[bytes, list[Pending]] = {}
        for pending in unanswered:
            queues.setdefault(pending.queue, []).append(pending)
        for queue, jobs in queues.items():
            for first in range(0, len(jobs), _LOOKED_FOR_AT_ONCE):
                unsure = await self._arrived(connection, queue, jobs[first : first + _LOOKED_FOR_AT_ONCE])
                for pending in unsure:  # one at a time: it is a longer look
                    if await self._arrived(connection, queue, [pending], newest=SEARCHED):
                        self._push_again(pending)

    async def _arrived(
        self, connection: Connection, queue: bytes, some: Sequence[Pending], *, newest: int = LOOKED_AT
    ) -> list[Pending]:
        """Take note of submissions that have arrived, and repeat those that have not; return those that are whole or
        not, and were not seen.
        """
        ids = [pending.job_id for pending in some]
        replies = await connection.call(*self._mode.look(ids, queue, newest=newest))
        try:
            states = self._mode.looked(ids, replies)
        except ServerError as error:
            states = [error] * len(ids)
        unsure: list[Pending] = []
        for pending, state in zip(some, states, strict=True):
            if pending.ended or pending.acknowledged:
                continue
            if isinstance(state, ServerError):
                self._end(pending, state)
            elif state.place == "gone":
                self._push_again(pending)
            elif state.place == "unknown":
                unsure.append(pending)
            else:
                pending.acknowledge()
                self._check(pending)
        return unsure

    def _push_again(self, pending: Pending) -> None:
        pending.sent = False
        self._push(pending)

    async def drained(self) -> None:
        if self._commands is not None:
            try:
                await self._commands.drained()
            except TransportError:
                return  # unsent submissions leave after the reconnection

    async def fewer_than(self, limit: int) -> None:
        while len(self.pending) >= limit:
            self._crowded = True
            self._room.clear()
            await self._room.wait()

    # -- collecting

    def on_push(self, message: list[Reply]) -> None:
        """A message on the notice channel."""
        payload = message[2] if message[0] == MESSAGE else None
        if type(payload) is not bytes:
            return
        try:
            notice = self._mode.notice(payload)
        except DecodeError as error:
            self._log.error("notice ignored: %s", error)
            return
        pending = self.pending.get(notice.job_id)
        if pending is None:
            # Whatever was not ours is not ours to touch: Perl would delete the hash, whoever's it is.
            if self._cleanup is not None:
                self._cleanup.finished(notice.job_id)
            return
        if notice.result is not None:
            self._resolve(pending, notice.result)
            return
        announced = self._announced
        announced.append(pending)
        if len(announced) == 1:
            self._collect_soon()

    def _collect_soon(self) -> None:
        if self._commands is None or (len(self.pending) < FEW and self._commands.fresh):
            self._collect()
        else:
            self._commands.before_write(self._collect)

    def _collect(self) -> None:
        """Fetch the results that were announced in this turn of the loop."""
        announced, self._announced = self._announced, []
        if self._commands is None:
            return  # the sweep after the reconnection collects them
        for at in range(0, len(announced), size := self._pace.step):
            some = announced[at : at + size]
            commands = [command for pending in some if (command := self._mode.collect(pending.job_id))]
            self._commands.send(commands, partial(self._collected, some))

    def _collected(self, some: list[Pending], outcome: Replies | TransportError) -> None:
        if isinstance(outcome, TransportError):
            return  # the sweep after the reconnection collects them
        self._pace.sample(outcome)
        for pending, reply, value in zip(some, outcome, self._mode.values(outcome), strict=True):
            if pending.ended:
                continue  # by another notice, which was faster
            if value is NotImplemented or pending.convert is not None:
                self._read(pending, reply)
                continue
            self._end(pending, None, value)
            self._tidy(pending)

    def _read(self, pending: Pending, reply: Reply) -> None:
        try:
            result = self._mode.collected(pending.job_id, reply)
        except BaseException as error:
            self._unreadable(pending, error)
            return
        if result is None:
            # A notice without result: forged, or the hash is gone.
            self._check(pending)
        else:
            self._finish(pending, result)

    def _check(self, pending: Pending) -> None:
        commands = self._mode.check(pending.job_id)
        if self._commands is not None and commands:
            self._commands.send(commands, partial(self._checked, pending))

    def _checked(self, pending: Pending, outcome: Replies | TransportError) -> None:
        if isinstance(outcome, TransportError) or pending.ended:
            return
        try:
            result, present = self._mode.checked(pending.job_id, outcome)
        except BaseException as error:
            self._unreadable(pending, error)
            return
        if result is not None:
            self._finish(pending, result)
        elif not present and pending.acknowledged:
            name = printable(pending.job_id)
            self._end(
                pending,
                JobLost(
                    f"the hash of job {name} is gone from Redis and no result was seen: it was deleted, evicted, or "
                    "collected by another client with this client's ID",
                    job_id=readable(pending.job_id),
                ),
            )

    def _unreadable(self, pending: Pending, error: BaseException) -> None:
        """Whatever is raised between a reply and its handle ends the wait: nobody may be left waiting for it."""
        if isinstance(error, JobwireError):
            self._no_result(pending, error)
            return
        foreign = ResultDecodeError(f"the result cannot be read: {words_of(error)}", key=pending.job_id)
        foreign.__cause__ = error
        self._end(pending, foreign)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error

    def _no_result(self, pending: Pending, error: JobwireError) -> None:
        if isinstance(error, ServerError) and error.code in _PASSING:
            self._log.warning("job %s: %s; looking again later", printable(pending.job_id), error)
            return
        if isinstance(error, DecodeError) and self._mode.keeps_jobs:
            # RES-11: somebody else, or the same one with larger limits, may be able to.
            self._log.warning(
                "cannot read the result of job %s, so its hash stays: `jobwire job` shows it, a client of this ID with "
                "larger limits can attach to it, and whoever wants it no more deletes %s",
                printable(pending.job_id),
                printable(job_key(pending.job_id)),
            )
        self._end(pending, error)

    def _finish(self, pending: Pending, result: Result) -> None:
        self._resolve(pending, result)
        if isinstance(result, Failure) and result.rejected:
            return  # somebody's to mend: its entry stands in the list of rejected ones
        self._tidy(pending)

    def _tidy(self, pending: Pending) -> None:
        """Delete the hash of a job whose result was collected, unless others want it, too."""
        if not pending.kept and self._cleanup is not None:
            self._cleanup.delete(pending.job_id)

    def _resolve(self, pending: Pending, result: Result) -> None:
        if not isinstance(result, Success):
            failed = JobFailed(
                result.message, job_id=readable(pending.job_id), type=result.type, traceback=result.traceback
            )
            self._end(pending, failed)
            return
        try:
            value = pending.read(result.value, self._mode.characters_in(result.value))
        except BaseException as error:
            self._unreadable(pending, error)
        else:
            self._end(pending, None, value)

    def _end(self, pending: Pending, error: JobwireError | None, value: object = None) -> None:
        if pending.ended:
            return
        job_id = pending.job_id
        self.pending.pop(job_id, None)
        if pending.timeout is not None:
            self._deadlines.remove(job_id)
        pending.end(error, value)
        if self._crowded:
            self._crowded = False
            self._room.set()
        if self._events.traced:
            self._events.emit(_end_event(error), readable(pending.job_id), "" if error is None else str(error))

    def let_go(self, pending: Pending) -> None:
        """Wait no more for a job, whose result others fetch."""
        self.pending.pop(pending.job_id, None)
        if pending.timeout is not None:
            self._deadlines.remove(pending.job_id)
        if self._crowded:
            self._crowded = False
            self._room.set()

    async def fetch(self, job_id: bytes, queue: bytes) -> tuple[Result | None, JobState]:
        """The result of any job, or None, and where the job is; a kept one is given its end where it has none.

        Raises ``ConnectionLost``, ``ServerError``, ``DecodeError``.
        """
        if self._commands is None:
            raise ConnectionLost("there is no connection to Redis at the moment")
        self.push_all()
        result, _ = self._mode.checked(job_id, await self._commands.call(*self._mode.check(job_id)))
        if result is None:
            return None, await self.inspect(job_id, queue)
        key = job_key(job_id)
        left, fields = await self._commands.call(time_to_live(key), hash_get(key, KEEP))
        keep = fields[0] if isinstance(fields, list) and fields and isinstance(fields[0], bytes) else None
        milliseconds = parse_keep(keep)
        if left == -1 and milliseconds is not None:  # its worker was a Perl one, or died
            await self._commands.execute(expire_in(key, milliseconds))
        return result, JobState(place="processed")

    async def abort(self, job_id: bytes, queue: bytes) -> Literal["withdrawn", "asked", "ended"]:
        """Take a job back that nobody has taken, or ask its worker to abort it."""
        if self._commands is None:
            raise ConnectionLost("there is no connection to Redis at the moment")
        self.push_all()
        withdraw = self._mode.withdraw(job_id, queue)
        if withdraw and (await self._commands.call(*withdraw))[0] == 1:
            await self._commands.call(*self._mode.cleanup([job_id]))
            return "withdrawn"
        state = await self.inspect(job_id, queue)
        if state.place not in ("started", "unknown"):
            return "ended"
        await self._commands.call(*ask_abort(self._mode.keyspace, job_id))
        return "asked"

    # -- giving up

    def abandon(self, pending: Pending, error: JobwireError, *, withdraw: bool) -> None:
        """End the wait for a job; ``withdraw`` takes it out of the queue where no worker has taken it yet."""
        if self._submissions:
            self.push_all()  # commands about the job must follow its submission
        self._end(pending, error)
        if self._cleanup is not None and (withdraw or not pending.kept):
            self._cleanup.abandon(pending.job_id, withdraw_from=pending.queue if withdraw else None)

    def _deadline(self, job_ids: list[bytes]) -> None:
        self._late.extend(pending for job_id in job_ids if (pending := self.pending.get(job_id)) is not None)
        if self._late and not self._expiring:
            self._expiring = True
            self._spawn(self._expire_late())

    async def _expire_late(self) -> None:
        """End the waits whose deadlines have come, in steps: 100,000 may come at once."""
        silent = False
        while self._late:
            batch = [self._late.popleft() for _ in range(min(_LOOKED_FOR_AT_ONCE, len(self._late)))]
            # A server that let one look wait does not keep the others waiting, each in its turn.
            silent = await self._expire([pending for pending in batch if not pending.ended], ask=not silent)
            await asyncio.sleep(0 if self._late else _GATHER)
        self._expiring = False

    async def _expire(self, batch: Sequence[Pending], *, ask: bool) -> bool:
        """The deadlines of these jobs have come: look once more, then report. True for no answer."""
        found: dict[bytes, str] = {}
        instead, silent = "Redis does not answer", not ask
        try:
            if ask:
                async with asyncio.timeout(_LOOK_WITHIN):
                    await self._look(batch, found)
        except TimeoutError:
            silent = True
        except TransportError as error:
            instead = str(error)
        except Exception:  # whatever it was: a deadline that has come ends the wait
            self._log.exception(
                "cannot say where job %s is", ", ".join(printable(each.job_id) for each in batch[:_NAMED])
            )
            instead = "where it is could not be found out"
        for pending in batch:
            if not pending.ended:
                where = found.get(pending.job_id, instead)
                message = f"no result of job {printable(pending.job_id)} within {pending.timeout:g} s: {where}"
                self.abandon(pending, JobTimeout(message, job_id=readable(pending.job_id)), withdraw=False)
        return silent

    async def _look(self, batch: Sequence[Pending], found: dict[bytes, str]) -> None:
        """End the wait for jobs that have a result, or are gone; say of the others in ``found`` where they are."""
        queues: dict[bytes, list[Pending]] = {}
        for pending in batch:
            queues.setdefault(pending.queue, []).append(pending)
        for queue, jobs in queues.items():
            connection = self._commands
            if connection is None:
                raise ConnectionLost("there is no connection to Redis")
            ids = [pending.job_id for pending in jobs]
            states = self._mode.looked(ids, await connection.call(*self._mode.look(ids, queue)))
            for pending, state in zip(jobs, states, strict=True):
                if isinstance(state, JobState) and state.place in ("processed", "gone"):
                    self._check(pending)
            await connection.answered()
            left = {pending.job_id: state for pending, state in zip(jobs, states, strict=True) if not pending.ended}
            found |= await self._report.explain(connection, queue, left)

    # -- looking

    async def inspect(self, job_id: bytes, queue: bytes) -> JobState:
        if self._commands is None:
            raise ConnectionLost("there is no connection to Redis at the moment")
        self.push_all()
        return self._mode.inspected(await self._commands.call(*self._mode.inspect(job_id, queue)))

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            await self._sweep()

    async def _sweep(self, *, given_up: int = _GIVEN_UP_AT_ONCE) -> None:
        """Collect results whose notice was missed."""
        if self._cleanup is None:
            return
        self._cleanup.sweep(given_up)
        for number, pending in enumerate(list(self.pending.values())):
            if pending.acknowledged and not pending.ended:
                self._check(pending)
            if number % _SWEEP_AT_ONCE == _SWEEP_AT_ONCE - 1:
                await self.drained()
                await asyncio.sleep(0)


def _end_event(error: JobwireError | None) -> AnyEvent:
    if error is None:
        return "collect"
    return "cancel" if isinstance(error, JobCancelled) else "timeout" if isinstance(error, JobTimeout) else "fail"
