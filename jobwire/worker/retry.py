"""The answer to a failed job: tell its client, try it again, or bury it.

A submitter that reads failures (extension ``_accept`` with ``E``, and mode ``simple``) is told. For the others, Perl
clients above all, the wire has no word for failure, so ``on_failure`` decides:

``leave``  nothing is published, as in Perl; the hash stays and the job's ID moves to ``<prefix>::dead``.
           Costs: the Perl client waits for ever, as it does with a Perl worker.
``retry``  the job goes back to its queue, ``max_attempts`` times in all, with growing delays; then as ``leave``.
           Costs: handlers must bear being run again.
``reply``  the client gets an ordinary result, the object ``{"error": {"type": …, "message": …}}``.
           Costs: Perl code that does not look for it takes it for a result.

A function ``(job, failure) -> Complete | Requeue | Bury`` decides case by case. It is called in the event loop, must
not block, and must do nothing but decide; ``job.attempts`` says how often the handler has failed before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import msgspec

from jobwire.errors import ConfigError
from jobwire.wire import Failure, Job, Result, Success
from jobwire.wire.codec.results import printable_failure

__all__ = ["Bury", "Complete", "Decide", "Decision", "OnFailure", "Requeue", "decide_by"]


class Complete(msgspec.Struct, frozen=True):
    """Give the client ``result``: a ``Failure``, or a ``Success`` that says it in its own way."""

    result: Result


class Requeue(msgspec.Struct, frozen=True):
    """Try the job again, ``delay`` seconds from now at the earliest. It holds no slot meanwhile."""

    delay: float = 0.0


class Bury(msgspec.Struct, frozen=True):
    """Move the job to ``<prefix>::dead``, whole."""


Decision: TypeAlias = Complete | Requeue | Bury
"""The answer to a failed job."""
Decide: TypeAlias = Callable[[Job, Failure], Decision]
"""A function that ``on_failure`` takes."""
OnFailure: TypeAlias = Literal["leave", "retry", "reply"] | Decide
"""The option ``on_failure``."""


def leave(job: Job, failure: Failure) -> Decision:
    """Tell whoever reads failures; bury the jobs of the others."""
    return Complete(failure) if "E" in job.accept else Bury()


def reply(job: Job, failure: Failure) -> Decision:
    """Tell whoever reads failures; give the others a result that they can test."""
    if "E" in job.accept:
        return Complete(failure)
    words = printable_failure(failure)
    return Complete(Success({"error": {"type": words.type, "message": words.message}}))


def retry(max_attempts: int, retry_delay: float) -> Decide:
    """Up to ``max_attempts`` times in all, ``retry_delay`` seconds later, twice that the next time, and so on; then
    ``leave``.
    """

    def decide(job: Job, failure: Failure) -> Decision:
        if job.attempts + 1 >= max_attempts:
            return leave(job, failure)
        return Requeue(retry_delay * 2.0 ** min(job.attempts, 60))

    return decide


def decide_by(on_failure: OnFailure, *, max_attempts: int, retry_delay: float) -> Decide:
    """The function that ``on_failure`` names or is. Raises ``ConfigError`` that lists the names."""
    if callable(on_failure):
        return on_failure
    known: dict[str, Decide] = {"leave": leave, "reply": reply, "retry": retry(max_attempts, retry_delay)}
    if on_failure not in known:
        names = ", ".join(get_args(get_args(OnFailure)[0]))
        raise ConfigError(f"unknown failure policy {on_failure!r}; there are {names}, or a function of job and failure")
    return known[on_failure]
