"""The contract of a mode: the commands that carry a job, and the meaning of their replies. Plain data in and out.

Client, worker, recorder and conformance suite ask the same object, and never which mode it is: a mode answers their
questions (``identity``, ``ownership``, ``redeliverable``, ``commands_for`` …). The modes stand in modules of their own
beside this one; ``jobwire.wire.modes.reliable`` is their registry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, ClassVar, Literal, TypeAlias, TypedDict, Unpack

import msgspec

from jobwire import fast
from jobwire.errors import ConfigError, DecodeError, MismatchError, ServerError, printable
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.sereal.values import StringPolicy
from jobwire.wire import commands as c
from jobwire.wire.cluster_slots import hash_tag
from jobwire.wire.codec import extensions as m
from jobwire.wire.codec.dialects import DEFAULT_DIALECT, Dialect
from jobwire.wire.codec.fields import Nested, plans, text_field
from jobwire.wire.codec.jobs import JOB_FIELDS, Job, decode_job, encode_job
from jobwire.wire.codec.results import Failure, Result, decode_result, encode_failure, encode_outcome
from jobwire.wire.codec.typed import Characters, characters_of
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import JOB_PREFIX, PROCESSING, Keyspace, channel, channel_to, job_key
from jobwire.wire.lifecycle import ModeName, Outcome
from jobwire.wire.scripts import DELETE_GHOST, TELL_REJECTED, WITHDRAW
from jobwire.wire.states import LOOKED_AT, JobState, ask_for_state, ask_for_states, read_state, read_states
from jobwire.wire.text import Text, epoch, wire_bytes
from jobwire.wire.workers import Home

__all__ = [
    "CALLED_OFF",
    "WITHDRAWN_WITHIN",
    "Ending",
    "HashMode",
    "Mode",
    "Notice",
    "Ownership",
    "Submission",
    "Taken",
    "Told",
    "check_prefix",
    "entry_of",
    "error_text",
    "outcome_fields",
    "pop_now",
    "pop_waiting",
    "popped",
    "refuse_queues",
    "seconds",
]


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A job to submit: its ID, parameters, the client's ID, epoch seconds, extension fields (``_accept`` …)."""

    id: bytes
    data: object
    reply_to: bytes
    queued: float
    meta: dict[Text, Text] = {}


class Taken(msgspec.Struct, frozen=True):
    """A popped entry, with the pending queue's whole key."""

    queue: bytes
    entry: bytes


class Told(msgspec.Struct, frozen=True):
    """Whoever hears that an entry was rejected: job ID, client ID, and the failure."""

    job_id: Text
    reply_to: Text
    failure: Failure


class Ending(msgspec.Struct, frozen=True):
    """The way in which a worker releases a job.

    ``result``      the value or failure to write and publish, where there is one
    ``reason``      why it is buried, tried again or given back
    ``record``      JSON for the list of rejected entries
    ``started``, ``at``  epoch seconds: the handler began, it ended
    ``attempts``    how often the handler has failed so far; 0 where it did not fail
    ``told``        the submitter of a rejected entry, where it reads failures
    ``max_losses``  count a lost worker, and bury the job that has lost so many; 0 to count none
    ``traceback``   written behind the reason of a job that is buried
    """

    outcome: Outcome
    result: Result | None = None
    reason: str = ""
    record: bytes = b""
    started: float = 0.0
    at: float = 0.0
    attempts: int = 0
    max_losses: int = 0
    told: Told | None = None
    traceback: str = ""


Ownership: TypeAlias = Literal["none", "shared", "list", "mark"]
"""The sign that a popped entry belongs to its worker: none, a list that all workers share (nobody can tell whose it
is), a list of the worker's own, a mark in the job's hash."""


class Notice(msgspec.Struct, frozen=True):
    """A message on a client's channel: this job is done; ``result`` only where the message carries it."""

    job_id: bytes
    result: Result | None


WITHDRAWN_WITHIN = b"1000"
"""Entries at either end of a queue among which a job is looked for that is taken back."""
CALLED_OFF = (m.EXPIRES, epoch(1.0))
"""The field that keeps a job from being begun: it has expired long ago."""
_PUSHED = itemgetter(2)
"""The entry that a push for one job carries."""
_WHOLE = frozenset({int})
_MOVES = frozenset({"bury", "reject", "return"})
"""Events whose scripts answer 0 where the entry is not there any more."""


