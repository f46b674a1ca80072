"""Fetchers take a worker's entries from its queues: never more than it has free slots for, and none of them lost.

Two ways, chosen by the safety of a popped entry. Into a list of the worker's own, two pops wait at the server; where
both bring an entry at once there are more, and one script takes as many as there are free slots, until it brings fewer.
From a list that is shared, or where a pop only removes (BRPOP), one blocking pop waits, and further entries are fetched
by pops that do not wait; its connection is never closed with a pop outstanding.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

from jobwire.errors import DecodeError, ServerError, TransportError
from jobwire.transport import Connection, Replies
from jobwire.wire import Mode, Taken
from jobwire.wire.connection_commands import client_unblock
from jobwire.wire.scripts import insist, is_out_of_memory
from jobwire.worker.refusals import Refusals

__all__ = ["Fetcher", "PipelinedFetcher", "SingleFetcher", "end_pops"]

MAX_IN_FLIGHT = 64
"""Entries that are asked for at a time; more gain nothing (docs/PERFORMANCE.md)."""
_WAITING = 2
"""Pops that wait at the server: two answers at once say that there is more."""
_SETTLED_WITHIN = 0.02
"""Seconds until entries are asked for again where nothing was heard of the last ones: they cannot be read, say."""
_SINGLY = 30.0
"""Seconds for which entries are taken one by one after the script was refused."""
_OUT_OF_MEMORY = "; what waits is taken all the same, so that it can be worked off (docs/OPERATIONS.md, The server)"


class Fetcher(ABC):
    """Keep pops going while ``free()`` returns more than 0: those that wait on ``connection``, which has nothing else
    to do; others may join the traffic on its connection ``commands``.
    """

    def __init__(
        self,
        mode: Mode,
        connection: Connection,
        *,
        commands: Connection,
        queues: Sequence[bytes],
        wait: float,
        free: Callable[[], int],
        on_taken: Callable[[Sequence[Taken]], None],
        log: logging.Logger,
    ) -> None:
        self._mode = mode
        self._connection = connection
        self._commands = commands
        self._queues = tuple(queues)
        self._free = free
        self._on_taken = on_taken
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._take = mode.take(queues, wait)
        self._refusals = Refusals(log)
        self._doing = "take jobs from " + b", ".join(queues).decode(errors="backslashreplace")
        self._stopping = False
        self._pause: asyncio.TimerHandle | None = None
        self._insisting = False

    @property
    def troubled(self) -> bool:
        """True while Redis refuses pops."""
        return self._refusals.troubled

    @property
    @abstractmethod
    def awaiting_reply(self) -> bool:
        """True while the connection must not be closed, because a popped entry would be lost."""

    @abstractmethod
    def fill(self) -> None:
        """Send a pop for each free slot; to be called when a slot has become free."""

    async def stop(self) -> None:
        """Send no more pops; entries that still come go to ``on_taken``."""
        self._stopping = True
        if self._pause is not None:
            self._pause.cancel()

    def _read(self, outcome: Replies | TransportError, queues: Sequence[bytes]) -> int | None:
        """Return the number of entries read; None where popping has to pause, or has ended with the connection."""
        if isinstance(outcome, TransportError):
            return None
        if len(outcome) == 1 and isinstance(outcome[0], bytes) and not self._refusals.troubled:
            # Almost always: one pop, one entry.
            taken = self._mode.taken(outcome[0], queues)
            if taken is not None:
                self._on_taken((taken,))
            return 1
        found, trouble = self._accept(outcome, queues)
        if trouble is not None:
            self._refused(trouble)
            return None
        if self._refusals.troubled and self._conclusive:
            self._refusals.accepted(self._doing)
        return found

    def _accept(self, replies: Replies, queues: Sequence[bytes]) -> tuple[int, Exception | None]:
        entries: list[Taken] = []
        trouble: Exception | None = None
        # Entries that come while stopping are given back: the youngest first, so that the oldest is taken next.
        for reply in reversed(replies) if self._stopping else replies:
            try:
                taken = self._mode.taken(reply, queues)
            except (TransportError, DecodeError) as error:
                trouble = error
                continue
            if taken is not None:
                entries.append(taken)
        if entries:
            self._on_taken(entries)
        return len(entries), trouble

    # A queue key of the wrong type, a server that is loading, or out of memory: one pop is sent after a pause, which
    # grows, until it is mended.

    @property
    def _conclusive(self) -> bool:
        """True where the command just answered was sent after the trouble began."""
        return True

    @property
    def _held_up(self) -> bool:
        return self._stopping or self._insisting or self._pause is not None

    def _refused(self, trouble: Exception) -> None:
        """Handle the first refused pop, which stands for all pops in flight."""
        if self._held_up:
            return
        if isinstance(trouble, ServerError) and is_out_of_memory(trouble):
            self._insist(trouble)
        else:
            self._rest_after(trouble)

    def _rest_after(self, trouble: Exception, remedy: str = "") -> None:
        delay = self._refusals.refused(self._doing, trouble, remedy)
        self._pause = self._loop.call_later(delay, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self.fill()

    def _insist(self, trouble: ServerError) -> None:
        """Work off the jobs that fill the memory: take by a script that is not refused."""
        count = min(self._free(), MAX_IN_FLIGHT)
        if count <= 0:
            return  # a slot that becomes free begins anew
        self._insisting = True
        pops = insist((self._mode.take_now(self._queues[0]),) * count)
        self._connection.send(pops, partial(self._insisted, trouble, count))

    def _insisted(self, trouble: ServerError, count: int, outcome: Replies | TransportError) -> None:
        self._insisting = False
        if isinstance(outcome, TransportError):
            return
        found, worse = self._accept(outcome, self._queues)
        if not self._stopping and found < count:
            self._rest_after(worse or trouble, _OUT_OF_MEMORY)
        elif found:
            self._refusals.eased(self._doing, trouble, _OUT_OF_MEMORY)


class PipelinedFetcher(Fetcher):
    """For a list of the worker's own."""

    _in_flight = 0
    _taking = False
    _asking = False
    _brought = 0
    """Entries that pops have brought since it was last asked for some."""
    _lively = False
    """Several entries came at once, so there may be more."""
    _settling: asyncio.TimerHandle | None = None
    _singly_until = 0.0

    @property
    def awaiting_reply(self) -> bool:
        return False

    @property
    def _conclusive(self) -> bool:
        return self._in_flight == 0

    @property
    def _held_up(self) -> bool:
        return self._taking or self._stopping or self._insisting or self._pause is not None

    def fill(self) -> None:
        """Ask; where there is more, at the end of this turn of the loop, behind the completions of that turn."""
        if not self._lively:
            self._ask()
        elif not self._asking:
            self._asking = True
            self._commands.before_write(self._ask)

    def _ask(self) -> None:
        self._asking = False
        brought, self._brought = self._brought, 0
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        if self._held_up:
            return
        self._lively = self._lively or brought > 1
        free = min(self._free(), MAX_IN_FLIGHT)
        if self._refusals.troubled:
            self._pop(min(free, 1) - self._in_flight)
        elif self._singly_until > self._loop.time():
            self._pop(free - self._in_flight)
        elif free > 1 and not self._in_flight and self._lively:
            self._take_many(free)
        elif (missing := min(free, _WAITING) - self._in_flight) > 0:
            self._pop(missing)

    def _pop(self, count: int) -> None:
        for _ in range(count):
            self._in_flight += 1
            self._connection.send((self._take,), self._popped)

    def _popped(self, outcome: Replies | TransportError) -> None:
        self._in_flight -= 1
        refused = self._refusals.troubled
        found = self._read(outcome, self._queues)
        if found is None:
            return
        self._brought += found
        # Else there is one more in flight, and another one is sent when a slot becomes free.
        if not found or refused or not self._in_flight:
            self.fill()

    def _take_many(self, count: int) -> None:
        """Take the entries there."""
        command = self._mode.take_many(self._queues[0], count)
        if command is None:
            self._pop(count)
        else:
            self._taking = True
            self._commands.send((command,), partial(self._took, count))

    def _took(self, count: int, outcome: Replies | TransportError, found: int = 0) -> None:
        self._taking = False
        if isinstance(outcome, TransportError):
            return
        try:
            entries = self._mode.taken_many(outcome[0], self._queues[0])
        except (ServerError, DecodeError) as error:
            self._not_taken(error)
            return
        self._brought = found + len(entries)
        if entries:
            self._on_taken(entries[::-1] if self._stopping else entries)
        if not self._brought:
            self._wait(count)
        elif self._brought > 1:
            # When these have ended, or have been begun, there is more.
            self._settling = self._loop.call_later(_SETTLED_WITHIN, self.fill)
        else:
            self._lively = False
            self.fill()

    def _wait(self, count: int) -> None:
        """Wait for the first entry, and take those that come with it."""
        count = min(count, self._free(), MAX_IN_FLIGHT) - 1
        command = self._mode.take_many(self._queues[0], count)
        if self._held_up or count < 1 or command is None:
            self._lively = False
            self.fill()
            return
        self._taking = True
        self._connection.send((self._take, command), partial(self._waited, count))

    def _waited(self, count: int, outcome: Replies | TransportError) -> None:
        self._taking = False
        found = self._read(outcome if isinstance(outcome, TransportError) else outcome[:1], self._queues)
        if found is None or isinstance(outcome, TransportError):
            return
        if found:
            self._took(count, outcome[1:], found)
        else:
            self._lively = False
            self.fill()

    def _not_taken(self, error: ServerError | DecodeError) -> None:
        """The single pops that follow report the error, if they are refused as well."""
        self._lively = False
        if isinstance(error, ServerError) and error.code == "NOSCRIPT":
            self._commands.send(self._mode.prepare())
        else:
            self._singly_until = self._loop.time() + _SINGLY
        self.fill()

    async def stop(self) -> None:
        """Close the connection: entries moved by its pops meanwhile stand in the worker's own list."""
        await super().stop()
        await self._connection.close()


