"""Code of the application around its handlers: middleware, error hooks, start and end of the worker."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from jobwire.errors import ConfigError
from jobwire.wire import Job
from jobwire.wire.text import Text

__all__ = ["Call", "ErrorHook", "LifeHook", "Middleware", "Proceed"]

_log = logging.getLogger("jobwire.worker")
_PATIENCE = 10.0
"""Seconds that the functions of ``on_shutdown``, and error hooks that are under way, have at the end."""


class Call(msgspec.Struct, kw_only=True, eq=False):
    """One call of a handler.

    ``queue``      name of the queue that the job came through, without the prefix
    ``worker``     ID of this worker
    ``started``    epoch seconds
    ``outcome``    None until the handler has ended; ``cancelled`` where the worker stops or was told to abort it
    ``exception``  of the handler; ``TimeoutError`` where it took too long
    ``seconds``    how long it took, waiting for a thread included; None until it has ended
    """

    job: Job
    queue: Text
    worker: Text
    started: float
    outcome: Literal["done", "failed", "cancelled"] | None = None
    exception: BaseException | None = None
    seconds: float | None = None


Proceed: TypeAlias = Callable[[], Awaitable[Any]]
"""Calls the next middleware, the last one the handler: gives its result or raises its exception."""
Middleware: TypeAlias = Callable[[Call, Proceed], Awaitable[Any]]
"""The functions that ``Worker.middleware`` takes."""
ErrorHook: TypeAlias = Callable[[Call, BaseException], object]
"""The functions that ``Worker.on_error`` takes."""
LifeHook: TypeAlias = Callable[[], object]
"""The functions that ``on_startup`` and ``on_shutdown`` take."""

M = TypeVar("M", bound=Middleware)
E = TypeVar("E", bound=ErrorHook)
L = TypeVar("L", bound=LifeHook)


class Hooks:
    """All of one worker."""

    def __init__(self) -> None:
        self.middleware: list[Middleware] = []
        self.on_error: list[ErrorHook] = []
        self.on_startup: list[LifeHook] = []
        self.on_shutdown: list[LifeHook] = []
        self._begun = False
        self._tasks: set[asyncio.Future[Any]] = set()

    def run(self, call: Call, handle: Proceed) -> Awaitable[Any]:
        """``handle()``, with all middleware around it, the first registered outermost."""
        proceed: Proceed = partial(_observed, call, handle)
        for middleware in reversed(self.middleware):
            proceed = partial(middleware, call, proceed)
        return proceed()

    def failed(self, call: Call, error: BaseException) -> None:
        """Tell the error hooks; their errors are logged, awaitables that they return are awaited."""
        call.exception = error
        call.outcome = call.outcome or "failed"
        for hook in self.on_error:
            try:
                answer = hook(call, error)
                if inspect.isawaitable(answer):
                    task = asyncio.ensure_future(_finish(answer))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            except Exception:
                _log.exception("an error hook raised")

    async def start_up(self) -> None:
        """Call the functions of ``on_startup``, one after the other. Their errors pass."""
        self._begun = True
        for hook in self.on_startup:
            await _called(hook)

    async def shut_down(self) -> None:
        """Call the functions of ``on_shutdown``, the last registered first; errors are logged.

        Not where ``on_startup`` was not begun.
        """
        if not self._begun:
            return
        self._begun = False
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_PATIENCE)
        for hook in reversed(self.on_shutdown):
            try:
                async with asyncio.timeout(_PATIENCE):
                    await _called(hook)
            except Exception:
                _log.exception("on_shutdown: %s raised", getattr(hook, "__qualname__", hook))


class Hooking:
    """The part of a worker that takes such code."""

    def __init__(self) -> None:
        self._hooks = Hooks()

    def middleware(self, function: M) -> M:
        """``async def function(call, proceed)``, around each call of a handler; the first registered is the outermost.

        ``await proceed()`` calls the handler, gives its result or raises its exception; ``call`` (``jobwire.Call``)
        knows the job before, and the outcome after. The function's value is the job's result, its exception the job's
        failure. It runs in the event loop, in the context of the job: ``contextvars`` that it sets are the handler's.
        Raises ``ConfigError`` for a function that is not ``async``.
        """
        call = getattr(function, "__call__", None)  # noqa: B004 - the method itself is looked at, not callability
        if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)):
            raise ConfigError(f"a middleware is an async function of call and proceed, not {function!r}")
        self._hooks.middleware.append(function)
        return function

    def on_error(self, function: E) -> E:
        """``function(call, error)``, for each failure of a handler, tried again or not: for reports to Sentry and such.

        Called in the event loop, in the context of the job, so it must not block; an awaitable that it returns is
        awaited. Errors are logged.
        """
        self._hooks.on_error.append(function)
        return function

    def on_startup(self, function: L) -> L:
        """``function()``, plain or ``async``, in the event loop of the worker, before it takes its first job.

        For what lives in the loop, as a pool of database connections. ``start`` raises its errors.
        """
        self._hooks.on_startup.append(function)
        return function

    def on_shutdown(self, function: L) -> L:
        """``function()``, plain or ``async``, when no handler runs any more; the last registered is called first.

        Also where ``start`` failed after ``on_startup`` was begun. Each has ten seconds; errors are logged.
        """
        self._hooks.on_shutdown.append(function)
        return function


async def _observed(call: Call, handle: Proceed) -> Any:
    """The handler itself: its end is written into ``call``."""
    begun = time.perf_counter()
    _forget(call)
    try:
        value = await handle()
    except BaseException as error:
        call.outcome = "cancelled" if isinstance(error, asyncio.CancelledError) and _is_cancelled() else "failed"
        call.exception = error
        raise
    else:
        call.outcome = call.outcome or "done"  # an RPC method that failed has said so
        return value
    finally:
        call.seconds = time.perf_counter() - begun


def _forget(call: Call) -> None:
    """A middleware may call the handler again."""
    call.outcome = call.exception = call.seconds = None


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _called(hook: LifeHook) -> None:
    answer = hook()
    if inspect.isawaitable(answer):
        await answer


async def _finish(answer: Awaitable[Any]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await answer
        except Exception:
            _log.exception("an error hook raised")