def seconds(value: float) -> bytes:
    """Return a waiting time as Redis takes it: seconds, whole where whole; 0 means without end."""
    return b"%.15g" % value


class ModeOptions(TypedDict, total=False):
    """Options of every mode, as ``Mode`` documents them."""

    dialect: Dialect | None
    use_multi: bool
    strings: StringPolicy
    limits: Limits
    nested: Nested


class Mode(ABC):
    """One mode with its names: asked by client, worker, recorder and suite alike.

    ``many_queues``    a worker may take from several queues, in order of priority
    ``keeps_jobs``     a job has a hash from submission until its result is collected
    ``moves_jobs``     popping moves the ID to a processing list, so that a pop in flight cannot lose it
    ``redeliverable``  a command whose reply was lost may be said again: at least once; False where it is at most once
    ``ownership``      the sign that a popped entry belongs to its worker
    ``spread``         lists and hashes live on several servers
    ``joins_completions``  ``complete_many`` can say several completions at once
    ``completion_says_start``  ``complete`` writes the fields of ``start``, too: a job done at once needs no ``start``
    """

    name: ClassVar[ModeName]
    many_queues: ClassVar[bool]
    keeps_jobs: ClassVar[bool]
    moves_jobs: ClassVar[bool]
    redeliverable: ClassVar[bool]
    spread: ClassVar[bool] = False
    joins_completions = False

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
        self.written = limits.of_the_other_side
        self.nested: Nested = nested

    @classmethod
    def for_worker(
        cls,
        keyspace: Keyspace,
        *,
        owner: Text | None,
        processing_queue: Text | None,
        queues: int = 1,
        **options: Unpack[ModeOptions],
    ) -> Mode:
        """Return the mode of the worker ``owner``, which takes from so many ``queues``; ``processing_queue=None`` gives
        it a list of its own where this mode has such lists.
        """
        del queues
        own = keyspace.own_list(owner) if owner is not None and processing_queue is None and cls.moves_jobs else None
        processing = own or keyspace.queue(processing_queue or PROCESSING)
        return cls(keyspace, owner=owner, own_list=own is not None, processing=processing, **options)

    @property
    @abstractmethod
    def ownership(self) -> Ownership:
        """The sign that a popped entry belongs to its worker."""

    # -- both

    def _together(self, commands: tuple[Command, ...]) -> tuple[Command, ...]:
        return c.transaction(commands) if self.use_multi else commands

    def _apart(self, replies: Sequence[Reply]) -> Sequence[Reply]:
        """Return the commands' own replies; raises the first ``ServerError`` among them."""
        # No transaction ends with a number: these are its commands alone (``jobwire.wire.scripts.insist``).
        if self.use_multi and not isinstance(replies[-1], int):
            replies = c.transaction_replies(replies)
        error = c.first_error(replies)
        if error is not None:
            raise error
        return replies

    # -- client

    def subscribe(self, client_id: bytes) -> Command:
        """Listen for notices; to be answered before the first job is pushed."""
        return c.subscribe(channel(client_id))

    @abstractmethod
    def submit(self, submission: Submission, queue: bytes) -> tuple[Command, ...]:
        """Write the job and push it, last, on ``queue`` (a whole key). Raises ``EncodeError``."""

    def join(self, submissions: Sequence[tuple[Command, ...]]) -> tuple[Command, ...] | None:
        """Return the commands of several ``submit``s to one queue with one push for all of them, in their order; None
        where each goes by itself.
        """
        if self.use_multi or self.spread:
            return None
        *before, pushes = zip(*submissions, strict=True)
        return (*chain.from_iterable(zip(*before, strict=True)), (*pushes[0][:2], *map(_PUSHED, pushes)))

    def apart(self, replies: Sequence[Reply], count: int) -> list[list[Reply]]:
        """Return the replies to the commands of ``join`` as each of ``count`` submissions alone would have had them."""
        each = (len(replies) - 1) // count
        *written, pushed = replies
        after = [pushed - (count - 1 - at) if isinstance(pushed, int) else pushed for at in range(count)]
        return [[*written[at * each : at * each + each], after[at]] for at in range(count)]

    def submitted(self, replies: Sequence[Reply]) -> int:
        """Return the length of the queue after the push. Raises ``ServerError``."""
        length = self._apart(replies)[-1]
        return length if type(length) is int else 0

    @abstractmethod
    def notice(self, payload: bytes) -> Notice:
        """Decode a message. Raises ``ResultDecodeError`` or ``MismatchError``."""

    def characters_in(self, value: object) -> Characters:
        """Return the decoding of the strings in a result: JSON writes bytes as the characters of Latin-1 (JSN-9)."""
        return "latin-1" if isinstance(value, dict | list) else characters_of(self.strings)

    @abstractmethod
    def collect(self, job_id: bytes) -> Command | None:
        """Fetch the result of a job that a notice named; None where notices carry results."""

    @abstractmethod
    def collected(self, job_id: bytes, reply: Reply) -> Result | None:
        """Return the result; None where there is none (yet, or any more).

        Raises ``ServerError``, ``ResultDecodeError``, ``MismatchError``.
        """

    def values(self, replies: Sequence[Reply]) -> Sequence[object]:
        """Return, for replies to several ``collect``s, the values that are plain scalars, as most are; NotImplemented
        for each of which only ``collected`` can tell.
        """
        return [NotImplemented] * len(replies)

    @abstractmethod
    def check(self, job_id: bytes) -> tuple[Command, ...]:
        """Fetch as ``collect`` does, and ask whether the job is there; nothing where the mode keeps no jobs."""

    @abstractmethod
    def checked(self, job_id: bytes, replies: Sequence[Reply]) -> tuple[Result | None, bool]:
        """Return the result or None, and whether the job is there. Raises as ``collected`` does."""

    @abstractmethod
    def inspect(self, job_id: bytes, queue: bytes) -> tuple[Command, ...]:
        """Ask where the job is; ``inspected`` reads the replies."""

    @abstractmethod
    def inspected(self, replies: Sequence[Reply]) -> JobState:
        """Return the job's place. Raises the first ``ServerError`` among the replies."""

    @abstractmethod
    def look(self, job_ids: Sequence[bytes], queue: bytes, *, newest: int = LOOKED_AT) -> tuple[Command, ...]:
        """Ask where many jobs of one queue are, at a cost that does not grow with the queue: among the ``newest``
        entries, and those that are taken next. ``looked`` reads the replies.
        """

    @abstractmethod
    def looked(self, job_ids: Sequence[bytes], replies: Sequence[Reply]) -> Sequence[JobState | ServerError]:
        """Return the jobs' places, as far as they show without going through whole lists, in the order of ``job_ids``.

        Raises the first ``ServerError`` that is not about one job.
        """

    @abstractmethod
    def withdraw(self, job_id: bytes, queue: bytes) -> tuple[Command, ...]:
        """Take a job back that no worker has taken: the first reply is 1 where it is out of its queue; 0 where it is
        too late, or the ID stands further inside, so that the job is only not to be begun any more. Nothing where
        nobody can.
        """

    @abstractmethod
    def cleanup(self, job_ids: Sequence[bytes]) -> tuple[Command, ...]:
        """Delete everything of jobs whose results were collected, or that are not wanted any more."""

    # -- worker

    @abstractmethod
    def home(self, queues: Sequence[bytes]) -> Home | None:
        """Return the place of a dead worker's entries in this mode; None where they have no owner."""

    @abstractmethod
    def identity(self, taken: Taken) -> bytes | None:
        """Return the job ID of an entry; None where only the job itself says it."""

    def reads_failures(self, job: Job) -> bool:
        """Return whether the submitter reads the result of a job that failed."""
        return "E" in job.accept

    @abstractmethod
    def address(self, taken: Taken, reply: Reply) -> tuple[Text, Text] | None:
        """Job ID and client ID of an entry that cannot be read, as far as its submitter reads failures and they can be
        had; ``reply`` is that to ``load``.
        """

    @abstractmethod
    def take(self, queues: Sequence[bytes], wait: float) -> Command:
        """Pop one entry, waiting ``wait`` seconds at the most (0: without end)."""

    @abstractmethod
    def take_now(self, queue: bytes) -> Command:
        """Pop one entry from one queue if there is one."""

    @abstractmethod
    def taken(self, reply: Reply, queues: Sequence[bytes]) -> Taken | None:
        """Read the reply to ``take`` or ``take_now`` on ``queues``; None for no entry. Raises ``ServerError``."""

    def take_many(self, queue: bytes, count: int) -> Command | None:
        """Pop up to ``count`` entries from one queue, without waiting; None where entries come one by one."""
        del queue, count
        return None

    def taken_many(self, reply: Reply, queue: bytes) -> list[Taken]:
        """Read the reply to ``take_many``, the oldest entry first. Raises ``ServerError``, ``DecodeError``."""
        if isinstance(reply, ServerError):
            raise reply
        if not isinstance(reply, list):
            return []
        return [Taken(queue, entry if type(entry) is bytes else entry_of(entry, queue)) for entry in reply]

    @abstractmethod
    def load(self, taken: Taken) -> Command | None:
        """Fetch the job of an entry; None where the entry is the job."""

    def jobs(self, entries: Sequence[bytes], replies: Sequence[Reply]) -> Sequence[object]:
        """Return, for replies to ``load`` of these entries, the ``Job``s whose parameters are texts, as most are;
        NotImplemented for each of which only ``read`` can tell.
        """
        del replies
        return [NotImplemented] * len(entries)

    @abstractmethod
    def read(self, taken: Taken, reply: Reply) -> Job | None:
        """Return the job; None where its hash is gone. Raises ``DecodeError`` for one that cannot be read."""

    @abstractmethod
    def start(self, job: Job, taken: Taken, *, at: float) -> tuple[Command, ...]:
        """Say that the handler begins, ``at`` epoch seconds."""

    @abstractmethod
    def complete(self, job: Job, taken: Taken, result: Result, *, started: float, at: float) -> tuple[Command, ...]:
        """Write and publish a result. Raises ``EncodeError``."""

    def complete_many(self, completions: Sequence[tuple[Command, ...]]) -> list[tuple[Command, int]]:
        """Return what several ``complete``s say in few commands, each with how many of them it carries, in their
        order; the reply to one that carries several is a list, of what each alone would have been answered. Only where
        the mode ``joins_completions``.
        """
        return [(command, 1) for (command,) in completions]

    def all_heard(self, codes: Sequence[Reply]) -> bool:
        """Return whether every one of several completions was written, and its notice heard: nothing is left to do."""
        return _WHOLE.issuperset(map(type, codes)) and 0 not in codes and 1 not in codes

    def completed(self, replies: Sequence[Reply]) -> bool:
        """Return True where the result was written, False where the job had been given away. Raises ``ServerError``."""
        self._apart(replies)
        return True

    def prepare(self) -> tuple[Command, ...]:
        """Return the commands that a worker sends once on each new connection."""
        return ()

    @abstractmethod
    def note_failure(self, taken: Taken, attempts: int, reason: str) -> tuple[Command, ...]:
        """Write into the job's hash that its handler has failed ``attempts`` times, and why, while it waits here."""

    @abstractmethod
    def commands_for(self, taken: Taken, job: Job | None, ending: Ending) -> tuple[Command, ...]:
        """Let go of an entry as ``ending`` says. Raises ``EncodeError`` for a result that the wire cannot say."""

    def reported(self, ending: Ending, replies: Sequence[Reply]) -> bool:
        """Return True where it was done, False where the job had been given away. Raises the first ``ServerError``."""
        if ending.result is not None:
            return self.completed(replies)
        error = c.first_error(replies)
        if error is not None:
            raise error
        moved = ending.outcome.events[-1] in _MOVES
        return not (moved and replies and replies[-1] == 0)

    def unheard(
        self, job: Job | None, ending: Ending, commands: Sequence[Command], replies: Sequence[Reply]
    ) -> Command | None:
        """Return the notice among ``commands``, done as ``ending`` says, where nobody heard it and the submitter does
        not look for results by itself (NOT-12); None else.
        """
        del job, ending
        if not replies:
            return None
        own = (command for command in commands if command not in (c.MULTI, c.EXEC))
        return next(
            (said for said, reply in zip(own, self._apart(replies), strict=False) if c.is_unheard(said, reply)), None
        )

    def leftovers(self) -> Command | None:
        """Return the entries of the worker's own list, newest first; None without such a list."""
        return None

    @abstractmethod
    def give_back(self, taken: Taken) -> tuple[Command, ...]:
        """Return an entry to its queue, to be taken next."""

    @abstractmethod
    def forget(self, taken: Taken) -> tuple[Command, ...]:
        """Drop an entry that needs nothing any more."""

    def forget_duplicate(self, taken: Taken) -> tuple[Command, ...]:
        """Drop the second entry of a job that runs here at this moment."""
        return self.forget(taken)

    @abstractmethod
    def reject(self, taken: Taken, record: bytes, told: Told | None = None) -> tuple[Command, ...]:
        """Set an entry aside that cannot be read: ``record`` (JSON) goes to the list of rejected ones, and ``told``
        hears of it.
        """


