"""The blocking faces of client, handle and worker."""

from __future__ import annotations

import asyncio
import atexit
import queue as queues
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar, Unpack, overload

from jobwire.client.client import Client as AsyncClient
from jobwire.client.client import EnqueueOptions
from jobwire.client.handle import JobHandle as AsyncJobHandle
from jobwire.client.handle import SubmitMiddleware
from jobwire.errors import ClosedError, JobError, JobwireError
from jobwire.options import UNSET, Unset
from jobwire.sync.loop_thread import LoopThread, done_at_once, wait
from jobwire.wire.states import JobState
from jobwire.wire.text import Text
from jobwire.worker.handlers import AnyHandler
from jobwire.worker.hooks import ErrorHook, LifeHook, Middleware
from jobwire.worker.threads import run_here
from jobwire.worker.worker import Worker as AsyncWorker
from jobwire.worker.worker import WorkerHealth

if TYPE_CHECKING:
    from typing_extensions import TypeForm  # part of every type checker; never imported

__all__ = ["Client", "JobHandle", "Worker"]

T = TypeVar("T")
F = TypeVar("F", bound=AnyHandler)
S = TypeVar("S", bound=SubmitMiddleware)
M = TypeVar("M", bound=Middleware)
E = TypeVar("E", bound=ErrorHook)
L = TypeVar("L", bound=LifeHook)
P = ParamSpec("P")


