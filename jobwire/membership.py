"""A worker among the workers of its prefix: its sign of life, and its share in caring for those that died."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from jobwire.errors import TransportError
from jobwire.heartbeat import BEAT, TTL, Heartbeat
from jobwire.recovery import Recovery
from jobwire.transport import Connection, Transport
from jobwire.wire import HashMode
from jobwire.wire.text import Text

__all__ = ["Membership"]

_log = logging.getLogger("jobwire.recovery")


class Membership:
    """From ``start`` to ``stop`` of a worker whose entries are its own."""

    def __init__(
        self,
        transport: Transport,
        mode: HashMode,
        worker_id: Text,
        queue: bytes,
        *,
        on_lost: Callable[[], object],
        max_losses: int,
        ttl: float = TTL,
        beat: float = BEAT,
    ) -> None:
        self._mode = mode
        self._queue = queue
        self._max_losses = max_losses
        self._beat = beat
        self._heartbeat = Heartbeat(transport, mode.keyspace, worker_id, queue, on_lost=on_lost, ttl=ttl, beat=beat)
        self._connection: Connection | None = None
        self._since = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take the worker's ID. Raises ``ConfigError`` where another worker has it, ``ConnectError``."""
        await self._heartbeat.start()
        self._task = asyncio.create_task(self._care())

    async def stop(self) -> None:
        """Give the ID up."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._heartbeat.stop()

    def connected(self, connection: Connection) -> None:
        self._connection = connection
        self._since = asyncio.get_running_loop().time()

    def disconnected(self) -> None:
        self._connection = None

    async def _care(self) -> None:
        """Look after dead workers, about every one and a half beats.

        Not sooner than that after a connection was made: when Redis was away for longer than the TTL, all heartbeats
        are gone for a moment, and everybody must have had the time to beat again.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._beat * random.uniform(1.4, 1.6))  # noqa: S311 - jitter, so that a fleet takes turns
            connection = self._connection
            if connection is None or loop.time() - self._since < 1.4 * self._beat:
                continue
            try:
                recovery = Recovery(connection, self._mode, max_attempts=self._max_losses, queue=self._queue)
                await recovery.run()
            except TransportError as error:
                _log.warning("cannot look after dead workers: %s", error)