def pop_waiting(queues: Sequence[bytes], wait: float) -> Command:
    """BRPOP: from the first queue that has an entry, so the order of ``queues`` is their priority."""
    return (b"BRPOP", *queues, seconds(wait))


def pop_now(queue: bytes) -> Command:
    """RPOP: an entry if there is one."""
    return (b"RPOP", queue)


def popped(reply: Reply, queues: Sequence[bytes]) -> Taken | None:
    """Read the reply to BRPOP (queue and entry) or RPOP (the entry alone)."""
    if isinstance(reply, ServerError):
        raise reply
    if reply is None:
        return None
    if isinstance(reply, list):
        queue, entry = reply if len(reply) == 2 else (None, None)
        return Taken(entry_of(queue, queues[0]), entry_of(entry, queues[0]))
    return Taken(queues[0], entry_of(reply, queues[0]))


def entry_of(reply: Reply, queue: bytes) -> bytes:
    """Return a popped entry; raises ``DecodeError`` for a reply that is none."""
    if not isinstance(reply, bytes):
        raise DecodeError("a pop answered something that is no entry; is this a Redis server?", key=queue)
    return reply


def refuse_queues(name: str) -> ConfigError:
    """Return the error for several queues in a mode with one; the text is Perl's (Worker/Redis.pm, ``configure``)."""
    return ConfigError(f"Only a single queue is supported in {name} mode")


