"""What becomes of a job whose handler failed.

A submitter that reads failures (extension ``_accept`` with ``E``, and mode ``simple``) is told. For the others, Perl
clients above all, the wire has no word for failure, so a policy says what happens:

``leave``  nothing is published, as in Perl; the hash stays and the job's ID moves to ``<prefix>::dead``.
           Costs: the Perl client waits for ever, as it does with a Perl worker.
``retry``  the job goes back to its queue, ``max_attempts`` times in all, with growing delays; then as ``leave``.
           Costs: handlers must bear being run again.
``reply``  the client gets an ordinary result, the object ``{"error": {"type": …, "message": …}}``.
           Costs: Perl code that does not look for it takes it for a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from jobwire.errors import ConfigError, printable
from jobwire.wire import Failure, Job, Success
from jobwire.wire.codec.results import printable_failure
from jobwire.worker.executor import FailurePolicy, Run, Runs

__all__ = ["OnFailure", "policy_named"]

OnFailure: TypeAlias = Literal["leave", "retry", "reply"]


class Leave:
    """Tell whoever reads failures; for the others set the job aside."""

    async def __call__(self, runs: Runs, run: Run, job: Job, failure: Failure) -> None:
        if runs.hashes is None or "E" in job.accept:
            runs.complete(run, failure)
        else:
            runs.drop(run, runs.hashes.bury(run.taken, f"{failure.type}: {failure.message}"), "dead")


class Reply:
    """Tell whoever reads failures; give the others a result that they can test."""

    async def __call__(self, runs: Runs, run: Run, job: Job, failure: Failure) -> None:
        if runs.hashes is None or "E" in job.accept:
            runs.complete(run, failure)
        else:
            words = printable_failure(failure)
            runs.complete(run, Success({"error": {"type": words.type, "message": words.message}}))


class Retry:
    """Try again, up to ``max_attempts`` times in all, ``retry_delay`` seconds later, then twice that, and so on."""

    def __init__(self, max_attempts: int, retry_delay: float) -> None:
        self._max_attempts = max_attempts
        self._retry_delay = retry_delay
        self._end = Leave()

    async def __call__(self, runs: Runs, run: Run, job: Job, failure: Failure) -> None:
        if runs.hashes is None:
            await self._end(runs, run, job, failure)
            return
        reason = f"{failure.type}: {failure.message}"
        attempts = (await runs.call(runs.hashes.count_attempt(run.taken, reason)))[0]
        if not isinstance(attempts, int) or attempts >= self._max_attempts:
            await runs.call((runs.hashes.forget_attempts(run.taken),))
            await self._end(runs, run, job, failure)
            return
        delay = self._retry_delay * 2 ** (attempts - 1)
        runs.log.info("job %s: attempt %d failed; again in %g s", printable(run.taken.entry), attempts, delay)
        run.phase = "waiting"
        await runs.pause(delay)
        if run.phase == "waiting":
            runs.drop(run, runs.hashes.give_back(run.taken), "retried")


def _policies(max_attempts: int, retry_delay: float) -> Mapping[str, FailurePolicy]:
    return MappingProxyType({"leave": Leave(), "reply": Reply(), "retry": Retry(max_attempts, retry_delay)})


def policy_named(name: str, *, max_attempts: int, retry_delay: float) -> FailurePolicy:
    """Raises ``ConfigError`` that lists the policies."""
    policies = _policies(max_attempts, retry_delay)
    if name not in policies:
        raise ConfigError(f"unknown failure policy {name!r}; there are {', '.join(policies)}")
    return policies[name]
