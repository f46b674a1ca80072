"""The modes that keep a hash for each job: ``reliable`` and ``recoverable``.

Source: Job::Async::Redis 0.004 (Redis.pm, "Operational modes"; Client/Redis.pm; Worker/Redis.pm). Perl implements
``reliable``; ``recoverable`` is defined by jobwire from Perl's documentation (PROTOCOL.md, REC).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from jobwire import fast
from jobwire.errors import MismatchError, ServerError, printable
from jobwire.wire import commands as c
from jobwire.wire import meta as m
from jobwire.wire.commands import Command, Reply
from jobwire.wire.dialects import DEFAULT_DIALECT
from jobwire.wire.fields import plans, text_field
from jobwire.wire.inspection import ask_for_state
from jobwire.wire.jobs import Job, decode_job, encode_job
from jobwire.wire.keys import channel, job_key
from jobwire.wire.mode import Mode, Notice, Submission, Taken, entry_of, pop_now, pop_waiting, popped, seconds
from jobwire.wire.results import Result, Success, decode_result, encode_outcome
from jobwire.wire.scripts import (
    BURY,
    BURY_MARKED,
    COMPLETE,
    DELETE_GHOST,
    FORGET_DUPLICATE,
    GIVE_BACK,
    GIVE_BACK_MARKED,
    REJECT,
    WITHDRAW,
)
from jobwire.wire.text import epoch, readable

__all__ = ["HashMode", "Recoverable", "Reliable"]


class HashMode(Mode):
    """What ``recoverable`` and ``reliable`` share: a hash a job, IDs in the queues, completion published."""

    keeps_jobs = True
    spread: ClassVar[bool] = False
    """True where lists and hashes live on several servers (``jobwire.wire.spread``)."""

    # -- client

    def submit(self, submission: Submission, queue: bytes) -> tuple[Command, ...]:
        commands = (self._hash_of(submission), c.list_push(queue, submission.id))
        return self._together(commands) if self.use_multi else commands

    def _hash_of(self, submission: Submission) -> Command:
        dialect = self.dialect or DEFAULT_DIALECT
        key = job_key(submission.id)
        if dialect.typed_fields and dialect.timing_fields:
            head = (b"HMSET", key, m.REPLY_TO, submission.reply_to)
            command: Command | None = fast.hash_fields(
                head, submission.queued, submission.meta, submission.data, m.encode_meta, text_field, m.RESERVED
            )
            if command is not None:
                return command
        fields = encode_job(
            submission.data,
            reply_to=submission.reply_to,
            queued=submission.queued,
            dialect=dialect,
            meta=submission.meta,
            nested=self.nested,
        )
        return c.hash_set(key, fields)

    def notice(self, payload: bytes) -> Notice:
        return Notice(payload, None)

    def collect(self, job_id: bytes) -> Command:
        """Fetch the result of a job."""
        return (b"HMGET", job_key(job_id), m.RESULT)

    def collected(self, job_id: bytes, reply: Reply) -> Result | None:
        """The result; None where there is none (yet, or any more).

        Raises ``ServerError``, ``ResultDecodeError``, ``MismatchError``.
        """
        if isinstance(reply, ServerError):
            raise reply
        raw = reply[0] if isinstance(reply, list) and reply else None
        if not isinstance(raw, bytes):
            return None
        dialect = self.dialect or DEFAULT_DIALECT
        if dialect.tagged_results and self.strings == "auto":
            scalar = fast.scalar_result(raw) if len(raw) <= self.limits.max_bytes else None
            if scalar is not None:
                return Success(scalar[0])
        return decode_result(
            raw,
            dialect=dialect,
            strings=self.strings,
            limits=self.limits,
            key=job_key(job_id),
        )

    def check(self, job_id: bytes) -> tuple[Command, ...]:
        """As ``collect``, and whether there is a hash at all: for a job that no notice came for."""
        return (self.collect(job_id), c.exists(job_key(job_id)))

    def checked(self, job_id: bytes, replies: Sequence[Reply]) -> tuple[Result | None, bool]:
        """The result or None, and whether the hash is there. Raises as ``collected`` does."""
        error = c.first_error(replies)
        if error is not None:
            raise error
        return self.collected(job_id, replies[0]), replies[1] != 0

    def withdraw(self, job_id: bytes, queue: bytes) -> Command:
        """Take a job back that no worker has taken; answers 1, or 0 where it is too late."""
        return WITHDRAW.call_whole((queue, job_key(job_id)), job_id)

    def inspect(self, job_id: bytes, queue: bytes) -> tuple[Command, ...]:
        """Where the job is; the replies are read by ``jobwire.wire.inspection.read_state``."""
        return ask_for_state(job_id, queue, self.processing, self.keyspace.dead)

    def discard(self, *job_ids: bytes) -> Command:
        """Delete the hashes of jobs whose results were collected, or that are not wanted any more."""
        return c.delete(*map(job_key, job_ids))

    def discard_all(self, job_ids: Sequence[bytes]) -> tuple[Command, ...]:
        """``discard``, in as few commands as these hashes need."""
        return (self.discard(*job_ids),)

    # -- worker

    def load(self, taken: Taken) -> Command:
        return (b"HGETALL", job_key(taken.entry))

    def read(self, taken: Taken, reply: Reply) -> Job | None:
        return self._read_quickly(taken, reply) or self._read(taken, reply)

    def _read_quickly(self, taken: Taken, reply: Reply) -> Job | None:
        if self.strings != "auto":
            return None
        dialect = self.dialect or DEFAULT_DIALECT
        limits = self.limits
        found = fast.job_fields(reply, plans(dialect.typed_fields, "auto"), limits.max_fields, limits.max_bytes)
        if found is None or (self.dialect is None and found[3] is None):
            return None
        data, meta, reply_to, queued, started, processed, result = found
        return Job(
            id=readable(taken.entry),
            data=data,
            reply_to=reply_to,
            queued=queued,
            started=started,
            processed=processed,
            meta=meta,
            result=result,
            dialect=dialect,
        )

    def _read(self, taken: Taken, reply: Reply) -> Job | None:
        fields = c.hash_pairs(reply, key=job_key(taken.entry))
        if m.REPLY_TO not in fields and fields.keys() <= m.MARKS:
            self._check_entry(taken)
            return None
        return decode_job(taken.entry, fields, dialect=self.dialect, strings=self.strings, limits=self.limits)

    def _check_entry(self, taken: Taken) -> None:
        """Raises ``MismatchError`` where the hash is missing because the entry is a whole job."""
        if taken.entry[:1] == b"{" and b'"data"' in taken.entry:
            raise MismatchError(
                f"an envelope where a job ID should be: {printable(taken.entry)}; a client of mode 'simple' pushed it "
                f"to a worker of mode {self.name!r}: give both the same mode, or queues of their own",
                key=taken.queue,
                raw=taken.entry,
            )

    def vanished(self, taken: Taken) -> tuple[Command, ...]:
        """Drop the entry of a job whose hash is gone, with the ghost that a worker may have left in its place."""
        return (*self.forget(taken), DELETE_GHOST.call_whole((job_key(taken.entry),), *sorted(m.MARKS)))

    def _outcome(self, job: Job, result: Result, at: float) -> dict[bytes, bytes]:
        fields = {m.PROCESSED: epoch(at)} if job.dialect.timing_fields else {}
        fields[m.RESULT] = encode_outcome(result, dialect=job.dialect, accept=job.accept, limits=self.limits)
        return fields

    def complete(self, job: Job, taken: Taken, result: Result, *, started: float, at: float) -> tuple[Command, ...]:
        del started
        return self._together(
            (c.hash_set(job_key(taken.entry), self._outcome(job, result, at)), *self.notify(job, taken))
        )

    def notify(self, job: Job, taken: Taken) -> tuple[Command, ...]:
        """Publish that the result is there, and drop the entry."""
        return (c.publish(channel(job.reply_to), taken.entry), *self.forget(taken))

    @abstractmethod
    def bury(self, taken: Taken, reason: str) -> tuple[Command, ...]:
        """Move a job that will not be run again to the dead ones; its hash keeps everything and says why."""

    def adopt(self, job_id: bytes, queue: bytes) -> tuple[Command, ...]:
        """Push a job that no queue holds any more on ``queue``, to be taken next."""
        return (c.list_push_next(queue, job_id),)

    def count_attempt(self, taken: Taken, reason: str) -> tuple[Command, ...]:
        """Note that the job failed once more; the first reply is how often."""
        key = job_key(taken.entry)
        return (
            c.hash_increment(self.keyspace.attempts, taken.entry),
            c.hash_set(key, {m.ERROR: error_text(reason)}),
        )

    def forget_attempts(self, taken: Taken) -> Command:
        return c.hash_delete(self.keyspace.attempts, taken.entry)


class Reliable(HashMode):
    """Popping moves the ID to a processing list; completion removes it from there. One queue a worker."""

    name = "reliable"
    many_queues = False
    moves_jobs = True

    def take(self, queues: Sequence[bytes], wait: float) -> Command:
        return (b"BRPOPLPUSH", queues[0], self.processing, seconds(wait))

    def take_now(self, queue: bytes) -> Command:
        return (b"RPOPLPUSH", queue, self.processing)

    def taken(self, reply: Reply, queues: Sequence[bytes]) -> Taken | None:
        if isinstance(reply, bytes):
            return Taken(queues[0], reply)
        if isinstance(reply, ServerError):
            raise reply
        return None if reply is None else Taken(queues[0], entry_of(reply, queues[0]))

    def start(self, job: Job, taken: Taken, *, at: float) -> tuple[Command, ...]:
        if not job.dialect.timing_fields:
            return ()
        return ((b"HMSET", job_key(taken.entry), m.STARTED, epoch(at)),)

    def complete(self, job: Job, taken: Taken, result: Result, *, started: float, at: float) -> tuple[Command, ...]:
        if not self.own_list:
            return super().complete(job, taken, result, started=started, at=at)
        dialect, entry = job.dialect, taken.entry
        key, reply_to = job_key(entry), channel(job.reply_to)
        if type(result) is Success and dialect.tagged_results and dialect.timing_fields:
            exact = type(result.value) is int and "V" in m.parse_accept(job.meta.get("_accept"))
            command: Command | None = fast.completion(
                self._completing, key, entry, reply_to, result.value, exact, started, at
            )
            if command is not None:
                return (command,)
        raw = encode_outcome(result, dialect=dialect, accept=job.accept, limits=self.limits)
        times = (epoch(started), epoch(at)) if dialect.timing_fields else ()
        return (COMPLETE.call((self.processing, key), entry, reply_to, raw, *times),)

    @cached_property
    def _completing(self) -> Command:
        return (*COMPLETE.opening(2), self.processing)

    def completed(self, replies: Sequence[Reply]) -> bool:
        if not self.own_list:
            return super().completed(replies)
        reply = replies[0]
        if reply == 1:
            return True
        if isinstance(reply, ServerError):
            raise reply
        return False

    def prepare(self) -> tuple[Command, ...]:
        return (COMPLETE.load(),) if self.own_list else ()

    def give_back(self, taken: Taken) -> tuple[Command, ...]:
        return (GIVE_BACK.call_whole((self.processing, taken.queue), taken.entry),)

    def forget(self, taken: Taken) -> tuple[Command, ...]:
        return (c.list_remove(self.processing, taken.entry),)

    def forget_duplicate(self, taken: Taken) -> tuple[Command, ...]:
        if not self.own_list:
            return self.forget(taken)
        return (FORGET_DUPLICATE.call_whole((self.processing,), taken.entry),)

    def reject(self, taken: Taken, record: bytes) -> tuple[Command, ...]:
        return (REJECT.call_whole((self.processing, self.keyspace.rejected), taken.entry, record),)

    def bury(self, taken: Taken, reason: str) -> tuple[Command, ...]:
        keys = (self.processing, job_key(taken.entry), self.keyspace.dead)
        return (BURY.call_whole(keys, taken.entry, m.ERROR, error_text(reason)),)

    def leftovers(self) -> Command:
        """The entries of the processing list, newest first."""
        return c.list_items(self.processing)


class Recoverable(HashMode):
    """Queues in order of priority; a job whose worker died is found by what the worker wrote into its hash."""

    name = "recoverable"
    many_queues = True
    moves_jobs = False

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

    def bury(self, taken: Taken, reason: str) -> tuple[Command, ...]:
        keys = (job_key(taken.entry), self.keyspace.dead)
        return (BURY_MARKED.call_whole(keys, taken.entry, m.WORKER, m.ERROR, error_text(reason)),)

    def forget(self, taken: Taken) -> tuple[Command, ...]:
        del taken
        return ()


def error_text(reason: str) -> bytes:
    return reason.encode(errors="backslashreplace")
