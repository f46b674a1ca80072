"""The sign of life of a worker, from a thread with an event loop and a socket of its own.

So a handler that blocks the worker's event loop does not make the worker look dead. (One that holds the interpreter's
lock for longer than the TTL does: such work belongs in a process.)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from functools import partial

from jobwire.errors import ConfigError, ConnectError, ConnectionLost, ServerError, TransportError, printable
from jobwire.transport import Backoff, Connection, Transport, execute_insisting
from jobwire.version import __version__
from jobwire.wire import Command, Keyspace, Reply
from jobwire.wire.text import Text, wire_bytes
from jobwire.wire.workers import Home, Host, claim, farewell, introduce, release
from jobwire.worker.threads import run_here

__all__ = ["BEAT", "TTL", "Heartbeat"]

TTL = 30.0
"""Seconds after the last beat until a worker counts as gone."""
BEAT = 10.0
"""Seconds between beats."""

_log = logging.getLogger("jobwire.heartbeat")
_TAKEN, _KEPT, _FROM_PREDECESSOR = 0, 1, 3


class Heartbeat:
    """Holds a worker's ID in a keyspace from ``start`` to ``stop``; ``on_lost`` is called (in the thread) where another
    worker took the ID meanwhile.
    """

    def __init__(
        self,
        transport: Transport,
        keyspace: Keyspace,
        worker_id: Text,
        home: Home,
        *,
        on_lost: Callable[[], object],
        ttl: float = TTL,
        beat: float = BEAT,
    ) -> None:
        self._transport = transport
        self._keyspace = keyspace
        self._worker_id = worker_id
        self._home = home
        self._on_lost = on_lost
        self._ttl = ttl
        self._beat = beat
        self.nonce = secrets.token_hex(16).encode()
        #: By ``time.monotonic``: when Redis acknowledged the last beat.
        self.beaten = float("-inf")
        #: By ``time.monotonic``: when a beat failed, or found that the last one had run out.
        self.interrupted = 0.0
        #: A worker of this ID has gone without giving it up, and may have left something.
        self.has_predecessor = False
        self._thread: threading.Thread | None = None
        self._finished: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None
        self._owner: asyncio.AbstractEventLoop | None = None
        self._owner_idle_since: float | None = None
        self._stopping = self._renewing = False
        self._left = False
        self._holds = False
        self._begun = 0.0

    async def start(self) -> None:
        """Take the ID, where it is held wait for it as long as the TTL.

        Raises ``ConfigError`` where another worker still has it then, ``ConnectError`` where there is no Redis.
        """
        started: Future[None] = Future()
        self._owner = asyncio.get_running_loop()
        thread = threading.Thread(target=self._main, args=(started,), name="jobwire-heartbeat", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise ConnectError(f"cannot begin the thread of the heartbeat: {error}") from error
        self._thread = thread
        await asyncio.wrap_future(started)

    async def stop(self, *, left: bool = False) -> None:
        """Give the ID up, and end the thread. ``left``: jobs were left behind, so that the ID has to stay known."""
        self._left = left
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping = True
        self._wake()
        # Not ``to_thread``: handlers that hang may have all threads of the loop's executor.
        await asyncio.wrap_future(self._finished)
        thread.join()

    def renew(self) -> None:
        """Beat on another connection: where the worker is connected now, the sign of life is not to be seen.

        After a failover the old connection may lead to a server that was the master once.
        """
        self._renewing = True
        self._wake()

    def _wake(self) -> None:
        loop, woken = self._loop, self._woken
        if loop is not None and woken is not None:
            with contextlib.suppress(RuntimeError):  # the thread has ended by itself
                loop.call_soon_threadsafe(woken.set)

    def _main(self, started: Future[None]) -> None:
        try:
            run_here(partial(self._run, started))
        except OSError as error:
            _fail(started, ConnectError(f"cannot make the event loop of the heartbeat: {error}"))
        except BaseException as error:
            _fail(started, error)
        finally:
            with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
                self._finished.set_result(None)

    async def _run(self, started: Future[None]) -> None:
        """The thread: connect, beat, and do both again for as long as it takes."""
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        backoff = Backoff(min(0.2, self._ttl / 20), min(2.0, self._ttl / 10))
        said = ""
        while True:
            begun = time.monotonic()
            try:
                await self._hold(started)
            except Exception as error:  # whatever it is: as long as the worker works, it must beat
                if not self._holds:
                    _fail(started, error)
                    return
                if isinstance(error, ConfigError):
                    _log.error("%s", error)
                    self._on_lost()
                    return
                self.interrupted = time.monotonic()
                if self.interrupted - begun > self._beat:  # it had beaten meanwhile: this is another interruption
                    said = ""
                if str(error) != said:
                    said = str(error)
                    trace = None if isinstance(error, TransportError) else error
                    _log.warning("no heartbeat of worker %s: %s", printable(self._worker_id), error, exc_info=trace)
            else:
                return
            if await self._stopped_within(backoff.next()):
                await self._give_up_anew()
                return

    async def _hold(self, started: Future[None]) -> None:
        """Beat on one connection until told to stop."""
        connection = await self._transport.connect(name=f"jobwire-heartbeat-{self._worker_id!s}")
        try:
            if self._holds:
                await self._keep(connection)
            elif await self._take(connection):
                with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
                    started.set_result(None)
            else:
                return
            host = Host(socket.gethostname(), os.getpid(), round(self._begun, 3), __version__)
            await self._say(connection, introduce(self._keyspace, wire_bytes(self._worker_id), host))
            while not await self._stopped_within(self._beat):
                if self._renewing:
                    self._renewing = False
                    raise ConnectionLost("it is not where the worker is connected; connecting again")
                await self._keep(connection)
            await self._give_up(connection)
        finally:
            connection.abort()
            await connection.close()

    async def _give_up(self, connection: Connection) -> None:
        left = self._left or self.has_predecessor  # whose jobs nobody has looked after yet
        worker_id = wire_bytes(self._worker_id)
        await self._ask(connection, release(self._keyspace, worker_id, self.nonce, left=left))
        if not left:
            await self._say(connection, farewell(self._keyspace, worker_id))

    async def _say(self, connection: Connection, command: Command) -> None:
        """For people alone: where Redis refuses it (an ACL, no memory), nothing depends on it."""
        with contextlib.suppress(ServerError):
            await self._ask(connection, command)

    async def _give_up_anew(self) -> None:
        """On a connection of its own: the one that beat has gone, and the ID is still held."""
        try:
            async with asyncio.timeout(5.0):
                connection = await self._transport.connect(name=f"jobwire-heartbeat-{self._worker_id!s}")
                try:
                    await self._give_up(connection)
                finally:
                    connection.abort()
                    await connection.close()
        except (TransportError, TimeoutError) as error:
            who = printable(self._worker_id)
            _log.warning("worker %s could not give its ID up and counts as dead in %g s: %s", who, self._ttl, error)

    async def _take(self, connection: Connection) -> bool:
        """Take the ID, as soon as it is free. False where told to stop before that.

        It is held for the TTL by a worker that was killed, whose supervisor starts it again at once.
        """
        again = min(1.0, self._ttl / 10)
        end = 0.0
        while (reply := await self._claim(connection)) == _TAKEN:
            if not end:
                end = time.monotonic() + self._ttl + again
                _log.warning(
                    "the worker ID %s is held, perhaps by a worker that was killed; waiting up to %g s for it",
                    printable(self._worker_id),
                    self._ttl,
                )
            elif time.monotonic() > end:
                raise self._taken()
            if await self._stopped_within(again):
                return False
        self._holds = True
        self._begun = time.time()
        self.has_predecessor = reply == _FROM_PREDECESSOR
        return True

    async def _keep(self, connection: Connection) -> None:
        reply = await self._claim(connection)
        if reply == _TAKEN:
            raise self._taken()
        if reply != _KEPT:
            self.interrupted = time.monotonic()
            _log.warning(
                "the heartbeat of worker %s had run out: its jobs may have been given to others",
                printable(self._worker_id),
            )

    async def _claim(self, connection: Connection) -> Reply:
        worker_id = wire_bytes(self._worker_id)
        asked = time.monotonic()
        command = claim(self._keyspace, worker_id, self.nonce, ttl=self._ttl, home=self._home)
        reply = await self._ask(connection, command)
        if reply != _TAKEN:
            self.beaten = asked
        return reply

    def _taken(self) -> ConfigError:
        return ConfigError(
            f"the worker ID {printable(self._worker_id)} is taken by another worker under this prefix; give each "
            f"worker an ID of its own (after a crash the ID is free within {self._ttl:g} s)"
        )

    async def _ask(self, connection: Connection, command: Command) -> Reply:
        """A server or a path that has gone silent must not use up the time to live."""
        try:
            async with asyncio.timeout(max(1.0, min(self._ttl / 3, 5.0))):
                return await execute_insisting(connection, command)
        except TimeoutError:
            raise ConnectionLost("Redis does not answer to the heartbeat") from None

    async def _stopped_within(self, seconds: float) -> bool:
        """Wait that long, or until there is something else to do; True where that is to stop."""
        assert self._woken is not None  # noqa: S101 - set before anything waits
        if not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), seconds)
            self._woken.clear()
        if not self._stopping and self._is_deserted():
            _log.error(
                "the event loop of worker %s has ended, and the worker was not stopped: its jobs are left to others",
                printable(self._worker_id),
            )
            self._left = self._stopping = True
        return self._stopping

    def _is_deserted(self) -> bool:
        """A worker whose event loop has ended, or has not run for the TTL, has nothing in hand any more."""
        loop = self._owner
        if loop is None or loop.is_running():
            self._owner_idle_since = None
            return False
        if self._owner_idle_since is None:
            self._owner_idle_since = time.monotonic()
        return loop.is_closed() or time.monotonic() - self._owner_idle_since > self._ttl


def _fail(started: Future[None], error: BaseException) -> None:
    """Whoever waits must not wait for ever; where nobody does, the error is raised."""
    if started.done() and not started.cancelled():
        raise error
    with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
        started.set_exception(error)
