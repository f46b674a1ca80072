"""Keep a set of connections up: open it, and open it again whenever one of them is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

from jobwire.errors import JobwireError, TransportError
from jobwire.transport.backoff import Backoff
from jobwire.transport.protocols import OnLost

LinkState: TypeAlias = Literal["up", "down", "closed"]
OnLinkState: TypeAlias = Callable[[LinkState, TransportError | None], object]


class Supervisor:
    """Run ``connect`` until it succeeds, ``disconnect`` when a connection is lost, and begin again.

    ``connect`` gets the function to call when a connection is lost; it raises ``TransportError`` where it cannot
    finish. ``disconnect`` closes everything that ``connect`` opened, after a failure in the middle, too. ``on_state``
    is called with every change. ``maximum_attempts`` failures in a row end the trying; the state is then ``closed``.
    """

    def __init__(
        self,
        connect: Callable[[OnLost], Awaitable[None]],
        disconnect: Callable[[], Awaitable[None]],
        *,
        backoff: Backoff,
        on_state: OnLinkState,
        log: logging.Logger,
        maximum_attempts: int | None = None,
    ) -> None:
        self._connect = connect
        self._disconnect = disconnect
        self._backoff = backoff
        self._on_state = on_state
        self._log = log
        self._maximum_attempts = maximum_attempts
        self._task: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[TransportError] | None = None

    async def start(self) -> None:
        """Make the first connection; its error is the caller's."""
        try:
            await self._open()
        except BaseException:
            await self._disconnect()
            raise
        self._task = asyncio.create_task(self._keep_up())

    async def stop(self) -> None:
        """Stop trying, and close all connections."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._disconnect()

    async def _open(self) -> None:
        self._lost = lost = asyncio.get_running_loop().create_future()

        def tell(error: TransportError) -> None:
            if not lost.done():
                lost.set_result(error)

        await self._connect(tell)
        self._backoff.reset()
        self._tell("up", None)

    def _tell(self, state: LinkState, error: TransportError | None) -> None:
        try:
            self._on_state(state, error)
        except Exception:  # a hook that fails must not be the end of connecting again
            self._log.exception("the on_state hook raised")

    async def _keep_up(self) -> None:
        while self._lost is not None:
            error = await self._lost
            self._log.warning("%s; connecting again", error)
            self._tell("down", error)
            last = await self._reopen()
            if last is not None:
                self._log.error("%s; giving up after %d attempts", last, self._backoff.attempts)
                self._tell("closed", last)
                return
            self._log.info("connected again")

    async def _reopen(self) -> TransportError | None:
        """None once connected; the last error where the attempts were used up. Each reason is logged once."""
        said = ""
        while True:
            await self._disconnect()
            await asyncio.sleep(self._backoff.next())
            try:
                await self._open()
            except TransportError as error:
                if str(error) != said:
                    said = str(error)
                    self._log.warning("%s; trying again", error)
                if self._maximum_attempts is not None and self._backoff.attempts >= self._maximum_attempts:
                    await self._disconnect()
                    return error
            except JobwireError:
                self._log.exception("cannot take up work after connecting again; trying on")
            else:
                return None


__all__ = ["LinkState", "OnLinkState", "Supervisor"]
