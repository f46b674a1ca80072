"""The cleaning up of a client: hashes of collected jobs, jobs that it took back, results that come too late.

Only jobs of this client's own are ever named here. Commands that a lost connection left unanswered are sent
again on the next one; there, too, the sweep looks for late results whose notice was lost with the old one.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import islice

from jobwire.errors import DecodeError, ServerError, TransportError
from jobwire.transport import Connection, Replies
from jobwire.wire import Mode
from jobwire.wire.commands import list_remove

__all__ = ["Cleanup"]

REMEMBERED = 10_000
"""Jobs given up that are remembered, the youngest ones."""


class Cleanup:
    """Lives in the event loop of its client; nothing here waits."""

    def __init__(self, mode: Mode, loop: asyncio.AbstractEventLoop) -> None:
        self._mode = mode
        self._loop = loop
        self._connection: Connection | None = None
        # Collected in this turn of the loop: their hashes are to be deleted.
        self._due: dict[bytes, None] = {}
        # The same of turns before, by number: Redis has not yet said that these are deleted.
        self._deleting: dict[int, dict[bytes, None]] = {}
        self._turn = 0
        # Given up here, perhaps running there: their late results are deleted.
        self._abandoned: dict[bytes, None] = {}
        # Taken back (from this queue), but Redis has not yet said whether it was in time.
        self._withdrawing: dict[bytes, bytes] = {}

    def connected(self, connection: Connection) -> None:
        self._connection = connection
        earlier, self._deleting = self._deleting, {}
        for due in earlier.values():
            self._due |= due
        self._delete_due()
        for job_id, queue in list(self._withdrawing.items()):
            self._withdraw(job_id, queue)

    def disconnected(self) -> None:
        self._connection = None

    def wanted_again(self, job_id: bytes) -> None:
        """The job has a new life, and its result is wanted. Commands begun for the old one still come first."""
        self._abandoned.pop(job_id, None)
        if job_id in self._due:
            self._delete_due()

    # -- collected

    def delete(self, job_id: bytes) -> None:
        """Delete the hash of a job; those of one turn of the loop go in one command."""
        if not self._due:
            self._loop.call_soon(self._delete_due)
        self._due[job_id] = None

    def _delete_due(self) -> None:
        due, self._due = self._due, {}
        commands = self._mode.cleanup(list(due)) if due else ()
        if not commands:
            return
        self._turn += 1
        self._deleting[self._turn] = due
        if self._connection is not None:
            self._connection.send(commands, partial(self._deleted, self._turn))

    def _deleted(self, turn: int, outcome: Replies | TransportError) -> None:
        if not isinstance(outcome, TransportError):
            self._deleting.pop(turn, None)
        # Else they are said again on the next connection.

    # -- refused

    def undo(self, job_id: bytes, queue: bytes, replies: Replies) -> None:
        """Redis refused a submission: take back that half of it which was written."""
        halves = replies[-1] if isinstance(replies[-1], list) else replies
        if len(halves) != 2:
            return  # a transaction that was refused as a whole
        hash_refused, push_refused = (isinstance(half, ServerError) for half in halves)
        if not hash_refused:
            self.delete(job_id)
        elif not push_refused and self._connection is not None:
            # The hash's key holds something else, which is not ours to delete.
            self._connection.send((list_remove(queue, job_id),))

    # -- given up

    def abandon(self, job_id: bytes, *, withdraw_from: bytes | None) -> None:
        """Delete the job's result when it comes; take it out of its queue where no worker has taken it yet."""
        while len(self._abandoned) >= REMEMBERED:
            del self._abandoned[next(iter(self._abandoned))]
        self._abandoned[job_id] = None
        if withdraw_from is not None:
            self._withdrawing[job_id] = withdraw_from
            self._withdraw(job_id, withdraw_from)

    def _withdraw(self, job_id: bytes, queue: bytes) -> None:
        commands = self._mode.withdraw(job_id, queue)
        if not commands:
            self._withdrawing.pop(job_id, None)
        elif self._connection is not None:
            self._connection.send(commands, partial(self._withdrawn, job_id))

    def _withdrawn(self, job_id: bytes, outcome: Replies | TransportError) -> None:
        if isinstance(outcome, TransportError):
            return
        self._withdrawing.pop(job_id, None)
        if outcome[0] == 1:
            self._abandoned.pop(job_id, None)
            if self._mode.spread:
                self.delete(job_id)

    def finished(self, job_id: bytes) -> None:
        """A notice came for a job that nobody waits for: delete it if it is one that was given up, and only then."""
        if job_id in self._abandoned:
            del self._abandoned[job_id]
            self.delete(job_id)

    def sweep(self, at_most: int) -> None:
        """Look for late results whose notice was lost, of ``at_most`` jobs: those not looked at for the longest time.

        A job that was given up may wait for days: the cost of such jobs does not grow with their number.
        """
        if self._connection is None or not self._mode.keeps_jobs:
            return
        for job_id in list(islice(self._abandoned, at_most)):
            del self._abandoned[job_id]
            self._abandoned[job_id] = None
            self._connection.send(self._mode.check(job_id), partial(self._looked, job_id))

    def _looked(self, job_id: bytes, outcome: Replies | TransportError) -> None:
        if isinstance(outcome, TransportError) or job_id not in self._abandoned:
            return
        try:
            result, present = self._mode.checked(job_id, outcome)
        except ServerError:
            return
        except DecodeError:
            self.finished(job_id)
            return
        if result is not None:
            self.finished(job_id)
        elif not present and job_id not in self._withdrawing:
            del self._abandoned[job_id]
