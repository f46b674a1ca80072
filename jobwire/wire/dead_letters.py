"""What an operator asks and does: look over the queues of a server, requeue, drop, check the server itself.

Plain data like everything in ``jobwire.wire``. The names looked for are those of ``jobwire.wire.keys``; the rest is
Redis's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from jobwire.errors import ServerError, WireError
from jobwire.wire import Job, Mode, Submission, Taken
from jobwire.wire import commands as c
from jobwire.wire.codec import extensions as m
from jobwire.wire.codec.results import Failure, Success
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import PENDING, PROCESSING, Keyspace, channel, job_key
from jobwire.wire.lifecycle import TABLE, Outcome, conclude
from jobwire.wire.modes.base import Ending, Told
from jobwire.wire.scripts import Script
from jobwire.wire.text import Text, readable

__all__ = [
    "INFO",
    "WHO_AM_I",
    "OwnList",
    "PrefixState",
    "QueueState",
    "WorkerState",
    "ask_for_prefix",
    "client_commands",
    "config_get",
    "config_value",
    "drop_dead",
    "dry_run",
    "list_every",
    "parse_info",
    "prefixes_in",
    "read_prefix",
    "requeue_dead",
    "requeue_rejected",
    "sample_commands",
    "scan_type",
    "script_commands",
    "worker_commands",
]

INFO: Command = (b"INFO",)
WHO_AM_I: Command = (b"ACL", b"WHOAMI")

_SHARED = PROCESSING.encode()
_OWN = _SHARED + b"::"
_PENDING = PENDING.encode()
_MARKS = (_PENDING, _SHARED, b"dead", b"rejected", b"workers")


# -- looking over a server


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
    """What stands under one prefix at one moment.

    ``processing``  length of the processing list that Perl workers share; the lists of single workers are ``own``
    ``dead``, ``rejected``, ``attempts``  how many jobs and entries were set aside, how many jobs have failed attempts
    """

    prefix: Text
    queues: tuple[QueueState, ...]
    processing: int
    own: tuple[OwnList, ...]
    workers: tuple[WorkerState, ...]
    dead: int
    rejected: int
    attempts: int


def scan_type(cursor: bytes, kind: bytes, count: int = 1000) -> Command:
    """One step of a SCAN over the keys of one type (Redis 6.0); ``commands.scanned`` reads the reply."""
    return (b"SCAN", cursor, b"COUNT", b"%d" % count, b"TYPE", kind)


def prefixes_in(keys: Iterable[bytes]) -> set[bytes]:
    """The prefixes that these keys of lists and sets show."""
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
    """Those of the keys ``lists`` that stand under this prefix, and under none of the longer ``prefixes``."""
    own = keyspace.queue(b"")
    if not own:
        return [key for key in lists if key in _MARKS or (key.startswith(_OWN) and b"::" in key)]
    longer = [prefix + b"::" for prefix in prefixes if prefix.startswith(own)]
    return [key for key in lists if key.startswith(own) and not any(map(key.startswith, longer))]


def ask_for_prefix(keyspace: Keyspace, lists: Sequence[bytes], workers: Sequence[bytes]) -> tuple[Command, ...]:
    """The commands whose replies ``read_prefix`` reads; ``workers`` are the members of ``keyspace.workers``."""
    return (
        (b"HLEN", keyspace.attempts),
        *map(c.list_length, lists),
        *((b"PTTL", keyspace.worker(worker)) for worker in workers),
    )


def read_prefix(
    keyspace: Keyspace, lists: Sequence[bytes], workers: Sequence[bytes], replies: Sequence[Reply]
) -> PrefixState:
    """Raises the first ``ServerError`` among the replies."""
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


# -- putting right

_REQUEUE_REJECTED = Script.of("""\
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('LREM', KEYS[1], 1, ARGV[1])
return 1
""")
"""KEYS rejected, queue; ARGV record, entry → 1 back in the queue, 0 was not there."""

_REQUEUE_DEAD = Script.of("""\
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.call('LREM', KEYS[1], 1, ARGV[1])
redis.pcall('HDEL', KEYS[3], ARGV[1])
if KEYS[4] then redis.pcall('HDEL', KEYS[4], unpack(ARGV, 2)) end
return 1
""")
"""KEYS dead, queue, attempts, job hash (not on a cluster); ARGV job ID, fields.

