"""Submit jobs, and await their results. The counterpart of Perl's ``Job::Async::Client::Redis``."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, TypeVar, Unpack, overload

from jobwire.client.handle import JobHandle, Pending, SubmitMiddleware, Submitting
from jobwire.client.outstanding import Collector
from jobwire.errors import (
    ClosedError,
    ConfigError,
    JobCancelled,
    JobError,
    JobFailed,
    JobLost,
    JobTimeout,
    TooManyJobs,
    TransportError,
    printable,
)
from jobwire.events import Events, Trace
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.options import UNSET, Unset, at_least, backoff_of, build_mode, result_converter
from jobwire.sereal.values import StringPolicy
from jobwire.transport import OnLost, Transport, open_transport
from jobwire.transport.address import TLSOptions
from jobwire.transport.supervisor import LinkState, OnLinkState, Supervisor
from jobwire.wire import Dialect, Result, Submission, Success, dialect_named, new_id
from jobwire.wire.codec.extensions import ACCEPT, EXPIRES, KEEP, RESERVED, TRACEPARENT
from jobwire.wire.codec.fields import Nested
from jobwire.wire.codec.ids import check_id
from jobwire.wire.codec.plain import parameters_of
from jobwire.wire.codec.typed import Converter
from jobwire.wire.states import JobState
from jobwire.wire.text import Text, epoch, readable, wire_bytes

if TYPE_CHECKING:
    from typing_extensions import TypeForm  # part of every type checker; never imported

__all__ = ["Client"]

T = TypeVar("T")
M = TypeVar("M", bound=SubmitMiddleware)
_log = logging.getLogger("jobwire.client")
_QUEUES_KEPT = 1024


_KEPT_FOR = 3600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two looks for a result."""


class EnqueueOptions(TypedDict, total=False):
    """Options of ``enqueue``, as ``submit`` documents them."""

    queue: Text | None
    expires_in: float | None
    id: Text | None
    traceparent: str | None
    meta: Mapping[Text, Text] | None


