"""SIGTERM and SIGINT, for as long as something runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator

__all__ = ["set_by_signals"]

_handled: list[signal.Signals] = []


@contextlib.contextmanager
def set_by_signals(event: asyncio.Event) -> Iterator[None]:
    """``event`` is set when one of them comes.

    Only the main thread can, and only outside Windows; elsewhere whoever called us has to. A forked child hears them as
    a process does that has said nothing about them.
    """
    loop = asyncio.get_running_loop()
    handled: list[signal.Signals] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, event.set)
            handled.append(number)
    _handled.extend(handled)
    try:
        yield
    finally:
        for number in handled:
            with contextlib.suppress(ValueError):  # in a forked child
                _handled.remove(number)
            loop.remove_signal_handler(number)


def _by_default() -> None:
    """In a forked child. What it inherits tells the parent's event loop of the child's signals, and the child nothing:
    it could not be ended, and whoever tried (multiprocessing) would end the parent.
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
