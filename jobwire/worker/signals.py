"""SIGTERM and SIGINT, for as long as something runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["told_of_signals"]

Listener = Callable[[signal.Signals], object]

_handled: list[signal.Signals] = []


class _Signals:
    """Those of one event loop, and all who listen there: a loop itself has one handler for each signal."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.listeners: list[Listener] = []
        self._loop = loop
        self._before: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                self._loop.add_signal_handler(number, self._tell, number)
                self._before[number] = before
        _handled.extend(self._before)

    def remove(self) -> None:
        for number, before in self._before.items():
            removed = self._loop.remove_signal_handler(number)  # False where the loop is closed
            if number not in _handled:  # in a forked child
                continue
            _handled.remove(number)
            if removed and before is not None:  # None: not installed from Python
                signal.signal(number, before)

    def _tell(self, number: signal.Signals) -> None:
        for listener in list(self.listeners):
            listener(number)


_by_loop: dict[asyncio.AbstractEventLoop, _Signals] = {}


@contextlib.contextmanager
def told_of_signals(listener: Listener) -> Iterator[None]:
    """``listener`` is called, in the running event loop, with each of them that comes; so is any other of this loop.

    Only the main thread can, and only outside Windows; elsewhere whoever called us has to. A forked child hears them as
    a process does that has said nothing about them.
    """
    loop = asyncio.get_running_loop()
    signals = _by_loop.get(loop)
    if signals is None:
        signals = _by_loop[loop] = _Signals(loop)
        signals.install()
    signals.listeners.append(listener)
    try:
        yield
    finally:
        signals.listeners.remove(listener)
        if not signals.listeners:
            del _by_loop[loop]
            signals.remove()


def _by_default() -> None:
    """In a forked child. Its inherited wake-up descriptor tells the parent's event loop of the child's signals, and the
    child nothing: it could not be ended, and whoever tried (multiprocessing) would end the parent.
    """
    if not _handled:
        return
    with contextlib.suppress(ValueError):  # not in the main thread of the main interpreter
        signal.set_wakeup_fd(-1)
        for number in _handled:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _handled.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_by_default)
