"""Recovery of the jobs of dead workers. Live work is never touched.

A worker is dead when its heartbeat is gone (``worker.heartbeat``: 30 s after its last beat). Its own list goes back
to the pending queue it came from, in order; a job that loses its worker ``max_losses`` times ends in
``<prefix>::dead``, whole. In mode ``recoverable`` there are no lists: jobs are found by the mark that a worker writes
into their hashes.

Each step is one script that checks the heartbeat once more, so several recoveries may run at a time, and one that is
interrupted has done half of the work and no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Container, Iterator, Mapping, Sequence

import msgspec

from jobwire.errors import ServerError, printable
from jobwire.transport import Connection, Reply, call_insisting, entries_of, execute_insisting
from jobwire.wire import Command, Keyspace, Mode, Taken
from jobwire.wire import workers as fleet
from jobwire.wire.commands import exists, hash_delete, scan_type, scanned
from jobwire.wire.connection_commands import client_kill, client_list, client_list_all, clients_named, is_listed
from jobwire.wire.keys import JOB_PREFIX, job_key
from jobwire.wire.server_clock import ServerClock, server_seconds
from jobwire.wire.text import Text, parse_epoch, readable
from jobwire.wire.workers import Home

__all__ = ["MAX_LOSSES", "Recovered", "Recovery", "return_leftovers", "return_stuck", "until_gone"]

MAX_LOSSES = 5
"""The number of workers that a job may lose before it is set aside as dead."""
REMEMBERED = 600.0
"""Seconds that a worker stays known after it was found gone. Longer than pops that it left waiting at the server: 64 of
3 s each, or the time of a server to notice a half-open connection (``tcp-keepalive``, 300 s)."""

_log = logging.getLogger("jobwire.recovery")
_FORGOTTEN, _FIRST_TIME = 1, 2
_STEP = 100
"""Workers that one step is about."""
_PATIENCE = 5.0
"""Seconds until a connection that is closed here and listed there is ended by force."""


class Recovered(msgspec.Struct, frozen=True):
    """One job that was taken care of: ``returned`` to ``queue``, or ``dead``; ``would return`` in a dry run."""

    job_id: Text
    worker: Text
    queue: Text
    outcome: str


class Recovery:
    """Recovery for one keyspace, on a connection of the caller's. Its methods raise ``TransportError``."""

    def __init__(
        self,
        connection: Connection,
        mode: Mode,
        *,
        max_losses: int = MAX_LOSSES,
        queue: bytes | None = None,
        own: bytes | None = None,
    ) -> None:
        """``own`` is the ID of the worker that looks, and knows of itself that it lives."""
        self.alone = False
        """True where the last look found no worker but the one that looks."""
        self._own = own
        self._connection = connection
        self._keyspace: Keyspace = mode.keyspace
        self._spread = mode.spread
        self._max_losses = max_losses
        # Where the entries of a list go whose worker did not say where they came from.
        self._queue = queue or mode.keyspace.queue("pending")
        self._attempts_cursor = b"0"
        # Nobody else is to look meanwhile: for how long, and when that was said last.
        self._caring = False
        self._every = math.inf
        self._said = 0.0

    # -- dead workers

    async def is_alive(self, worker: bytes) -> bool:
        """Return whether this worker has a heartbeat."""
        return await self._ask(fleet.is_alive(self._keyspace, worker)) != 0

    async def may_look(self, every: float) -> bool:
        """Take the turn of looking after all workers; False where somebody has within ``every`` seconds."""
        self._every, self._said = every, time.monotonic()
        return await self._ask(fleet.may_look(self._keyspace, every=every)) == 1

    async def dead_workers(self, *, hung_after: float = math.inf) -> list[bytes]:
        """Return the known workers without a heartbeat, asking in steps.

        No worker where Redis took ``hung_after`` seconds for a step: a server that hung has let heartbeats run out that
        were on their way. The one that looks is not among them; ``alone`` says whether there was another one.
        """
        dead: dict[bytes, None] = {}
        cursor = b"0"
        self.alone, alone = False, True
        while True:
            asked = time.monotonic()
            cursor, known = scanned(await self._ask(fleet.scan_workers(self._keyspace, cursor)))
            others = [worker for worker in known if worker != self._own]
            alone = alone and not others
            for workers in _chunks(others):
                dead |= dict.fromkeys(await self._without_heartbeat(workers))
            if time.monotonic() - asked >= hung_after:
                return []
            if cursor == b"0":
                self.alone = alone
                return list(dead)

    async def _without_heartbeat(self, workers: Sequence[bytes]) -> list[bytes]:
        gone = await self._known_gone(workers)
        rest = [worker for worker in workers if worker not in gone]
        if not rest or await self._ask(fleet.beats(self._keyspace, rest)) == len(rest):
            return list(gone)
        alive = await self._connection.call(*(fleet.is_alive(self._keyspace, worker) for worker in rest))
        return [*gone, *(worker for worker, reply in zip(rest, alive, strict=True) if reply == 0)]

    async def _known_gone(self, workers: Sequence[bytes]) -> dict[bytes, float]:
        """Since when these workers are known to be gone, as far as they are."""
        reply = await self._ask(fleet.gone_since(self._keyspace, workers))
        moments = reply if isinstance(reply, list) else []
        return {
            worker: parse_epoch(moment) or 0.0
            for worker, moment in zip(workers, moments, strict=False)
            if isinstance(moment, bytes)
        }

    async def run(self, *, workers: Sequence[bytes] | None = None, dry_run: bool = False) -> list[Recovered]:
        """Return the jobs of all dead workers (or of these) to their queues; ``dry_run`` only lists them."""
        if workers is None:
            workers = await self.dead_workers()
        self._caring = True
        try:
            found = await self._care_for(workers, dry_run=dry_run) if workers else []
            if not dry_run:
                await self._tidy_attempts()
        finally:
            self._caring = False
        return found

    async def _care_for(self, workers: Sequence[bytes], *, dry_run: bool) -> list[Recovered]:
        homes = await self._homes(workers)
        found = [done async for done in self._return_all(homes, dry_run=dry_run)]
        return found if dry_run else found + await self._forget(homes)

    async def _homes(self, workers: Sequence[bytes]) -> dict[bytes, Home]:
        homes: dict[bytes, Home] = {}
        for some in _chunks(workers):
            reply = await self._ask(fleet.homes(self._keyspace, some))
            for worker, noted in zip(some, reply if isinstance(reply, list) else [], strict=False):
                known = fleet.read_home(noted) if isinstance(noted, bytes) else None
                homes[worker] = known or Home((self._queue,), False)
        return homes

    async def inherit(self, worker_id: bytes, home: Home, nonce: bytes) -> list[Recovered]:
        """Return the jobs of a dead worker whose ID has been taken, with ``nonce``, by another one."""
        return [done async for done in self._return_all({worker_id: home}, successor=nonce)]

    async def _return_all(
        self, homes: Mapping[bytes, Home], *, successor: bytes = b"", dry_run: bool = False
    ) -> AsyncIterator[Recovered]:
        for worker in await self._with_entries([worker for worker, home in homes.items() if not home.marks]):
            way = self._entries(worker, homes[worker]) if dry_run else self._empty(worker, homes[worker], successor)
            try:
                async for done in way:
                    yield done
            except ServerError as error:  # one list that is none must not keep the others from being looked after
                _log.error("cannot return what worker %s had in hand: %s", printable(worker), error)
        marking = {worker: frozenset(home.queues) for worker, home in homes.items() if home.marks}
        if marking:
            async for done in self._return_marked(marking, successor, dry_run=dry_run):
                yield done

    async def _with_entries(self, workers: Sequence[bytes]) -> list[bytes]:
        """Return the workers whose lists hold entries; a key that is no list is left to fail on its own."""
        found: list[bytes] = []
        for some in _chunks(workers):
            if await self._ask(fleet.lists(self._keyspace, some)) == 0:
                continue
            lengths = await self._connection.call(*(fleet.own_length(self._keyspace, worker) for worker in some))
            found += [worker for worker, length in zip(some, lengths, strict=True) if length != 0]
        return found

    async def _empty(self, worker: bytes, home: Home, successor: bytes) -> AsyncIterator[Recovered]:
        command = fleet.return_newest(
            self._keyspace,
            worker,
            home.queues[0],
            max_losses=self._max_losses,
            successor=successor,
            spread=self._spread,
        )
        while True:
            reply = await self._ask(command)
            if not isinstance(reply, list):
                return
            job_id, outcome = _strings(reply)
            await self._settle(job_id, worker, outcome)
            yield _note(job_id, worker, home.queues[0], outcome.decode())

    async def _ask(self, command: Command) -> Reply:
        if self._caring and time.monotonic() - self._said > self._every / 2:
            self._said = time.monotonic()
            self._connection.send((fleet.keep_looking(self._keyspace, every=self._every),))
        return await execute_insisting(self._connection, command)

    async def _settle(self, job_id: bytes, worker: bytes, outcome: bytes) -> None:
        if self._spread:
            await self._ask(fleet.settle(job_id, worker, dead=outcome == b"dead"))

    async def _entries(self, worker: bytes, home: Home) -> AsyncIterator[Recovered]:
        async for entries in entries_of(self._ask, self._keyspace.own_list(worker)):
            for job_id in entries:
                yield _note(job_id, worker, home.queues[0], "would return")

    async def _return_marked(
        self, marking: Mapping[bytes, frozenset[bytes]], successor: bytes, *, dry_run: bool
    ) -> AsyncIterator[Recovered]:
        """Yield the jobs that bear the mark of one of these workers, and came from one of its queues."""
        async for job_id, worker, queue, has_result, _ in self._marks():
            if has_result or worker is None or queue is None or queue not in marking.get(worker, ()):
                continue
            if dry_run:
                yield _note(job_id, worker, queue, "would return")
                continue
            outcome = await self._ask(
                fleet.return_marked(
                    self._keyspace,
                    job_id,
                    worker,
                    queue,
                    max_losses=self._max_losses,
                    successor=successor,
                    spread=self._spread,
                )
            )
            if isinstance(outcome, bytes):
                await self._settle(job_id, worker, outcome)
                yield _note(job_id, worker, queue, outcome.decode())

    async def _marks(self) -> AsyncIterator[tuple[bytes, bytes | None, bytes | None, bool, bytes | None]]:
        """Yield every job hash of the database with the fields of its mark; let other work run between the steps."""
        cursor = b"0"
        while True:
            cursor, keys = scanned(await self._ask(fleet.scan_jobs(cursor)))
            job_ids = [key.removeprefix(JOB_PREFIX) for key in keys]
            replies = await self._connection.call(*map(fleet.mark_of, job_ids)) if job_ids else []
            for job_id, reply in zip(job_ids, replies, strict=True):
                try:
                    mark = fleet.read_mark(reply)
                except ServerError as error:
                    _log.warning("job %s: %s", printable(job_id), error)  # a key of another type
                    continue
                yield job_id, *mark
            if cursor == b"0":
                return
            await asyncio.sleep(0)

    # -- forgetting

    async def _forget(self, homes: Mapping[bytes, Home]) -> list[Recovered]:
        """Forget workers that have been gone for long; the list of one that has just gone is closed, and looked at
        once more.
        """
        fresh: dict[bytes, Home] = {}
        for some in _chunks(list(homes)):
            # Marks are written by the worker itself: nothing of a dead one is still to come.
            after = {worker: 0.0 if homes[worker].marks else REMEMBERED for worker in some}
            due = await self._to_forget(after)
            strips = [fleet.strip(self._keyspace, worker, after=after[worker]) for worker in due]
            replies = await call_insisting(self._connection, *strips) if strips else []
            forgotten = [worker for worker, reply in zip(due, replies, strict=True) if reply == _FORGOTTEN]
            if forgotten:
                with contextlib.suppress(ServerError):  # for people alone
                    await self._ask(fleet.farewell(self._keyspace, *forgotten))
            fresh |= {
                worker: homes[worker]
                for worker, reply in zip(due, replies, strict=True)
                if reply == _FIRST_TIME and not homes[worker].marks
            }
        if not fresh:
            return []
        await self._end_pops(fresh)
        return [done async for done in self._return_all(fresh)]

    async def _to_forget(self, after: Mapping[bytes, float]) -> list[bytes]:
        """Return those that are not known to be gone yet, or have been for as many seconds as is said of them."""
        gone = await self._known_gone(list(after))
        now = server_seconds(await self._ask(ServerClock.ASK)) if gone else None
        if now is None:
            return list(after)
        return [worker for worker, wait in after.items() if worker not in gone or now - gone[worker] >= wait]

    async def _end_pops(self, workers: Mapping[bytes, Home]) -> None:
        """Close the connections on which dead workers (a stopped process, a host that vanished) still pop.

        Where an ACL forbids that, the pops end by themselves, and the jobs that they move meanwhile are returned, too.
        """
        tags = [fleet.connection_tag(self._keyspace, worker) for worker in workers]
        try:
            listed = await self._ask(client_list_all())
            for client_id in clients_named(listed, tags):
                await self._ask(client_kill(client_id))
        except ServerError as error:
            _log.info("the pops of workers that are gone end by themselves: %s", error)

    async def _tidy_attempts(self) -> None:
        """Take one step through the attempts: forget those of jobs that are gone."""
        step = await self._ask(fleet.scan_attempts(self._keyspace, self._attempts_cursor))
        self._attempts_cursor, pairs = scanned(step)
        job_ids = pairs[::2]
        if not job_ids:
            return
        there = await self._connection.call(*(exists(job_key(job_id)) for job_id in job_ids))
        gone = [job_id for job_id, reply in zip(job_ids, there, strict=True) if reply == 0]
        if gone:
            await self._ask(hash_delete(self._keyspace.attempts, *gone))

    # -- an operator's

    async def shared(
        self,
        *,
        older_than: float,
        dry_run: bool = True,
        unknown_age: bool = False,
        processing: bytes | None = None,
    ) -> list[Recovered]:
        """Return entries of Perl workers' shared processing list that were begun more than ``older_than`` seconds ago.

        Nobody can tell a slow Perl worker from a dead one, so the age is the operator's to say. It is that of
        ``_started``, else of ``_queued``; releases before 0.004 write neither (``unknown_age`` takes those too, and
        entries without a hash).
        """
        source = processing or self._keyspace.queue("processing")
        old: dict[bytes, None] = {}
        async for ids in entries_of(self._ask, source):
            replies = await self._connection.call(*map(fleet.mark_of, ids))
            for job_id, reply in zip(ids, replies, strict=True):
                since = None if isinstance(reply, ServerError) else parse_epoch(fleet.read_mark(reply)[3])
                if unknown_age if since is None else time.time() - since >= older_than:
                    old[job_id] = None
        found: list[Recovered] = []
        # The newest first, each to the end that is taken next.
        for job_id in old:
            if dry_run:
                found.append(_note(job_id, b"", self._queue, "would return"))
            elif await self._ask(fleet.return_shared(source, self._queue, job_id)) == 1:
                found.append(_note(job_id, b"", self._queue, "returned"))
        return found

    async def unmarked(self, *, older_than: float, dry_run: bool = True) -> list[Recovered]:
        """Jobs without mark or result whose ID stands in no list of the database: popped (mode ``recoverable``) by a
        worker that died before it could mark them.

        Such hashes may belong to any prefix of the database, so this is an operator's decision.
        """
        listed = await self._listed()
        candidates: dict[bytes, bytes] = {}
        async for job_id, worker, _, has_result, since in self._marks():
            age = parse_epoch(since)
            if worker is not None or has_result or job_id in listed or since is None or age is None:
                continue
            if time.time() - age >= older_than:
                candidates[job_id] = since
        # An ID on its way from one list to another during the first look shows in the second.
        listed = await self._listed() if candidates else listed
        found: list[Recovered] = []
        for job_id, since in candidates.items():
            if job_id in listed:
                continue
            if dry_run:
                found.append(_note(job_id, b"", self._queue, "would return"))
                continue
            check, *rest = fleet.adopt(job_id, self._queue, since, spread=self._spread)
            if await self._ask(check) == 1:
                for command in rest:
                    await self._ask(command)
                found.append(_note(job_id, b"", self._queue, "returned"))
        return found

    async def _listed(self) -> set[bytes]:
        """Return all elements of all lists of the database."""
        found: set[bytes] = set()
        cursor = b"0"
        while True:
            cursor, keys = scanned(await self._ask(scan_type(cursor, b"list")))
            for key in keys:
                async for entries in entries_of(self._ask, key):
                    found.update(entries)
            if cursor == b"0":
                return found


