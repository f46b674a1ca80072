"""States of jobs and of prefixes: the commands that ask Redis, and the meaning of its replies. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec

from jobwire.errors import ServerError
from jobwire.wire import commands as c
from jobwire.wire.codec import extensions as m
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import PENDING, PROCESSING, Keyspace, job_key
from jobwire.wire.text import Text, parse_epoch, readable

__all__ = [
    "LOOKED_AT",
    "SEARCHED",
    "JobState",
    "OwnList",
    "Place",
    "PrefixState",
    "QueueState",
    "WorkerState",
    "ask_for_prefix",
    "ask_for_state",
    "ask_for_states",
    "list_every",
    "prefixes_in",
    "read_prefix",
    "read_state",
    "read_states",
]

Place: TypeAlias = Literal["queued", "started", "processed", "dead", "unknown", "gone", "not kept"]


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one job in Redis at one moment.

    ``place``        ``queued``: its ID stands in the pending queue; ``started``: a worker has begun, or has at least
                     taken it; ``processed``: the result is there; ``dead``: set aside, ``error`` says why;
                     ``unknown``: the hash is there, the ID in none of the lists that were looked at, or more than
                     50,000 entries from either end of one; ``gone``: no hash;
                     ``not kept``: mode ``simple``, of which only the length of the queue can be told
    ``ahead``        number of jobs that will be taken before it, where it is queued
    ``queue_length`` length of the pending queue
    ``started``      epoch seconds, None where not begun
    ``worker``       who has it, where the worker says so
    ``error``        why it last failed, where somebody wrote it down
    ``traceback``    the end of the traceback of a job that is dead, where its worker wrote it down
    """

    place: Place
    ahead: int | None = None
    queue_length: int = 0
    started: float | None = None
    worker: Text | None = None
    error: Text | None = None
    traceback: Text | None = None


_FIELDS = (m.RESULT, m.STARTED, m.WORKER, m.ERROR)


SEARCHED = 50_000
"""Entries at either end of a list among which one job is looked for: about half a millisecond of Redis for each end."""


def ask_for_state(job_id: bytes, queue: bytes, processing: bytes, dead: bytes) -> tuple[Command, ...]:
    """Return the commands whose replies ``read_state`` reads; LPOS needs Redis 6.0.6.

    The lists before the hash: a job that is taken meanwhile was queued, and is not missing in both.
    """
    return (
        c.list_length(queue),
        *_either_end(queue, job_id),
        *_either_end(processing, job_id),
        *_either_end(dead, job_id),
        c.exists(job_key(job_id)),
        c.hash_get(job_key(job_id), *_FIELDS),
    )


def _either_end(key: bytes, job_id: bytes) -> tuple[Command, Command]:
    return c.list_position(key, job_id, within=-SEARCHED), c.list_position(key, job_id, within=SEARCHED)


def read_state(replies: Sequence[Reply]) -> JobState:
    """Read the replies to ``ask_for_state``: a job that stands further inside of a list is not seen there.

    Raises the first ``ServerError`` among them. The lists of taken and of dead jobs may be forbidden to a client: it
    knows nothing of them then.
    """
    length, near, far, *aside, present, values = [
        None if 3 <= at <= 6 and _is_forbidden(reply) else reply for at, reply in enumerate(replies)
    ]
    error = c.first_error([length, near, far, *aside, present, values])
    if error is not None:
        raise error
    total = length if isinstance(length, int) else 0
    position = near if isinstance(near, int) else far
    return _state(
        values,
        gone=present == 0,
        dead=aside[2:] != [None, None],
        taken=aside[:2] != [None, None],
        # Jobs are pushed on the left and taken from the right.
        ahead=total - 1 - position if isinstance(position, int) else None,
        queue_length=total,
    )


def _state(values: Reply, *, gone: bool, dead: bool, taken: bool, ahead: int | None, queue_length: int) -> JobState:
    known = isinstance(values, list) and len(values) >= len(_FIELDS)
    result, started, worker, why = values[: len(_FIELDS)] if isinstance(values, list) and known else (None,) * 4
    reason, traceback = m.without_traceback(readable(why)) if isinstance(why, bytes) else (None, None)
    return JobState(
        place=_place(
            (gone, "gone"),
            (result is not None, "processed"),
            (dead, "dead"),
            (ahead is not None, "queued"),
            (started is not None or taken, "started"),
        ),
        ahead=ahead,
        queue_length=queue_length,
        started=parse_epoch(started) if isinstance(started, bytes) else None,
        worker=readable(worker) if isinstance(worker, bytes) else None,
        error=reason,
        traceback=traceback,
    )


LOOKED_AT = 500
"""Entries at either end of a list among which a look at many jobs looks; the rest of the list is left alone."""


def ask_for_states(
    job_ids: Sequence[bytes], queue: bytes, processing: bytes, dead: bytes, *, newest: int = LOOKED_AT
) -> tuple[Command, ...]:
    """Return the commands whose replies ``read_states`` reads: the cost of them does not grow with the lists.

    ``newest`` entries of each list are looked at, and those of the queue that are taken next. The lists before the
    hash: a job that is taken meanwhile was queued, and is not missing in both.
    """
    commands = [c.list_length(queue)]
    for job_id in job_ids:
        commands += (
            c.list_position(queue, job_id, within=-LOOKED_AT),
            c.list_position(queue, job_id, within=newest),
            c.list_position(processing, job_id, within=newest),
            c.list_position(dead, job_id, within=newest),
            c.hash_get(job_key(job_id), *_FIELDS, m.REPLY_TO),
        )
    return tuple(commands)


_EACH = 5


