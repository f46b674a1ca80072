"""Mode ``reliable``: popping moves the ID to a processing list, completion removes it from there.

Source: Job::Async::Redis 0.004 (Redis.pm, "Operational modes"; Client/Redis.pm; Worker/Redis.pm). With Perl's shared
list the commands are Perl's, one by one. A list of the worker's own says whose an entry is, so that completion can be
fenced and recovery can tell (PROTOCOL.md, RCV).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from jobwire import fast
from jobwire.errors import ServerError
from jobwire.limits import Limits
from jobwire.wire import commands as c
from jobwire.wire.codec import extensions as m
from jobwire.wire.codec.jobs import Job
from jobwire.wire.codec.results import Result, Success, encode_failure, encode_outcome
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import JOB_PREFIX, LONGEST_KEPT, Keyspace, channel_to, job_key, kept_channel
from jobwire.wire.lifecycle import ModeName
from jobwire.wire.modes.base import Ending, HashMode, Ownership, Taken, Told, entry_of, error_text, seconds
from jobwire.wire.scripts import (
    BURY,
    COMPLETE,
    COMPLETE_MANY,
    FORGET_DUPLICATE,
    GIVE_BACK,
    LOSE,
    NOTE_FAILURE,
    REJECT,
    REQUEUE,
    TAKE_MANY,
)
from jobwire.wire.text import epoch
from jobwire.wire.workers import Home

__all__ = ["OwnList", "Reliable"]


COMPLETED_AT_ONCE = 64
"""Completions in one script, which nothing else of the server waits longer for than for a few commands."""
_MOST_BYTES = 1 << 16
"""Bytes of the results in one script: Redis hashes each for Lua (60 µs for these), and nobody is answered meanwhile."""


class OwnList:
    """Completion from a list of the worker's own: one script, fenced by the entry in the list."""

    joins: ClassVar[bool] = True

    def __init__(self, key: bytes, limits: Limits) -> None:
        self._key = key
        self._limits = limits
        self._opening: Command = (*COMPLETE.opening(2), key)

    def complete(self, job: Job, taken: Taken, result: Result, *, started: float, at: float) -> tuple[Command, ...]:
        dialect, entry = job.dialect, taken.entry
        key, client_id = JOB_PREFIX + entry, job.reply_to
        reply_to = kept_channel(client_id) if len(client_id) <= LONGEST_KEPT else channel_to(client_id)
        if type(result) is Success and dialect.tagged_results and dialect.timing_fields:
            accept = job.meta.get("_accept")
            command: Command | None = fast.completion(
                self._opening, key, entry, reply_to, result.value, accept, started, at
            )
            if command is not None:
                return (command,)
        raw = encode_outcome(result, dialect=dialect, accept=job.accept, limits=self._limits)
        times = (epoch(started), epoch(at)) if dialect.timing_fields else ()
        return (COMPLETE.call((self._key, key), entry, reply_to, raw, *times),)

    def completed(self, replies: Sequence[Reply]) -> bool:
        reply = replies[0]
        if isinstance(reply, ServerError):
            raise reply
        return reply != 0

    def notice(self, commands: Sequence[Command]) -> Command:
        """Return the notice that the completion ``commands`` publishes."""
        job_id, client = commands[0][5:7]
        return c.publish(client, job_id)

    def complete_many(self, completions: Sequence[tuple[Command, ...]]) -> list[tuple[Command, int]]:
        """Join calls of COMPLETE to calls of COMPLETE_MANY, in their order."""
        joined: list[tuple[Command, int]] = []
        at = 0
        while at < len(completions):
            compiled: tuple[Command, int] | None = fast.joined(
                _MANY, self._key, completions, at, COMPLETED_AT_ONCE, _MOST_BYTES
            )
            joined.append(self._join(completions, at) if compiled is None else compiled)
            at += joined[-1][1]
        return joined

    def _join(self, completions: Sequence[tuple[Command, ...]], at: int) -> tuple[Command, int]:
        calls: list[Command] = []
        size = 0
        for (call,) in completions[at : at + COMPLETED_AT_ONCE]:
            size += len(call[_RESULT])
            if calls and size > _MOST_BYTES:
                break
            calls.append(call)
        if len(calls) == 1:
            return calls[0], 1
        jobs = [call[_JOB] for call in calls]
        args: list[bytes] = []
        before = b""
        for call in calls:
            channel, result, *times = call[_CHANNEL:]
            args += (b"" if channel == before else channel, result, *(times or (b"", b"")))
            before = channel
        return (*_MANY, b"%d" % (len(calls) + 1), self._key, *jobs, *args), len(calls)

    def prepare(self) -> tuple[Command, ...]:
        return (COMPLETE.load(), COMPLETE_MANY.load(), TAKE_MANY.load())

    def forget_duplicate(self, taken: Taken) -> tuple[Command, ...]:
        return (FORGET_DUPLICATE.call_whole((self._key,), taken.entry),)


