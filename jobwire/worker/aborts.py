"""Jobs that are to be aborted while they run (EXT-30): looked for once a second, where a handler takes that long."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from functools import partial

from jobwire.errors import ServerError, TransportError
from jobwire.transport import Connection, Replies
from jobwire.wire import Keyspace
from jobwire.wire.workers import forget_abort, to_abort
from jobwire.worker.delivery import Delivery

__all__ = ["Aborts"]

_EVERY = 1.0
_NO_JOB = Context()
_AT_ONCE = 1000


class Aborts:
    """``abort`` is called with the deliveries that are to end; only those are looked at that run for a second."""

    def __init__(
        self,
        keyspace: Keyspace,
        deliveries: Mapping[object, Delivery],
        abort: Callable[[Delivery], None],
        log: logging.Logger,
    ) -> None:
        self._keyspace = keyspace
        self._deliveries = deliveries
        self._abort = abort
        self._log = log
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connected(self, connection: Connection) -> None:
        """Look again, where something runs already."""
        self._connection = connection
        if self._deliveries:
            self.watch()

    def disconnected(self) -> None:
        """Look no more."""
        self._connection = None
        self.rest()

    def watch(self) -> None:
        """Look from now on: handlers run."""
        if self._timer is None and self._connection is not None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY, self._look, context=_NO_JOB)

    def rest(self) -> None:
        """Nothing is in hand: a timer that stands there would keep cancelled ones, and their jobs, in memory."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        self.watch()
        if self._connection is None:
            return
        begun = time.time() - _EVERY
        running = [
            delivery
            for delivery in self._deliveries.values()
            if delivery.task is not None and delivery.ending is None and delivery.started <= begun
        ][:_AT_ONCE]
        if running:
            asked = to_abort(self._keyspace, [delivery.taken.entry for delivery in running])
            self._connection.send((asked,), partial(self._answered, running))

    def _answered(self, running: list[Delivery], outcome: Replies | TransportError) -> None:
        if isinstance(outcome, TransportError) or self._connection is None:
            return
        found = outcome[0]
        if isinstance(found, ServerError):
            self._log.info("cannot see which jobs are to be aborted, and looks no more: %s", found)
            self.disconnected()
            return
        for delivery, wanted in zip(running, found if isinstance(found, list) else (), strict=False):
            if wanted == 1:
                self._connection.send((forget_abort(self._keyspace, delivery.taken.entry),), _ignore)
                self._abort(delivery)


def _ignore(_: object) -> None:
    pass
