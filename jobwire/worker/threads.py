"""Threads for handlers that are plain functions, and for calls that others pass to ``asyncio.to_thread``.

Daemon threads, unlike those of ``concurrent.futures``: a function that never returns must not keep the process from
ending once its worker has stopped.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, ParamSpec, TypeVar

__all__ = ["DaemonThreadPool", "HandlerThreads", "run_here"]

P = ParamSpec("P")
T = TypeVar("T")
_PATIENCE = 0.5
"""Seconds that the end of an event loop waits for calls in other threads."""


class _Call(NamedTuple):
    future: Future[Any]
    function: Callable[[], Any]
    begun: Callable[[], object]


class HandlerThreads:
    """At most ``maximum`` threads, made as they are needed."""

    def __init__(self, maximum: int, *, name: str = "jobwire-handler") -> None:
        self._maximum = maximum
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._lock = threading.Lock()

    def submit(self, function: Callable[[], Any], *, begun: Callable[[], object]) -> Future[Any]:
        """Call ``function`` in a thread; ``begun`` is called there just before. A future that is cancelled before
        that is never called. Raises ``RuntimeError`` where there is no thread and the system gives none.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._unfinished >= len(self._threads) and len(self._threads) < self._maximum:
                self._add_thread()
            self._unfinished += 1
        self._calls.put(_Call(future, function, begun))
        return future

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def close(self, *, within: float = 0.0) -> None:
        """End the threads as they become free; wait so many seconds for running calls."""
        for _ in self._threads:
            self._calls.put(None)
        end = time.monotonic() + within
        for thread in self._threads if within else ():
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if call.future.set_running_or_notify_cancel():
                self._call(call)
            with self._lock:
                self._unfinished -= 1
            del call  # a job must not stay in memory until the next one comes

    @staticmethod
    def _call(call: _Call) -> None:
        try:
            call.begun()
            value = call.function()
        except StopIteration as error:
            # A future cannot carry it: whoever awaits would wait for ever.
            wrapped = RuntimeError("the handler raised StopIteration")
            wrapped.__cause__ = error
            call.future.set_exception(wrapped)
        except BaseException as error:
            call.future.set_exception(error)
        else:
            call.future.set_result(value)


class DaemonThreadPool(ThreadPoolExecutor):
    """An event loop's default executor that does not keep the loop, or the process, from ending.

    The one of asyncio waits for calls of ``asyncio.to_thread`` however long they take.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)  # which makes no thread before its own ``submit``
        self._daemons = HandlerThreads(min(32, (os.cpu_count() or 1) + 4), name="jobwire-pool")
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``fn`` in a daemon thread. Raises ``RuntimeError`` after ``shutdown``."""
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        return self._daemons.submit(partial(fn, *args, **kwargs), begun=_nothing)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; ``wait`` waits half a second at most. Calls not begun by then are never waited for."""
        del cancel_futures
        self._closed = True
        self._daemons.close(within=_PATIENCE if wait else 0.0)


def run_here(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """``asyncio.run(main())``, but its end waits no longer than half a second for ``asyncio.to_thread``.

    Raises ``RuntimeError`` where another event loop runs in this thread.
    """
    if _loop_runs():
        raise RuntimeError("another event loop runs in this thread already")
    with asyncio.Runner() as runner:  # at its end it cancels running tasks, so that nobody waits for ever
        runner.get_loop().set_default_executor(DaemonThreadPool())
        work = main()
        try:
            return runner.run(work)
        finally:
            work.close()  # does nothing, unless it was never begun


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _nothing() -> None:
    pass
