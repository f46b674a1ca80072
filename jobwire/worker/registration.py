"""A worker among the workers of its prefix: its sign of life, and its share in caring for those that died."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Container

from jobwire.errors import ConfigError, ServerError, TransportError
from jobwire.transport import Connection, Transport
from jobwire.wire import Mode
from jobwire.wire.commands import MOVE
from jobwire.wire.connection_commands import command_info, is_unknown_command
from jobwire.wire.text import Text, wire_bytes
from jobwire.wire.workers import Home
from jobwire.worker.heartbeat import BEAT, TTL, Heartbeat
from jobwire.worker.rescuer import Recovery, return_stuck

__all__ = ["Membership", "settling"]

_log = logging.getLogger("jobwire.recovery")
_SETTLED = 5.0
"""Seconds after which everybody beats again who can, once Redis is back (``worker.heartbeat`` tries every 2 s)."""


_LOOK = 1.05
"""Beats, at the most, from one attempt of a worker to look after the others to its next."""
_FRESH = 0.5
"""Beats in which nobody looks again. Together with ``_LOOK`` the longest time between two looks, if the worker that
looked last has died itself (docs/OPERATIONS.md)."""


def settling(beat: float, ttl: float) -> float:
    """Seconds after a connection was made, or a beat missed, in which nobody counts as dead.

    When Redis was away, or hung, for longer than the TTL, all heartbeats are gone for a moment.
    """
    return max(1.4 * beat, min(ttl, _SETTLED))


class Membership:
    """From ``start`` to ``stop`` of a worker whose entries are its own. ``active`` holds those that it works on."""

    def __init__(
        self,
        transport: Transport,
        mode: Mode,
        worker_id: Text,
        home: Home,
        *,
        active: Container[object],
        on_lost: Callable[[], object],
        max_losses: int,
        ttl: float = TTL,
        beat: float = BEAT,
    ) -> None:
        self._mode = mode
        self._worker_id = wire_bytes(worker_id)
        self._home = home
        self._active = active
        self._max_losses = max_losses
        self._beat = beat
        self._ttl = ttl
        self._look_from = 0.0
        self._settling = settling(beat, ttl)
        self._heartbeat = Heartbeat(transport, mode.keyspace, worker_id, home, on_lost=on_lost, ttl=ttl, beat=beat)
        self._connection: Connection | None = None
        self._recovery: Recovery | None = None
        self._since = 0.0
        self._asked = False
        self._stuck: frozenset[bytes] = frozenset()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take the worker's ID, as ``Heartbeat.start`` does. Raises ``ConfigError``, ``ConnectError``."""
        await self._heartbeat.start()
        self._task = asyncio.create_task(self._care_for_ever())

    async def stop(self, *, left: bool) -> None:
        """Give the ID up; ``left``: entries in hand could not be brought to their end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._heartbeat.stop(left=left)

    @property
    def beat_age(self) -> float:
        """Seconds since the last sign of life that Redis has acknowledged."""
        return time.monotonic() - self._heartbeat.beaten

    async def connected(self, connection: Connection) -> None:
        """Prepare a new connection, before the first pop on it. Raises ``TransportError``, ``ConfigError``."""
        await self._need_moves(connection)
        queue = self._home.queues[0]
        recovery = Recovery(connection, self._mode, max_losses=self._max_losses, queue=queue, own=self._worker_id)
        if self._heartbeat.has_predecessor:
            # It died, so this counts as a loss; otherwise a job that kills its worker would do so again and again.
            await recovery.inherit(self._worker_id, self._home, self._heartbeat.nonce)
            self._heartbeat.has_predecessor = False
        self._connection, self._recovery = connection, recovery
        self._stuck = frozenset()
        self._since = time.monotonic()
        self._look_from = 0.0

    async def _need_moves(self, connection: Connection) -> None:
        """Raise ``ConfigError`` where the server could not give back the list of a worker that dies: Redis before 6.2.

        Once; where the user may not ask, nothing is known.
        """
        if self._home.marks or self._asked:
            return
        self._asked = True
        try:
            missing = is_unknown_command(await connection.execute(command_info(MOVE)))
        except ServerError as error:
            _log.info("cannot see whether the server has %s: %s", MOVE.decode(), error)
            return
        if missing:
            raise ConfigError(
                f"this server has no {MOVE.decode()}: it is older than Redis 6.2, and the jobs of a worker that dies "
                "would stay in its list for ever; upgrade the server, or take into Perl's shared list "
                '(processing_queue="processing"), from which nothing is recovered by itself'
            )

    def disconnected(self) -> None:
        self._connection = self._recovery = None

    async def _care_for_ever(self) -> None:
        """Look after the own list, and in turn with the others after dead workers, about every beat.

        After a connection was made, or a beat of our own was missed, not before everybody has had the time to beat
        again.
        """
        while True:
            await asyncio.sleep(self._beat * random.uniform(0.95, _LOOK))  # noqa: S311 - jitter: a fleet takes turns
            recovery = self._recovery
            if recovery is None:
                continue
            try:
                if not await recovery.is_alive(self._worker_id):
                    # Who looks dead to itself cannot tell who else is.
                    self._heartbeat.renew()
                    self._since = time.monotonic()
                if self._settled():
                    await self._care(recovery)
            except TransportError as error:
                _log.warning("cannot look after dead workers: %s", error)
            except Exception:  # nothing that is found in Redis may end the care for good
                _log.exception("cannot look after dead workers")

    def _settled(self) -> bool:
        return time.monotonic() - max(self._since, self._heartbeat.interrupted) >= self._settling

    async def _care(self, recovery: Recovery) -> None:
        now = time.monotonic()
        if now >= self._look_from and await recovery.may_look(_FRESH * self._beat):
            dead = await recovery.dead_workers(hung_after=self._beat / 2)
            if recovery.alone:
                # Whoever comes after this look has a heartbeat for the TTL at least: nobody can be dead before.
                self._look_from = now + self._ttl
            if self._settled():
                await recovery.run(workers=dead)
        if self._connection is not None:
            queue = self._home.queues[0]
            self._stuck = await return_stuck(self._connection, self._mode, queue, self._active, self._stuck)
