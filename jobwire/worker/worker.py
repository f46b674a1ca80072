"""Take jobs, run their handlers, send back results. The counterpart of Perl's ``Job::Async::Worker::Redis``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import msgspec

from jobwire.errors import ClosedError, ConfigError, ConnectionLost, TransportError
from jobwire.events import Events, Trace
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.options import at_least, backoff_of, build_mode, queue_keys
from jobwire.sereal.values import StringPolicy
from jobwire.transport import Connection, OnLost, Transport, open_transport
from jobwire.transport.address import TLSOptions
from jobwire.transport.supervisor import LinkState, OnLinkState, Supervisor
from jobwire.wire import Dialect, new_id
from jobwire.wire.codec.ids import check_id
from jobwire.wire.commands import list_length
from jobwire.wire.text import Text, readable, wire_bytes
from jobwire.wire.workers import connection_tag
from jobwire.worker.aborts import Aborts
from jobwire.worker.executor import Executor
from jobwire.worker.fetcher import Fetcher, PipelinedFetcher, SingleFetcher, end_pops
from jobwire.worker.handlers import Handling
from jobwire.worker.heartbeat import BEAT, TTL
from jobwire.worker.hooks import Hooking
from jobwire.worker.maintenance import MAX_REJECTED, Maintenance
from jobwire.worker.processes import check_sendable
from jobwire.worker.registration import Membership
from jobwire.worker.rescuer import return_leftovers, until_gone
from jobwire.worker.retry import OnFailure, decide_by
from jobwire.worker.signals import told_of_signals

__all__ = ["Worker", "WorkerHealth"]

_log = logging.getLogger("jobwire.worker")
_FOREVER = 60.0
"""Seconds of one blocking pop where ``job_poll_interval`` is 0: short enough that a stop comes to an end."""
_CLOSED_WITHIN = 5.0
_SAID_WITHIN = 0.6
"""Seconds that a stop gives to clients that are about to subscribe."""
_LOOK = 0.1
"""Seconds between two looks whether all is done."""
_ONE_KEYSTROKE = 0.2
"""Seconds within which a second SIGINT is the first one once more: a terminal tells all its processes, and some pass it
on."""


class WorkerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker fares at this moment.

    ``connected``  its connections to Redis are there
    ``taking``     it takes jobs, or would if it had a free slot: it is connected, and told neither to stop nor to wait
    ``beat``       seconds since its last sign of life; None where it gives none (Perl's shared list, mode ``simple``)
    ``beat_ttl``   seconds that a sign of life lasts
    ``running``, ``slots``  jobs in hand, and how many there may be
    ``stopping``   it was told to stop
    """

    id: Text
    prefix: Text
    mode: str
    queues: tuple[Text, ...]
    connected: bool
    taking: bool
    beat: float | None
    beat_ttl: float
    running: int
    slots: int
    stopping: bool

    @property
    def ready(self) -> bool:
        """It takes jobs, and nobody will think that it has died."""
        return self.taking and (self.beat is None or self.beat < self.beat_ttl)


