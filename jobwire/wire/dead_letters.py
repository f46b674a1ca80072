"""Jobs and entries that were set aside: the lists ``<prefix>::dead`` and ``<prefix>::rejected``.

Defined by jobwire (PROTOCOL.md, EXT). Dead jobs are IDs whose hashes say why; rejected entries are records that hold
them whole.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

import msgspec

from jobwire.errors import DecodeError
from jobwire.wire import commands as c
from jobwire.wire.codec import extensions as m
from jobwire.wire.commands import Command
from jobwire.wire.keys import Keyspace, job_key
from jobwire.wire.scripts import Script
from jobwire.wire.text import Text, brief, readable

__all__ = ["Rejected", "decode_rejected", "drop_dead", "encode_rejected", "requeue_dead", "requeue_rejected"]


class _Bytes(msgspec.Struct, frozen=True):
    base64: str = msgspec.field(name="$bytes")


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """One entry, whole, with the reason. ``at`` epoch seconds; ``queue`` the whole key it was popped from."""

    at: float
    worker: str
    queue: str
    entry: _Bytes
    reason: str

    @property
    def raw(self) -> bytes:
        """The entry's bytes, as they were popped."""
        return b64decode(self.entry.base64)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Rejected).decode


def encode_rejected(entry: bytes, *, queue: bytes, worker: Text, reason: str, at: float) -> bytes:
    """Return a record as JSON."""
    record = Rejected(
        at=at,
        worker=worker if isinstance(worker, str) else ascii(worker),
        queue=text if isinstance(text := readable(queue), str) else ascii(queue),
        entry=_Bytes(b64encode(entry).decode()),
        # A reason may quote a file name or an entry with lone surrogates.
        reason=reason.encode(errors="backslashreplace").decode(),
    )
    return _encode(record)


def decode_rejected(raw: bytes) -> Rejected:
    """Return a record of the list; raises ``DecodeError``."""
    try:
        record = _decode(raw)
        b64decode(record.entry.base64, validate=True)
    except (ValueError, RecursionError) as error:  # msgspec's errors and binascii's are ValueErrors
        raise DecodeError(f"not a record of a rejected entry: {brief(error)}", raw=raw) from None
    return record


_TO_QUEUE = """\
if redis.call('LLEN', KEYS[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[3])
if redis.call('LREM', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  redis.call('LREM', KEYS[2], 1, ARGV[3])
  return 0
end
"""
_REQUEUE_REJECTED = Script.of(_TO_QUEUE + "return 1\n")
"""KEYS rejected, queue; ARGV 1 to look from the newest record, -1 from the oldest, record, entry → 1 back in the queue,
0 was not there. The list is gone through once, and that is to be short.
"""

_REQUEUE_DEAD = Script.of(
    _TO_QUEUE
    + """\
redis.pcall('HDEL', KEYS[3], ARGV[2])
if KEYS[4] then redis.pcall('HDEL', KEYS[4], unpack(ARGV, 4)) end
return 1
"""
)
"""KEYS dead, queue, attempts, job hash (not on a cluster); ARGV 1 or -1 as there, job ID twice, fields.

The worker's mark on the job goes, lest recovery take the job for one that a dead worker left behind.
"""


_TAKE_WORD_BACK = Script.of("""\
local result = redis.pcall('HGET', KEYS[1], 'result')
if type(result) ~= 'string' or not string.find(result, '"rejected":true', 1, true) then return 0 end
return redis.call('HDEL', KEYS[1], 'result')
""")
"""KEYS job hash → 1 the result said that the job was rejected, and is gone, 0 it said something else."""


def requeue_rejected(
    keyspace: Keyspace, record: bytes, entry: bytes, queue: bytes, *, newest: bool = False
) -> tuple[Command, ...]:
    """Put an entry that was set aside back into ``queue`` (a whole key); the last reply is 1, or 0 where it is not
    there. The answer to its client does not keep it from being run.

    ``newest``: it stands in the newer half of the list, so that it is to be looked for from there.
    """
    untold = _TAKE_WORD_BACK.call_whole((job_key(entry),))
    return (untold, _REQUEUE_REJECTED.call_whole((keyspace.rejected, queue), _end(newest=newest), record, entry))


def requeue_dead(
    keyspace: Keyspace, job_id: bytes, queue: bytes, *, spread: bool = False, newest: bool = False
) -> Command:
    """Put a dead job into ``queue`` (a whole key), as if never taken; answers 1, or 0 where it is not there.

    On a cluster (``spread``) its hash keeps its last worker's fields; the next worker writes over them. ``newest`` as
    in ``requeue_rejected``.
    """
    keys = (keyspace.dead, queue, keyspace.attempts, *(() if spread else (job_key(job_id),)))
    return _REQUEUE_DEAD.call_whole(keys, _end(newest=newest), job_id, job_id, m.WORKER, m.STARTED, m.ERROR, m.ATTEMPTS)


def drop_dead(keyspace: Keyspace, job_id: bytes, *, newest: bool = False) -> tuple[Command, ...]:
    """Delete a dead job for good. The ID goes last, so that one broken off can be done again; its reply is the last.

    ``newest`` as in ``requeue_rejected``.
    """
    remove = c.list_remove if newest else c.list_remove_oldest
    return (
        c.delete(job_key(job_id)),
        c.hash_delete(keyspace.attempts, job_id),
        remove(keyspace.dead, job_id),
    )


def _end(*, newest: bool) -> bytes:
    return b"1" if newest else b"-1"
