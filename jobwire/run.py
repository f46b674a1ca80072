"""One entry that a worker has in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from jobwire.errors import TransportError
from jobwire.transport import Replies
from jobwire.wire import Command, Failure, Job, Result, Taken
from jobwire.wire.lifecycle import Event

if TYPE_CHECKING:
    from jobwire.runs import Runs

__all__ = ["ENDS", "AfterFirstSteps", "FailurePolicy", "Phase", "Run", "ignore", "with_replies"]

Phase: TypeAlias = Literal["loading", "running", "completing", "failing", "waiting", "dropping"]

ENDS: Mapping[str, Event] = MappingProxyType(
    {
        "returned": "return",
        "retried": "return",
        "dead": "bury",
        "expired": "bury",
        "vanished": "forget",
        "notified again": "notify",
    }
)
"""The event of the life cycle for each way in which an entry ends without a result."""


class FailurePolicy(Protocol):
    """What becomes of a job whose handler failed; called in the job's task."""

    async def __call__(self, runs: Runs, run: Run, job: Job, failure: Failure) -> None: ...


class Run:
    """``phase`` says what is done again after a connection was lost in the middle of it."""

    # In the class, because most runs never change most of these.
    phase: Phase = "loading"
    job: Job | None = None
    started = 0.0
    start_said = False
    """True once Redis was told that the handler has begun."""
    task: asyncio.Task[None] | None = None
    result: Result | None = None
    failure: Failure | None = None
    ending: tuple[Command, ...] = ()
    """What ends it without a result, …"""
    count = ""
    """… and what that is counted as."""
    sent = False
    insists = False
    """Redis was out of memory, and is asked in words that it does not refuse (``jobwire.wire.scripts.insist``)."""
    later: asyncio.TimerHandle | None = None
    """The next attempt at what Redis refused."""

    def __init__(self, key: object, taken: Taken) -> None:
        self.key = key
        self.taken = taken

    def try_no_more(self) -> None:
        """Not what was to be tried again later."""
        if self.later is not None:
            self.later.cancel()

    @property
    def outcome(self) -> Literal["failed", "done"]:
        return "failed" if type(self.result) is Failure else "done"


class AfterFirstSteps:
    """Calls ``function`` for each run that is added, once all tasks made in the same turn of the loop have made their
    first step.
    """

    def __init__(self, function: Callable[[Run], None]) -> None:
        self._function = function
        self._added: list[Run] = []

    def add(self, run: Run, loop: asyncio.AbstractEventLoop) -> None:
        if not self._added:
            loop.call_soon(self._again)
        self._added.append(run)

    def _again(self) -> None:
        # Behind the task of the first, before those of the others: they stand in the queue by now.
        added, self._added = self._added, []
        asyncio.get_running_loop().call_soon(self._call, added)

    def _call(self, added: list[Run]) -> None:
        for run in added:
            self._function(run)


def ignore(replies: Replies) -> None:
    """For commands whose replies say nothing that is not known."""
    del replies


def with_replies(then: Callable[[Replies], None], outcome: Replies | TransportError) -> None:
    """``then``, unless the connection was lost instead."""
    if not isinstance(outcome, TransportError):
        then(outcome)
