"""One entry in the hands of a worker, from its pop until Redis knows how it ended."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from jobwire.wire import Command, Job, Taken
from jobwire.wire.lifecycle import Event, State
from jobwire.wire.modes.base import Ending

__all__ = ["Delivery"]


class Delivery:
    """``state`` is that of the life-cycle table; ``ending`` is set once it is known how the worker lets go of it."""

    # In the class, because most deliveries never change most of these.
    state: State = "taken"
    job: Job | None = None
    started = 0.0
    start_said = False
    """Redis was told that the handler has begun."""
    task: asyncio.Task[None] | None = None
    call: Future[Any] | None = None
    """The call of a plain handler in its thread."""
    ending: Ending | None = None
    steps: tuple[Event, ...] = ()
    """The events that ``ending`` takes."""
    commands: tuple[Command, ...] = ()
    """Those of ``ending``."""
    sent = False
    waiting = False
    """It holds no slot: it stays in hand until it is to be tried again."""
    refusals = 0
    """How often Redis refused ``commands``."""
    timer: asyncio.TimerHandle | None = None

    def __init__(self, key: object, taken: Taken) -> None:
        self.key = key
        self.taken = taken

    def cancel_timer(self) -> None:
        """Give up the next attempt at a command that Redis refused."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