def read_states(replies: Sequence[Reply]) -> list[JobState | ServerError]:
    """Read the replies to ``ask_for_states``, in the order of its jobs: an error that is about one job is its answer. A
    job that stands further inside of a list is ``unknown``.

    Raises ``ServerError`` where the queue cannot be looked at.
    """
    length, *rest = replies
    if isinstance(length, ServerError):
        raise length
    total = length if isinstance(length, int) else 0
    return [_one_of_many(total, rest[first : first + _EACH]) for first in range(0, len(rest), _EACH)]


def _one_of_many(length: int, replies: Sequence[Reply]) -> JobState | ServerError:
    processing, dead = (None if _is_forbidden(reply) else reply for reply in replies[2:4])
    near, far, fields = replies[0], replies[1], replies[4]
    error = c.first_error([near, far, processing, dead, fields])
    if error is not None:
        return error
    position = near if isinstance(near, int) else far
    return _state(
        fields,
        gone=isinstance(fields, list) and all(value is None for value in fields),
        dead=dead is not None,
        taken=processing is not None,
        ahead=max(0, length - 1 - position) if isinstance(position, int) else None,
        queue_length=length,
    )


def _is_forbidden(reply: Reply) -> bool:
    return isinstance(reply, ServerError) and reply.code == "NOPERM"


def _place(*found: tuple[bool, Place]) -> Place:
    for holds, place in found:
        if holds:
            return place
    return "unknown"


# -- everything under one prefix

_SHARED = PROCESSING.encode()
_OWN = _SHARED + b"::"
_PENDING = PENDING.encode()
_MARKS = (_PENDING, _SHARED, b"dead", b"rejected", b"workers")


class QueueState(msgspec.Struct, frozen=True):
    """A pending queue, by its name without the prefix."""

    name: Text
    length: int


class OwnList(msgspec.Struct, frozen=True):
    """A processing list that belongs to one worker."""

    worker: Text
    length: int


class WorkerState(msgspec.Struct, frozen=True):
    """A worker of the set of workers. ``heartbeat``: seconds until its sign of life runs out, None where it has."""

    id: Text
    heartbeat: float | None


class PrefixState(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of one prefix at one moment.

    ``processing``  length of the processing list that Perl workers share; the lists of single workers are ``own``
    ``dead``, ``rejected``, ``attempts``  numbers of jobs and entries set aside, and of jobs with failed attempts
    """

    prefix: Text
    queues: tuple[QueueState, ...]
    processing: int
    own: tuple[OwnList, ...]
    workers: tuple[WorkerState, ...]
    dead: int
    rejected: int
    attempts: int


def prefixes_in(keys: Iterable[bytes]) -> set[bytes]:
    """Return the prefixes that these keys of lists and sets show."""
    return {prefix for key in keys for prefix in _prefixes_of(key)}


def _prefixes_of(key: bytes) -> Iterator[bytes]:
    if key in (_PENDING, _SHARED) or key.startswith(_OWN):
        yield b""  # bare "dead" or "workers" may be anybody's
    head, separator, _ = key.partition(b"::" + _OWN)
    if separator:
        yield head
        return
    head, separator, last = key.rpartition(b"::")
    if separator and last in _MARKS and head != _SHARED:
        yield head


def list_every(keyspace: Keyspace, lists: Iterable[bytes], prefixes: Iterable[bytes] = ()) -> list[bytes]:
    """Return those of the keys ``lists`` that stand under this prefix, and under none of the longer ``prefixes``."""
    own = keyspace.queue(b"")
    if not own:
        return [key for key in lists if key in _MARKS or (key.startswith(_OWN) and b"::" in key)]
    longer = [prefix + b"::" for prefix in prefixes if prefix.startswith(own)]
    return [key for key in lists if key.startswith(own) and not any(map(key.startswith, longer))]


def ask_for_prefix(keyspace: Keyspace, lists: Sequence[bytes], workers: Sequence[bytes]) -> tuple[Command, ...]:
    """Return the commands whose replies ``read_prefix`` reads; ``workers`` are the members of ``keyspace.workers``."""
    return (
        (b"HLEN", keyspace.attempts),
        *map(c.list_length, lists),
        *((b"PTTL", keyspace.worker(worker)) for worker in workers),
    )


def read_prefix(
    keyspace: Keyspace, lists: Sequence[bytes], workers: Sequence[bytes], replies: Sequence[Reply]
) -> PrefixState:
    """Read the replies to ``ask_for_prefix``. Raises the first ``ServerError`` among them."""
    error = c.first_error(replies)
    if error is not None:
        raise error
    numbers = [reply if isinstance(reply, int) else 0 for reply in replies]
    skip = len(keyspace.queue(b""))
    lengths = dict(zip((key[skip:] for key in lists), numbers[1:], strict=False))
    beats = dict(zip(workers, numbers[1 + len(lists) :], strict=True))
    aside = {name: lengths.pop(name, 0) for name in (_SHARED, b"dead", b"rejected")}
    return PrefixState(
        prefix=keyspace.prefix,
        queues=tuple(
            QueueState(readable(name), length) for name, length in sorted(lengths.items()) if not name.startswith(_OWN)
        ),
        processing=aside[_SHARED],
        own=tuple(
            OwnList(readable(name[len(_OWN) :]), length)
            for name, length in sorted(lengths.items())
            if name.startswith(_OWN)
        ),
        workers=tuple(
            WorkerState(readable(worker), beat / 1000 if beat > 0 else None) for worker, beat in sorted(beats.items())
        ),
        dead=aside[b"dead"],
        rejected=aside[b"rejected"],
        attempts=numbers[0],
    )
