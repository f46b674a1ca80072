"""SIGTERM and SIGINT, for as long as something runs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

__all__ = ["set_by_signals"]


@contextlib.contextmanager
def set_by_signals(event: asyncio.Event) -> Iterator[None]:
    """``event`` is set when one of them comes.

    Only the main thread can, and only outside Windows; elsewhere whoever called us has to.
    """
    loop = asyncio.get_running_loop()
    handled = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, event.set)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
