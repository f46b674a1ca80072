"""Where a job is: what to ask Redis, and what the answers mean. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from jobwire.wire import commands as c
from jobwire.wire.codec import extensions as m
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import job_key
from jobwire.wire.text import Text, parse_epoch, readable

__all__ = ["JobState", "Place", "ask_for_state", "read_state"]

Place: TypeAlias = Literal["queued", "started", "processed", "dead", "unknown", "gone", "not kept"]


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """What Redis holds of one job at one moment.

    ``place``        ``queued``: its ID stands in the pending queue; ``started``: a worker has begun, or has at least
                     taken it; ``processed``: the result is there; ``dead``: set aside, ``error`` says why;
                     ``unknown``: the hash is there, the ID in none of the lists that were looked at; ``gone``: no hash;
                     ``not kept``: mode ``simple``, of which only the length of the queue can be told
    ``ahead``        how many jobs will be taken before it, where it is queued
    ``queue_length`` length of the pending queue
    ``started``      epoch seconds, None where not begun
    ``worker``       who has it, where the worker says so
    ``error``        why it last failed, where somebody wrote it down
    """

    place: Place
    ahead: int | None = None
    queue_length: int = 0
    started: float | None = None
    worker: Text | None = None
    error: Text | None = None


_FIELDS = (m.RESULT, m.STARTED, m.WORKER, m.ERROR)


def ask_for_state(job_id: bytes, queue: bytes, processing: bytes, dead: bytes) -> tuple[Command, ...]:
    """The commands whose replies ``read_state`` reads; LPOS needs Redis 6.0.6."""
    return (
        c.exists(job_key(job_id)),
        c.hash_get(job_key(job_id), *_FIELDS),
        c.list_length(queue),
        c.list_position(queue, job_id),
        c.list_position(processing, job_id),
        c.list_position(dead, job_id),
    )


def read_state(replies: Sequence[Reply]) -> JobState:
    """Raises the first ``ServerError`` among the replies."""
    error = c.first_error(replies)
    if error is not None:
        raise error
    present, values, length, position, processing, dead = replies
    known = isinstance(values, list) and len(values) == len(_FIELDS)
    result, started, worker, why = values if isinstance(values, list) and known else (None,) * len(_FIELDS)
    total = length if isinstance(length, int) else 0
    return JobState(
        place=_place(
            (present == 0, "gone"),
            (result is not None, "processed"),
            (dead is not None, "dead"),
            (position is not None, "queued"),
            (started is not None or processing is not None, "started"),
        ),
        # Jobs are pushed on the left and taken from the right.
        ahead=total - 1 - position if isinstance(position, int) else None,
        queue_length=total,
        started=parse_epoch(started) if isinstance(started, bytes) else None,
        worker=readable(worker) if isinstance(worker, bytes) else None,
        error=readable(why) if isinstance(why, bytes) else None,
    )


def _place(*found: tuple[bool, Place]) -> Place:
    for holds, place in found:
        if holds:
            return place
    return "unknown"