class HashMode(Mode):
    """The common part of modes that keep a hash for each job: IDs in the queues, completion published."""

    keeps_jobs = True
    redeliverable = True

    def __init__(self, keyspace: Keyspace, **options: Any) -> None:
        super().__init__(keyspace, **options)
        dialect = self.dialect or DEFAULT_DIALECT
        self._plans = plans(dialect.typed_fields, "auto")
        # What compiled code can write and read in this dialect.
        self._writes_fields = dialect.typed_fields and dialect.timing_fields
        self._reads_scalars = dialect.tagged_results and self.strings == "auto"

    # -- client

    def submit(self, submission: Submission, queue: bytes) -> tuple[Command, ...]:
        key = JOB_PREFIX + submission.id
        written: Command | None = None
        if self._writes_fields:
            head = (b"HMSET", key, m.REPLY_TO, submission.reply_to)
            written = fast.hash_fields(
                head, submission.queued, submission.meta, submission.data, m.kept_meta, text_field, m.RESERVED
            )
        if written is None:
            written = self._hash_of(submission, key)
        commands = (written, (b"LPUSH", queue, submission.id))
        return self._together(commands) if self.use_multi else commands

    def _hash_of(self, submission: Submission, key: bytes) -> Command:
        fields = encode_job(
            submission.data,
            reply_to=submission.reply_to,
            queued=submission.queued,
            dialect=self.dialect or DEFAULT_DIALECT,
            meta=submission.meta,
            nested=self.nested,
            limits=self.written,
        )
        return c.hash_set(key, fields)

    def notice(self, payload: bytes) -> Notice:
        return Notice(payload, None)

    def collect(self, job_id: bytes) -> Command:
        """Fetch the result of a job."""
        return (b"HMGET", JOB_PREFIX + job_id, m.RESULT)

    def collected(self, job_id: bytes, reply: Reply) -> Result | None:
        if isinstance(reply, ServerError):
            raise reply
        raw = reply[0] if isinstance(reply, list) and reply else None
        if not isinstance(raw, bytes):
            return None
        return decode_result(
            raw,
            dialect=self.dialect or DEFAULT_DIALECT,
            strings=self.strings,
            limits=self.limits,
            key=job_key(job_id),
        )

    def values(self, replies: Sequence[Reply]) -> Sequence[object]:
        compiled: list[object] | None = None
        if self._reads_scalars:
            compiled = fast.scalar_results(replies, self.limits.max_bytes)
        return super().values(replies) if compiled is None else compiled

    def check(self, job_id: bytes) -> tuple[Command, ...]:
        return (self.collect(job_id), c.exists(job_key(job_id)))

    def checked(self, job_id: bytes, replies: Sequence[Reply]) -> tuple[Result | None, bool]:
        error = c.first_error(replies)
        if error is not None:
            raise error
        return self.collected(job_id, replies[0]), replies[1] != 0

    def withdraw(self, job_id: bytes, queue: bytes) -> tuple[Command, ...]:
        return (WITHDRAW.call_whole((queue, job_key(job_id)), job_id, WITHDRAWN_WITHIN, *CALLED_OFF),)

    def inspect(self, job_id: bytes, queue: bytes) -> tuple[Command, ...]:
        return ask_for_state(job_id, queue, self.processing, self.keyspace.dead)

    def inspected(self, replies: Sequence[Reply]) -> JobState:
        return read_state(replies)

    def look(self, job_ids: Sequence[bytes], queue: bytes, *, newest: int = LOOKED_AT) -> tuple[Command, ...]:
        return ask_for_states(job_ids, queue, self.processing, self.keyspace.dead, newest=newest)

    def looked(self, job_ids: Sequence[bytes], replies: Sequence[Reply]) -> list[JobState | ServerError]:
        del job_ids
        return read_states(replies)

    def discard(self, *job_ids: bytes) -> Command:
        """Delete the hashes of jobs whose results were collected, or that are not wanted any more."""
        return (b"DEL", *[JOB_PREFIX + job_id for job_id in job_ids])

    def discard_all(self, job_ids: Sequence[bytes]) -> tuple[Command, ...]:
        """Discard these hashes in as few commands as they need."""
        return self.cleanup(job_ids)

    def cleanup(self, job_ids: Sequence[bytes]) -> tuple[Command, ...]:
        return (self.discard(*job_ids),)

    # -- worker

    def identity(self, taken: Taken) -> bytes:
        return taken.entry

    def load(self, taken: Taken) -> Command:
        return (b"HGETALL", JOB_PREFIX + taken.entry)

    def jobs(self, entries: Sequence[bytes], replies: Sequence[Reply]) -> Sequence[object]:
        compiled: list[object] | None = None
        if self.strings == "auto":
            dialect, limits = self.dialect or DEFAULT_DIALECT, self.limits
            compiled = fast.jobs(
                Job,
                JOB_FIELDS,
                entries,
                dialect,
                replies,
                self._plans,
                limits.max_fields,
                limits.max_bytes,
                self.dialect is None,
            )
        return super().jobs(entries, replies) if compiled is None else compiled

    def read(self, taken: Taken, reply: Reply) -> Job | None:
        fields = c.hash_pairs(reply, key=job_key(taken.entry))
        if m.REPLY_TO not in fields and fields.keys() <= m.MARKS:
            self._check_entry(taken)
            return None
        return decode_job(taken.entry, fields, dialect=self.dialect, strings=self.strings, limits=self.limits)

    def _check_entry(self, taken: Taken) -> None:
        """Raise ``MismatchError`` where the hash is missing because the entry is a whole job."""
        if taken.entry[:1] == b"{" and b'"data"' in taken.entry:
            raise MismatchError(
                f"an envelope where a job ID should be: {printable(taken.entry)}; a client of mode 'simple' pushed it "
                f"to a worker of mode {self.name!r}: give both the same mode, or queues of their own",
                key=taken.queue,
                raw=taken.entry,
            )

    def address(self, taken: Taken, reply: Reply) -> tuple[Text, Text] | None:
        if isinstance(reply, ServerError) or (self.dialect is not None and not self.dialect.tagged_results):
            return None
        try:
            fields = c.hash_pairs(reply, key=job_key(taken.entry))
        except DecodeError:
            return None
        reply_to, accept = fields.get(m.REPLY_TO), fields.get(m.ACCEPT)
        return (taken.entry, reply_to) if reply_to and "E" in m.parse_accept(accept) else None

    def reject(self, taken: Taken, record: bytes, told: Told | None = None) -> tuple[Command, ...]:
        return (c.list_push(self.keyspace.rejected, record), *self._tell(taken, told))

    def _tell(self, taken: Taken, told: Told | None) -> tuple[Command, ...]:
        if told is None:
            return ()
        words = (taken.entry, channel_to(told.reply_to), encode_failure(told.failure))
        return (TELL_REJECTED.call_whole((job_key(taken.entry),), *words),)

    def vanished(self, taken: Taken) -> tuple[Command, ...]:
        """Drop the entry of a job whose hash is gone, with the ghost that a worker may have left in its place."""
        return (*self.forget(taken), DELETE_GHOST.call_whole((job_key(taken.entry),), *sorted(m.MARKS)))

    def complete(self, job: Job, taken: Taken, result: Result, *, started: float, at: float) -> tuple[Command, ...]:
        del started
        return self._together(
            (c.hash_set(job_key(taken.entry), outcome_fields(job, result, at, self.written)), *self.notify(job, taken))
        )

    def unheard(
        self, job: Job | None, ending: Ending, commands: Sequence[Command], replies: Sequence[Reply]
    ) -> Command | None:
        return None if self._looks_itself(job) else super().unheard(job, ending, commands, replies)

    def _looks_itself(self, job: Job | None) -> bool:
        # A client that sends ``_accept`` looks at its hashes (EXT-26); a job that cannot be read is told to no other.
        return job is None or "_accept" in job.meta

    def notify(self, job: Job, taken: Taken) -> tuple[Command, ...]:
        """Publish that the result is there, and drop the entry."""
        return (c.publish(channel_to(job.reply_to), taken.entry), *self.forget(taken))

    @abstractmethod
    def bury(self, taken: Taken, reason: str) -> tuple[Command, ...]:
        """Move a job that will not be run again to the dead ones; its hash keeps everything and says why."""

    def adopt(self, job_id: bytes, queue: bytes) -> tuple[Command, ...]:
        """Push a job that no queue holds any more on ``queue``, to be taken next."""
        return (c.list_push_next(queue, job_id),)

    @abstractmethod
    def requeue(self, taken: Taken, attempts: int, reason: str) -> tuple[Command, ...]:
        """Note the failure and give the entry back (``note_failure``, ``give_back``)."""

    @abstractmethod
    def lose(self, taken: Taken, max_losses: int, reason: str) -> tuple[Command, ...]:
        """Give an entry back as lost by its worker, or bury it for ``reason`` where it was lost so often."""

    def commands_for(self, taken: Taken, job: Job | None, ending: Ending) -> tuple[Command, ...]:
        if job is not None and ending.result is not None:
            return self.complete(job, taken, ending.result, started=ending.started, at=ending.at)
        event = ending.outcome.events[-1]
        if event == "notify" and job is not None:
            return self.notify(job, taken)
        if event == "forget":
            return self.vanished(taken)
        if event == "reject":
            return self.reject(taken, ending.record, ending.told)
        if event == "bury":
            return self.bury(taken, m.with_traceback(ending.reason, ending.traceback))
        return self._return(taken, ending)

    def _return(self, taken: Taken, ending: Ending) -> tuple[Command, ...]:
        if ending.max_losses:
            return self.lose(taken, ending.max_losses, ending.reason)
        return self.requeue(taken, ending.attempts, ending.reason) if ending.attempts else self.give_back(taken)

    def _failure_fields(self, attempts: int, reason: str) -> tuple[bytes, ...]:
        return (m.ATTEMPTS, b"%d" % attempts, m.ERROR, error_text(reason))


def outcome_fields(job: Job, result: Result, at: float, limits: Limits) -> dict[bytes, bytes]:
    """Return the fields of a completion. Raises ``EncodeError``."""
    fields = {m.PROCESSED: epoch(at)} if job.dialect.timing_fields else {}
    fields[m.RESULT] = encode_outcome(result, dialect=job.dialect, accept=job.accept, limits=limits)
    return fields


def error_text(reason: str) -> bytes:
    return reason.encode(errors="backslashreplace")


def check_prefix(keyspace: Keyspace) -> None:
    """Raise ``ConfigError`` for a prefix whose lists would be in many slots."""
    if not hash_tag(keyspace.queue(b"")):
        raise ConfigError(
            f'on a cluster all lists of a prefix must be in one slot: put it in braces, as in prefix="{{jobs}}", '
            f"instead of {keyspace.prefix!r}"
        )
