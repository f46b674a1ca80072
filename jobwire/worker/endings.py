"""Ends of a run without a result: a failure is told until it has been told, what cannot be finished goes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobwire.errors import JobDecodeError, ServerError, TransportError, printable
from jobwire.wire import Failure, Job
from jobwire.worker.delivery import FailurePolicy, Run

if TYPE_CHECKING:
    from jobwire.worker.executor import Runs

__all__ = ["RETRY_AFTER", "give_back_unfinished", "tell_failure"]

RETRY_AFTER = 1.0
"""Seconds until something that Redis refused is tried again."""


async def tell_failure(runs: Runs, run: Run, job: Job, failure: Failure, policy: FailurePolicy) -> None:
    """Follow the policy, again and again where Redis refuses it; a lost connection is taken up again by ``runs``."""
    try:
        while not await _told(runs, run, job, failure, policy):
            await runs.pause(RETRY_AFTER)
            if runs.draining:
                runs.drop(run, runs.mode.give_back(run.taken), "returned")
                return
    except TransportError:
        return
    except Exception as error:  # nothing may end without an outcome
        runs.log.exception("cannot say that job %s failed", printable(run.taken.entry))
        runs.reject(run, JobDecodeError(f"its failure could not be told: {error}"))


async def _told(runs: Runs, run: Run, job: Job, failure: Failure, policy: FailurePolicy) -> bool:
    """False where Redis refused it."""
    try:
        await policy(runs, run, job, failure)
    except ServerError as error:
        runs.log.error("cannot say that job %s failed: %s; trying again", printable(run.taken.entry), error)
        return False
    return True


def give_back_unfinished(runs: Runs) -> None:
    """The grace is over: cancel what still runs, and return it to the queue."""
    # The youngest first, so that the oldest is taken next.
    for run in reversed(list(runs.active.values())):
        if run.phase in ("completing", "dropping"):
            continue
        if run.task is not None:
            run.task.cancel()
        runs.log.warning("job %s did not end in time; it goes back to its queue", printable(run.taken.entry))
        runs.drop(run, runs.mode.give_back(run.taken), "returned")
