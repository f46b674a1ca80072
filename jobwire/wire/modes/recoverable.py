"""Mode ``recoverable``: queues in order of priority; a job whose worker died is found by the mark in its hash.

Defined by jobwire from Perl's documentation (Job::Async::Redis 0.004, Redis.pm, "Operational modes"; PROTOCOL.md, REC):
Perl clients can feed it, and Perl workers can serve its clients.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobwire.wire import commands as c
from jobwire.wire.codec import extensions as m
from jobwire.wire.codec.jobs import Job
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import job_key
from jobwire.wire.modes.base import HashMode, Ownership, Taken, error_text, pop_now, pop_waiting, popped
from jobwire.wire.scripts import BURY_MARKED, GIVE_BACK_MARKED, LOSE_MARKED, NOTE, REQUEUE_MARKED
from jobwire.wire.text import epoch
from jobwire.wire.workers import Home

__all__ = ["Recoverable"]


class Recoverable(HashMode):
    """Popping removes the ID; the worker marks the hash with its ID and the queue. Several queues a worker."""

    name = "recoverable"
    many_queues = True
    moves_jobs = False

    @property
    def ownership(self) -> Ownership:
        return "mark"

    def home(self, queues: Sequence[bytes]) -> Home:
        return Home(tuple(queues), marks=True)

    def take(self, queues: Sequence[bytes], wait: float) -> Command:
        return pop_waiting(queues, wait)

    def take_now(self, queue: bytes) -> Command:
        return pop_now(queue)

    def taken(self, reply: Reply, queues: Sequence[bytes]) -> Taken | None:
        return popped(reply, queues)

    def start(self, job: Job, taken: Taken, *, at: float) -> tuple[Command, ...]:
        fields = {m.STARTED: epoch(at)} if job.dialect.timing_fields else {}
        if self.owner is not None:
            fields |= {m.WORKER: self.owner, m.QUEUE: taken.queue}
        return (c.hash_set(job_key(taken.entry), fields),) if fields else ()

    def give_back(self, taken: Taken) -> tuple[Command, ...]:
        return (GIVE_BACK_MARKED.call_whole((job_key(taken.entry), taken.queue), taken.entry, m.WORKER, m.STARTED),)

    def note_failure(self, taken: Taken, attempts: int, reason: str) -> tuple[Command, ...]:
        return (NOTE.call_whole((job_key(taken.entry),), *self._failure_fields(attempts, reason)),)

    def requeue(self, taken: Taken, attempts: int, reason: str) -> tuple[Command, ...]:
        fields = self._failure_fields(attempts, reason)
        keys = (job_key(taken.entry), taken.queue)
        return (REQUEUE_MARKED.call_whole(keys, taken.entry, m.WORKER, m.STARTED, self.owner or b"", *fields),)

    def lose(self, taken: Taken, max_losses: int, reason: str) -> tuple[Command, ...]:
        keys = (job_key(taken.entry), taken.queue, self.keyspace.attempts, self.keyspace.dead)
        mark = (m.WORKER, m.STARTED, self.owner or b"")
        losses = b"%d" % max_losses
        return (LOSE_MARKED.call_whole(keys, taken.entry, *mark, losses, m.ERROR, error_text(reason)),)

    def bury(self, taken: Taken, reason: str) -> tuple[Command, ...]:
        keys = (job_key(taken.entry), self.keyspace.dead)
        return (BURY_MARKED.call_whole(keys, taken.entry, m.WORKER, m.ERROR, error_text(reason)),)

    def forget(self, taken: Taken) -> tuple[Command, ...]:
        del taken
        return ()
