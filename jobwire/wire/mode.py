"""What a mode is: which commands carry a job, and what the replies mean. Plain data in, plain data out.

Client, worker, recorder and conformance suite ask the same object; ``jobwire.wire.modes`` and ``jobwire.wire.simple``
hold the three that there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from jobwire.errors import ConfigError, DecodeError, ServerError
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.sereal.values import StringPolicy
from jobwire.wire import commands as c
from jobwire.wire.commands import Command, Reply
from jobwire.wire.dialects import DEFAULT_DIALECT, Dialect
from jobwire.wire.fields import Nested
from jobwire.wire.jobs import Job
from jobwire.wire.keys import Keyspace, channel
from jobwire.wire.lifecycle import ModeName
from jobwire.wire.results import Result
from jobwire.wire.text import Text, wire_bytes

__all__ = [
    "Mode",
    "Notice",
    "Submission",
    "Taken",
    "entry_of",
    "pop_now",
    "pop_waiting",
    "popped",
    "refuse_queues",
    "seconds",
]


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants written: ID, parameters, who it is, epoch seconds, extension fields (``_accept`` …)."""

    id: bytes
    data: object
    reply_to: bytes
    queued: float
    meta: dict[Text, Text] = {}


class Taken(msgspec.Struct, frozen=True):
    """What a worker popped: the pending queue's whole key, and the entry."""

    queue: bytes
    entry: bytes


class Notice(msgspec.Struct, frozen=True):
    """What a message on a client's channel says: this job is done; ``result`` only where it came along."""

    job_id: bytes
    result: Result | None


def seconds(value: float) -> bytes:
    """A waiting time as Redis takes it: seconds, whole where whole; 0 means without end."""
    return b"%.15g" % value