def _chunks(workers: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """In steps of a size that holds the server for no time worth naming."""
    for first in range(0, len(workers), _STEP):
        yield workers[first : first + _STEP]


def _strings(reply: object) -> list[bytes]:
    return [item for item in reply if isinstance(item, bytes)] if isinstance(reply, list) else []


def _note(job_id: bytes, worker: bytes, queue: bytes, outcome: str) -> Recovered:
    whose = f" of worker {printable(worker)}" if worker else ""
    _log.warning("job %s%s: %s (%s)", printable(job_id), whose, outcome, printable(queue))
    return Recovered(readable(job_id), readable(worker), readable(queue), outcome)


# -- the own list of a living worker


async def until_gone(commands: Connection, client_id: int | None, name: str) -> None:
    """Return when the server has noticed that a popping connection of ours is closed.

    Until then its pops may still move jobs into the own list. ``name`` guards against an ID that a restarted server has
    given to another connection. Where an ACL forbids to ask, ``return_stuck`` finds the jobs that come too late.
    Raises ``TransportError``.
    """
    if client_id is None:
        return
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    try:
        while is_listed(await commands.execute(client_list(client_id)), name):
            if loop.time() > end:
                # Half-open: the server would keep it until its own timeouts.
                await commands.execute(client_kill(client_id))
            await asyncio.sleep(0.005)
    except ServerError as error:
        _log.info("cannot see whether the old connection has ended: %s", error)


async def return_leftovers(commands: Connection, mode: Mode, queue: bytes, active: Container[object]) -> int:
    """Put back entries of the own list that are not in hand: newest first, so that the oldest is taken next.

    Says how many; none where the mode has no such list. Raises ``TransportError``.
    """
    returned = 0
    for entry in await _own_entries(commands, mode):
        if entry not in active:
            for command in mode.give_back(Taken(queue, entry)):
                await execute_insisting(commands, command)
            returned += 1
    return returned


async def return_stuck(
    commands: Connection, mode: Mode, queue: bytes, active: Container[object], before: Container[bytes]
) -> frozenset[bytes]:
    """Put back entries that were not in hand at the look ``before``, and are not now; the others are the next
    ``before``.

    Such entries were moved for a pop whose reply was never seen. Raises ``TransportError``.
    """
    stray = [entry for entry in await _own_entries(commands, mode) if entry not in active]
    for entry in stray:
        if entry in before:
            _log.warning("job %s stood in this worker's list and was not in hand: returned", printable(entry))
            for command in mode.give_back(Taken(queue, entry)):
                await execute_insisting(commands, command)
    return frozenset(entry for entry in stray if entry not in before)


async def _own_entries(commands: Connection, mode: Mode) -> list[bytes]:
    ask = mode.leftovers()
    return [] if ask is None else _strings(await commands.execute(ask))