class SingleFetcher(Fetcher):
    """For a shared list, and for pops that only remove."""

    _busy = False
    _idle: asyncio.Event | None = None

    @property
    def awaiting_reply(self) -> bool:
        return self._busy and not self._connection.closed

    def fill(self) -> None:
        if self._busy or self._held_up or self._free() <= 0:
            return
        self._busy = True
        self._connection.send((self._take,), self._first)

    def _first(self, outcome: Replies | TransportError) -> None:
        found = self._read(outcome, self._queues)
        if found:
            self._more(0)
        else:
            self._rest(again=found is not None)

    def _more(self, index: int) -> None:
        """Fetch further entries of the queue ``index`` without waiting for them."""
        count = min(self._free(), MAX_IN_FLIGHT)
        if count <= 0 or index >= len(self._queues) or self._stopping:
            self._rest(again=True)
            return
        queue = self._queues[index]

        def got(outcome: Replies | TransportError) -> None:
            found = self._read(outcome, (queue,))
            if found is None:
                self._rest(again=False)
            else:
                # A queue that gave all that was asked for may hold more; the next one has its turn when it is empty.
                self._more(index if found == count else index + 1)

        self._connection.send((self._mode.take_now(queue),) * count, got)

    def _rest(self, *, again: bool) -> None:
        self._busy = self._insisting
        if self._busy:
            return
        if self._idle is not None:
            self._idle.set()
        if again:
            self.fill()

    def _insisted(self, trouble: ServerError, count: int, outcome: Replies | TransportError) -> None:
        super()._insisted(trouble, count, outcome)
        self._rest(again=False)

    async def stop(self) -> None:
        """Wait until the outstanding pop has come back, at most its waiting time later."""
        await super().stop()
        if self.awaiting_reply:
            self._idle = asyncio.Event()
            await self._idle.wait()


async def end_pops(fetcher: Fetcher, commands: Connection, client_id: int | None) -> None:
    """Stop ``fetcher``, whose connection has ``client_id``: early where the server permits that another one ends its
    wait; where not, the pop ends by itself.
    """
    ended = asyncio.ensure_future(fetcher.stop())
    pause = 0.02
    while not ended.done():
        if client_id is not None:
            # More than once: the first may arrive before the pop itself.
            commands.send((client_unblock(client_id),))
        await asyncio.wait((ended,), timeout=pause)
        pause = min(1.0, 2 * pause)
