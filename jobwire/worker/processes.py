"""Processes for handlers that compute: each is asked by a thread, and is killed when its time is over.

A process is spawned when it is needed, kept for the next job, and ends with its parent. The function goes there by
name, its argument and its result pickled.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any
from weakref import WeakSet

from jobwire.errors import ConfigError
from jobwire.wire import Job
from jobwire.worker.handlers import AnyHandler, current, name_of

__all__ = ["HandlerProcesses", "ProcessCall", "check_sendable"]

_log = logging.getLogger("jobwire.worker")
_spawn = multiprocessing.get_context("spawn")


class RemoteTraceback(Exception):
    """The traceback of an error in a handler's process, as its cause."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0])


class _Child:
    """One process, and the pipe to it."""

    def __init__(self) -> None:
        self._connection, theirs = _spawn.Pipe()
        self.process = _spawn.Process(target=_serve, args=(theirs,), name="jobwire-handler", daemon=True)
        self.process.start()
        theirs.close()
        _children.add(self)

    def await_start(self) -> None:
        """Return once it has begun; raises as ``ask`` does."""
        self._receive()

    def ask(self, question: bytes) -> tuple[bool, Any, str]:
        """Raises ``ChildProcessError`` where the process has died."""
        try:
            self._connection.send_bytes(question)
        except OSError:
            raise self._died() from None
        answer: tuple[bool, Any, str] = pickle.loads(self._receive())  # noqa: S301 - from a process of our own
        return answer

    def _receive(self) -> bytes:
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            raise self._died() from None

    def _died(self) -> ChildProcessError:
        self.process.join(1.0)
        code = self.process.exitcode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
        return ChildProcessError(f"the process of the handler ended {how}")

    def kill(self) -> None:
        """End it at once; whoever waits for an answer gets ``ChildProcessError``."""
        with contextlib.suppress(ValueError, OSError):
            self.process.kill()

    def close(self) -> None:
        """Let it end."""
        self.kill()
        self._connection.close()


_children: WeakSet[_Child] = WeakSet()


@atexit.register  # before that of multiprocessing, which waits for them
def _kill_all() -> None:
    for child in list(_children):
        child.kill()


class ProcessCall:
    """One call: ``work`` in a thread, ``stop`` from anywhere."""

    def __init__(
        self,
        processes: HandlerProcesses,
        function: AnyHandler,
        argument: Any,
        job: Job,
        begun: Callable[[], object],
    ) -> None:
        self._processes = processes
        self._asked = (function, argument, None if argument is job else job)
        self._begun = begun
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._stopped = False

    def work(self) -> Any:
        """The function's value; raises its exception, and ``ChildProcessError``."""
        question = pickle.dumps(self._asked)
        child = self._processes.take()
        with self._lock:
            self._child = child
            if self._stopped:
                child.kill()
        try:
            self._begun()
            good, value, story = child.ask(question)
        except ChildProcessError:
            child.close()
            raise
        finally:
            with self._lock:
                self._child = None
        self._processes.give_back(child)
        if good:
            return value
        raise value from RemoteTraceback(story)

    def stop(self) -> None:
        """Kill the process, if the call is still under way."""
        with self._lock:
            self._stopped = True
            if self._child is not None:
                self._child.kill()


class HandlerProcesses:
    """As many as there are calls at a time."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._lock = threading.Lock()
        self._closed = False

    def take(self) -> _Child:
        """A process that has nothing to do; a new one where there is none. Raises ``ChildProcessError``."""
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.process.is_alive():
                    return child
                child.close()
        child = _Child()
        child.await_start()
        return child

    def give_back(self, child: _Child) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(child)
                return
        child.close()

    def close(self) -> None:
        """End all that have nothing to do, and the others as they become free."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for child in idle:
            child.close()


def check_sendable(function: AnyHandler) -> None:
    """Raise ``ConfigError`` for a function that another process does not find."""
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        name = name_of(function)
        raise ConfigError(f"the handler {name} cannot run in a process: {error}; define it in a module") from None


# -- in the process


def _serve(connection: Connection) -> None:
    # The worker ends it, after the grace: signals to the whole group, of a terminal or a supervisor, must not.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        connection.send_bytes(b"begun")
        while True:
            connection.send_bytes(_answer(connection.recv_bytes()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _answer(question: bytes) -> bytes:
    try:
        function, argument, job = pickle.loads(question)  # noqa: S301 - from our parent
        current.set(argument if job is None else job)
        return pickle.dumps((True, function(argument), ""))
    except BaseException as error:
        return _of_error(error)


def _of_error(error: BaseException) -> bytes:
    story = "".join(traceback.format_exception(error))
    try:
        raw = pickle.dumps((False, error, story))
        pickle.loads(raw)  # noqa: S301 - our own; some errors can be pickled and not be read again
    except Exception:
        return pickle.dumps((False, _Unsayable(type(error).__name__, _words(error)), story))
    return raw


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be had)"


class _Unsayable:
    """Stands for an error that cannot be pickled, under the same name."""

    def __init__(self, name: str, words: str) -> None:
        self._name = name
        self._words = words

    def __reduce__(self) -> tuple[Any, ...]:
        return _error_named, (self._name, self._words)


def _error_named(name: str, words: str) -> Exception:
    error: Exception = type(name, (Exception,), {})(words)
    return error