class Worker(Handling, Hooking):
    """A worker of one keyspace, for one event loop.

    Options, with Perl's names where Perl has them (Job::Async::Redis 0.004, Worker/Redis.pm ``configure``):

    ``url``                  where Redis is: ``redis://``, ``rediss://``, ``unix://`` (Perl: ``uri``)
    ``mode``                 ``reliable`` (what Perl speaks), ``recoverable``, ``simple``; the clients' must be the same
    ``dialect``              the release to speak as, or ``auto``: as each job shows
    ``prefix``               the clients' must be the same
    ``pending_queues``       names of queues in order of priority; ``reliable`` has one
    ``processing_queue``     name of the list of running jobs; None is a list of this worker's own, from which
                             jobs are recovered when it dies; ``"processing"`` is the one that all Perl workers share
    ``max_concurrent_jobs``  handlers at a time
    ``job_poll_interval``    seconds that one blocking pop waits; 0 as long as it takes
    ``use_multi``            complete inside MULTI … EXEC
    ``timeout``              seconds a handler may take; None for no limit
    ``id``                   this worker's ID
    ``on_failure``           ``leave``, ``retry``, ``reply``, or a function that decides: see ``jobwire.worker.retry``
    ``max_attempts``, ``retry_delay``  for ``retry``: times in all, seconds before the first repetition
    ``max_losses``           how many workers a job may lose before it is set aside as dead
    ``heartbeat``, ``heartbeat_ttl``  seconds between signs of life, and until their absence means that this worker died
    ``threads``              threads for handlers that are plain functions; ``max_concurrent_jobs`` unless said.
                             Where all handlers are, no more jobs are taken at a time
    ``strings``              how bytes that may be text are read
    ``reconnect_delay``      seconds, about, before a lost connection is made again; grows while that fails
    ``max_reconnects``       attempts in a row after which ``run`` raises; None never does
    ``on_state``             told ``up``, ``down``, ``closed`` with the error
    ``expire_results``       seconds until a result goes for which no client was listening; None for never
    ``max_rejected``         entries in ``<prefix>::rejected`` from which on there is an alarm in the log
    ``health_check_interval``  seconds, about, until a connection that is only half there is noticed; 0 for never
    ``tls``                  redis-py's ``ssl_…`` options, for ``rediss://``
    ``send_tracebacks``      send the end of the traceback of a failed job to clients that read failures (SEC-6): they
                             see file names and lines of code
    ``trace``                told every step of every job
    ``transport``            a ``Transport`` instead of ``url`` (Sentinel, tests)

    Raises ``ConfigError`` for options that cannot work.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1",
        *,
        mode: str = "reliable",
        dialect: str | Dialect = "0.004",
        prefix: Text = "jobs",
        pending_queues: Sequence[Text] = ("pending",),
        processing_queue: Text | None = None,
        max_concurrent_jobs: int = 1,
        job_poll_interval: float = 3.0,
        use_multi: bool = False,
        timeout: float | None = None,
        id: Text | None = None,
        on_failure: OnFailure = "leave",
        max_attempts: int = 3,
        retry_delay: float = 1.0,
        max_losses: int = 5,
        heartbeat: float = BEAT,
        heartbeat_ttl: float = TTL,
        threads: int | None = None,
        strings: StringPolicy = "auto",
        limits: Limits = DEFAULT_LIMITS,
        reconnect_delay: float = 1.0,
        max_reconnects: int | None = None,
        on_state: OnLinkState | None = None,
        expire_results: float | None = None,
        max_rejected: int = MAX_REJECTED,
        health_check_interval: float = 30.0,
        tls: TLSOptions | None = None,
        send_tracebacks: bool = False,
        trace: Trace | None = None,
        transport: Transport | None = None,
    ) -> None:
        Handling.__init__(self, strings)
        Hooking.__init__(self)
        at_least("max_concurrent_jobs", max_concurrent_jobs, 1, unit="job")
        at_least("job_poll_interval", job_poll_interval, 0)
        at_least("timeout", timeout, 0.001)
        at_least("max_attempts", max_attempts, 1, unit="attempt")
        at_least("retry_delay", retry_delay, 0)
        at_least("max_losses", max_losses, 1, unit="loss")
        at_least("heartbeat", heartbeat, 0.01)
        at_least("heartbeat_ttl", heartbeat_ttl, 2 * heartbeat)
        self.id: Text = new_id() if id is None else id
        #: True where this ID was given to it.
        self.named = id is not None
        check_id(self.id)
        self._transport = transport or open_transport(url, health_check_interval=health_check_interval, **(tls or {}))
        self._mode = build_mode(
            mode,
            dialect=dialect,
            prefix=prefix,
            use_multi=use_multi,
            strings=strings,
            limits=limits,
            owner=self.id,
            processing_queue=processing_queue,
            queues=len(pending_queues),
            spread=self._transport.spread,
        )
        self._transport.anchor(self._mode.keyspace.queue(b""))
        self._queues = queue_keys(self._mode, pending_queues)
        self._wait = job_poll_interval or _FOREVER
        self._on_state = on_state
        self._fetcher: Fetcher | None = None
        self._connections: list[Connection] = []
        self._popping_id: int | None = None
        self._popping_name = ""
        self._commands_id: int | None = None
        self._gave_up: TransportError | None = None
        self._commands: Connection | None = None
        self._state: LinkState | None = None
        self._stopping = False
        self._reason = "stop() was called"
        self._interrupted = False
        self._sigint: float | None = None
        self._claiming: asyncio.Future[None] | None = None
        self._grace: asyncio.Timeout | None = None
        self._hurried = False
        self._foreign = False
        self._leaving: asyncio.Future[None] | None = None
        # Set when ``run`` has nothing to wait for any more, and when everything is closed.
        self._ended = asyncio.Event()
        self._stopped = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._events = Events("worker", _log, trace)
        self._executor = Executor(
            self._mode,
            worker_id=self.id,
            find_handler=self._handlers.find,
            decide=decide_by(on_failure, max_attempts=max_attempts, retry_delay=retry_delay),
            timeout=timeout,
            threads=threads or max_concurrent_jobs,
            slots=max_concurrent_jobs,
            max_losses=max_losses,
            log=_log,
            events=self._events,
            maintenance=self._maintenance(expire_results, max_rejected),
            hooks=self._hooks,
            send_tracebacks=send_tracebacks,
        )
        self._beat_ttl = heartbeat_ttl
        self._aborts = Aborts(self._mode.keyspace, self._executor.deliveries, self._executor.abort, _log)
        self._membership = self._member(heartbeat, heartbeat_ttl, max_losses)
        self._supervisor = Supervisor(
            self._connect,
            self._disconnect,
            backoff=backoff_of(reconnect_delay),
            on_state=self._link_changed,
            log=_log,
            maximum_attempts=max_reconnects,
        )

    def _maintenance(self, expire_results: float | None, max_rejected: int) -> Maintenance:
        at_least("expire_results", expire_results, 0.001)
        at_least("max_rejected", max_rejected, 1, unit="entry")
        if expire_results is not None and self._transport.spread:
            raise ConfigError("expire_results cannot work on a cluster, whose nodes know their own listeners alone")
        kept = expire_results if self._mode.keeps_jobs else None
        return Maintenance(self._mode.keyspace, expire_results=kept, max_rejected=max_rejected, log=_log)

    def _member(self, beat: float, ttl: float, max_losses: int) -> Membership | None:
        """None where no entry has an owner: in Perl's shared list, and in a mode that keeps no jobs."""
        home = self._mode.home(self._queues)
        if home is None:
            return None
        return Membership(
            self._transport,
            self._mode,
            self.id,
            home,
            active=self._executor.deliveries,
            on_lost=self._displaced,
            max_losses=max_losses,
            beat=beat,
            ttl=ttl,
        )

    def _displaced(self) -> None:
        """Another worker has this one's ID (told by the heartbeat's thread)."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        """Running jobs and the own list are not ours any more: leave them to the other worker."""
        self._foreign = True
        self._link_changed("closed", TransportError(f"another worker has taken the ID {self.id!r}; this one stops"))
        self._leaving = asyncio.ensure_future(self.stop(0.0))

    # -- life

    async def start(self) -> None:
        """Connect and begin to take jobs; wait for the ID, as long as the TTL, where it is that of a killed worker.

        Raises ``ConfigError`` without a handler, and where another worker has the ID; ``ConnectError``, ``AuthError``.
        """
        if self._state is not None:
            raise ClosedError("a worker is started once; make a new one")
        self._needs_handler()
        for handler in self._handlers:
            if handler.in_process:
                check_sendable(handler.function)
        if self._all_in_threads():
            self._executor.needs_threads()
        self._loop = asyncio.get_running_loop()
        try:
            await self._hooks.start_up()
            if self._membership is not None:
                self._claiming = asyncio.ensure_future(self._membership.start())
                await self._claiming
            await self._supervisor.start()
        except BaseException:
            await self._close()
            raise
        _log.info(
            "worker %s takes %s jobs from %s at %s, %d at a time",
            self.id,
            self._mode.name,
            b", ".join(self._queues).decode(errors="backslashreplace"),
            self._transport.description,
            self._executor.slots,
        )

    async def stop(self, grace: float = 30.0) -> None:
        """Take no more jobs, finish running jobs within ``grace`` seconds, put back the rest, close.

        With a list of the worker's own that begins at once; with a shared one, after ``job_poll_interval`` at the most.
        """
        if self._stopping:
            await self._stopped.wait()
            return
        self._stopping = True
        if self._gave_up is not None:
            self._reason, grace = str(self._gave_up), 0.0
        _log.info("worker %s is stopping: %s, %d jobs running, up to %g s", self.id, self._reason, self.running, grace)
        try:
            await self._drain(grace)
        finally:
            await self._close()
            ends = ", ".join(f"{number} {end}" for end, number in self._events.counts.items() if number)
            _log.info("worker %s has stopped; jobs: %s", self.id, ends or "none")

    async def _drain(self, grace: float) -> None:
        self._state = "closed"
        self._executor.drain()
        if self._foreign:
            await self._supervisor.stop()
            self._executor.abandon()
            return
        await self._stop_taking()
        await self._finish_jobs(grace)
        self._executor.give_back_unfinished()
        await self._executor.idle(within=_CLOSED_WITHIN if self._commands is not None else 0.0)
        await self._executor.notices.said(within=0.0 if self._hurried else min(grace, _SAID_WITHIN))
        if self._commands is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._commands.answered(), _CLOSED_WITHIN)

    async def _finish_jobs(self, grace: float) -> None:
        try:
            async with asyncio.timeout(0.0 if self._hurried else grace) as self._grace:
                await self._executor.idle(within=grace)
        except TimeoutError:
            pass
        finally:
            self._grace = None

    async def _close(self) -> None:
        self._state = "closed"
        await self._supervisor.stop()
        if self._membership is not None:
            await self._membership.stop(left=self._executor.refused or bool(self._executor.deliveries))
        self._executor.close()
        await self._hooks.shut_down()
        await self._transport.close()
        self._ended.set()
        self._stopped.set()

    async def run(self, *, grace: float = 30.0, burst: bool = False, max_jobs: int | None = None) -> None:
        """``start``, then work until ``stop`` is called or SIGTERM or SIGINT comes, then stop with that ``grace``.

        ``burst`` ends it when its queues are empty and it has nothing in hand, ``max_jobs`` when it has taken so many
        jobs and ended them all.

        Further signals change nothing, but for a second SIGINT, from somebody at a terminal: the jobs go back at once.
        Several workers of one event loop all hear them. Raises as ``start`` does, and ``TransportError`` where
        ``max_reconnects`` were used up.
        """
        at_least("max_jobs", max_jobs, 1, unit="job")
        self._executor.left = max_jobs
        with told_of_signals(self._on_signal):
            try:
                await self.start()
            except asyncio.CancelledError:
                if not self._interrupted or _is_cancelled():
                    raise
                _log.info("worker %s has stopped: %s came before it had its ID", self.id, self._reason)
                return
            watching = asyncio.ensure_future(self._end_when_done(burst)) if burst or max_jobs else None
            try:
                await self._ended.wait()
            except BaseException:
                self._reason = "run() was cancelled"
                raise
            finally:
                if watching is not None:
                    watching.cancel()
                await self.stop(grace)
        if self._gave_up is not None:
            raise self._gave_up

    async def _end_when_done(self, burst: bool) -> None:
        """Ends ``run`` when ``max_jobs`` were taken or, in a ``burst``, nothing waits, and nothing is in hand."""
        while True:
            await asyncio.sleep(_LOOK)
            if self._executor.deliveries:
                continue
            if self._executor.left == 0:
                self._reason = "it has taken as many jobs as it was to"
                break
            with contextlib.suppress(TransportError):
                if burst and await self.waiting() == 0 and not self._executor.deliveries:
                    self._reason = "there are no more jobs"
                    break
        self._ended.set()

    async def waiting(self) -> int:
        """How many jobs wait in this worker's queues. Raises ``ConnectionLost``; ``ClosedError`` before ``start``."""
        if self._commands is None:
            raise ConnectionLost("not connected at this moment") if self._state else ClosedError("not started")
        replies = await self._commands.call(*map(list_length, self._queues))
        return sum(reply for reply in replies if isinstance(reply, int))

    async def check(self) -> None:
        """Connect to Redis once, and close the connection. Raises ``ConfigError``, ``ConnectError``, ``AuthError``."""
        self._needs_handler()
        connection = await self._transport.connect(name=f"jobwire-worker-{self.id!s}")
        await connection.close()

    @property
    def place(self) -> str:
        """Where its Redis is, without credentials."""
        return self._transport.description

    def _on_signal(self, number: signal.Signals) -> None:
        if not self._interrupted:
            self._interrupted = True
            if not self._stopping:
                self._reason = number.name
            if self._claiming is not None:
                self._claiming.cancel()  # does nothing once the ID is there
            self._ended.set()
        if number == signal.SIGINT:
            if self._sigint is None:
                self._sigint = time.monotonic()
            elif time.monotonic() - self._sigint > _ONE_KEYSTROKE:
                self._hurry()

    def _hurry(self) -> None:
        """Give back at once the jobs that still run."""
        if not self._hurried:
            self._hurried = True
            _log.info("worker %s: SIGINT once more, the jobs go back at once", self.id)
            if self._grace is not None and not self._grace.expired():
                self._grace.reschedule(0.0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def counts(self) -> Counter[str]:
        """How many jobs ended how since the start.

        ``done``, ``failed``, ``dead``, ``retried``, ``returned``, ``lost``, ``rejected``, ``expired``, ``vanished``,
        ``duplicate``, ``given_away``, ``notified_again``.
        """
        return self._events.counts.copy()

    @property
    def running(self) -> int:
        """How many jobs are in hand now; a job that waits to be tried again is not counted."""
        return self._executor.running

    @property
    def health(self) -> WorkerHealth:
        """How this worker fares now; may be asked from any thread."""
        skip = len(self._mode.keyspace.queue(b""))
        member, fetcher = self._membership, self._fetcher
        return WorkerHealth(
            id=self.id,
            prefix=self._mode.keyspace.prefix,
            mode=self._mode.name,
            queues=tuple(readable(queue[skip:]) for queue in self._queues),
            connected=self._commands is not None,
            taking=fetcher is not None and not fetcher.troubled and not self._stopping,
            beat=None if member is None else member.beat_age,
            beat_ttl=self._beat_ttl,
            running=self.running,
            slots=self._executor.slots,
            stopping=self._stopping,
        )

    # -- connections

    async def _connect(self, lost: OnLost) -> None:
        name = f"jobwire-worker-{self.id!s}"
        commands = await self._transport.connect(name=name, on_lost=lost)
        self._connections = [commands]
        previous_id, previous_name = self._popping_id, self._popping_name
        previous_commands, self._commands_id = self._commands_id, commands.client_id
        # Each with a name of its own: the IDs of connections begin anew when the server is restarted.
        self._popping_name = f"{connection_tag(self._mode.keyspace, wire_bytes(self.id))}-{new_id()}"
        popping = await self._transport.connect(name=self._popping_name, on_lost=lost, longest_silence=self._wait)
        self._connections.append(popping)
        self._popping_id = popping.client_id
        for command in self._mode.prepare():
            await commands.execute(command)
        if self._owns_list:
            await until_gone(commands, previous_id, previous_name)
            if previous_commands is not None and previous_commands < (commands.client_id or 0):
                await until_gone(commands, previous_commands, name)
        if self._membership is not None:
            await self._membership.connected(commands)
        await self._return_leftovers(commands)
        self._commands = commands
        self._executor.connected(commands)
        if self._mode.keeps_jobs:
            self._executor.on_busy, self._executor.on_idle = self._aborts.watch, self._aborts.rest
            self._aborts.connected(commands)
        if self._executor.draining:
            return
        kind = PipelinedFetcher if self._owns_list else SingleFetcher
        self._fetcher = kind(
            self._mode,
            popping,
            commands=commands,
            queues=self._queues,
            wait=self._wait,
            free=self._executor.free,
            on_taken=self._executor.accept,
            log=_log,
        )
        self._executor.on_free = self._fetcher.fill
        self._fetcher.fill()

    async def _disconnect(self) -> None:
        self._aborts.disconnected()
        self._executor.disconnected()
        if self._membership is not None:
            self._membership.disconnected()
        fetcher, self._fetcher, self._commands = self._fetcher, None, None
        if fetcher is not None and fetcher.awaiting_reply:
            await self._bring_in(fetcher)
        connections, self._connections = self._connections, []
        for connection in connections:
            await connection.close()

    def _link_changed(self, state: LinkState, error: TransportError | None) -> None:
        if state == "closed":
            self._gave_up = error
            self._ended.set()
        if self._state != "closed":
            self._state = state
        if self._on_state is not None:
            self._on_state(state, error)

    # -- taking

    async def _stop_taking(self) -> None:
        fetcher, commands, self._fetcher = self._fetcher, self._commands, None
        if fetcher is None or commands is None:
            return
        if self._owns_list:
            await fetcher.stop()
            with contextlib.suppress(TransportError):
                await until_gone(commands, self._popping_id, self._popping_name)
                await self._return_leftovers(commands)
            return
        await end_pops(fetcher, commands, self._popping_id)

    async def _bring_in(self, fetcher: Fetcher) -> None:
        """The other connection was lost, this one is well: closed now, it would lose the jobs of its pop."""
        with contextlib.suppress(TransportError, TimeoutError):
            async with asyncio.timeout(_CLOSED_WITHIN):
                other = await self._transport.connect(name=f"jobwire-worker-{self.id!s}")
                self._connections.append(other)
                await end_pops(fetcher, other, self._popping_id)

    @property
    def _owns_list(self) -> bool:
        return self._mode.ownership == "list"

    async def _return_leftovers(self, commands: Connection) -> None:
        returned = await return_leftovers(commands, self._mode, self._queues[0], self._executor.deliveries)
        self._events.count("returned", returned)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
