"""Ways to await a handler, and to tell its loop from a thread."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any, TypeVar

__all__ = [
    "cancelled_from_outside",
    "done_within",
    "is_awaitable",
    "outcome_of",
    "spawn",
    "tell_loop",
    "whole",
    "within",
]

T = TypeVar("T")

if sys.version_info >= (3, 12):

    def spawn(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """A task that has made its first step: work that does not wait is done, and its loop never hears of it.

        A task factory of the program has its way.
        """
        if loop.get_task_factory() is None:
            return asyncio.Task(work, loop=loop, name=name, eager_start=True)
        return loop.create_task(work, name=name)

else:

    def spawn(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """A task; it makes its first step in the next turn of the loop.

        A task factory of the program has its way.
        """
        if loop.get_task_factory() is None:
            return asyncio.Task(work, loop=loop, name=name)
        return loop.create_task(work, name=name)


_PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, dict, tuple})
"""Types of most results: ``hasattr`` makes an exception and forgets it where there is no such attribute."""


def is_awaitable(value: object) -> bool:
    """Is it still to be awaited, as what a plain function around an ``async def`` returns?"""
    kind = type(value)
    return kind not in _PLAIN and hasattr(kind, "__await__")


async def whole(work: Awaitable[Any]) -> Any:
    """The value behind all that is still to be awaited."""
    value = await work
    while is_awaitable(value):
        value = await value
    return value


_NO_JOB = Context()
"""A timer that was cancelled stands among those of its loop until its time has come, and its context with it."""


async def within(timeout: float, work: Awaitable[Any]) -> Any:
    """The result of ``work``; raises ``TimeoutError`` that says so after ``timeout`` seconds."""
    loop = asyncio.get_running_loop()
    deadline = asyncio.timeout(None)
    timer = loop.call_later(timeout, lambda: deadline.reschedule(loop.time()), context=_NO_JOB)
    try:
        async with deadline:
            return await work
    except TimeoutError:
        if deadline.expired():
            raise TimeoutError(f"the handler took longer than {timeout:g} s") from None
        raise
    finally:
        timer.cancel()


async def done_within(task: asyncio.Task[Any], timeout: float) -> bool:
    """False, and the task cancelled, where it is not done by then. Does not wait for the end of a cancellation."""
    try:
        await asyncio.wait({task}, timeout=timeout)
    finally:
        done = task.done()
        task.cancel()  # does nothing to one that is done
    return done


async def outcome_of(work: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Nothing leaves a task: SystemExit and KeyboardInterrupt would end the event loop."""
    try:
        return await work, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error


def cancelled_from_outside() -> bool:
    """Is this task to end, rather than that its handler raised CancelledError by itself?"""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def tell_loop(loop: asyncio.AbstractEventLoop, told: asyncio.Future[None] | Callable[[], None]) -> None:
    """From a thread; a loop that is closed needs to know nothing any more."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(told if callable(told) else partial(_settle, told))


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
