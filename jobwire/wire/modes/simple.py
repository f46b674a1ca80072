"""Mode ``simple``: an envelope a job in the queue, an envelope a reply on the channel, nothing stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from jobwire.errors import EncodeError, ServerError
from jobwire.wire import commands as c
from jobwire.wire.codec import extensions as m
from jobwire.wire.codec.dialects import DEFAULT_DIALECT
from jobwire.wire.codec.envelopes import (
    address_in,
    decode_job_envelope,
    decode_reply_envelope,
    encode_job_envelope,
    encode_reply_envelope,
)
from jobwire.wire.codec.jobs import Job
from jobwire.wire.codec.results import Failure, Result, Success
from jobwire.wire.codec.typed import Characters
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import channel_to
from jobwire.wire.modes.base import (
    Ending,
    Mode,
    Notice,
    Ownership,
    Submission,
    Taken,
    Told,
    pop_now,
    pop_waiting,
    popped,
)
from jobwire.wire.states import LOOKED_AT, JobState
from jobwire.wire.text import Text, epoch, parse_epoch

__all__ = ["Simple"]

LARGEST_REPLY = 8 * 1024 * 1024
"""Bytes of a reply envelope. Redis ends a subscription that 32 MiB wait for, or 8 MiB for a minute
(``client-output-buffer-limit pubsub``), so several of these may be on their way at a time."""
_CARRIED = frozenset({m.EXPIRES, m.TRACEPARENT})
# A reply envelope can always say that a job failed, and nothing is ever recovered to a queue.
_MEANT_OTHERWISE = frozenset({m.ACCEPT, m.QUEUE})


class Simple(Mode):
    """At most once: a job is lost with the worker that popped it. Failures are always told."""

    name = "simple"
    many_queues = True
    keeps_jobs = False
    moves_jobs = False
    redeliverable = False

    @property
    def ownership(self) -> Ownership:
        return "none"

    def home(self, queues: Sequence[bytes]) -> None:
        del queues

    def identity(self, taken: Taken) -> None:
        del taken

    def submit(self, submission: Submission, queue: bytes) -> tuple[Command, ...]:
        extensions = dict(m.encode_meta(name, value) for name, value in submission.meta.items())
        unplaced = extensions.keys() - _CARRIED - _MEANT_OTHERWISE
        if unplaced:
            raise EncodeError("an envelope of mode 'simple' has no place for this field", field=min(unplaced))
        envelope = encode_job_envelope(
            submission.id,
            submission.data,
            reply_to=submission.reply_to,
            queued=submission.queued,
            expires=parse_epoch(extensions.get(m.EXPIRES)),
            traceparent=extensions.get(m.TRACEPARENT),
            limits=self.written,
        )
        return self._together((c.list_push(queue, envelope),))

    def notice(self, payload: bytes) -> Notice:
        reply = decode_reply_envelope(payload, limits=self.limits)
        return Notice(reply.id.encode(), Success(reply.result) if reply.error is None else reply.error)

    def collect(self, job_id: bytes) -> None:
        del job_id

    def collected(self, job_id: bytes, reply: Reply) -> None:
        del job_id, reply

    def check(self, job_id: bytes) -> tuple[Command, ...]:
        del job_id
        return ()

    def checked(self, job_id: bytes, replies: Sequence[Reply]) -> tuple[None, bool]:
        del job_id, replies
        return None, True

    def inspect(self, job_id: bytes, queue: bytes) -> tuple[Command, ...]:
        del job_id
        return (c.list_length(queue),)

    def inspected(self, replies: Sequence[Reply]) -> JobState:
        error = c.first_error(replies)
        if error is not None:
            raise error
        return JobState(place="not kept", queue_length=replies[0] if isinstance(replies[0], int) else 0)

    def look(self, job_ids: Sequence[bytes], queue: bytes, *, newest: int = LOOKED_AT) -> tuple[Command, ...]:
        del job_ids, newest
        return (c.list_length(queue),)

    def looked(self, job_ids: Sequence[bytes], replies: Sequence[Reply]) -> list[JobState]:
        return [self.inspected(replies)] * len(job_ids)

    def withdraw(self, job_id: bytes, queue: bytes) -> tuple[Command, ...]:
        del job_id, queue
        return ()

    def cleanup(self, job_ids: Sequence[bytes]) -> tuple[Command, ...]:
        del job_ids
        return ()

    def characters_in(self, value: object) -> Characters:
        del value  # bytes have no place in an envelope
        return "utf-8"

    def take(self, queues: Sequence[bytes], wait: float) -> Command:
        return pop_waiting(queues, wait)

    def take_now(self, queue: bytes) -> Command:
        return pop_now(queue)

    def taken(self, reply: Reply, queues: Sequence[bytes]) -> Taken | None:
        return popped(reply, queues)

    def load(self, taken: Taken) -> None:
        del taken

    def read(self, taken: Taken, reply: Reply) -> Job:
        if isinstance(reply, ServerError):
            raise reply
        envelope = decode_job_envelope(taken.entry, limits=self.limits, key=taken.queue)
        extensions = {
            m.EXPIRES.decode(): None if envelope.expires is None else epoch(envelope.expires).decode(),
            m.TRACEPARENT.decode(): envelope.traceparent,
        }
        return Job(
            id=envelope.id,
            data=cast("dict[Text, object]", envelope.data),
            reply_to=envelope.reply_to,
            queued=envelope.queued,
            # Failures are part of the reply envelope, whoever asked.
            meta={"_accept": "E", **{name: value for name, value in extensions.items() if value is not None}},
            dialect=DEFAULT_DIALECT,  # envelopes are the same for all
        )

    def address(self, taken: Taken, reply: Reply) -> tuple[Text, Text] | None:
        del reply
        return address_in(taken.entry)

    def start(self, job: Job, taken: Taken, *, at: float) -> tuple[Command, ...]:
        del job, taken, at
        return ()

    def complete(self, job: Job, taken: Taken, result: Result, *, started: float, at: float) -> tuple[Command, ...]:
        del taken
        failure = result if isinstance(result, Failure) else None
        value = None if isinstance(result, Failure) else result.value
        envelope = encode_reply_envelope(
            job.id, value=value, failure=failure, started=started, processed=at, limits=self.written
        )
        if len(envelope) > LARGEST_REPLY:
            raise EncodeError(
                f"a reply of {len(envelope)} bytes; mode 'simple' sends at most {LARGEST_REPLY}, because Redis ends "
                "the subscription of a client that too much waits for, with the replies to all its jobs: use mode "
                "'reliable' for results of this size",
                field="result",
            )
        return self._together((c.publish(channel_to(job.reply_to), envelope),))

    def note_failure(self, taken: Taken, attempts: int, reason: str) -> tuple[Command, ...]:
        del taken, attempts, reason
        return ()

    def commands_for(self, taken: Taken, job: Job | None, ending: Ending) -> tuple[Command, ...]:
        if job is not None and ending.result is not None:
            return self.complete(job, taken, ending.result, started=ending.started, at=ending.at)
        return self.reject(taken, ending.record, ending.told) if ending.record else self.give_back(taken)

    def reject(self, taken: Taken, record: bytes, told: Told | None = None) -> tuple[Command, ...]:
        del taken
        set_aside = c.list_push(self.keyspace.rejected, record)
        if told is None:
            return (set_aside,)
        envelope = encode_reply_envelope(told.job_id, failure=told.failure, limits=self.written)
        # The reply to the last command says that it is set aside.
        return (c.publish(channel_to(told.reply_to), envelope), set_aside)

    def give_back(self, taken: Taken) -> tuple[Command, ...]:
        return (c.list_push_next(taken.queue, taken.entry),)

    def forget(self, taken: Taken) -> tuple[Command, ...]:
        del taken
        return ()