_MANY = COMPLETE_MANY.opening(1)[:2]
"""The beginning of a call of COMPLETE_MANY, before the number of its keys."""
_JOB, _CHANNEL, _RESULT = 4, 6, 7
"""The places of words in a call of COMPLETE."""


class Reliable(HashMode):
    """Popping moves the ID to a processing list; completion removes it from there. One queue a worker."""

    name: ClassVar[ModeName] = "reliable"
    many_queues = False
    moves_jobs = True

    own_list_type: ClassVar[type[OwnList]] = OwnList

    def __init__(self, keyspace: Keyspace, **options: Any) -> None:
        super().__init__(keyspace, **options)
        self._own = self.own_list_type(self.processing, self.written) if self.own_list else None
        self.joins_completions = self._own is not None and self._own.joins

    @property
    def ownership(self) -> Ownership:
        return "shared" if self._own is None else "list"

    def home(self, queues: Sequence[bytes]) -> Home | None:
        return None if self._own is None else Home(tuple(queues), marks=False)

    def take(self, queues: Sequence[bytes], wait: float) -> Command:
        return (b"BRPOPLPUSH", queues[0], self.processing, seconds(wait))

    def take_now(self, queue: bytes) -> Command:
        return (b"RPOPLPUSH", queue, self.processing)

    def take_many(self, queue: bytes, count: int) -> Command | None:
        return None if self._own is None else TAKE_MANY.call((queue, self.processing), b"%d" % count)

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
        if self._own is None:
            return super().complete(job, taken, result, started=started, at=at)
        return self._own.complete(job, taken, result, started=started, at=at)

    def complete_many(self, completions: Sequence[tuple[Command, ...]]) -> list[tuple[Command, int]]:
        if self._own is None:
            return super().complete_many(completions)
        return self._own.complete_many(completions)

    def completed(self, replies: Sequence[Reply]) -> bool:
        return super().completed(replies) if self._own is None else self._own.completed(replies)

    def unheard(
        self, job: Job | None, ending: Ending, commands: Sequence[Command], replies: Sequence[Reply]
    ) -> Command | None:
        if self._own is None or ending.result is None:
            return super().unheard(job, ending, commands, replies)
        return self._own.notice(commands) if replies[0] == 1 and not self._looks_itself(job) else None

    def prepare(self) -> tuple[Command, ...]:
        return () if self._own is None else self._own.prepare()

    def give_back(self, taken: Taken) -> tuple[Command, ...]:
        return (GIVE_BACK.call_whole((self.processing, taken.queue), taken.entry),)

    def note_failure(self, taken: Taken, attempts: int, reason: str) -> tuple[Command, ...]:
        keys = (self.processing, job_key(taken.entry))
        return (NOTE_FAILURE.call_whole(keys, taken.entry, *self._failure_fields(attempts, reason)),)

    def requeue(self, taken: Taken, attempts: int, reason: str) -> tuple[Command, ...]:
        keys = (self.processing, taken.queue, job_key(taken.entry))
        return (REQUEUE.call_whole(keys, taken.entry, *self._failure_fields(attempts, reason)),)

    def lose(self, taken: Taken, max_losses: int, reason: str) -> tuple[Command, ...]:
        keys = (self.processing, taken.queue, self.keyspace.attempts, self.keyspace.dead, job_key(taken.entry))
        return (LOSE.call_whole(keys, taken.entry, b"%d" % max_losses, m.ERROR, error_text(reason)),)

    def forget(self, taken: Taken) -> tuple[Command, ...]:
        return (c.list_remove(self.processing, taken.entry),)

    def forget_duplicate(self, taken: Taken) -> tuple[Command, ...]:
        return self.forget(taken) if self._own is None else self._own.forget_duplicate(taken)

    def reject(self, taken: Taken, record: bytes, told: Told | None = None) -> tuple[Command, ...]:
        keys = (self.processing, self.keyspace.rejected)
        if told is None:
            return (REJECT.call_whole(keys, taken.entry, record),)
        words = (channel_to(told.reply_to), encode_failure(told.failure))
        return (REJECT.call_whole((*keys, job_key(taken.entry)), taken.entry, record, *words),)

    def bury(self, taken: Taken, reason: str) -> tuple[Command, ...]:
        keys = (self.processing, job_key(taken.entry), self.keyspace.dead)
        return (BURY.call_whole(keys, taken.entry, m.ERROR, error_text(reason)),)

    def leftovers(self) -> Command | None:
        return None if self._own is None else c.list_items(self.processing)
