"""The workers of a prefix: who is alive, and the remains of the dead. Defined by jobwire (PROTOCOL.md, RCV).

A worker that has entries of its own says so before it pops the first one: its ID in the set ``<prefix>::workers``, the
queues that it takes from in the hash ``<prefix>::queues``, and a start nonce with a TTL in
``<prefix>::worker::<worker id>``. As long as that key is there, nobody touches the worker's entries. The time at which
a worker was found gone stands in the hash ``<prefix>::gone``: the worker stays known for a while, because pops that it
had waiting at the server may still move jobs into its list.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import NamedTuple

import msgspec

from jobwire.errors import DecodeError, ServerError
from jobwire.wire import commands as c
from jobwire.wire.codec import extensions as m
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import JOB_PREFIX, Keyspace, job_key
from jobwire.wire.scripts import GIVE_BACK, Script

__all__ = [
    "Home",
    "Host",
    "adopt",
    "ask_abort",
    "beats",
    "claim",
    "connection_tag",
    "farewell",
    "forget_abort",
    "gone_since",
    "homes",
    "introduce",
    "is_alive",
    "keep_looking",
    "lists",
    "mark_of",
    "may_look",
    "own_length",
    "read_home",
    "read_host",
    "read_mark",
    "release",
    "return_marked",
    "return_newest",
    "return_shared",
    "scan_attempts",
    "scan_jobs",
    "scan_workers",
    "settle",
    "strip",
    "to_abort",
]

_CLAIM = Script.of("""\
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local new = redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[4])
if held then return 1 end
redis.call('HDEL', KEYS[4], ARGV[1])
return new == 1 and 2 or 3
""")
"""KEYS heartbeat, workers, queues, gone; ARGV worker ID, nonce, TTL in ms, home → 0 another holds it, 1 kept, 2 new,
3 taken from one of this ID that has gone and may have left something. Nobody is noted as gone while its heartbeat is
held (``_STRIP``).
"""

_RELEASE = Script.of("""\
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[3] == '0' and redis.call('EXISTS', KEYS[5]) == 0 then
  redis.call('SREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
end
return 1
""")
"""KEYS heartbeat, workers, queues, gone, own list; ARGV worker ID, nonce, 1 where it has left marks. An ID that has
left something stays known.
"""

_STRIP = Script.of("""\
if redis.call('EXISTS', KEYS[1], KEYS[5]) > 0 then return 0 end
local time = redis.call('TIME')
local gone = tonumber(redis.call('HGET', KEYS[4], ARGV[1]) or '')
local after = tonumber(ARGV[2])
if not gone and after > 0 then
  redis.call('HSET', KEYS[4], ARGV[1], time[1])
  return 2
end
if gone and tonumber(time[1]) - gone < after then return 3 end
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
return 1
""")
"""KEYS heartbeat, workers, queues, gone, own list; ARGV worker ID, seconds, 0 for at once → 0 it lives or has left
something, 1 it is forgotten, 2 from now on it is known as gone, 3 it is.
"""

_RETURN_NEWEST = Script.of("""\
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[5] then return 0 end
local id = redis.call('LINDEX', KEYS[2], 0)
if not id then return 0 end
local had = redis.pcall('HGET', KEYS[4], id)
local losses = tonumber(type(had) == 'string' and string.match(had, '^%d+$') or 0) + 1
if losses >= tonumber(ARGV[1]) then
  redis.call('LMOVE', KEYS[2], KEYS[5], 'LEFT', 'LEFT')
  redis.pcall('HDEL', KEYS[4], id)
  local job = ARGV[3] ~= '' and ARGV[3] .. id
  if job and redis.call('TYPE', job).ok == 'hash' then redis.call('HSET', job, ARGV[4], ARGV[2]) end
  return {id, 'dead'}
end
redis.call('LMOVE', KEYS[2], KEYS[3], 'LEFT', 'RIGHT')
redis.pcall('HSET', KEYS[4], id, losses)
return {id, 'returned'}
""")
"""KEYS heartbeat, own list, pending queue, attempts, dead; ARGV losses allowed, reason, ``job::``, ``_error``, nonce.

From the newest to the oldest, each to the end that is taken next, so that the order is as it was. The nonce is that of
a successor of the same ID, or empty. On a cluster ``job::`` is left empty: the hashes are out of reach.
"""

_RETURN_MARKED = Script.of("""\
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[9] then return 0 end
local has = redis.call('HMGET', KEYS[2], ARGV[2], ARGV[3], 'result')
if has[1] ~= ARGV[4] or has[2] ~= KEYS[3] or has[3] then return 0 end
local had = redis.pcall('HGET', KEYS[4], ARGV[1])
local losses = tonumber(type(had) == 'string' and string.match(had, '^%d+$') or 0) + 1
if losses >= tonumber(ARGV[6]) then
  redis.call('LPUSH', KEYS[5], ARGV[1])
  redis.pcall('HDEL', KEYS[4], ARGV[1])
  redis.call('HSET', KEYS[2], ARGV[8], ARGV[7])
  redis.call('HDEL', KEYS[2], ARGV[2], ARGV[5])
  return 'dead'
end
redis.call('RPUSH', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[2], ARGV[5])
redis.pcall('HSET', KEYS[4], ARGV[1], losses)
return 'returned'
""")
"""KEYS heartbeat, job hash, pending queue, attempts, dead; ARGV job ID, ``_worker``, ``_queue``, worker ID,
``_started``, losses allowed, reason, ``_error``, nonce. Only while the hash still bears the mark that was read.
"""

_RETURN_TO_LIST = Script.of("""\
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[3] then return 0 end
if redis.call('LPOS', KEYS[2], ARGV[1], 'RANK', -1, 'MAXLEN', 1000) then return 0 end
local had = redis.pcall('HGET', KEYS[3], ARGV[1])
local losses = tonumber(type(had) == 'string' and string.match(had, '^%d+$') or 0) + 1
if losses >= tonumber(ARGV[2]) then
  redis.call('LPUSH', KEYS[4], ARGV[1])
  redis.pcall('HDEL', KEYS[3], ARGV[1])
  return 'dead'
end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.pcall('HSET', KEYS[3], ARGV[1], losses)
return 'returned'
""")
"""KEYS heartbeat, pending queue, attempts, dead; ARGV job ID, losses allowed, nonce. ``_RETURN_MARKED`` on a cluster:
all of it but the hash, and first. Where it is the last thing that happens, the mark stays, and the job is found again;
so nothing is done where it has just been returned.
"""

_SETTLE = Script.of("""\
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return 0 end
if redis.call('HGET', KEYS[1], ARGV[2]) == ARGV[1] then redis.call('HDEL', KEYS[1], ARGV[2], ARGV[3]) end
if ARGV[5] then redis.call('HSET', KEYS[1], ARGV[4], ARGV[5]) end
return 1
""")
"""KEYS job hash; ARGV dead worker's ID, ``_worker``, ``_started``, ``_error``, and the reason where the job is dead."""

_ADOPT = Script.of("""\
local has = redis.call('HMGET', KEYS[1], ARGV[2], 'result', ARGV[3], ARGV[4])
if has[1] or has[2] then return 0 end
if (has[3] or has[4] or '') ~= ARGV[5] then return 0 end
if KEYS[2] then redis.call('RPUSH', KEYS[2], ARGV[1]) end
return 1
""")
"""KEYS job hash, pending queue (not on a cluster); ARGV job ID, ``_worker``, ``_started``, ``_queued``, since when it
was seen to be.
"""

_MAY_LOOK = Script.of("""\
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local last = redis.pcall('GET', KEYS[1])
last = type(last) == 'string' and tonumber(last)
if last and now >= last and now - last < tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], string.format('%.0f', now), 'PX', ARGV[2])
return 1
""")
"""KEYS moment of the last look; ARGV milliseconds, and how many until it is forgotten → 1 it is the caller's turn."""

_ASKED_FOR = 3600
_MARK_FIELDS = 5
_REASON = b"lost its worker too often"


class Home(NamedTuple):
    """The place of a worker's entries: ``queues`` as it takes from them; ``marks``: it writes its name into the
    hashes of its jobs (mode recoverable), and has no list of its own.
    """

    queues: tuple[bytes, ...]
    marks: bool


class Host(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a worker runs, for people: nothing is decided by it. ``started`` epoch seconds, of its own clock."""

    host: str
    pid: int
    started: float = 0.0
    version: str = ""


_read_host = msgspec.json.Decoder(Host).decode


def introduce(keyspace: Keyspace, worker_id: bytes, host: Host) -> Command:
    """Say where this worker runs."""
    return (b"HSET", keyspace.hosts, worker_id, msgspec.json.encode(host))


def farewell(keyspace: Keyspace, *worker_ids: bytes) -> Command:
    """Forget where these workers ran."""
    return c.hash_delete(keyspace.hosts, *worker_ids)


def ask_abort(keyspace: Keyspace, job_id: bytes) -> tuple[Command, ...]:
    """Ask whoever runs the job to abort it. Nobody may: the question goes after an hour."""
    return (c.set_add(keyspace.aborts, job_id), c.expire(keyspace.aborts, _ASKED_FOR))


def to_abort(keyspace: Keyspace, job_ids: Sequence[bytes]) -> Command:
    """Answer 1 for each of these jobs that is to be aborted, 0 for the others."""
    return (b"SMISMEMBER", keyspace.aborts, *job_ids)


def forget_abort(keyspace: Keyspace, job_id: bytes) -> Command:
    """Somebody has taken care of it."""
    return c.set_remove(keyspace.aborts, job_id)


def read_host(raw: Reply) -> Host | None:
    """Return what a worker said; None where it said nothing that can be read."""
    try:
        return _read_host(raw) if isinstance(raw, bytes) else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _home(home: Home) -> bytes:
    return b"\0" + b"\0".join(home.queues) if home.marks else home.queues[0]


def read_home(value: bytes | None) -> Home | None:
    """Read a worker's entry in ``<prefix>::queues``; None where there is none."""
    if not value:
        return None
    return Home(tuple(value[1:].split(b"\0")), marks=True) if value[:1] == b"\0" else Home((value,), marks=False)


def claim(keyspace: Keyspace, worker_id: bytes, nonce: bytes, *, ttl: float, home: Home) -> Command:
    """Take the ID, or keep it: the heartbeat.

    Answers 0 where another worker holds it, 1 kept, 2 taken, 3 taken from one that has gone without a word.
    """
    keys = _worker_keys(keyspace, worker_id)[:4]
    return _CLAIM.call_whole(keys, worker_id, nonce, b"%d" % int(ttl * 1000), _home(home))


def release(keyspace: Keyspace, worker_id: bytes, nonce: bytes, *, left: bool) -> Command:
    """Give the ID up; ``left``: there are jobs that bear its mark, and that others are to look after."""
    return _RELEASE.call_whole(_worker_keys(keyspace, worker_id), worker_id, nonce, b"1" if left else b"0")


def strip(keyspace: Keyspace, worker_id: bytes, *, after: float) -> Command:
    """Forget a worker that was found gone ``after`` seconds ago, and has left nothing.

    Answers 0 where it lives or has left something, 1 forgotten, 2 found gone for the first time, 3 not yet.
    """
    return _STRIP.call_whole(_worker_keys(keyspace, worker_id), worker_id, b"%d" % int(after))


def _worker_keys(keyspace: Keyspace, worker_id: bytes) -> tuple[bytes, ...]:
    own_list = keyspace.own_list(worker_id)
    return (keyspace.worker(worker_id), keyspace.workers, keyspace.queues, keyspace.gone, own_list)


def connection_tag(keyspace: Keyspace, worker_id: bytes) -> str:
    """Return the prefix of the names of the connections on which this worker pops into its own list."""
    return "jobwire-popping-" + sha1(keyspace.own_list(worker_id), usedforsecurity=False).hexdigest()[:16]


def own_length(keyspace: Keyspace, worker_id: bytes) -> Command:
    """Count the entries in a worker's own list."""
    return c.list_length(keyspace.own_list(worker_id))


def may_look(keyspace: Keyspace, *, every: float) -> Command:
    """Take the turn of looking after all workers; answers 0 where somebody has looked within ``every`` seconds.

    The moment of the last look stands in one key, so that the care of a fleet does not grow with the square of it, and
    each worker judges it by its own rhythm.
    """
    return _MAY_LOOK.call_whole((keyspace.looked,), b"%d" % int(every * 1000), _kept_for(every))


def keep_looking(keyspace: Keyspace, *, every: float) -> Command:
    """Say that the look goes on, so that nobody else begins one."""
    return _MAY_LOOK.call_whole((keyspace.looked,), b"0", _kept_for(every))


def _kept_for(every: float) -> bytes:
    return b"%d" % max(1, int(2000 * every))


def scan_workers(keyspace: Keyspace, cursor: bytes, *, count: int = 500) -> Command:
    """Take one step through the set of workers; ``commands.scanned`` reads the reply."""
    return (b"SSCAN", keyspace.workers, cursor, b"COUNT", b"%d" % count)


def homes(keyspace: Keyspace, worker_ids: Sequence[bytes]) -> Command:
    """Ask for the entries of these workers in ``<prefix>::queues``, which ``read_home`` reads."""
    return c.hash_get(keyspace.queues, *worker_ids)


def gone_since(keyspace: Keyspace, worker_ids: Sequence[bytes]) -> Command:
    """Ask since when (epoch seconds of the server) these workers are known to be gone; a claim forgets that."""
    return c.hash_get(keyspace.gone, *worker_ids)


def beats(keyspace: Keyspace, worker_ids: Sequence[bytes]) -> Command:
    """Count the heartbeats of these workers."""
    return c.exists(*map(keyspace.worker, worker_ids))


def lists(keyspace: Keyspace, worker_ids: Sequence[bytes]) -> Command:
    """Count those of these workers whose lists hold entries."""
    return c.exists(*map(keyspace.own_list, worker_ids))


def is_alive(keyspace: Keyspace, worker_id: bytes) -> Command:
    """Answers 1 while the worker's heartbeat is there."""
    return c.exists(keyspace.worker(worker_id))


def return_newest(
    keyspace: Keyspace,
    worker_id: bytes,
    queue: bytes,
    *,
    max_losses: int,
    successor: bytes = b"",
    spread: bool = False,
) -> Command:
    """Move one entry of a dead worker's list back to ``queue`` or, the last time, to the dead ones.

    Answers 0 where there is none, or the worker lives; else job ID and ``returned`` or ``dead``. ``successor`` is the
    nonce of a worker that has taken the dead one's ID. ``spread``: the job's hash is left to ``settle``.
    """
    keys = (
        keyspace.worker(worker_id),
        keyspace.own_list(worker_id),
        queue,
        keyspace.attempts,
        keyspace.dead,
    )
    hashes = b"" if spread else JOB_PREFIX
    return _RETURN_NEWEST.call_whole(keys, b"%d" % max_losses, _REASON, hashes, m.ERROR, successor)


def scan_jobs(cursor: bytes, *, count: int = 500) -> Command:
    """Take one step through the hashes of all jobs of the database, of every prefix."""
    return c.scan(cursor, JOB_PREFIX + b"*", count)


def mark_of(job_id: bytes) -> Command:
    """Return the fields that ``read_mark`` reads."""
    return c.hash_get(job_key(job_id), m.WORKER, m.QUEUE, m.RESULT, m.STARTED, m.QUEUED)


def read_mark(reply: Reply) -> tuple[bytes | None, bytes | None, bool, bytes | None]:
    """Worker ID, queue, whether there is a result, and since when (``_started``, else ``_queued``).

    Raises ``ServerError``, ``DecodeError``.
    """
    if isinstance(reply, ServerError):
        raise reply
    if not isinstance(reply, list) or len(reply) != _MARK_FIELDS:
        raise DecodeError("HMGET answered something that is no row of fields; is this a Redis server?")
    worker, queue, result, started, queued = (value if isinstance(value, bytes) else None for value in reply)
    return worker, queue, result is not None, started or queued


def return_marked(
    keyspace: Keyspace,
    job_id: bytes,
    worker_id: bytes,
    queue: bytes,
    *,
    max_losses: int,
    successor: bytes = b"",
    spread: bool = False,
) -> Command:
    """Return a marked job, whose worker is gone, to its queue or to the dead ones (mode ``recoverable``).

    Answers 0 where the worker lives or the mark has changed; else ``returned`` or ``dead``. ``successor`` and
    ``spread`` as in ``return_newest``.
    """
    if spread:
        lists = (keyspace.worker(worker_id), queue, keyspace.attempts, keyspace.dead)
        return _RETURN_TO_LIST.call_whole(lists, job_id, b"%d" % max_losses, successor)
    keys = (keyspace.worker(worker_id), job_key(job_id), queue, keyspace.attempts, keyspace.dead)
    return _RETURN_MARKED.call_whole(
        keys, job_id, m.WORKER, m.QUEUE, worker_id, m.STARTED, b"%d" % max_losses, _REASON, m.ERROR, successor
    )


def settle(job_id: bytes, worker_id: bytes, *, dead: bool) -> Command:
    """Take the dead worker's mark off a job's hash, and say why: on a cluster, after it was returned or found dead."""
    reason = (_REASON,) if dead else ()
    return _SETTLE.call_whole((job_key(job_id),), worker_id, m.WORKER, m.STARTED, m.ERROR, *reason)


def return_shared(processing: bytes, queue: bytes, job_id: bytes) -> Command:
    """Move an entry of Perl's shared processing list to ``queue``; answers 1, or 0 where it is not there any more."""
    return GIVE_BACK.call_whole((processing, queue), job_id)


def adopt(job_id: bytes, queue: bytes, since: bytes, *, spread: bool = False) -> tuple[Command, ...]:
    """Push a job that nothing and nobody holds on ``queue``, to be taken next.

    The first answers 0 where it bears a mark or a result by now, or was begun since (``since`` as ``read_mark`` told);
    the rest is to be sent where it does not.
    """
    fields = (job_id, m.WORKER, m.STARTED, m.QUEUED, since)
    if spread:
        return (_ADOPT.call_whole((job_key(job_id),), *fields), c.list_push_next(queue, job_id))
    return (_ADOPT.call_whole((job_key(job_id), queue), *fields),)


def scan_attempts(keyspace: Keyspace, cursor: bytes, *, count: int = 100) -> Command:
    """Take one step through the jobs whose attempts are counted."""
    return (b"HSCAN", keyspace.attempts, cursor, b"COUNT", b"%d" % count)