class Client:
    """A client of one keyspace, for one event loop.

    Options, with Perl's names where Perl has them (Job::Async::Redis 0.004, Client/Redis.pm ``configure``):

    ``url``               where Redis is: ``redis://``, ``rediss://``, ``unix://`` (Perl: ``uri``)
    ``mode``              ``reliable`` (what Perl speaks), ``recoverable``, ``simple``; the workers' must be the same
    ``dialect``           the release to speak as: ``0.001`` … ``0.004``, ``master``
    ``prefix``, ``queue`` the queue is ``<prefix>::<queue>``; the workers' must be the same
    ``route``             a function from a job's data to the name of its queue, instead of ``queue``
    ``use_multi``         submit inside MULTI … EXEC
    ``timeout``           seconds to wait for a result, 300 unless said; None waits without end
    ``id``                this client's ID; a client that was away takes the same one again
    ``accept``            result tags to ask for besides ``T`` and ``J``: ``E`` failures, ``V`` exact scalars
    ``nested``            references as ``sereal`` (default) or ``json``
    ``strings``           how bytes that may be text are read (``jobwire.sereal.values.StringPolicy``)
    ``max_outstanding``   jobs that may be outstanding at a time
    ``reconnect_delay``   seconds, about, before a lost connection is made again; grows while that fails
    ``max_reconnects``    attempts in a row after which the client gives up; None never does
    ``on_state``          told ``up``, ``down``, ``closed`` with the error
    ``health_check_interval``  seconds, about, until a connection that is only half there is noticed; 0 for never
    ``tls``               redis-py's ``ssl_…`` options, for ``rediss://``
    ``trace``             told every step of every job
    ``transport``         a ``Transport`` instead of ``url`` (Sentinel, tests)

    Raises ``ConfigError`` for options that cannot work.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1",
        *,
        mode: str = "reliable",
        dialect: str | Dialect = "0.004",
        prefix: Text = "jobs",
        queue: Text = "pending",
        route: Callable[[Mapping[Any, Any]], Text] | None = None,
        use_multi: bool = False,
        timeout: float | None = 300.0,
        id: Text | None = None,
        accept: str = "E,V",
        nested: Nested = "sereal",
        strings: StringPolicy = "auto",
        limits: Limits = DEFAULT_LIMITS,
        max_outstanding: int = 100_000,
        reconnect_delay: float = 1.0,
        max_reconnects: int | None = None,
        on_state: OnLinkState | None = None,
        health_check_interval: float = 30.0,
        tls: TLSOptions | None = None,
        trace: Trace | None = None,
        transport: Transport | None = None,
    ) -> None:
        at_least("timeout", timeout, 0.001)
        at_least("max_outstanding", max_outstanding, 1, unit="job")
        self._transport = transport or open_transport(url, health_check_interval=health_check_interval, **(tls or {}))
        self._mode = build_mode(
            mode,
            dialect=_fixed(dialect),
            prefix=prefix,
            use_multi=use_multi,
            strings=strings,
            limits=limits,
            nested=nested,
            spread=self._transport.spread,
        )
        self._transport.anchor(self._mode.keyspace.queue(b""))
        self.id: Text = new_id() if id is None else id
        self._reply_to = check_id(self.id)
        self._queue_keys: dict[Text, bytes] = {}
        self._default_key = self._queue_key(queue)
        self._queue = queue
        self._route = route
        self._timeout = timeout
        # Only a dialect with tags can say more than Perl's two; envelopes always can.
        tagged = self._mode.keeps_jobs and dialect_named(dialect).tagged_results
        self._meta: dict[Text, Text] = {ACCEPT.decode(): accept} if accept and tagged else {}
        self._max_outstanding = max_outstanding
        self._on_state = on_state
        self._collector = Collector(self._mode, self._reply_to, _log, Events("client", _log, trace))
        self._supervisor = Supervisor(
            self._connect,
            self._collector.disconnect,
            backoff=backoff_of(reconnect_delay),
            on_state=self._link_changed,
            log=_log,
            maximum_attempts=max_reconnects,
        )
        self._state: LinkState | None = None
        self._stopping = False
        self._give_up = self._cancel  # bound once
        self._middleware: tuple[SubmitMiddleware, ...] = ()

    # -- life

    async def start(self) -> None:
        """Connect and subscribe. Raises ``ConnectError`` or ``AuthError`` where there is no Redis to talk to."""
        if self._state is not None:
            raise ClosedError("a client is started once; make a new one")
        self._collector.open()
        try:
            await self._supervisor.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self, grace: float = 5.0) -> None:
        """Submit no more, wait up to ``grace`` seconds until Redis has all that was submitted, close the connections.

        Whoever still awaits a job gets ``ClosedError``; it, and the log, say which jobs Redis has not acknowledged. The
        others go on.
        """
        self._state = "closed"
        self._stopping = True
        try:
            await self._collector.settle(grace)
        finally:
            await self._supervisor.stop()
            await self._collector.close()
            await self._transport.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _connect(self, lost: OnLost) -> None:
        commands = await self._transport.connect(name=f"jobwire-client-{self.id!s}", on_lost=lost)
        self._collector.opened(commands)
        notices = await self._transport.connect(
            name=f"jobwire-notices-{self.id!s}", on_push=self._collector.on_push, on_lost=lost
        )
        self._collector.opened(notices)
        await self._collector.connected(commands, notices)

    def _link_changed(self, state: LinkState, error: TransportError | None) -> None:
        if not self._stopping:
            self._state = state
        if state == "closed":
            self._collector.fail_all(error or ClosedError("the client gave up connecting"))
        if self._on_state is not None:
            self._on_state(state, error)

    # -- jobs

    @overload
    def submit(
        self,
        data: object = ...,
        *,
        result_type: None = ...,
        strict: bool = ...,
        queue: Text | None = ...,
        timeout: float | Unset | None = ...,
        expires_in: float | None = ...,
        id: Text | None = ...,
        traceparent: str | None = ...,
        keep: float | None = ...,
        meta: Mapping[Text, Text] | None = ...,
    ) -> JobHandle[Any]: ...
    @overload
    def submit(
        self,
        data: object = ...,
        *,
        result_type: TypeForm[T],
        strict: bool = ...,
        queue: Text | None = ...,
        timeout: float | Unset | None = ...,
        expires_in: float | None = ...,
        id: Text | None = ...,
        traceparent: str | None = ...,
        keep: float | None = ...,
        meta: Mapping[Text, Text] | None = ...,
    ) -> JobHandle[T]: ...
    def submit(
        self,
        data: object = None,
        *,
        result_type: Any = None,
        strict: bool = False,
        queue: Text | None = None,
        timeout: float | Unset | None = UNSET,
        expires_in: float | None = None,
        id: Text | None = None,
        traceparent: str | None = None,
        keep: float | None = None,
        meta: Mapping[Text, Text] | None = None,
    ) -> JobHandle[Any]:
        """Submit a job; ``await`` the handle for its result (Perl: ``submit``).

        ``data``         parameters: a mapping, a Struct, a dataclass; None for none
        ``result_type``  the type of the result, whose scalars are read as Perl reads them (README, Types); with
                         ``strict`` as msgspec does: ``""`` is not false, a number no text
        ``queue``        the queue's name, instead of the client's
        ``timeout``      seconds, instead of the client's
        ``expires_in``   seconds after which no jobwire worker begins the job any more, by the server's clock (extension
                         ``_expires``)
        ``id``           the job's ID, instead of a fresh UUID; unique among all clients, which is not looked at (ID-5)
        ``traceparent``  W3C trace context (extension ``_traceparent``)
        ``keep``         seconds for which the result stays in Redis, for ``result`` of any client (extension ``_keep``)
        ``meta``         further fields whose names start with ``_``

        The submissions of one turn of the event loop leave together. Nothing is sent where this raises:
        ``EncodeError`` for values that the wire cannot say or workers would refuse (``Limits``), ``TooManyJobs``,
        ``ClosedError``, or ``ConfigError`` (also outside of the event loop that the client was started in).
        """
        if self._middleware:
            chosen = self._queue_for(parameters_of({} if data is None else data)) if queue is None else queue
            submitting = Submitting(id=new_id() if id is None else id, queue=chosen, data=data, traceparent=traceparent)
            options = {"result_type": result_type, "strict": strict, "timeout": timeout, "expires_in": expires_in}
            options["keep"] = keep
            return self._submit_through(submitting, {**options, "meta": meta})
        collector = self._collector
        if self._state != "up":
            self._needs_start()
        if asyncio._get_running_loop() is not collector.loop:
            raise _foreign_loop()
        if len(collector.pending) >= self._max_outstanding:
            raise TooManyJobs(
                f"{len(collector.pending)} jobs are outstanding; wait (await client.room()) or raise max_outstanding"
            )
        wait = self._timeout if timeout is UNSET else self._wait(timeout)
        now = time.time()
        parameters = {} if data is None else data if type(data) is dict else parameters_of(data)
        submission = Submission(
            id=new_id().encode() if id is None else self._unused(id),
            data=parameters,
            reply_to=self._reply_to,
            queued=now,
            meta=self._meta
            if meta is None and expires_in is None and traceparent is None and keep is None
            else self._extended(meta, expires_in, traceparent, keep, now),
        )
        pending = Pending(
            submission.id,
            collector.loop,
            self._default_key
            if queue is None and self._route is None
            else self._queue_key(self._queue_for(parameters) if queue is None else queue),
            wait,
            None if result_type is None else result_converter(result_type, strict=strict),
            submission,
            self._give_up,
        )
        if keep is not None:
            pending.kept = True
        if id is not None:
            collector.wanted_again(pending.job_id)
        collector.submit(pending)
        return JobHandle(pending)

    async def enqueue(
        self, data: object = None, *, keep: float | Unset = UNSET, **options: Unpack[EnqueueOptions]
    ) -> Text:
        """Submit a job and return its ID once Redis has it; its result is for ``result``, of any client.

        ``keep``     seconds for which the result stays, 3600 unless said; mode ``simple`` keeps none
        ``options``  those of ``submit``

        Nobody waits: the job does not count as outstanding afterwards, and has no deadline. Raises as ``submit`` and
        ``JobHandle.submitted`` do.
        """
        if not isinstance(keep, Unset):
            self._needs_hashes("keep")
        kept = _KEPT_FOR if isinstance(keep, Unset) else keep
        handle = self.submit(data, timeout=None, keep=kept if self._mode.keeps_jobs else None, **options)
        try:
            await handle.submitted()
        finally:
            self._collector.let_go(handle._pending)
        return handle.id

    @overload
    async def result(
        self, job_id: Text, *, timeout: float = ..., result_type: None = ..., queue: Text | None = ...
    ) -> Any: ...
    @overload
    async def result(
        self, job_id: Text, *, timeout: float = ..., result_type: TypeForm[T], queue: Text | None = ...
    ) -> T: ...
    async def result(
        self, job_id: Text, *, timeout: float = 0.0, result_type: Any = None, queue: Text | None = None
    ) -> Any:
        """The result of a job, whoever has submitted it: a look at its hash, which stays as it is.

        ``timeout``  seconds to look again and again, where there is none yet
        ``queue``    the queue that it went to, where that is another than this client's

        Raises ``JobTimeout`` where there is no result by then, with the place of the job; ``JobFailed`` for a job that
        failed, with the type ``Dead`` for one that was set aside; ``JobLost`` where there is no such job, or no more;
        ``ResultDecodeError``, ``ConnectionLost``, ``ServerError``; ``ConfigError`` in mode ``simple``.
        """
        self._needs_hashes("result")
        self._needs_start()
        raw, key = check_id(job_id), self._queue_key(self._queue if queue is None else queue)
        convert = None if result_type is None else result_converter(result_type, strict=False)
        end, pause = time.monotonic() + timeout, _FIRST_PAUSE
        while True:
            found, state = await self._collector.fetch(raw, key)
            if found is not None:
                return self._value_of(raw, found, convert)
            if state.place == "gone":
                raise JobLost(f"there is no job {printable(raw)}, or no more", job_id=readable(raw))
            if state.place == "dead":
                raise JobFailed(_text(state.error or "set aside"), job_id=readable(raw), type="Dead")
            left = end - time.monotonic()
            if left <= 0:
                raise JobTimeout(f"no result of job {printable(raw)} yet: it is {state.place}", job_id=readable(raw))
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def abort(self, job_id: Text, *, queue: Text | None = None) -> Literal["withdrawn", "asked", "ended"]:
        """End a job, whoever has submitted it.

        ``withdrawn``  no worker had taken it yet: it is deleted, and whoever waits for it is told that it is gone
        ``asked``      the worker that runs it is to cancel its handler, within about a second; a client that reads
                       failures gets ``JobFailed`` of the type ``Aborted``, the jobs of others go to the dead ones. A
                       plain handler goes on in its thread, one in a process is killed; Perl workers are not reached
        ``ended``      it has a result, is dead, or is not there

        Raises ``ConnectionLost``, ``ServerError``; ``ConfigError`` in mode ``simple``.
        """
        self._needs_hashes("abort")
        self._needs_start()
        return await self._collector.abort(check_id(job_id), self._queue_key(self._queue if queue is None else queue))

    def _value_of(self, job_id: bytes, result: Result, convert: Converter | None) -> object:
        if not isinstance(result, Success):
            raise JobFailed(result.message, job_id=readable(job_id), type=result.type, traceback=result.traceback)
        pending = Pending(job_id, self._collector.loop, b"", None, convert, None, self._give_up)
        return pending.read(result.value, self._mode.characters_in(result.value))

    def middleware(self, function: M) -> M:
        """``function(submitting, proceed)``, around each submission; the first registered is the outermost.

        ``proceed()`` submits and gives the handle, which the function returns; before that it may set
        ``submitting.traceparent``. It is a plain function in the event loop, as ``submit`` is.
        """
        self._middleware += (function,)
        return function

    def _submit_through(self, submitting: Submitting, options: dict[str, Any]) -> JobHandle[Any]:
        middleware = self._middleware

        def submit() -> JobHandle[Any]:
            self._middleware = ()  # this one has been through it
            try:
                return self.submit(
                    submitting.data,
                    id=submitting.id,
                    queue=submitting.queue,
                    traceparent=submitting.traceparent,
                    **options,
                )
            finally:
                self._middleware = middleware

        proceed = submit
        for function in reversed(middleware):
            proceed = partial(function, submitting, proceed)
        return proceed()

    async def submit_many(
        self, jobs: Iterable[object], *, queue: Text | None = None, timeout: float | Unset | None = UNSET
    ) -> list[JobHandle[Any]]:
        """Submit many jobs, thousands in one write, waiting while ``max_outstanding`` are outstanding or Redis is slow
        to read. Raises as ``submit``; earlier jobs stay submitted.
        """
        handles: list[JobHandle[Any]] = []
        for data in jobs:
            if len(self._collector.pending) >= self._max_outstanding:
                await self.room()
            handles.append(self.submit(data, queue=queue, timeout=timeout))
            if len(handles) % 1000 == 0:
                await self._collector.drained()
        return handles

    async def room(self) -> None:
        """Return when fewer than ``max_outstanding`` jobs are outstanding."""
        await self._collector.fewer_than(self._max_outstanding)

    async def results(self, handles: Iterable[JobHandle[T]]) -> AsyncIterator[tuple[JobHandle[T], T | JobError]]:
        """The results of ``handles`` as they complete, each with its handle: a value, or the ``JobError``.

        The error comes as a value so that one failure does not hide the other results. Other errors are raised.
        """
        done: asyncio.Queue[JobHandle[T]] = asyncio.Queue()
        waiting = 0
        for handle in handles:
            waiting += 1
            handle.add_done_callback(done.put_nowait)
        for _ in range(waiting):
            handle = await done.get()
            try:
                yield handle, await handle
            except JobError as error:
                yield handle, error

    def attach(
        self, job_id: Text, *, timeout: float | Unset | None = UNSET, queue: Text | None = None
    ) -> JobHandle[Any]:
        """Wait again for a job of one's own: submitted under the same client ID, by this process or one before it.

        A result from meanwhile is there at once. Raises ``ClosedError``; ``ConfigError`` in mode ``simple``.
        """
        self._needs_start()
        if asyncio._get_running_loop() is not self._collector.loop:
            raise _foreign_loop()
        self._needs_hashes("attach")
        raw = check_id(job_id)
        known = self._collector.pending.get(raw)
        if known is None:
            known = Pending(
                raw,
                self._collector.loop,
                self._queue_key(self._queue if queue is None else queue),
                self._wait(timeout),
                None,
                None,
                self._give_up,
                sent=True,
                acknowledged=True,
            )
            self._collector.attach(known)
        return JobHandle(known)

    async def state(self, job_id: Text, *, queue: Text | None = None) -> JobState:
        """The state of a job in Redis now.

        Looks at 50,000 entries at either end of the queue, so that it holds the server for a few milliseconds at the
        most: a job that waits further inside is ``unknown``. `jobwire job` finds it there.

        Raises ``ConnectionLost``, ``ServerError``; ``ConfigError`` in mode ``simple``, which keeps nothing.
        """
        self._needs_hashes("state")
        return await self._collector.inspect(check_id(job_id), self._queue_key(self._queue if queue is None else queue))

    @property
    def queue_length(self) -> int | None:
        """The length of the queue after the last submission, None before (Perl: ``queue_length``, a source)."""
        return self._collector.queue_length

    def on_queue_length(self, callback: Callable[[int], object]) -> None:
        """Call ``callback`` with the queue's length after each submission."""
        self._collector.on_queue_length.append(callback)

    @property
    def outstanding(self) -> int:
        """Jobs that were submitted and have neither result nor error yet."""
        return len(self._collector.pending)

    # -- inside

    def _cancel(self, pending: Pending) -> None:
        if asyncio._get_running_loop() is not self._collector.loop:
            raise _foreign_loop()
        cancelled = JobCancelled("cancelled by its submitter", job_id=readable(pending.job_id))
        self._collector.abandon(pending, cancelled, withdraw=True)

    def _wait(self, timeout: float | Unset | None) -> float | None:
        if isinstance(timeout, Unset):
            return self._timeout
        at_least("timeout", timeout, 0.001)
        return timeout

    def _unused(self, job_id: Text) -> bytes:
        raw = check_id(job_id)
        if raw in self._collector.pending:
            raise ConfigError(f"job {printable(raw)} is outstanding already; every job needs an ID of its own")
        return raw

    def _needs_start(self) -> None:
        if self._state is None:
            raise ClosedError("the client is not started (async with client: …, or await client.start())")
        if self._state == "closed":
            raise ClosedError("the client was stopped, or gave up connecting; make a new one")

    def _queue_for(self, parameters: Mapping[Any, object]) -> Text:
        return self._queue if self._route is None else self._route(parameters)

    def _queue_key(self, name: Text) -> bytes:
        key = self._queue_keys.get(name)
        if key is None:
            if not name:
                raise ConfigError("a queue's name must not be empty")
            if len(self._queue_keys) >= _QUEUES_KEPT:
                self._queue_keys.clear()
            key = self._queue_keys[name] = self._mode.keyspace.queue(name)
        return key

    def _extended(
        self,
        meta: Mapping[Text, Text] | None,
        expires_in: float | None,
        traceparent: str | None,
        keep: float | None,
        now: float,
    ) -> dict[Text, Text]:
        fields = dict(self._meta)
        for name, value in (meta or {}).items():
            if wire_bytes(name) in RESERVED:
                raise ConfigError(f"{name!r} is the protocol's own field; there is an option for it")
            fields[name] = value
        if expires_in is not None:
            fields[EXPIRES.decode()] = epoch(now + expires_in).decode()
        if traceparent is not None:
            fields[TRACEPARENT.decode()] = traceparent
        if keep is not None:
            self._needs_hashes("keep")
            at_least("keep", keep, 0)
            fields[KEEP.decode()] = f"{keep:.15g}"
        return fields

    def _needs_hashes(self, what: str) -> None:
        if not self._mode.keeps_jobs:
            raise ConfigError(
                f"{what} needs a mode that keeps jobs (recoverable or reliable); {self._mode.name} keeps nothing"
            )


def _text(value: Text) -> str:
    return value if isinstance(value, str) else value.decode(errors="backslashreplace")


def _foreign_loop() -> ConfigError:
    return ConfigError(
        "a client is used in the event loop that it was started in, and not from other loops or threads "
        "(jobwire.sync.Client is for threads)"
    )


def _fixed(dialect: str | Dialect) -> str | Dialect:
    if dialect == "auto":
        raise ConfigError("a client speaks as one dialect; 'auto' is for workers, which see what a job was written in")
    return dialect
