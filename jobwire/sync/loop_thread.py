"""An event loop in a thread of its own, for the blocking face."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent import futures
from functools import partial
from typing import Any, TypeVar

from jobwire.errors import ClosedError, ConfigError, ConnectError
from jobwire.worker.threads import run_here

__all__ = ["LoopThread", "done_at_once", "wait"]

T = TypeVar("T")


class LoopThread:
    """Runs coroutines and calls for other threads, one loop for all of them.

    A thread does not survive ``fork``: in the child every use raises ``ClosedError`` instead of waiting for ever.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._pid = os.getpid()
        # Held while work is handed over and while the loop says that it takes no more: accepted work is done.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None

    @property
    def alive(self) -> bool:
        return self._loop is not None and self._pid == os.getpid()

    def start(self) -> None:
        """Begin; returns when the loop runs.

        Raises ``ConnectError`` where the process has no file descriptor or no thread left, and ``ConfigError`` where
        threads are none (gevent, for the second loop).
        """
        ready: futures.Future[None] = futures.Future()
        # A daemon, so that a script that forgets to close its client ends all the same.
        thread = threading.Thread(target=self._serve, args=(ready,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise ConnectError(f"cannot begin a thread: {error}") from error
        self._thread = thread
        ready.result()

    def _serve(self, ready: futures.Future[None]) -> None:
        try:
            run_here(partial(self._until_ended, ready))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(_why_no_loop(error))  # whoever waits must not wait for ever

    async def _until_ended(self, ready: futures.Future[None]) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        ready.set_result(None)
        await self._end.wait()
        with self._lock:
            self._loop = None
        await asyncio.sleep(0)  # earlier calls become tasks now, which the runner cancels

    def stop(self) -> None:
        """End the loop; whoever waits in ``run`` gets ``ClosedError``. In a forked child there is nothing to end."""
        loop, end, thread = self._loop, self._end, self._thread
        if loop is None or end is None or thread is None or self._pid != os.getpid():
            return
        with contextlib.suppress(RuntimeError):  # another thread was faster
            loop.call_soon_threadsafe(end.set)
        thread.join()

    def run(self, work: Coroutine[Any, Any, T], *, timeout: float | None = None) -> T:
        """The outcome of ``work``; ``TimeoutError`` after ``timeout`` seconds.

        Whatever ends the wait early, KeyboardInterrupt too, cancels ``work``. Raises ``ClosedError`` where the loop is
        not running, or ends meanwhile.
        """
        if threading.current_thread() is self._thread:
            return done_at_once(work)  # from a callback: waiting for oneself would never end
        try:
            self._check_process()
            with self._lock:
                future = asyncio.run_coroutine_threadsafe(work, self._running())
        except BaseException:
            work.close()
            raise
        return _outcome(future, timeout)

    def call(self, function: Callable[[], T]) -> T:
        """The outcome of ``function``, called in the loop's thread."""
        future: futures.Future[T] = futures.Future()

        def called() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        if threading.current_thread() is self._thread:
            return function()  # from a callback: waiting for oneself would never end
        self._check_process()
        with self._lock:
            self._running().call_soon_threadsafe(called)
        return _outcome(future, None)

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise ClosedError("made before a fork, and threads do not survive one; make a new one in the child")

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise ClosedError("not started yet, or stopped (with client: …, or client.start())")
        return self._loop


def _why_no_loop(error: BaseException) -> BaseException:
    if isinstance(error, OSError):
        return ConnectError(f"cannot make an event loop: {error}")
    if isinstance(error, RuntimeError):
        return ConfigError(
            f"no event loop can run in a thread of its own: {error} (under gevent all threads are one, with one loop)"
        )
    return error


def done_at_once(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of ``work`` that waits for nothing; ``RuntimeError`` where it would have to wait."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    work.close()
    raise RuntimeError("this would wait for the event loop in the loop's own thread; wait in another thread")


async def wait(handle: Awaitable[T]) -> T:
    return await handle


def _outcome(future: futures.Future[T], timeout: float | None) -> T:
    try:
        return future.result(timeout)
    except futures.CancelledError:
        raise ClosedError("it was stopped meanwhile") from None
    except BaseException:
        future.cancel()
        raise