class Mode(ABC):
    """One mode with its names: asked by client, worker, recorder and suite alike.

    ``many_queues``  a worker may take from several queues, in order of priority
    ``keeps_jobs``   a job has a hash from submission until its result is collected
    ``moves_jobs``   popping moves the ID to a processing list, so that a pop in flight cannot lose it
    ``completion_says_start``  ``complete`` writes what ``start`` does as well: a job done at once needs no ``start``
    """

    name: ClassVar[ModeName]
    many_queues: ClassVar[bool]
    keeps_jobs: ClassVar[bool]
    moves_jobs: ClassVar[bool]

    def __init__(
        self,
        keyspace: Keyspace,
        *,
        dialect: Dialect | None = DEFAULT_DIALECT,
        use_multi: bool = False,
        processing: bytes | None = None,
        own_list: bool = False,
        owner: Text | None = None,
        strings: StringPolicy = "auto",
        limits: Limits = DEFAULT_LIMITS,
        nested: Nested = "sereal",
    ) -> None:
        """``dialect=None`` (worker) answers each job in the dialect it shows. ``processing`` is the whole key of the
        processing list (Perl's shared one by default); ``own_list`` says that it belongs to one worker alone; ``owner``
        is that worker's ID.
        """
        self.keyspace = keyspace
        self.dialect = dialect
        self.use_multi = use_multi
        self.processing = keyspace.queue("processing") if processing is None else processing
        self.own_list = own_list
        self.completion_says_start = own_list and self.moves_jobs
        self.owner = None if owner is None else wire_bytes(owner)
        self.strings: StringPolicy = strings
        self.limits = limits
        self.nested: Nested = nested

    # -- both

    def _together(self, commands: tuple[Command, ...]) -> tuple[Command, ...]:
        return c.transaction(commands) if self.use_multi else commands

    def _apart(self, replies: Sequence[Reply]) -> Sequence[Reply]:
        """The commands' own replies; raises the first ``ServerError`` among them."""
        # No transaction ends with a number: these are its commands alone (``jobwire.wire.scripts.insist``).
        if self.use_multi and not isinstance(replies[-1], int):
            replies = c.transaction_replies(replies)
        for reply in replies:
            if isinstance(reply, ServerError):
                raise reply
        return replies

    # -- client

    def subscribe(self, client_id: bytes) -> Command:
        """Listen for notices; to be answered before the first job is pushed."""
        return c.subscribe(channel(client_id))

    @abstractmethod
    def submit(self, submission: Submission, queue: bytes) -> tuple[Command, ...]:
        """Write the job and push it on ``queue`` (a whole key). Raises ``EncodeError``."""

    def submitted(self, replies: Sequence[Reply]) -> int:
        """The length of the queue after the push. Raises ``ServerError``."""
        length = self._apart(replies)[-1]
        return length if type(length) is int else 0

    @abstractmethod
    def notice(self, payload: bytes) -> Notice:
        """What a message says. Raises ``ResultDecodeError`` or ``MismatchError``."""

    # -- worker

    @abstractmethod
    def take(self, queues: Sequence[bytes], wait: float) -> Command:
        """Pop one entry, waiting ``wait`` seconds at the most (0: without end)."""

    @abstractmethod
    def take_now(self, queue: bytes) -> Command:
        """Pop one entry from one queue if there is one."""

    @abstractmethod
    def taken(self, reply: Reply, queues: Sequence[bytes]) -> Taken | None:
        """What ``take`` or ``take_now`` on ``queues`` brought; None for nothing. Raises ``ServerError``."""

    @abstractmethod
    def load(self, taken: Taken) -> Command | None:
        """Fetch the job of an entry; None where the entry is the job."""

    @abstractmethod
    def read(self, taken: Taken, reply: Reply) -> Job | None:
        """The job; None where its hash is gone. Raises ``DecodeError`` for one that cannot be read."""

    @abstractmethod
    def start(self, job: Job, taken: Taken, *, at: float) -> tuple[Command, ...]:
        """Say that the handler begins, ``at`` epoch seconds."""

    @abstractmethod
    def complete(self, job: Job, taken: Taken, result: Result, *, started: float, at: float) -> tuple[Command, ...]:
        """Write and publish a result. Raises ``EncodeError``."""

    def completed(self, replies: Sequence[Reply]) -> bool:
        """True where the result was written, False where the job had been given away. Raises ``ServerError``."""
        self._apart(replies)
        return True

    def prepare(self) -> tuple[Command, ...]:
        """What a worker sends once on each new connection."""
        return ()

    @abstractmethod
    def give_back(self, taken: Taken) -> tuple[Command, ...]:
        """Return an entry to its queue, to be taken next."""

    @abstractmethod
    def forget(self, taken: Taken) -> tuple[Command, ...]:
        """Drop an entry that needs nothing any more."""

    def forget_duplicate(self, taken: Taken) -> tuple[Command, ...]:
        """Drop the second entry of a job that runs here at this moment."""
        return self.forget(taken)

    def reject(self, taken: Taken, record: bytes) -> tuple[Command, ...]:
        """Set an entry aside that cannot be read: ``record`` (JSON) goes to the list of rejected ones."""
        del taken
        return (c.list_push(self.keyspace.rejected, record),)


def pop_waiting(queues: Sequence[bytes], wait: float) -> Command:
    """BRPOP: from the first queue that has an entry, so the order of ``queues`` is their priority."""
    return (b"BRPOP", *queues, seconds(wait))


def pop_now(queue: bytes) -> Command:
    """RPOP: an entry if there is one."""
    return (b"RPOP", queue)


def popped(reply: Reply, queues: Sequence[bytes]) -> Taken | None:
    """What BRPOP (queue and entry) or RPOP (the entry alone) brought."""
    if isinstance(reply, ServerError):
        raise reply
    if reply is None:
        return None
    if isinstance(reply, list):
        queue, entry = reply if len(reply) == 2 else (None, None)
        return Taken(entry_of(queue, queues[0]), entry_of(entry, queues[0]))
    return Taken(queues[0], entry_of(reply, queues[0]))


def entry_of(reply: Reply, queue: bytes) -> bytes:
    """A popped entry; raises ``DecodeError`` for a reply that is none."""
    if not isinstance(reply, bytes):
        raise DecodeError("a pop answered something that is no entry; is this a Redis server?", key=queue)
    return reply


def refuse_queues(name: str) -> ConfigError:
    """The error for several queues in a mode that has one; the sentence is Perl's (Worker/Redis.pm, ``configure``)."""
    return ConfigError(f"Only a single queue is supported in {name} mode")