What says that a worker has the job goes, lest recovery take it for one that a dead worker left behind.
"""


_TAKE_WORD_BACK = Script.of("""\
local result = redis.pcall('HGET', KEYS[1], 'result')
if type(result) ~= 'string' or not string.find(result, '"rejected":true', 1, true) then return 0 end
return redis.call('HDEL', KEYS[1], 'result')
""")
"""KEYS job hash → 1 the result said that the job was rejected, and is gone, 0 it said something else."""


def requeue_rejected(keyspace: Keyspace, record: bytes, entry: bytes, queue: bytes) -> tuple[Command, ...]:
    """Put an entry that was set aside back into ``queue`` (a whole key); the last reply is 1, or 0 where it is not
    there. What its client was told does not keep it from being run.
    """
    untold = _TAKE_WORD_BACK.call_whole((job_key(entry),))
    return (untold, _REQUEUE_REJECTED.call_whole((keyspace.rejected, queue), record, entry))


def requeue_dead(keyspace: Keyspace, job_id: bytes, queue: bytes, *, spread: bool = False) -> Command:
    """Put a dead job into ``queue`` (a whole key), as if never taken; answers 1, or 0 where it is not there.

    On a cluster (``spread``) its hash keeps what its last worker wrote; the next one writes over it.
    """
    keys = (keyspace.dead, queue, keyspace.attempts, *(() if spread else (job_key(job_id),)))
    return _REQUEUE_DEAD.call_whole(keys, job_id, m.WORKER, m.STARTED, m.ERROR)


def drop_dead(keyspace: Keyspace, job_id: bytes) -> tuple[Command, ...]:
    """Delete a dead job for good. The ID goes last, so that one broken off can be done again; its reply is the last."""
    return (
        c.delete(job_key(job_id)),
        c.hash_delete(keyspace.attempts, job_id),
        c.list_remove(keyspace.dead, job_id),
    )


# -- the server itself


def parse_info(reply: Reply) -> dict[str, str]:
    """INFO as a mapping. Raises ``ServerError`` as it came."""
    if isinstance(reply, ServerError):
        raise reply
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else ""
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, separator, value in pairs if separator}


def config_get(name: bytes) -> Command:
    """CONFIG GET; often forbidden."""
    return (b"CONFIG", b"GET", name)


def config_value(reply: Reply) -> str | None:
    """The value that CONFIG GET of one name answered; None where it is not told."""
    value = reply[1] if isinstance(reply, list) and len(reply) == 2 else None
    return value.decode(errors="replace") if isinstance(value, bytes) else None


def dry_run(user: bytes, command: Command) -> Command:
    """ACL DRYRUN (Redis 7.0): would ``user`` be allowed to send ``command``? Answers ``OK``, or why not."""
    return (b"ACL", b"DRYRUN", user, *command)


_SAMPLE = b"00000000-0000-4000-8000-000000000000"


def sample_commands(mode: Mode, queue: bytes) -> Mapping[str, tuple[Command, ...]]:
    """Each kind of command that a client and a worker of this mode send, made for a job that there is not; and what
    their scripts call, which needs the same permissions.
    """
    samples = {"client": client_commands(mode, queue), "worker": worker_commands(mode, queue)}
    if mode.keeps_jobs:
        samples["scripts"] = script_commands(mode.keyspace, queue)
    return samples


def script_commands(keyspace: Keyspace, queue: bytes) -> tuple[Command, ...]:
    """What the scripts of ``jobwire.wire.scripts`` and ``jobwire.wire.workers`` call inside."""
    own, beat, job = keyspace.own_list(_SAMPLE), keyspace.worker(_SAMPLE), job_key(_SAMPLE)
    return (
        (b"GET", beat),
        (b"SET", beat, b"x", b"PX", b"1"),
        c.delete(beat),
        c.exists(beat, own),
        c.set_add(keyspace.workers, _SAMPLE),
        c.set_remove(keyspace.workers, _SAMPLE),
        c.set_members(keyspace.workers),
        (b"HSET", keyspace.queue(b"queues"), _SAMPLE, queue),
        c.hash_delete(keyspace.queue(b"queues"), _SAMPLE),
        c.hash_get_all(keyspace.queue(b"queues")),
        (b"HGET", keyspace.attempts, _SAMPLE),
        (b"HSET", keyspace.attempts, _SAMPLE, b"1"),
        c.hash_delete(keyspace.attempts, _SAMPLE),
        c.hash_get(job, m.RESULT),
        (b"HGET", job, m.RESULT),
        (b"HEXISTS", job, m.RESULT),
        (b"PEXPIRE", job, b"1"),
        (b"PUBSUB", b"NUMSUB", channel(_SAMPLE)),
        (b"HKEYS", job),
        c.value_type(job),
        (b"TIME",),
        c.list_position(own, _SAMPLE),
        c.hash_set(job, {m.RESULT: b"T"}),
        (b"LINDEX", own, b"0"),
        c.list_move_back(own, queue),
        c.list_remove(own, _SAMPLE),
        c.list_push(keyspace.dead, _SAMPLE),
        c.list_push_next(queue, _SAMPLE),
        c.publish(channel(_SAMPLE), _SAMPLE),
    )


def client_commands(mode: Mode, queue: bytes) -> tuple[Command, ...]:
    """What a client sends in the life of a job."""
    submission = Submission(id=_SAMPLE, data={"a": "b"}, reply_to=_SAMPLE, queued=1.0)
    withdrawal = mode.withdraw(_SAMPLE, queue)
    return (
        mode.subscribe(_SAMPLE),
        *mode.submit(submission, queue),
        *mode.check(_SAMPLE),
        *mode.inspect(_SAMPLE, queue),
        *(() if withdrawal is None else (withdrawal,)),
        *mode.cleanup((_SAMPLE,)),
    )


def worker_commands(mode: Mode, queue: bytes) -> tuple[Command, ...]:
    """What a worker sends in the life of a job."""
    submission = Submission(id=_SAMPLE, data={"a": "b"}, reply_to=_SAMPLE, queued=1.0)
    written = mode.submit(submission, queue)[-1 if not mode.use_multi else -2]
    taken = Taken(queue, written[-1])
    fields: list[Reply] = [m.REPLY_TO, _SAMPLE, m.QUEUED, b"1", b"text_a", b"b"]
    job = mode.read(taken, fields)
    load = mode.load(taken)
    commands = (
        *mode.prepare(),
        mode.take((queue,), 1.0),
        mode.take_now(queue),
        *(() if load is None else (load,)),
        *mode.give_back(taken),
        *mode.reject(taken, b"{}", Told(_SAMPLE, _SAMPLE, Failure("x", "x"))),
    )
    if job is not None:
        commands += mode.start(job, taken, at=1.0)
        commands += mode.complete(job, taken, Success("x"), started=1.0, at=2.0)
        commands += mode.note_failure(taken, 1, "x")
        for outcome in TABLE:
            commands += _ways_out(mode, taken, job, outcome)
    return commands


def _ways_out(mode: Mode, taken: Taken, job: Job, outcome: Outcome) -> tuple[Command, ...]:
    """The commands of one outcome; none where the mode does not know it."""
    if not outcome.events:
        return ()
    result = Success("x") if "finish" in outcome.events else None
    attempts, losses = int(outcome.counter == "retried"), int(outcome.counter == "lost")
    ending = Ending(outcome, result, "x", b"{}" * (outcome.events[-1] == "reject"), 1.0, 2.0, attempts, losses)
    try:
        conclude("started", outcome, mode=mode.name)
    except WireError:
        return ()
    return mode.commands_for(taken, job, ending)
