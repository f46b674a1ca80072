"""The modes on Redis Cluster: all lists of a prefix live in one slot, and each job's hash in a slot of its own.

No script or transaction can touch a list and a hash there. One step of the other modes is several here, in an order in
which each of them may be the last without a job being lost; the price is that a job may run twice where it would not
otherwise (docs/CLUSTER.md). The bytes in Redis are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobwire.wire import commands as c
from jobwire.wire.codec import extensions as m
from jobwire.wire.codec.jobs import Job
from jobwire.wire.codec.results import Result
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import channel_to, job_key
from jobwire.wire.modes.base import (
    CALLED_OFF,
    WITHDRAWN_WITHIN,
    HashMode,
    Taken,
    Told,
    error_text,
    outcome_fields,
)
from jobwire.wire.modes.recoverable import MarkedInList, Recoverable
from jobwire.wire.modes.reliable import OwnList, Reliable
from jobwire.wire.scripts import CALL_OFF, LOSE, NOTE, REJECT, TAKE_MANY, WITHDRAW, Script
from jobwire.wire.text import epoch

__all__ = ["SpreadRecoverable", "SpreadReliable"]

_WRITE_RESULT = Script.of("""\
local job = KEYS[1]
if redis.call('HEXISTS', job, ARGV[3]) == 0 or redis.call('HEXISTS', job, ARGV[4]) == 1 then return 0 end
redis.call('HSET', job, unpack(ARGV, 5))
return 1 + redis.call('PUBLISH', ARGV[2], ARGV[1])
""")
"""KEYS job hash; ARGV job ID, channel, ``_reply_to``, ``result``, field, value … → 0 there is a result already, or
the job was collected or taken back; else written and published: 1 and how many heard it, of those at this node. So the
first of two runs counts, and none makes a ghost.
"""


_LOSE_TO_LIST = Script.of("""\
local losses = redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
if losses >= tonumber(ARGV[2]) then
  redis.call('LPUSH', KEYS[3], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
else
  redis.call('RPUSH', KEYS[1], ARGV[1])
end
return losses
""")
"""KEYS pending queue, losses, dead list; ARGV job ID, losses allowed → how often it was lost."""


class _SpreadHashes(HashMode):
    spread = True

    def withdraw(self, job_id: bytes, queue: bytes) -> tuple[Command, ...]:
        """Take the ID out of the queue alone; the caller that gets a 1 deletes the hash."""
        return (
            WITHDRAW.call_whole((queue,), job_id, WITHDRAWN_WITHIN),
            CALL_OFF.call_whole((job_key(job_id),), *CALLED_OFF),
        )

    def cleanup(self, job_ids: Sequence[bytes]) -> tuple[Command, ...]:
        return tuple(map(self.discard, job_ids))

    def _note(self, taken: Taken, reason: str) -> Command:
        return NOTE.call_whole((job_key(taken.entry),), m.ERROR, error_text(reason))


class ClusterOwnList(OwnList):
    """The result first, then the entry: the hash says whether a job is done, the list who has it."""

    joins = False  # their hashes are in slots of their own

    def prepare(self) -> tuple[Command, ...]:
        return (_WRITE_RESULT.load(), TAKE_MANY.load())

    def complete(self, job: Job, taken: Taken, result: Result, *, started: float, at: float) -> tuple[Command, ...]:
        fields = outcome_fields(job, result, at, self._limits)
        if job.dialect.timing_fields:
            fields[m.STARTED] = epoch(started)
        pairs = [item for pair in fields.items() for item in pair]
        args = (taken.entry, channel_to(job.reply_to), m.REPLY_TO, m.RESULT)
        removed = c.list_remove(self._key, taken.entry)
        return (_WRITE_RESULT.call((job_key(taken.entry),), *args, *pairs), removed)

    def notice(self, commands: Sequence[Command]) -> Command:
        job_id, client = commands[0][4:6]
        return c.publish(client, job_id)

    def completed(self, replies: Sequence[Reply]) -> bool:
        """Return False where somebody else was first, and the entry was not ours any more either."""
        error = c.first_error(replies)
        if error is not None:
            raise error
        return any(replies)


class SpreadReliable(_SpreadHashes, Reliable):
    """The list says who has a job, the hash whether it is done."""

    own_list_type = ClusterOwnList

    def note_failure(self, taken: Taken, attempts: int, reason: str) -> tuple[Command, ...]:
        return (NOTE.call_whole((job_key(taken.entry),), *self._failure_fields(attempts, reason)),)

    def requeue(self, taken: Taken, attempts: int, reason: str) -> tuple[Command, ...]:
        return (*self.note_failure(taken, attempts, reason), *self.give_back(taken))

    def lose(self, taken: Taken, max_losses: int, reason: str) -> tuple[Command, ...]:
        keys = (self.processing, taken.queue, self.keyspace.attempts, self.keyspace.dead)
        lost = LOSE.call_whole(keys, taken.entry, b"%d" % max_losses, m.ERROR, error_text(reason))
        return (self._note(taken, reason), lost)

    def reject(self, taken: Taken, record: bytes, told: Told | None = None) -> tuple[Command, ...]:
        return (*self._tell(taken, told), *super().reject(taken, record))

    def bury(self, taken: Taken, reason: str) -> tuple[Command, ...]:
        moved = REJECT.call_whole((self.processing, self.keyspace.dead), taken.entry, taken.entry)
        return (self._note(taken, reason), moved)


class SpreadRecoverableInList(MarkedInList, SpreadReliable):
    """A worker of one queue."""


class SpreadRecoverable(_SpreadHashes, Recoverable):
    """A mark is taken off last, or left to the next worker to write over: an unmarked job in no list would be lost."""

    in_list_type = SpreadRecoverableInList

    def give_back(self, taken: Taken) -> tuple[Command, ...]:
        return (c.list_push_next(taken.queue, taken.entry),)

    def requeue(self, taken: Taken, attempts: int, reason: str) -> tuple[Command, ...]:
        return (*self.note_failure(taken, attempts, reason), *self.give_back(taken))

    def lose(self, taken: Taken, max_losses: int, reason: str) -> tuple[Command, ...]:
        keys = (taken.queue, self.keyspace.attempts, self.keyspace.dead)
        return (self._note(taken, reason), _LOSE_TO_LIST.call_whole(keys, taken.entry, b"%d" % max_losses))

    def bury(self, taken: Taken, reason: str) -> tuple[Command, ...]:
        unmark = c.hash_delete(job_key(taken.entry), m.WORKER)
        return (self._note(taken, reason), c.list_push(self.keyspace.dead, taken.entry), unmark)
