"""The jobs that are under way, as far as they were seen: a bounded table, for systems that run for days."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

__all__ = ["Due", "JobTable", "Queue", "SeenJob"]

_MAX_ID = 4096
Step = Literal["hash", "notice", "removal", "deletion"]


@dataclass(slots=True, eq=False)
class SeenJob:
    """The observations of one job. Connections are numbers."""

    id: bytes
    #: Its hash was seen, as it was written or as it was read.
    hash: bool = False
    reply_to: bytes | None = None
    accept: bytes = b""
    expires: bool = False
    #: The first dialect that its submission can be of, where the submission shows that (:func:`.facts.shown_dialect`).
    dialect: str | None = None
    submitted_on: int | None = None
    pushes: int = 0
    queue: bytes | None = None
    envelope: bool = False
    #: The processing queue that it was moved to; None in the modes without one.
    processing: bytes | None = None
    taken_on: int | None = None
    #: The worker found no hash at all; a result from before.
    vanished: bool = False
    done_before: bool = False
    started: bool = False
    result_on: int | None = None
    noticed: bool = False
    removed: bool = False
    read_on: set[int] = field(default_factory=set)
    unreadable: bool = False
    collected: bool = False


@dataclass(slots=True, eq=False)
class Queue:
    """The contents of a list: job IDs, envelopes, or entries not seen yet."""

    holds: Literal["", "ids", "envelopes"] = ""


class Due(NamedTuple):
    """Something that has to follow: until when, on which connection, since when."""

    deadline: float
    job: SeenJob
    step: Step
    connection: int
    since: float


class JobTable:
    """Jobs by ID. Finished ones are forgotten but for their IDs, and of those the oldest; so are the oldest unfinished
    ones where there are too many (``forgotten`` counts them: no judgement of the unknown).
    """

    def __init__(self, *, max_jobs: int = 100_000, max_finished: int = 20_000, patience: float = 5.0) -> None:
        self.forgotten = 0
        self.submitted = self.taken = self.completed = self.collected = 0
        self._jobs: OrderedDict[bytes, SeenJob] = OrderedDict()
        self._finished: OrderedDict[bytes, None] = OrderedDict()
        self._queues: OrderedDict[bytes, Queue] = OrderedDict()
        self._due: deque[Due] = deque()
        self._max_jobs = max_jobs
        self._max_finished = max_finished
        self._patience = patience

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def under_way(self) -> int:
        """How many jobs were submitted or taken and are not done."""
        return sum(job.result_on is None and (job.hash or job.taken_on is not None) for job in self._jobs.values())

    def get(self, job_id: bytes) -> SeenJob | None:
        """The job, where it is under way."""
        return self._jobs.get(job_id)

    def add(self, job_id: bytes) -> SeenJob:
        """The job, new where it was not known."""
        job = self._jobs.get(job_id)
        if job is None:
            job = SeenJob(job_id)
            if len(job_id) > _MAX_ID:
                self.forgotten += 1
                return job
            self._jobs[job_id] = job
            if len(self._jobs) > self._max_jobs:
                self._jobs.popitem(last=False)
                self.forgotten += 1
        return job

    def finish(self, job_id: bytes) -> None:
        """Nothing more is expected of it."""
        if self._jobs.pop(job_id, None) is not None:
            self._finished[job_id] = None
            if len(self._finished) > self._max_finished:
                self._finished.popitem(last=False)

    def was_finished(self, job_id: bytes) -> bool:
        """Whether it is one of the last that were finished, or may be one that was forgotten."""
        return job_id in self._finished or self.forgotten > 0

    def queue(self, key: bytes) -> Queue:
        """The known contents of a list."""
        found = self._queues.get(key)
        if found is None:
            found = Queue()
            if len(key) <= _MAX_ID:
                self._queues[key] = found
                if len(self._queues) > 10_000:
                    self._queues.popitem(last=False)
        return found

    def knows_queue(self, key: bytes) -> bool:
        """Whether jobs were seen in that list."""
        return key in self._queues

    # --- duties -------------------------------------------------------------------

    def expect(self, job: SeenJob, step: Step, connection: int, now: float) -> None:
        """``step`` has to follow within the time that there is patience for."""
        if len(self._due) >= 4 * self._max_jobs:
            self._due.popleft()
        self._due.append(Due(now + self._patience, job, step, connection, now))

    def overdue(self, now: float) -> Iterator[Due]:
        """Overdue duties."""
        while self._due and self._due[0].deadline <= now:
            due = self._due.popleft()
            if _outstanding(due):
                yield due

    def outstanding(self) -> Iterator[Due]:
        """All open duties, due or not. Empties the list."""
        while self._due:
            due = self._due.popleft()
            if _outstanding(due):
                yield due


def _outstanding(due: Due) -> bool:
    job = due.job
    match due.step:
        case "hash":
            return not job.hash
        case "notice":
            return not job.noticed
        case "removal":
            return not job.removed
        case "deletion":
            return not job.collected
