"""Take care of what dead workers leave behind. Live work is never touched.

A worker is dead when its heartbeat is gone (``jobwire.heartbeat``: 30 s after its last beat). Its own list goes back
to the pending queue it came from, in order; a job that loses its worker ``max_attempts`` times ends in
``<prefix>::dead``, whole. In mode ``recoverable`` there are no lists: jobs are found by the mark that a worker writes
into their hashes.

Each step is one script that looks at the heartbeat once more, so several recoveries may run at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import msgspec

from jobwire.errors import TransportError, printable
from jobwire.transport import Connection
from jobwire.wire import HashMode, Keyspace, Reliable, fleet
from jobwire.wire.commands import hash_pairs, list_items, scanned
from jobwire.wire.keys import JOB_PREFIX
from jobwire.wire.text import Text, parse_epoch, readable

__all__ = ["Recovered", "Recovery"]

_log = logging.getLogger("jobwire.recovery")


class Recovered(msgspec.Struct, frozen=True):
    """One job that was taken care of: ``returned`` to ``queue``, or ``dead``; ``would return`` in a dry run."""

    job_id: Text
    worker: Text
    queue: bytes
    outcome: str


class Recovery:
    """Recovery for one keyspace, on a connection of the caller's. Its methods raise ``TransportError``."""

    def __init__(
        self, connection: Connection, mode: HashMode, *, max_attempts: int = 5, queue: bytes | None = None
    ) -> None:
        self._connection = connection
        self._mode = mode
        self._keyspace: Keyspace = mode.keyspace
        self._max_attempts = max_attempts
        # Where the entries of a list go whose worker did not say where they came from.
        self._queue = queue or mode.keyspace.queue("pending")

    async def dead_workers(self) -> list[bytes]:
        """The workers that are known and have no heartbeat."""
        members = await self._connection.execute(fleet.known_workers(self._keyspace))
        known = [member for member in members if isinstance(member, bytes)] if isinstance(members, list) else []
        if not known:
            return []
        alive = await self._connection.call(*(fleet.is_alive(self._keyspace, worker) for worker in known))
        return [worker for worker, reply in zip(known, alive, strict=True) if reply == 0]

    async def run(self) -> list[Recovered]:
        """Return what all dead workers had in hand."""
        workers = await self.dead_workers()
        if not workers:
            return []
        reply = await self._connection.execute(fleet.known_queues(self._keyspace))
        queues = hash_pairs(reply, key=self._keyspace.queues)
        found: list[Recovered] = []
        if isinstance(self._mode, Reliable):
            for worker in workers:
                found += [done async for done in self._empty_list(worker, queues.get(worker, self._queue))]
        else:
            found = [done async for done in self._return_marked(frozenset(workers))]
        for worker in workers:
            await self._connection.execute(fleet.strip(self._keyspace, worker))
        return found

    async def _empty_list(self, worker: bytes, queue: bytes) -> AsyncIterator[Recovered]:
        while True:
            command = fleet.return_newest(self._keyspace, worker, queue, max_attempts=self._max_attempts)
            reply = await self._connection.execute(command)
            if not isinstance(reply, list):
                return
            job_id, outcome = reply
            yield self._note(job_id, worker, queue, outcome)

    async def _return_marked(self, workers: frozenset[bytes]) -> AsyncIterator[Recovered]:
        """Jobs of mode ``recoverable`` that bear the mark of a dead worker of this prefix."""
        async for job_id, worker, queue, has_result, _ in self._marks():
            if has_result or worker not in workers or queue is None or not self._is_ours(queue):
                continue
            command = fleet.return_marked(self._keyspace, job_id, worker, queue, max_attempts=self._max_attempts)
            outcome = await self._connection.execute(command)
            if isinstance(outcome, bytes):
                yield self._note(job_id, worker, queue, outcome)

    def _is_ours(self, queue: bytes) -> bool:
        return queue.startswith(self._keyspace.queue(b""))

    async def _marks(self) -> AsyncIterator[tuple[bytes, bytes | None, bytes | None, bool, bytes | None]]:
        """Every job hash of the database with what its mark says; gives other work a turn between the steps."""
        cursor = b"0"
        while True:
            cursor, keys = scanned(await self._connection.execute(fleet.scan_jobs(cursor)))
            job_ids = [key.removeprefix(JOB_PREFIX) for key in keys]
            replies = await self._connection.call(*map(fleet.mark_of, job_ids)) if job_ids else []
            for job_id, reply in zip(job_ids, replies, strict=True):
                try:
                    mark = fleet.read_mark(reply)
                except TransportError as error:
                    _log.warning("job %s: %s", printable(job_id), error)  # a key of another type
                    continue
                yield job_id, *mark
            if cursor == b"0":
                return
            await asyncio.sleep(0)

    async def shared(self, *, older_than: float, dry_run: bool = True) -> list[Recovered]:
        """Entries of the shared processing list (Perl's workers') that were begun more than ``older_than`` seconds ago.

        Nobody can tell a slow Perl worker from a dead one, so the age is the operator's to say.
        """
        entries = await self._connection.execute(list_items(self._mode.processing))
        ids = [entry for entry in entries if isinstance(entry, bytes)] if isinstance(entries, list) else []
        replies = await self._connection.call(*map(fleet.mark_of, ids)) if ids else []
        found: list[Recovered] = []
        for job_id, reply in zip(ids, replies, strict=True):
            since = parse_epoch(fleet.read_mark(reply)[3])
            if since is None or time.time() - since < older_than:
                continue
            command = fleet.return_shared(self._mode.processing, self._queue, job_id)
            if dry_run or await self._connection.execute(command) == 1:
                found.append(self._note(job_id, b"", self._queue, b"would return" if dry_run else b"returned"))
        return found

    async def unmarked(self, *, older_than: float, dry_run: bool = True) -> list[Recovered]:
        """Jobs without mark, result or place in a known queue: popped by a worker that died before it could mark them.

        Such hashes may belong to any prefix of the database, so this is an operator's decision.
        """
        queued = await self._connection.execute(list_items(self._queue))
        waiting = frozenset(queued) if isinstance(queued, list) else frozenset()
        found: list[Recovered] = []
        async for job_id, worker, _, has_result, since in self._marks():
            age = parse_epoch(since)
            if worker is not None or has_result or job_id in waiting or age is None or time.time() - age < older_than:
                continue
            if not dry_run:
                for command in self._mode.adopt(job_id, self._queue):
                    await self._connection.execute(command)
            found.append(self._note(job_id, b"", self._queue, b"would return" if dry_run else b"returned"))
        return found

    def _note(self, job_id: object, worker: bytes, queue: bytes, outcome: object) -> Recovered:
        raw_id = job_id if isinstance(job_id, bytes) else b""
        word = outcome.decode() if isinstance(outcome, bytes) else str(outcome)
        whose = f" of worker {printable(worker)}" if worker else ""
        _log.warning("job %s%s: %s (%s)", printable(raw_id), whose, word, printable(queue))
        return Recovered(readable(raw_id), readable(worker), queue, word)
