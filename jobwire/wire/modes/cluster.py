"""The modes on Redis Cluster: all lists of a prefix live in one slot, and each job's hash in a slot of its own.

No script or transaction can touch a list and a hash there. What is one step elsewhere is several here, in an order in
which each of them may be the last without a job being lost; what that costs is that a job may run twice where it would
not otherwise (docs/CLUSTER.md). The bytes in Redis are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from jobwire.errors import ConfigError
from jobwire.wire import commands as c
from jobwire.wire.cluster_slots import hash_tag
from jobwire.wire.codec import extensions as m
from jobwire.wire.codec.jobs import Job
from jobwire.wire.codec.results import Result
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import Keyspace, channel, job_key
from jobwire.wire.modes.base import Mode, Taken
from jobwire.wire.modes.reliable import HashMode, Recoverable, Reliable, error_text
from jobwire.wire.modes.simple import Simple
from jobwire.wire.scripts import NOTE, REJECT, Script
from jobwire.wire.text import epoch, wire_bytes

__all__ = ["SPREAD_MODES", "SpreadRecoverable", "SpreadReliable", "check_prefix"]

_WRITE_RESULT = Script.of("""\
local job = KEYS[1]
if redis.call('HEXISTS', job, ARGV[3]) == 0 or redis.call('HEXISTS', job, ARGV[4]) == 1 then return 0 end
redis.call('HSET', job, unpack(ARGV, 5))
redis.call('PUBLISH', ARGV[2], ARGV[1])
return 1
""")
"""KEYS job hash; ARGV job ID, channel, ``_reply_to``, ``result``, field, value … → 1 written and published, 0 there is
a result already, or the job was collected or taken back. So the first of two runs counts, and none makes a ghost.
"""


class _SpreadHashes(HashMode):
    spread = True

    def withdraw(self, job_id: bytes, queue: bytes) -> Command:
        """Takes the ID out of the queue alone; who gets a 1 deletes the hash."""
        return (b"LREM", queue, b"-1", job_id)

    def discard_all(self, job_ids: Sequence[bytes]) -> tuple[Command, ...]:
        return tuple(map(self.discard, job_ids))

    def _note(self, taken: Taken, reason: str) -> Command:
        return NOTE.call_whole((job_key(taken.entry),), m.ERROR, error_text(reason))


class SpreadReliable(_SpreadHashes, Reliable):
    """The list says who has a job, the hash whether it is done: the result first, then the entry."""

    def prepare(self) -> tuple[Command, ...]:
        return (_WRITE_RESULT.load(),) if self.own_list else ()

    def complete(self, job: Job, taken: Taken, result: Result, *, started: float, at: float) -> tuple[Command, ...]:
        if not self.own_list:
            return super().complete(job, taken, result, started=started, at=at)
        fields = self._outcome(job, result, at)
        if job.dialect.timing_fields:
            fields[m.STARTED] = epoch(started)
        pairs = [item for pair in fields.items() for item in pair]
        args = (taken.entry, channel(wire_bytes(job.reply_to)), m.REPLY_TO, m.RESULT)
        return (_WRITE_RESULT.call((job_key(taken.entry),), *args, *pairs), *self.forget(taken))

    def completed(self, replies: Sequence[Reply]) -> bool:
        """False where somebody else was first, and the entry was not ours any more either."""
        self._apart(replies)
        return not self.own_list or any(reply == 1 for reply in replies)

    def bury(self, taken: Taken, reason: str) -> tuple[Command, ...]:
        moved = REJECT.call_whole((self.processing, self.keyspace.dead), taken.entry, taken.entry)
        return (self._note(taken, reason), moved)


class SpreadRecoverable(_SpreadHashes, Recoverable):
    """A mark is taken off last, or left to the next worker to write over: an unmarked job in no list would be lost."""

    def give_back(self, taken: Taken) -> tuple[Command, ...]:
        return (c.list_push_next(taken.queue, taken.entry),)

    def bury(self, taken: Taken, reason: str) -> tuple[Command, ...]:
        unmark = c.hash_delete(job_key(taken.entry), m.WORKER)
        return (self._note(taken, reason), c.list_push(self.keyspace.dead, taken.entry), unmark)


SPREAD_MODES: Mapping[str, type[Mode]] = MappingProxyType(
    {mode.name: mode for mode in (Simple, SpreadRecoverable, SpreadReliable)}
)
"""The three modes by name, for a cluster."""


def check_prefix(keyspace: Keyspace) -> None:
    """Raises ``ConfigError`` for a prefix whose lists would be in many slots."""
    if not hash_tag(keyspace.queue(b"")):
        raise ConfigError(
            f'on a cluster all lists of a prefix must be in one slot: put it in braces, as in prefix="{{jobs}}", '
            f"instead of {keyspace.prefix!r}"
        )
