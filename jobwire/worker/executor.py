"""The life of a job in a worker, step by step: accept, load, perform, finish, report.

``finish``, or ``_done`` for a value, is the only way out. ``jobwire.wire.lifecycle.TABLE`` says of each outcome which
events it takes, under which key it is counted, and whether it may be said twice after a lost connection.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from jobwire.errors import DecodeError, JobDecodeError, ServerError, TransportError, printable
from jobwire.events import Events
from jobwire.transport import Connection, Replies, Reply
from jobwire.transport.pieces import HELD, TOGETHER, Pace
from jobwire.transport.protocols import FEW, LONGEST_WAIT, with_replies
from jobwire.wire import Command, Failure, Job, Mode, Result, Success, Taken
from jobwire.wire import lifecycle as life
from jobwire.wire.dead_letters import encode_rejected
from jobwire.wire.lifecycle import Outcome
from jobwire.wire.modes.base import Ending, Told
from jobwire.wire.scripts import insist, is_out_of_memory
from jobwire.wire.server_clock import ServerClock
from jobwire.wire.text import Text, readable, words_of
from jobwire.worker.awaiting import cancelled_from_outside, is_awaitable, spawn, tell_loop
from jobwire.worker.delivery import Delivery
from jobwire.worker.failures import cut, failure_of, log_failure, sentence, traceback_of
from jobwire.worker.handlers import Handler, current
from jobwire.worker.hooks import Hooks
from jobwire.worker.maintenance import KEPT, Maintenance
from jobwire.worker.notices import Notices
from jobwire.worker.performer import Performer
from jobwire.worker.refusals import Refusals
from jobwire.worker.retry import Bury, Complete, Decide, Decision, Requeue

__all__ = ["Executor"]

_LASTING = frozenset({"NOPERM", "WRONGTYPE"})
"""Errors that do not pass by themselves: the entry stays where it is, until an operator has mended their cause."""
_LOST_DELAY = 1.0
"""Seconds until a job is given back whose handler somebody else has cancelled."""


class Executor:
    """The deliveries of one worker. ``deliveries`` holds all that is in hand, by identity."""

    # With more than thirty attributes in a dict CPython gives up its fast ways to attributes and methods.
    __slots__ = (
        "_clock", "_commands", "_completed", "_completing_since", "_decide", "_draining", "_events", "_hooks",
        "_idle", "_joins", "_log", "_loop", "_maintenance", "_max_losses", "_mode", "_pace", "_performer",
        "_preparing", "_refusals", "_send_tracebacks", "_started", "_starts_singly", "_thread_slots",
        "_told_busy", "_worker_id", "busy", "deliveries", "left", "notices", "on_busy", "on_free", "on_idle",
        "refused", "slots",
    )  # fmt: skip

    def __init__(
        self,
        mode: Mode,
        *,
        worker_id: Text,
        find_handler: Callable[[Job], Handler],
        decide: Decide,
        timeout: float | None,
        threads: int,
        slots: int,
        max_losses: int,
        log: logging.Logger,
        events: Events,
        maintenance: Maintenance,
        hooks: Hooks,
        send_tracebacks: bool = False,
    ) -> None:
        self.deliveries: dict[object, Delivery] = {}
        self.busy = 0
        """Slots that are taken: by jobs, and by threads whose jobs were given up."""
        self.refused = False
        """Redis would not take an end: something may have been left behind."""
        self._mode = mode
        self._worker_id = worker_id
        self._performer = Performer(
            worker_id=worker_id,
            queue_prefix=mode.keyspace.queue(b""),
            find_handler=find_handler,
            timeout=timeout,
            threads=threads,
            hooks=hooks,
            log=log,
        )
        self._decide = decide
        self._thread_slots = threads
        self.slots = slots
        """Jobs at a time."""
        self.left: int | None = None
        """How many more jobs may be taken; None for no limit."""
        self._max_losses = max_losses
        self.on_busy: Callable[[], object] = _nothing
        """Called when handlers go on behind their first step; ``on_idle`` once nothing is in hand after that."""
        self.on_idle: Callable[[], object] = _nothing
        self._told_busy = False
        self.on_free: Callable[[], None] = _nothing
        """Called whenever a slot has become free, or the jobs that came together have been begun."""
        self._log = log
        self._events = events
        self._maintenance = maintenance
        self._hooks = hooks
        self._send_tracebacks = send_tracebacks
        self.notices = Notices()
        self._refusals = Refusals(log)
        self._clock = ServerClock()
        self._pace = Pace(TOGETHER, HELD)
        self._started: life.State = life.after("taken", "start", mode=mode.name)
        self._commands: Connection | None = None
        self._idle: asyncio.Event | None = None
        self._draining = False
        self._joins = mode.joins_completions
        self._starts_singly = not mode.completion_says_start
        self._completed: list[Delivery] = []
        """To be told at the end of this turn of the loop, or once the first has waited for ``LONGEST_WAIT``."""
        self._completing_since = 0.0
        self._preparing = False

    # -- one job, step by step

    def accept(self, entries: Sequence[Taken]) -> None:
        """Take entries in hand, in their order."""
        deliveries: list[Delivery] = []
        for taken in entries:
            identity = self._mode.identity(taken)
            key: object = object() if identity is None else identity
            if key in self.deliveries and not self._taken_again(self.deliveries[key], taken):
                continue
            delivery = self.deliveries[key] = Delivery(key, taken)
            deliveries.append(delivery)
            self.busy += 1  # at once: ``_taken_again`` may free a slot, and ask for more
            if self._events.traced and identity is not None:
                self._events.emit("take", readable(identity))
        if self.left:
            self.left = max(0, self.left - len(deliveries))
        if not self._draining:
            self._load(deliveries)
            return
        for delivery in deliveries:
            self.finish(delivery, life.RETURNED)

    def _taken_again(self, before: Delivery, taken: Taken) -> bool:
        """False where the job of an entry is in hand, so that the entry is dropped."""
        if before.ending is None or before.ending.result is not None or not before.sent:
            self._drop_duplicate(taken)
            return False
        # We let it go, and were faster to take it again than to hear that it is back.
        self._end(before, before.ending.outcome)
        return True

    def _drop_duplicate(self, taken: Taken) -> None:
        # It runs here at this moment, so one of the two entries is enough; the client is told once.
        self._events.count(life.DUPLICATE.counter)
        self._log.warning("job %s came again while it runs; the second entry is dropped", printable(taken.entry))
        self.send(self._mode.forget_duplicate(taken))

    def _load(self, deliveries: Sequence[Delivery]) -> None:
        for at in range(0, len(deliveries), size := self._pace.step):
            some = deliveries[at : at + size]
            commands = [command for delivery in some if (command := self._mode.load(delivery.taken)) is not None]
            if not commands:
                self._loaded(some, [None for _ in some])
            elif self._commands is not None:
                self._commands.send(commands, partial(self._loaded, some))

    def _loaded(self, deliveries: Sequence[Delivery], replies: Replies | TransportError) -> None:
        if isinstance(replies, TransportError):
            return
        self._pace.sample(replies)
        jobs = self._mode.jobs([delivery.taken.entry for delivery in deliveries], replies)
        for delivery, reply, job in zip(deliveries, replies, jobs, strict=True):
            try:
                if type(job) is Job:
                    self._begin(delivery, job)
                else:
                    self._read(delivery, reply)
            except Exception as error:
                self._not_done(delivery, error)
        self._see_first_steps(deliveries)

    def _each(
        self, step: Callable[[Delivery, Reply], None], some: Sequence[Delivery], replies: Sequence[Reply]
    ) -> None:
        """Take a step with each, whatever becomes of the others."""
        for delivery, reply in zip(some, replies, strict=True):
            try:
                step(delivery, reply)
            except Exception as error:
                self._not_done(delivery, error)

    def _not_done(self, delivery: Delivery, error: Exception) -> None:
        self._log.error("job %s: %s", self._name_of(delivery), words_of(error), exc_info=error)

    def _read(self, delivery: Delivery, reply: Reply) -> None:
        """Begin the job in ``reply``, or say why it cannot be begun."""
        if delivery.state != "taken" or delivery.ending is not None:
            return
        try:
            job = self._mode.read(delivery.taken, reply)
        except ServerError as error:
            self._not_loaded(delivery, error)
            return
        except DecodeError as error:
            self._reject(delivery, error, self._mode.address(delivery.taken, reply))
            return
        if job is not None:
            self._begin(delivery, job)
            return
        if self._refusals.troubled:
            self._refusals.accepted("read jobs")
        self._log.info("job %s has no hash any more: it was cancelled or collected", self._name_of(delivery))
        self.finish(delivery, life.VANISHED)

    def _begin(self, delivery: Delivery, job: Job) -> None:
        """Begin a job that was read, unless it has ended already."""
        if delivery.state != "taken" or delivery.ending is not None:
            return
        delivery.job = job
        if self._refusals.troubled:
            self._refusals.accepted("read jobs")
        if self._events.traced and type(delivery.key) is not bytes:
            self._events.emit("take", job.id)
        if job.result is not None:
            self._log.info("job %s has a result already; its client is told again", self._name_of(delivery))
            self.finish(delivery, life.NOTIFIED_AGAIN)
        elif "_expires" in job.meta:
            self._look_at_clock(delivery, job)
        else:
            self._perform(delivery, job)

    def _look_at_clock(self, delivery: Delivery, job: Job) -> None:
        if self._clock.due:
            self.send((self._clock.ASK,), partial(self._told_time, delivery, job, time.monotonic()))
        elif job.expires and job.expires < self._clock.now():
            self._expire(delivery, job)
        else:
            self._perform(delivery, job)

    def _told_time(self, delivery: Delivery, job: Job, asked: float, replies: Replies) -> None:
        self._clock.learn(replies[0], asked=asked)
        if delivery.state == "taken" and delivery.ending is None:
            self._look_at_clock(delivery, job)
            self._see_first_steps((delivery,))

    def _not_loaded(self, delivery: Delivery, error: ServerError) -> None:
        name = self._name_of(delivery)
        if error.code == "WRONGTYPE":
            self._reject(delivery, JobDecodeError(f"the key of job {name} holds no hash: {error}"))
            return
        delivery.timer = self._loop.call_later(self._refusals.refused("read jobs", error), self._load, (delivery,))

    def _expire(self, delivery: Delivery, job: Job) -> None:
        self._log.warning("job %s had expired before it was begun", self._name_of(delivery))
        self._events.emit("expire", job.id)
        delivery.started = time.time()
        failure = Failure("Expired", "the job was not begun before its time (_expires)")
        if self._mode.reads_failures(job):
            self.finish(delivery, life.EXPIRED_TOLD, failure)
        else:
            self.finish(delivery, life.EXPIRED, reason=sentence(failure))

    def _perform(self, delivery: Delivery, job: Job) -> None:
        delivery.state = self._started
        delivery.started = time.time()
        if self._events.traced:
            self._events.emit("start", job.id)
        name = job.id if type(job.id) is str else self._name_of(delivery)
        delivery.task = spawn(self._loop, self._execute(delivery, job), name)

    def _see_first_steps(self, deliveries: Sequence[Delivery]) -> None:
        # Behind the first steps of the tasks just made. Where a handler is done by then, its completion says all.
        self._loop.call_soon(self._first_steps_made, deliveries)

    def _first_steps_made(self, deliveries: Sequence[Delivery]) -> None:
        going_on = False
        for delivery in deliveries:
            if delivery.ending is None and delivery.task is not None:
                going_on = True
                self._say_start(delivery)
        if going_on:
            self._told_busy = True
            self.on_busy()
            self.on_free()

    def _say_start(self, delivery: Delivery) -> None:
        if delivery.ending is None and not delivery.start_said and delivery.job is not None:
            delivery.start_said = True
            commands = self._mode.start(delivery.job, delivery.taken, at=delivery.started)
            self.send(commands, partial(self._start_said, delivery, commands))

    def _start_said(self, delivery: Delivery, commands: tuple[Command, ...], replies: Replies) -> None:
        # After the end it might come when the hash has been collected already, and leave one with this field alone.
        if delivery.ending is None and any(map(is_out_of_memory, replies)):
            self.send(insist(commands))

    async def _execute(self, delivery: Delivery, job: Job) -> None:
        current.set(job)
        if self._starts_singly:
            # Here, and not before the task: the result of a handler that does not wait then leaves in the same write.
            self._say_start(delivery)
        try:
            value = await self._performer.perform(delivery, job)
            while is_awaitable(value):
                value = await value
            if delivery.ending is None and delivery.state == self._started:
                self._done(delivery, job, value)
        except BaseException as error:  # whatever a handler raises is the job's failure, never the worker's
            cancelled = isinstance(error, asyncio.CancelledError) and cancelled_from_outside()
            if delivery.ending is None and delivery.state == self._started:
                if cancelled and self._mode.redeliverable:
                    self._lose(delivery)
                else:
                    self._fail(delivery, job, error)
            if cancelled:
                raise
        finally:
            if delivery.process is not None:
                delivery.process.stop()

    def _fail(self, delivery: Delivery, job: Job, error: BaseException) -> None:
        self._say_start(delivery)  # its hash stays
        failure = failure_of(error, with_traceback=self._send_tracebacks)
        log_failure(self._log, self._name_of(delivery), failure, error)
        self._events.emit("fail", job.id, sentence(failure))
        if self._hooks.on_error:
            self._hooks.failed(delivery.described or self._performer.describe(delivery, job), error)
        try:
            self._follow(delivery, job, failure, error, self._decide(job, failure))
        except Exception as worse:  # nothing may end without an outcome
            self._log.exception("cannot say that job %s failed", self._name_of(delivery))
            address = (job.id, job.reply_to) if job.reply_to and self._mode.reads_failures(job) else None
            self._reject(delivery, JobDecodeError(f"its failure could not be told: {worse}"), address)

    def _follow(self, delivery: Delivery, job: Job, failure: Failure, error: BaseException, decision: Decision) -> None:
        if not isinstance(decision, Complete) and not self._mode.redeliverable:
            decision = Complete(failure)
        match decision:
            case Complete(result):
                self.finish(delivery, life.FAILED if isinstance(result, Failure) else life.DONE, result)
            case Requeue(delay):
                attempts = job.attempts + 1
                self._log.info("job %s: attempt %d failed; again in %g s", self._name_of(delivery), attempts, delay)
                self.finish(delivery, life.RETRIED, reason=sentence(failure), attempts=attempts, delay=delay)
            case Bury():
                self.finish(delivery, life.DEAD, reason=sentence(failure), traceback=traceback_of(error))

    def _lose(self, delivery: Delivery) -> None:
        """The program has cancelled the handler's task: that is no failure of the job, and no orderly stop either."""
        self._log.error(
            "the handler of job %s was cancelled, not by its worker: the job goes back to its queue, and that is "
            "counted as the loss of a worker",
            self._name_of(delivery),
        )
        delay = 0.0 if self._mode.ownership == "shared" else _LOST_DELAY
        self.finish(delivery, life.LOST, reason="lost its worker too often", max_losses=self._max_losses, delay=delay)

    def _reject(self, delivery: Delivery, error: DecodeError, address: tuple[Text, Text] | None = None) -> None:
        """Set aside, whole, an entry that cannot be read; whoever has the ``address`` is told."""
        place = printable(self._mode.keyspace.rejected)
        self._log.error("set aside in %s: %s", place, cut(str(error)))
        reason, told = cut(str(error)), None
        if address is not None:
            words = cut(f"the job was set aside in {place}, for a worker cannot read it: {reason}")
            told = Told(*address, Failure(type(error).__name__, words, rejected=True))
        taken = delivery.taken
        record = encode_rejected(taken.entry, queue=taken.queue, worker=self._worker_id, reason=reason, at=time.time())
        self.finish(delivery, life.REJECTED, reason=reason, record=record, told=told)

    def _done(self, delivery: Delivery, job: Job, value: object) -> None:
        """``finish`` for a value, as almost all jobs end."""
        at, result = time.time(), Success(value)
        delivery.commands = self._mode.complete(job, delivery.taken, result, started=delivery.started, at=at)
        delivery.ending = Ending(life.DONE, result, started=delivery.started, at=at)
        connection, completed = self._commands, self._completed
        if not completed or connection is None:
            self._report(delivery)
            return
        delivery.sent = True
        completed.append(delivery)
        if at - self._completing_since > LONGEST_WAIT:
            connection.flush()

    def finish(
        self,
        delivery: Delivery,
        outcome: Outcome,
        result: Result | None = None,
        *,
        reason: str = "",
        record: bytes = b"",
        attempts: int = 0,
        max_losses: int = 0,
        told: Told | None = None,
        delay: float = 0.0,
        traceback: str = "",
    ) -> None:
        """Let go of an entry.

        ``delay`` seconds from now: until then it holds no slot, and stays where recovery finds it. Raises
        ``EncodeError`` for a result that the wire cannot say, and ``WireError`` for an outcome that the life cycle does
        not know here; then nothing has changed.
        """
        ending = Ending(
            outcome, result, reason, record, delivery.started, time.time(), attempts, max_losses, told, traceback
        )
        life.conclude(delivery.state, outcome, mode=self._mode.name)  # raises
        delivery.commands = self._mode.commands_for(delivery.taken, delivery.job, ending)
        delivery.ending = ending
        delivery.sent = False
        if delay and not self._draining:
            self._wait(delivery, delay)
        else:
            self._report(delivery)

    def _wait(self, delivery: Delivery, delay: float) -> None:
        delivery.timer = self._loop.call_later(delay, self._report, delivery)
        if delivery.ending is not None and delivery.ending.outcome is life.RETRIED:
            delivery.waiting = True
            self._note(delivery)
            self._release_slot(delivery)
        # Any other keeps its slot: where a program cancels handlers because its loop ends, nothing more may be popped.

    def _note(self, delivery: Delivery) -> None:
        """So that whoever recovers the job meanwhile knows how often it has failed."""
        ending = delivery.ending
        if ending is not None and ending.attempts:
            self.send(self._mode.note_failure(delivery.taken, ending.attempts, ending.reason))

    def _report(self, delivery: Delivery) -> None:
        if delivery.timer is not None:
            delivery.timer = None
        connection, ending = self._commands, delivery.ending
        if not delivery.commands:
            self._reported(delivery, [])
        elif connection is not None:
            delivery.sent = True
            completed = self._completed
            joins = self._joins and ending is not None and ending.result is not None and not delivery.insists
            # Whoever waits for the only one waits for nothing else: the next is asked for when it is answered.
            few = not completed and connection.fresh and len(self.deliveries) < FEW
            if ending is None or not joins or few:
                connection.send(delivery.commands, partial(self._reported, delivery))
                return
            completed.append(delivery)
            if len(completed) == 1:
                self._completing_since = ending.at
                connection.before_write(self._complete)
            elif ending.at - self._completing_since > LONGEST_WAIT:
                connection.flush()

    def _complete(self) -> None:
        """Say in few commands which jobs were completed in this turn of the loop."""
        completed, self._completed = self._completed, []
        if self._commands is None:
            return  # ``connected`` goes on
        for delivery in completed:
            if delivery.call is None and not delivery.released:
                delivery.released = True
                self.busy -= 1
        if len(completed) == 1:
            self._commands.send(completed[0].commands, partial(self._reported, completed[0]))
            self.on_free()
            return
        at = 0
        for command, count in self._mode.complete_many([delivery.commands for delivery in completed]):
            some = completed[at : at + count]
            at += count
            then = partial(self._reported, some[0]) if count == 1 else partial(self._all_reported, some)
            self._commands.send((command,), then)
        self.on_free()

    def _hold(self, delivery: Delivery) -> None:
        """Keep its slot, after all: it could not be completed, and no others are taken instead."""
        if delivery.released:
            delivery.released = False
            self.busy += 1

    def _all_reported(self, some: list[Delivery], outcome: Replies | TransportError) -> None:
        if isinstance(outcome, TransportError):
            return
        codes = outcome[0]
        if not isinstance(codes, list):  # an error, which is everybody's
            codes = [codes] * len(some)
        elif self._mode.all_heard(codes) and not self._refusals.troubled:
            self._end_all(some)
            return
        self._each(lambda delivery, code: self._reported(delivery, [code]), some, codes)

    def _reported(self, delivery: Delivery, replies: Replies | TransportError) -> None:
        ending = delivery.ending
        if isinstance(replies, TransportError) or ending is None:
            return  # once there is a connection, ``connected`` goes on
        if ending.result is not None and not self._refusals.troubled and self._mode.all_heard(replies):
            self._end(delivery, ending.outcome)
            return
        try:
            done = self._mode.reported(ending, replies)
        except ServerError as error:
            self._refuse(delivery, ending, error)
            return
        if self._refusals.troubled:
            self._refusals.accepted("complete jobs")
        if done:
            unheard = self._mode.unheard(delivery.job, ending, delivery.commands, replies)
            if unheard is not None:
                self.notices.unheard(unheard)
            self._end(delivery, ending.outcome)
            return
        self._log.warning(
            "job %s was given to another worker meanwhile; its end here is dropped", self._name_of(delivery)
        )
        self._end(delivery, life.GIVEN_AWAY)

    def _refuse(self, delivery: Delivery, ending: Ending, error: ServerError) -> None:
        """Redis refused an end."""
        name = self._name_of(delivery)
        self._hold(delivery)
        if error.code == "NOSCRIPT":  # the server was restarted, or its scripts were flushed
            if not self._preparing:
                self._preparing = True
                self.send(self._mode.prepare(), self._prepared)
            delivery.timer = self._loop.call_later(0.0, self._report, delivery)
        elif is_out_of_memory(error) and not delivery.insists:
            delivery.insists = True
            delivery.commands = insist(delivery.commands)
            self._report(delivery)
        elif self._insists(ending, error):
            delivery.timer = self._loop.call_later(
                self._refusals.refused("complete jobs", error), self._report, delivery
            )
        elif ending.outcome.insist and error.code not in _LASTING:
            self.finish(delivery, life.RETURNED)
        else:
            self._log.error("cannot end job %s (%s): %s", name, ending.outcome.counter, error)
            self.refused = True
            self._end(delivery, ending.outcome)

    def _prepared(self, replies: Replies) -> None:
        del replies
        self._preparing = False

    def _insists(self, ending: Ending, error: ServerError) -> bool:
        if ending.result is not None:
            return True
        return ending.outcome.insist and not self._draining and error.code not in _LASTING

    def _end_all(self, some: list[Delivery]) -> None:
        """``_end`` for completed jobs that need nothing more, as almost all do."""
        deliveries, done = self.deliveries, 0
        few = self._events.traced or self._maintenance.always
        for delivery in some:
            ending, job = delivery.ending, delivery.job
            if ending is None or job is None:
                continue
            if few or ending.outcome is not life.DONE or not delivery.released or KEPT in job.meta:
                self._end(delivery, ending.outcome)
            elif deliveries.get(delivery.key) is delivery:
                del deliveries[delivery.key]
                done += 1
        self._events.count(life.DONE.counter, done)
        if not deliveries:
            self._nothing_in_hand()

    def _end(self, delivery: Delivery, outcome: Outcome) -> None:
        if self.deliveries.get(delivery.key) is not delivery:
            return
        del self.deliveries[delivery.key]
        ending = delivery.ending
        told = outcome is not life.GIVEN_AWAY
        if ending is not None and told:
            self._maintain(delivery, ending)
        self._events.count(outcome.counter)
        if self._events.traced and ending is not None and told:
            steps, _ = life.conclude(delivery.state, ending.outcome, mode=self._mode.name)
            for step in steps:
                self._events.emit(step, self._id_of(delivery), ending.reason)
        if delivery.timer is not None:
            delivery.cancel_timer()
        if delivery.released:
            delivery.released = False
        elif delivery.call is None and not delivery.waiting:
            self.busy -= 1
            self.on_free()
        elif not delivery.waiting:
            self._release_slot(delivery)
        if not self.deliveries:
            self._nothing_in_hand()

    def _nothing_in_hand(self) -> None:
        if self._told_busy:
            self._told_busy = False
            self.on_idle()
        if self._idle is not None:
            self._idle.set()

    def _maintain(self, delivery: Delivery, ending: Ending) -> None:
        if ending.record:
            self._maintenance.rejected(self.send)
            return
        job = delivery.job
        if ending.result is not None and job is not None and (self._maintenance.always or KEPT in job.meta):
            self._maintenance.completed(job, delivery.taken.entry, self.send)

    def _release_slot(self, delivery: Delivery) -> None:
        """A slot is free when its thread is, which may be later than the end of its job."""
        if delivery.call is None or delivery.call.done() or delivery.call.cancel():
            self.busy -= 1
            self.on_free()
            return
        delivery.call.add_done_callback(lambda _: tell_loop(self._loop, self._thread_returned))

    def _thread_returned(self) -> None:
        self.busy -= 1
        self.on_free()

    # -- connections and life

    def connected(self, commands: Connection) -> None:
        """Take up again all that a lost connection interrupted."""
        self._commands = commands
        self._completed.clear()
        self._preparing = False
        self._loop = asyncio.get_running_loop()
        self.notices.connected(commands)
        for delivery in list(self.deliveries.values()):
            self._resume(delivery)

    def _resume(self, delivery: Delivery) -> None:
        ending = delivery.ending
        if ending is None:
            if delivery.state == "taken":
                delivery.cancel_timer()
                self._load((delivery,))
            return
        if delivery.timer is not None and not delivery.sent:
            self._note(delivery)
            return
        delivery.cancel_timer()
        repeat = ending.outcome.repeat
        if repeat == "look" and delivery.sent and ending.result is not None:
            self._look(delivery)
        elif repeat == "once" and delivery.sent and not self._mode.redeliverable:
            self._end(delivery, ending.outcome)
        else:
            self._report(delivery)

    def _look(self, delivery: Delivery) -> None:
        """A completion was sent and not answered: the hash shows whether it arrived."""
        command = self._mode.load(delivery.taken)
        if command is None:
            self._report(delivery)
        else:
            self.send((command,), partial(self._looked, delivery))

    def _looked(self, delivery: Delivery, replies: Replies) -> None:
        if self.deliveries.get(delivery.key) is not delivery or delivery.ending is None:
            return
        try:
            job = self._mode.read(delivery.taken, replies[0])
        except (ServerError, DecodeError):
            self._report(delivery)
            return
        if job is None:
            self._log.info("job %s has no hash any more: it was cancelled or collected", self._name_of(delivery))
            self.finish(delivery, life.VANISHED)
        elif job.result is not None:
            self.finish(delivery, delivery.ending.outcome)
        else:
            self._report(delivery)

    def disconnected(self) -> None:
        """The connections are gone, and with them whoever took jobs."""
        self._commands = None
        self.notices.disconnected()
        self.on_free = _nothing
        for delivery in self.deliveries.values():
            self._hold(delivery)
        if self._mode.ownership == "list":
            # Not begun yet, and perhaps given away until we are back: entries still ours are found in the list.
            for delivery in list(self.deliveries.values()):
                if delivery.state == "taken" and delivery.ending is None:
                    self._leave(delivery)

    def send(self, commands: tuple[Command, ...], then: Callable[[Replies], None] | None = None) -> None:
        """``then`` is only called with replies: after a lost connection the state of a delivery says how to go on."""
        if self._commands is not None and commands:
            self._commands.send(commands, None if then is None else partial(with_replies, then))

    def needs_threads(self) -> None:
        """Every job needs one: no more are taken than there are threads, others are to have the rest."""
        self.slots = min(self.slots, self._thread_slots)

    def free(self) -> int:
        """Slots for further jobs."""
        free = self.slots - self.busy
        return free if self.left is None else min(free, self.left)

    @property
    def running(self) -> int:
        """Deliveries that hold a slot."""
        return sum(not delivery.waiting for delivery in self.deliveries.values())

    @property
    def draining(self) -> bool:
        return self._draining

    def drain(self) -> None:
        """From now on entries that come are given back, and nothing is waited for but handlers."""
        self._draining = True
        for delivery in list(self.deliveries.values()):
            if delivery.timer is not None and delivery.ending is not None:
                delivery.cancel_timer()
                self._report(delivery)

    async def idle(self, *, within: float) -> None:
        """Return when nothing is in hand, or after so many seconds."""
        self._idle = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.deliveries:
                    self._idle.clear()
                    await self._idle.wait()

    def give_back_unfinished(self) -> None:
        """The grace is over: cancel the handlers that still run, and return their jobs to the queue."""
        # The youngest first, so that the oldest is taken next.
        for delivery in reversed(list(self.deliveries.values())):
            if delivery.ending is not None:
                continue
            self._log.warning("job %s did not end in time; it goes back to its queue", self._name_of(delivery))
            self.finish(delivery, life.RETURNED)
            if delivery.task is not None:
                delivery.task.cancel()

    def abort(self, delivery: Delivery) -> None:
        """Somebody wants this job to end now: cancel its handler, and say so."""
        if delivery.ending is not None or delivery.job is None or delivery.state != self._started:
            return
        self._log.warning("job %s is aborted, as somebody has asked for", self._name_of(delivery))
        failure = Failure("Aborted", "the job was aborted while it ran")
        if self._mode.reads_failures(delivery.job):
            self.finish(delivery, life.FAILED, failure)
        else:
            self.finish(delivery, life.DEAD, reason=sentence(failure))
        if delivery.task is not None:
            delivery.task.cancel()

    def abandon(self) -> None:
        """All this is somebody else's now: cancel the handlers, and say nothing."""
        self._completed.clear()
        for delivery in list(self.deliveries.values()):
            self._leave(delivery)

    def _leave(self, delivery: Delivery) -> None:
        del self.deliveries[delivery.key]
        delivery.state = "orphaned"
        delivery.cancel_timer()
        if delivery.task is not None:
            delivery.task.cancel()
        if not delivery.waiting and not delivery.released:
            self._release_slot(delivery)

    def close(self) -> None:
        """End the threads and processes; a handler that still runs in one is not waited for."""
        self._performer.close()

    # -- names

    def _name_of(self, delivery: Delivery) -> str:
        return printable(delivery.taken.entry)

    def _id_of(self, delivery: Delivery) -> Text:
        # In mode simple an entry is the whole job; its ID shows when it was read.
        if delivery.job is not None:
            return delivery.job.id
        return readable(delivery.key) if isinstance(delivery.key, bytes) else ""


def _nothing() -> None:
    pass
