"""One entry in the hands of a worker, from its pop until Redis knows how it ended."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import msgspec

from jobwire.wire import Command, Job, Taken
from jobwire.wire.lifecycle import State
from jobwire.wire.modes.base import Ending
from jobwire.worker.hooks import Call
from jobwire.worker.processes import ProcessCall

__all__ = ["Delivery"]


class Delivery(msgspec.Struct, eq=False):
    """An entry and its progress.

    ``state``       that of the life-cycle table
    ``start_said``  Redis was told that the handler has begun
    ``call``        the call of a plain handler in its thread; ``begun`` is done once it has one
    ``process``     the same of a handler that runs in a process
    ``described``   the call of the handler as middleware sees it; None where there is none
    ``ending``      set once it is known how the worker lets go of it
    ``commands``    those of ``ending``
    ``sent``        ``commands`` were written to a connection
    ``released``    its slot is free: its handler is done, and its completion was written to a connection
    ``waiting``     it holds no slot: it stays in hand until it is to be tried again
    ``insists``     Redis was out of memory: ``commands`` are in words that it does not refuse
    """

    key: object
    taken: Taken
    state: State = "taken"
    job: Job | None = None
    started: float = 0.0
    start_said: bool = False
    task: asyncio.Task[None] | None = None
    call: Future[Any] | None = None
    begun: asyncio.Future[None] | None = None
    process: ProcessCall | None = None
    described: Call | None = None
    ending: Ending | None = None
    commands: tuple[Command, ...] = ()
    sent: bool = False
    released: bool = False
    waiting: bool = False
    insists: bool = False
    timer: asyncio.TimerHandle | None = None

    def cancel_timer(self) -> None:
        """Give up the next attempt at a command that Redis refused."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
