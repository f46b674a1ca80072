"""The workers of a prefix: who is alive, and what the dead leave behind. Defined by jobwire (PROTOCOL.md, RCV).

A worker that has entries of its own says so before it pops the first one: its ID in the set ``<prefix>::workers``, the
pending queue that its list belongs to in the hash ``<prefix>::queues``, and a start nonce with a TTL in
``<prefix>::worker::<worker id>``. As long as that key is there, nobody touches what is the worker's.
"""

from __future__ import annotations

from jobwire.errors import ServerError
from jobwire.wire import commands as c
from jobwire.wire import meta as m
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import JOB_PREFIX, Keyspace, job_key
from jobwire.wire.scripts import GIVE_BACK, Script

__all__ = [
    "claim",
    "is_alive",
    "known_queues",
    "known_workers",
    "mark_of",
    "read_mark",
    "release",
    "return_marked",
    "return_newest",
    "return_shared",
    "scan_jobs",
    "strip",
]

_CLAIM = Script.of("""\
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[4])
return held and 1 or 2
""")
"""KEYS heartbeat, workers, queues; ARGV worker ID, nonce, TTL in ms, pending queue → 0 another holds it, 1, 2 anew."""

_RELEASE = Script.of("""\
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[4]) == 0 then
  redis.call('SREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
end
return 1
""")
"""KEYS heartbeat, workers, queues, own list; ARGV worker ID, nonce. What stands in the list keeps the ID known."""

_STRIP = Script.of("""\
if redis.call('EXISTS', KEYS[1], KEYS[4]) > 0 then return 0 end
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return 1
""")
"""KEYS heartbeat, workers, queues, own list; ARGV worker ID → 1 forgotten: it is gone and has left nothing."""

_RETURN_NEWEST = Script.of("""\
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local id = redis.call('LINDEX', KEYS[2], 0)
if not id then return 0 end
if redis.call('HINCRBY', KEYS[4], id, 1) >= tonumber(ARGV[1]) then
  redis.call('HDEL', KEYS[4], id)
  redis.call('HSET', ARGV[3] .. id, ARGV[4], ARGV[2])
  redis.call('LMOVE', KEYS[2], KEYS[5], 'LEFT', 'LEFT')
  return {id, 'dead'}
end
redis.call('LMOVE', KEYS[2], KEYS[3], 'LEFT', 'RIGHT')
return {id, 'returned'}
""")
"""KEYS heartbeat, own list, pending queue, attempts, dead; ARGV attempts allowed, reason, ``job::``, ``_error``.

From the newest to the oldest, each to the end that is taken next, so that the order is as it was.
"""

_RETURN_MARKED = Script.of("""\
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local has = redis.call('HMGET', KEYS[2], ARGV[2], ARGV[3], 'result')
if has[1] ~= ARGV[4] or has[2] ~= KEYS[3] or has[3] then return 0 end
redis.call('HDEL', KEYS[2], ARGV[2], ARGV[3], ARGV[5])
if redis.call('HINCRBY', KEYS[4], ARGV[1], 1) >= tonumber(ARGV[6]) then
  redis.call('HDEL', KEYS[4], ARGV[1])
  redis.call('HSET', KEYS[2], ARGV[8], ARGV[7])
  redis.call('LPUSH', KEYS[5], ARGV[1])
  return 'dead'
end
redis.call('RPUSH', KEYS[3], ARGV[1])
return 'returned'
""")
"""KEYS heartbeat, job hash, pending queue, attempts, dead; ARGV job ID, ``_worker``, ``_queue``, worker ID,
``_started``, attempts allowed, reason, ``_error``. Only while the hash still bears the mark that was read.
"""
_REASON = b"lost its worker too often"


def claim(keyspace: Keyspace, worker_id: bytes, nonce: bytes, *, ttl: float, queue: bytes) -> Command:
    """Take the ID, or keep it: the heartbeat. Answers 0 where another worker holds it, 1 kept, 2 taken anew."""
    keys = (keyspace.worker(worker_id), keyspace.workers, keyspace.queues)
    return _CLAIM.call_whole(keys, worker_id, nonce, b"%d" % int(ttl * 1000), queue)


def release(keyspace: Keyspace, worker_id: bytes, nonce: bytes) -> Command:
    """Give the ID up."""
    return _RELEASE.call_whole(_worker_keys(keyspace, worker_id), worker_id, nonce)


def strip(keyspace: Keyspace, worker_id: bytes) -> Command:
    """Forget a worker that is gone and has left nothing."""
    return _STRIP.call_whole(_worker_keys(keyspace, worker_id), worker_id)


def _worker_keys(keyspace: Keyspace, worker_id: bytes) -> tuple[bytes, ...]:
    return (keyspace.worker(worker_id), keyspace.workers, keyspace.queues, keyspace.own_list(worker_id))


def known_workers(keyspace: Keyspace) -> Command:
    return c.set_members(keyspace.workers)


def known_queues(keyspace: Keyspace) -> Command:
    return c.hash_get_all(keyspace.queues)


def is_alive(keyspace: Keyspace, worker_id: bytes) -> Command:
    """Answers 1 while the worker's heartbeat is there."""
    return c.exists(keyspace.worker(worker_id))


def return_newest(keyspace: Keyspace, worker_id: bytes, queue: bytes, *, max_attempts: int) -> Command:
    """One entry of a dead worker's list, back to ``queue`` or, the last time, to the dead ones.

    Answers 0 where there is none, or the worker lives; else job ID and ``returned`` or ``dead``.
    """
    keys = (
        keyspace.worker(worker_id),
        keyspace.own_list(worker_id),
        queue,
        keyspace.attempts,
        keyspace.dead,
    )
    return _RETURN_NEWEST.call_whole(keys, b"%d" % max_attempts, _REASON, JOB_PREFIX, m.ERROR)


def scan_jobs(cursor: bytes, *, count: int = 500) -> Command:
    """One step through the hashes of all jobs of the database, of every prefix."""
    return c.scan(cursor, JOB_PREFIX + b"*", count)


def mark_of(job_id: bytes) -> Command:
    """The fields that ``read_mark`` reads."""
    return c.hash_get(job_key(job_id), m.WORKER, m.QUEUE, m.RESULT, m.STARTED, m.QUEUED)


def read_mark(reply: Reply) -> tuple[bytes | None, bytes | None, bool, bytes | None]:
    """Worker ID, queue, whether there is a result, and since when (``_started``, else ``_queued``).

    Raises ``ServerError``.
    """
    if isinstance(reply, ServerError):
        raise reply
    values = [value if isinstance(value, bytes) else None for value in reply] if isinstance(reply, list) else []
    worker, queue, result, started, queued = values or [None] * 5
    return worker, queue, result is not None, started or queued


def return_marked(keyspace: Keyspace, job_id: bytes, worker_id: bytes, queue: bytes, *, max_attempts: int) -> Command:
    """A job of mode ``recoverable`` whose worker is gone, back to its queue or to the dead ones.

    Answers 0 where the worker lives or the mark has changed; else ``returned`` or ``dead``.
    """
    keys = (keyspace.worker(worker_id), job_key(job_id), queue, keyspace.attempts, keyspace.dead)
    return _RETURN_MARKED.call_whole(
        keys, job_id, m.WORKER, m.QUEUE, worker_id, m.STARTED, b"%d" % max_attempts, _REASON, m.ERROR
    )


def return_shared(processing: bytes, queue: bytes, job_id: bytes) -> Command:
    """An entry of Perl's shared processing list, back to ``queue``; answers 1, or 0 where it is not there any more."""
    return GIVE_BACK.call_whole((processing, queue), job_id)
