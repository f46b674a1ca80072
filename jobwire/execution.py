"""Running one handler for one job: in the loop or in a thread, within its time, and what it raised in words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

from jobwire.errors import EncodeError
from jobwire.handlers import Answers, AnyHandler, Handler
from jobwire.options import Unset
from jobwire.wire import Failure, Job

__all__ = ["cancelled_from_outside", "execute", "failure_of"]


def execute(handler: Handler, job: Job, *, threads: ThreadPoolExecutor, timeout: float | None) -> Awaitable[Any]:
    """What the handler returns, to be awaited at once.

    Raises what the handler raises, and ``TimeoutError`` where it takes longer than ``timeout`` seconds, or than its
    own time; nothing but ``CancelledError`` from outside where the handler ``answers``.
    """
    limit = timeout if isinstance(handler.timeout, Unset) else handler.timeout
    if handler.answers is not None:
        return _answer(handler.answers, handler, job, threads, limit)
    work = _begin(handler, handler.prepare(job), threads)
    return work if limit is None else _within(work, limit)


def _begin(handler: Handler, argument: Any, threads: ThreadPoolExecutor) -> Awaitable[Any]:
    if not handler.in_thread:
        return _whole(handler.function(argument))
    context = copy_context()
    call: Callable[[], Any] = partial(_call, handler.function, argument)
    return _whole(asyncio.wrap_future(threads.submit(lambda: context.run(call))))


async def _whole(work: Awaitable[Any]) -> Any:
    """A plain function around an ``async def`` returns what is still to be awaited."""
    value = await work
    while hasattr(type(value), "__await__"):
        value = await value
    return value


async def _within(work: Awaitable[Any], timeout: float) -> Any:
    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            return await work
    except TimeoutError:
        if deadline.expired():
            raise TimeoutError(f"the handler took longer than {timeout:g} s") from None
        raise


async def _answer(
    answers: Answers, handler: Handler, job: Job, threads: ThreadPoolExecutor, timeout: float | None
) -> Any:
    try:
        argument = handler.prepare(job)
    except BaseException as error:
        return answers.unfit(error, job)
    # A task of its own, so that a handler that cancels itself is told from a worker that stops.
    task = asyncio.create_task(_outcome(_begin(handler, argument, threads)))
    try:
        if timeout is not None and not await _done_within(task, timeout):
            return answers.late(timeout, job)
        value, raised = await task
    except asyncio.CancelledError as error:
        if cancelled_from_outside():
            raise
        return answers.raised(error, job)
    if raised is not None:
        return answers.raised(raised, job)
    try:
        return answers.returned(value)
    except Exception as error:
        return answers.raised(error, job)


async def _done_within(task: asyncio.Task[Any], timeout: float) -> bool:
    """False, and the task cancelled, where it is not done by then. Does not wait for the end of a cancellation."""
    try:
        await asyncio.wait({task}, timeout=timeout)
    finally:
        done = task.done()
        task.cancel()  # does nothing to one that is done
    return done


async def _outcome(work: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Nothing leaves a task: SystemExit and KeyboardInterrupt would end the event loop."""
    try:
        return await work, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error


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
