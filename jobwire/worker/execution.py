"""Running one handler for one job: in the loop or in a thread, within its time, and what it raised in words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

from jobwire.errors import EncodeError
from jobwire.wire import Failure, Job
from jobwire.worker.handlers import AnyHandler, Handler

__all__ = ["cancelled_from_outside", "execute", "failure_of"]


def execute(handler: Handler, job: Job, *, threads: ThreadPoolExecutor, timeout: float | None) -> Awaitable[Any]:
    """What the handler returns, to be awaited at once.

    Raises what the handler raises, and ``TimeoutError`` where it takes longer than ``timeout`` seconds.
    """
    argument = handler.prepare(job)
    if handler.in_thread:
        context = copy_context()
        call: Callable[[], Any] = partial(_call, handler.function, argument)
        work: Awaitable[Any] = asyncio.wrap_future(threads.submit(lambda: context.run(call)))
    else:
        work = handler.function(argument)
    return work if timeout is None else _within(work, timeout)


async def _within(work: Awaitable[Any], timeout: float) -> Any:
    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            return await work
    except TimeoutError:
        if deadline.expired():
            raise TimeoutError(f"the handler took longer than {timeout:g} s") from None
        raise


def _call(function: AnyHandler, argument: Any) -> Any:
    try:
        return function(argument)
    except StopIteration as error:
        # A future cannot carry it: whoever awaits would wait for ever.
        raise RuntimeError("the handler raised StopIteration") from error


def failure_of(error: BaseException) -> Failure:
    """``error`` as it is told to the submitter."""
    try:
        words = str(error)
    except Exception as worse:  # an error that cannot say what it is
        words = f"(its message cannot be had: {type(worse).__name__})"
    if isinstance(error, EncodeError):
        words = f"the handler's result cannot be sent: {words}"
    return Failure(type(error).__name__, words)


def cancelled_from_outside() -> bool:
    """Is this task to end, rather than that its handler raised CancelledError by itself?"""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