def _options_of(
    source: Callable[Concatenate[Any, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Gives a constructor the signature of another one, for people, type checkers and ``inspect``."""

    def take(target: Callable[..., None]) -> Callable[Concatenate[Any, P], None]:
        target.__wrapped__ = source  # type: ignore[attr-defined]  # inspect.signature follows it
        return target

    return take


class _InLoop:
    """A callback as the asynchronous handle calls it; equal where handle and callback are."""

    def __init__(self, handle: JobHandle[Any], callback: Callable[[JobHandle[Any]], object]) -> None:
        self._both = (handle, callback)

    def __call__(self, _: AsyncJobHandle[Any]) -> None:
        handle, callback = self._both
        callback(handle)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _InLoop) and self._both == other._both

    def __hash__(self) -> int:
        return hash(self._both)


class JobHandle(Generic[T]):
    """A submitted job: ``jobwire.JobHandle``, but ``result()`` waits."""

    __slots__ = ("_asynchronous", "_thread", "id")

    def __init__(self, asynchronous: AsyncJobHandle[T], thread: LoopThread) -> None:
        self.id: Text = asynchronous.id
        self._asynchronous = asynchronous
        self._thread = thread

    def __repr__(self) -> str:
        return repr(self._asynchronous)

    def result(self, timeout: float | None = None) -> T:
        """The job's result, any number of times; raises as ``await`` does in the asynchronous face.

        ``timeout`` is how many seconds to wait here: ``TimeoutError`` after that, while the job goes on and can be
        waited for again. The job's own deadline is the client's ``timeout`` (``JobTimeout``).
        """
        if self._asynchronous.done():
            return done_at_once(wait(self._asynchronous))
        return self._thread.run(wait(self._asynchronous), timeout=timeout)

    def submitted(self, timeout: float | None = None) -> None:
        """Return when Redis has the job; ``TimeoutError`` after ``timeout`` seconds. Raises as
        ``jobwire.JobHandle.submitted`` does.
        """
        self._thread.run(self._asynchronous.submitted(), timeout=timeout)

    def done(self) -> bool:
        """True once there is a result or an error."""
        return self._asynchronous.done()

    def add_done_callback(self, callback: Callable[[JobHandle[T]], object]) -> None:
        """Call ``callback(handle)`` in the loop's thread once the job is done."""
        told = _InLoop(self, callback)
        self._thread.call(lambda: self._asynchronous.add_done_callback(told))

    def remove_done_callback(self, callback: Callable[[JobHandle[T]], object]) -> int:
        """Undo ``add_done_callback``; how many were removed."""
        wanted = _InLoop(self, callback)
        return self._thread.call(lambda: self._asynchronous.remove_done_callback(wanted))

    def cancelled(self) -> bool:
        """True where the job ended by ``cancel``."""
        return self._asynchronous.cancelled()

    def exception(self) -> JobwireError | None:
        """The error that ``result`` raises, None for a result. Raises ``asyncio.InvalidStateError`` before the end."""
        return self._asynchronous.exception()

    def cancel(self) -> bool:
        """Take the job back; False where it was done already. See ``jobwire.JobHandle.cancel``."""
        return self._thread.call(self._asynchronous.cancel)


class Client:
    """``jobwire.Client`` for code that blocks; the options are the same (Perl: ``Job::Async::Client::Redis``).

    Raises ``ConfigError`` for options that cannot work.
    """

    @_options_of(AsyncClient.__init__)
    def __init__(self, *args: Any, **options: Any) -> None:
        self._client = AsyncClient(*args, **options)
        self._thread = LoopThread(f"jobwire-client-{self._client.id!s}")

    @property
    def id(self) -> Text:
        """This client's ID."""
        return self._client.id

    # -- life

    def start(self) -> None:
        """Connect and subscribe. Raises ``ConnectError``, ``AuthError``; ``ClosedError`` the second time;
        ``ConfigError`` where gevent has replaced threads, for all clients but the first.
        """
        if self._thread.alive:
            raise ClosedError("a client is started once; make a new one")
        self._thread.start()
        try:
            self._thread.run(self._client.start())
        except BaseException:
            self._thread.stop()
            raise
        atexit.register(self.stop)  # the thread is a daemon, so that nothing else would wait for its unsent commands

    def stop(self, grace: float = 5.0) -> None:
        """Submit no more, wait up to ``grace`` seconds until Redis has all that was submitted, close the connections.

        Threads that wait for a job get ``ClosedError``; it, and the log, say which jobs Redis has not acknowledged. The
        others go on. At the end of the program this happens by itself.
        """
        atexit.unregister(self.stop)
        if self._thread.alive:
            try:
                self._thread.run(self._client.stop(grace))
            finally:
                self._thread.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

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
    def submit(self, data: object = None, **options: Any) -> JobHandle[Any]:
        """Submit a job; ``.result()`` of the handle waits for its result. Options and errors are those of
        ``jobwire.Client.submit``.
        """
        return self._handle(self._thread.call(partial(self._client.submit, data, **options)))

    def enqueue(self, data: object = None, *, keep: float | Unset = UNSET, **options: Unpack[EnqueueOptions]) -> Text:
        """Submit a job and return its ID once Redis has it; see ``jobwire.Client.enqueue``."""
        return self._thread.run(self._client.enqueue(data, keep=keep, **options))

    @overload
    def result(
        self, job_id: Text, *, timeout: float = ..., result_type: None = ..., queue: Text | None = ...
    ) -> Any: ...
    @overload
    def result(
        self, job_id: Text, *, timeout: float = ..., result_type: TypeForm[T], queue: Text | None = ...
    ) -> T: ...
    def result(self, job_id: Text, *, timeout: float = 0.0, result_type: Any = None, queue: Text | None = None) -> Any:
        """The result of a job, whoever has submitted it; see ``jobwire.Client.result``."""
        found = self._client.result(job_id, timeout=timeout, result_type=result_type, queue=queue)
        return self._thread.run(found)

    def abort(self, job_id: Text, *, queue: Text | None = None) -> Literal["withdrawn", "asked", "ended"]:
        """End a job, whoever has submitted it; see ``jobwire.Client.abort``."""
        return self._thread.run(self._client.abort(job_id, queue=queue))

    def middleware(self, function: S) -> S:
        """Code around each submission; see ``jobwire.Client.middleware``. It runs in the loop's thread, in the context
        (``contextvars``) of the thread that submits; its handles are those of ``jobwire.Client``.
        """
        return self._client.middleware(function)

    def submit_many(
        self, jobs: Iterable[object], *, queue: Text | None = None, timeout: float | Unset | None = UNSET
    ) -> list[JobHandle[Any]]:
        """Submit many jobs, thousands in one write; waits while ``max_outstanding`` are outstanding.

        ``jobs`` is read to its end first, in this thread.
        """
        handles = self._thread.run(self._client.submit_many(list(jobs), queue=queue, timeout=timeout))
        return [self._handle(handle) for handle in handles]

    def room(self, timeout: float | None = None) -> None:
        """Return when fewer than ``max_outstanding`` jobs are outstanding; ``TimeoutError`` after ``timeout`` s."""
        self._thread.run(self._client.room(), timeout=timeout)

    def results(self, handles: Iterable[JobHandle[T]]) -> Iterator[tuple[JobHandle[T], T | JobError]]:
        """The results of ``handles`` as they complete, each with its handle: a value, or the ``JobError``.

        Other errors are raised. A loop that is left early leaves the jobs alone.
        """
        blocking = {handle._asynchronous: handle for handle in handles}
        arrived: queues.SimpleQueue[tuple[AsyncJobHandle[T], T | JobError] | BaseException | None] = (
            queues.SimpleQueue()
        )

        async def pump() -> None:
            try:
                async for pair in self._client.results(blocking):
                    arrived.put(pair)
                arrived.put(None)
            except BaseException as error:
                arrived.put(error)
                if not isinstance(error, Exception):
                    raise

        task = self._thread.call(lambda: asyncio.get_running_loop().create_task(pump()))
        try:
            while (item := arrived.get()) is not None:
                if isinstance(item, asyncio.CancelledError):
                    raise ClosedError("the client was stopped meanwhile")
                if isinstance(item, BaseException):
                    raise item
                yield blocking[item[0]], item[1]
        finally:
            if self._thread.alive:
                self._thread.call(task.cancel)

    def attach(
        self, job_id: Text, *, timeout: float | Unset | None = UNSET, queue: Text | None = None
    ) -> JobHandle[Any]:
        """Wait again for a job of one's own. Raises as ``jobwire.Client.attach`` does."""
        return self._handle(self._thread.call(partial(self._client.attach, job_id, timeout=timeout, queue=queue)))

    def state(self, job_id: Text, *, queue: Text | None = None) -> JobState:
        """The state of a job in Redis now. Raises as ``jobwire.Client.state`` does."""
        return self._thread.run(self._client.state(job_id, queue=queue))

    @property
    def queue_length(self) -> int | None:
        """The length of the queue after the last submission, None before."""
        return self._client.queue_length

    def on_queue_length(self, callback: Callable[[int], object]) -> None:
        """Call ``callback``, in the loop's thread, with the queue's length after each submission."""
        self._client.on_queue_length(callback)

    @property
    def outstanding(self) -> int:
        """Jobs that were submitted and have neither result nor error yet."""
        return self._client.outstanding

    def _handle(self, handle: AsyncJobHandle[T]) -> JobHandle[T]:
        return JobHandle(handle, self._thread)


class Worker:
    """``jobwire.Worker`` for code that blocks; the options are the same (Perl: ``Job::Async::Worker::Redis``).

    ``run()`` works in the calling thread until told to stop; as a context manager, or between ``start()`` and
    ``stop()``, it works in a thread of its own.
    """

    @_options_of(AsyncWorker.__init__)
    def __init__(self, *args: Any, **options: Any) -> None:
        #: The worker that does the work: for ``jobwire worker``, and functions that take a ``jobwire.Worker``.
        self.asynchronous = AsyncWorker(*args, **options)
        self._thread = LoopThread(f"jobwire-worker-{self.asynchronous.id!s}")

    @property
    def id(self) -> Text:
        """This worker's ID."""
        return self.asynchronous.id

    @property
    def counts(self) -> Counter[str]:
        """How many jobs ended how since the start; see ``jobwire.Worker.counts``."""
        return self.asynchronous.counts

    @property
    def running(self) -> int:
        """How many jobs are in hand now."""
        return self.asynchronous.running

    @property
    def health(self) -> WorkerHealth:
        """How this worker fares now; see ``jobwire.WorkerHealth``."""
        return self.asynchronous.health

    @overload
    def handler(self, function: F) -> F: ...
    @overload
    def handler(self, *, type: Any = ..., strict: bool = ..., in_process: bool = ...) -> Callable[[F], F]: ...
    def handler(self, function: Any = None, *, type: Any = None, strict: bool = False, in_process: bool = False) -> Any:
        """The function that does this worker's jobs; see ``jobwire.Worker.handler``. A plain function runs in a thread
        of the worker's pool, so it may block.
        """
        return self.asynchronous.handler(function, type=type, strict=strict, in_process=in_process)  # type: ignore[call-overload]  # both forms in one call

    def route(
        self,
        value: Text,
        /,
        *,
        field: str = "name",
        type: Any = None,
        strict: bool = False,
        in_process: bool = False,
    ) -> Callable[[F], F]:
        """The function for jobs whose parameter ``field`` is ``value``; see ``jobwire.Worker.route``."""
        return self.asynchronous.route(value, field=field, type=type, strict=strict, in_process=in_process)

    def middleware(self, function: M) -> M:
        """Code around each call of a handler; see ``jobwire.Worker.middleware``: it is ``async`` here as well."""
        return self.asynchronous.middleware(function)

    def on_error(self, function: E) -> E:
        """Told each failure of a handler; see ``jobwire.Worker.on_error``."""
        return self.asynchronous.on_error(function)

    def on_startup(self, function: L) -> L:
        """Called before the first job is taken, in the worker's event loop; see ``jobwire.Worker.on_startup``."""
        return self.asynchronous.on_startup(function)

    def on_shutdown(self, function: L) -> L:
        """Called when no handler runs any more; see ``jobwire.Worker.on_shutdown``."""
        return self.asynchronous.on_shutdown(function)

    def run(self, *, grace: float = 30.0, burst: bool = False, max_jobs: int | None = None) -> None:
        """Work in this thread until SIGTERM or SIGINT comes (main thread only), then stop with ``grace`` seconds.

        Code that a handler passed to ``asyncio.to_thread``, and that has not returned by then, is left to a daemon
        thread. ``burst``, ``max_jobs``, and its errors: see ``jobwire.Worker.run``.
        """
        run_here(partial(self.asynchronous.run, grace=grace, burst=burst, max_jobs=max_jobs))

    def start(self) -> None:
        """Begin to take jobs, in a thread of its own. Raises as ``jobwire.Worker.start`` does."""
        if self._thread.alive:
            raise ClosedError("a worker is started once; make a new one")
        self._thread.start()
        try:
            self._thread.run(self.asynchronous.start())
        except BaseException:
            self._thread.stop()
            raise

    def stop(self, grace: float = 30.0) -> None:
        """Take no more jobs, finish running jobs within ``grace`` seconds, put back the rest, close."""
        if self._thread.alive:
            try:
                self._thread.run(self.asynchronous.stop(grace))
            finally:
                self._thread.stop()

    def waiting(self) -> int:
        """How many jobs wait in this worker's queues; between ``start`` and ``stop``."""
        return self._thread.run(self.asynchronous.waiting())

    def check(self) -> None:
        """Connect to Redis once, and close the connection. Raises as ``jobwire.Worker.check`` does."""
        run_here(self.asynchronous.check)

    @property
    def place(self) -> str:
        """Where its Redis is, without credentials."""
        return self.asynchronous.place

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
