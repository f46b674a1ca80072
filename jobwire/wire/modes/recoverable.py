"""Mode ``recoverable``: queues in order of priority; a job whose worker died is found by the mark in its hash.

Between the pop and the mark nothing says whose a job is, so a worker of one queue moves IDs into a list of its own, as
``reliable`` does. Redis has no command that waits at several queues and moves.


Defined by jobwire from Perl's documentation (Job::Async::Redis 0.004, Redis.pm, "Operational modes"; PROTOCOL.md, REC):
Perl clients can feed it, and Perl workers can serve its clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

from jobwire.wire import commands as c
from jobwire.wire.codec import extensions as m
from jobwire.wire.codec.jobs import Job
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import Keyspace, job_key
from jobwire.wire.modes.base import (
    HashMode,
    Mode,
    ModeOptions,
    Ownership,
    Taken,
    error_text,
    pop_now,
    pop_waiting,
    popped,
)
from jobwire.wire.modes.reliable import Reliable
from jobwire.wire.scripts import BURY_MARKED, GIVE_BACK_MARKED, LOSE_MARKED, NOTE, REQUEUE_MARKED
from jobwire.wire.text import Text, epoch
from jobwire.wire.workers import Home

__all__ = ["MarkedInList", "Recoverable"]


class MarkedInList(Reliable):
    """A worker of one queue: its entries stand in a list of its own. The mark is for those who want to know who has a
    job, and nothing hangs on it.
    """

    name = "recoverable"
    many_queues = True

    def __init__(self, keyspace: Keyspace, **options: Any) -> None:
        super().__init__(keyspace, **options)
        self.completion_says_start = False

    def start(self, job: Job, taken: Taken, *, at: float) -> tuple[Command, ...]:
        return mark(self.owner, job, taken, at)

    def give_back(self, taken: Taken) -> tuple[Command, ...]:
        return self._without_mark(taken, super().give_back(taken))

    def requeue(self, taken: Taken, attempts: int, reason: str) -> tuple[Command, ...]:
        return self._without_mark(taken, super().requeue(taken, attempts, reason))

    def lose(self, taken: Taken, max_losses: int, reason: str) -> tuple[Command, ...]:
        return self._without_mark(taken, super().lose(taken, max_losses, reason))

    def bury(self, taken: Taken, reason: str) -> tuple[Command, ...]:
        return self._without_mark(taken, super().bury(taken, reason))

    def _without_mark(self, taken: Taken, commands: tuple[Command, ...]) -> tuple[Command, ...]:
        # The last reply is that of the step which says whether the entry was still ours.
        return (c.hash_delete(job_key(taken.entry), m.WORKER, m.STARTED), *commands)


def mark(owner: bytes | None, job: Job, taken: Taken, at: float) -> tuple[Command, ...]:
    """Write who has the job, where it came from, and since when."""
    fields = {m.STARTED: epoch(at)} if job.dialect.timing_fields else {}
    if owner is not None:
        fields |= {m.WORKER: owner, m.QUEUE: taken.queue}
    return (c.hash_set(job_key(taken.entry), fields),) if fields else ()


class Recoverable(HashMode):
    """Popping removes the ID; the worker marks the hash with its ID and the queue. Several queues a worker."""

    name = "recoverable"
    many_queues = True
    moves_jobs = False

    in_list_type: ClassVar[type[Mode]] = MarkedInList

    @classmethod
    def for_worker(
        cls,
        keyspace: Keyspace,
        *,
        owner: Text | None,
        processing_queue: Text | None,
        queues: int = 1,
        **options: Unpack[ModeOptions],
    ) -> Mode:
        if queues == 1 and owner is not None and processing_queue is None:
            return cls.in_list_type.for_worker(keyspace, owner=owner, processing_queue=None, **options)
        return super().for_worker(keyspace, owner=owner, processing_queue=processing_queue, **options)

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
        return mark(self.owner, job, taken, at)

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
