"""Threads for handlers that are plain functions.

Daemon threads, unlike those of ``concurrent.futures``: a handler that never returns must not keep the process from
ending once its worker has stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, NamedTuple

__all__ = ["HandlerThreads"]


class _Call(NamedTuple):
    future: Future[Any]
    function: Callable[[], Any]
    begun: Callable[[], object]


class HandlerThreads:
    """At most ``maximum`` threads, made as they are needed."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._lock = threading.Lock()

    def submit(self, function: Callable[[], Any], *, begun: Callable[[], object]) -> Future[Any]:
        """Call ``function`` in a thread; ``begun`` is called there just before. A future that is cancelled before
        that is never called.
        """
        future: Future[Any] = Future()
        with self._lock:
            self._unfinished += 1
            if self._unfinished > len(self._threads) and len(self._threads) < self._maximum:
                name = f"jobwire-handler_{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        self._calls.put(_Call(future, function, begun))
        return future

    def close(self) -> None:
        """End the threads as they become free; what runs is not waited for."""
        for _ in self._threads:
            self._calls.put(None)

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
