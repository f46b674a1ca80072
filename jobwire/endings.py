"""Ends of a run without a result: a failure is told until it has been told, what cannot be finished goes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobwire.errors import JobDecodeError, ServerError, TransportError, printable
from jobwire.run import FailurePolicy, Run
from jobwire.wire import Failure, Job

if TYPE_CHECKING:
    from jobwire.runs import Runs

__all__ = ["give_back_unfinished", "tell_failure"]


async def tell_failure(runs: Runs, run: Run, job: Job, failure: Failure, policy: FailurePolicy) -> None:
    """Follow the policy, again and again where Redis refuses it; a lost connection is taken up again by ``runs``."""
    try:
        while (delay := await _told(runs, run, job, failure, policy)) is not None:
            await runs.pause(delay)
            if runs.draining:
                runs.drop(run, runs.mode.give_back(run.taken), "returned")
                return
    except TransportError:
        return
    except Exception as error:  # nothing may end without an outcome
        runs.log.exception("cannot say that job %s failed", printable(run.taken.entry))
        runs.reject(run, JobDecodeError(f"its failure could not be told: {error}"))


async def _told(runs: Runs, run: Run, job: Job, failure: Failure, policy: FailurePolicy) -> float | None:
    """Seconds until it is to be tried again, where Redis refused it."""
    try:
        await policy(runs, run, job, failure)
    except ServerError as error:
        return runs.refusals.refused("say that jobs failed", error)
    runs.refusals.accepted("say that jobs failed")
    return None


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
