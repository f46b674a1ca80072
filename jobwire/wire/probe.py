"""Questions to the server itself, and samples of every command of a mode, to ask whether a user may send them."""

from __future__ import annotations

from collections.abc import Mapping

from jobwire.errors import ServerError, WireError
from jobwire.wire import commands as c
from jobwire.wire.codec import extensions as m
from jobwire.wire.codec.jobs import Job
from jobwire.wire.codec.results import Failure, Success
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import Keyspace, channel, job_key
from jobwire.wire.lifecycle import TABLE, Outcome, conclude
from jobwire.wire.modes.base import Ending, Mode, Submission, Taken, Told
from jobwire.wire.workers import Host, farewell, forget_abort, gone_since, homes, introduce, scan_workers, to_abort

__all__ = [
    "INFO",
    "WHO_AM_I",
    "client_commands",
    "config_get",
    "config_value",
    "dry_run",
    "parse_info",
    "sample_commands",
    "script_commands",
    "worker_commands",
]

INFO: Command = (b"INFO",)
WHO_AM_I: Command = (b"ACL", b"WHOAMI")


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
    """Return the value that CONFIG GET of one name answered; None where it is not told."""
    value = reply[1] if isinstance(reply, list) and len(reply) == 2 else None
    return value.decode(errors="replace") if isinstance(value, bytes) else None


def dry_run(user: bytes, command: Command) -> Command:
    """ACL DRYRUN (Redis 7.0): would ``user`` be allowed to send ``command``? Answers ``OK``, or why not."""
    return (b"ACL", b"DRYRUN", user, *command)


_SAMPLE = b"00000000-0000-4000-8000-000000000000"


def sample_commands(mode: Mode, queue: bytes) -> Mapping[str, tuple[Command, ...]]:
    """Return each kind of command that a client and a worker of this mode send, for a job that does not exist; and the
    commands inside their scripts, which need the same permissions.
    """
    samples = {"client": client_commands(mode, queue), "worker": worker_commands(mode, queue)}
    if mode.keeps_jobs:
        samples["scripts"] = script_commands(mode.keyspace, queue)
    return samples


def script_commands(keyspace: Keyspace, queue: bytes) -> tuple[Command, ...]:
    """Return the commands inside the scripts of ``jobwire.wire.scripts`` and ``jobwire.wire.workers``."""
    own, beat, job = keyspace.own_list(_SAMPLE), keyspace.worker(_SAMPLE), job_key(_SAMPLE)
    return (
        (b"GET", beat),
        (b"SET", beat, b"x", b"PX", b"1"),
        c.delete(beat),
        c.exists(beat, own),
        c.set_add(keyspace.workers, _SAMPLE),
        c.set_remove(keyspace.workers, _SAMPLE),
        scan_workers(keyspace, b"0"),
        (b"SET", keyspace.looked, b"1", b"PX", b"1"),
        (b"GET", keyspace.looked),
        gone_since(keyspace, (_SAMPLE,)),
        (b"HSET", keyspace.queue(b"queues"), _SAMPLE, queue),
        c.hash_delete(keyspace.queue(b"queues"), _SAMPLE),
        homes(keyspace, (_SAMPLE,)),
        introduce(keyspace, _SAMPLE, Host("h", 1)),
        farewell(keyspace, _SAMPLE),
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
    """Return the client's commands in the life of a job."""
    submission = Submission(id=_SAMPLE, data={"a": "b"}, reply_to=_SAMPLE, queued=1.0)
    return (
        mode.subscribe(_SAMPLE),
        *mode.submit(submission, queue),
        *mode.check(_SAMPLE),
        *mode.inspect(_SAMPLE, queue),
        *mode.look((_SAMPLE,), queue),
        *mode.withdraw(_SAMPLE, queue),
        *mode.cleanup((_SAMPLE,)),
    )


def worker_commands(mode: Mode, queue: bytes) -> tuple[Command, ...]:
    """Return the worker's commands in the life of a job."""
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
    if mode.keeps_jobs:
        commands += (to_abort(mode.keyspace, (_SAMPLE,)), forget_abort(mode.keyspace, _SAMPLE))
    if job is not None:
        commands += mode.start(job, taken, at=1.0)
        commands += mode.complete(job, taken, Success("x"), started=1.0, at=2.0)
        commands += mode.note_failure(taken, 1, "x")
        for outcome in TABLE:
            commands += _ways_out(mode, taken, job, outcome)
    return commands


def _ways_out(mode: Mode, taken: Taken, job: Job, outcome: Outcome) -> tuple[Command, ...]:
    """Return the commands of one outcome; none where the mode does not know it."""
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
