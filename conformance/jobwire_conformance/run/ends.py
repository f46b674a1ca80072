"""How a job must end: the answer of the client, and the data of the worker's handler."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from jobwire_conformance.cases.templates import JsonText, make_value
from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.process import PeerUnsupported
from jobwire_conformance.driver.values import decode_value, printed, same
from jobwire_conformance.run.scenario import CaseFailed, JobRun, Scenario

__all__ = ["check_end", "reports_of"]


def check_end(scenario: Scenario, run: JobRun) -> None:
    """Compare the end of one job with the case; raises :class:`CaseFailed`."""
    if run.unsupported is not None:
        raise PeerUnsupported(run.unsupported)
    job = run.job
    if job.refused is not None:
        _check_refusal(run, job.refused)
        return
    if run.end is None:
        _no_end(scenario, run)
    if job.result is not msgspec.UNSET:
        _check_result(run, make_value(job.result), job.typed)
    elif job.failed is not None:
        _check_text(run, driver.Failed, job.failed)
    elif job.timeout is not None:
        _check_text(run, driver.Timeout, job.timeout)
    if job.saw is not msgspec.UNSET:
        _check_saw(scenario, run, make_value(job.saw))
    if run.extra_ends:
        raise CaseFailed(f"job {run.name} ended {run.extra_ends + 1} times", expected="one end", actual=run.end)


def _no_end(scenario: Scenario, run: JobRun) -> None:
    process = scenario.peer(run.peer).process
    if run.refused is not None:
        actual = f"the submission was refused: {run.refused}"
    elif process.alive:
        actual = "no answer in time"
    else:
        actual = f"{run.peer} ended with status {process.status}"
    raise CaseFailed(f"job {run.name} did not end", expected=_wanted(run), actual=actual)


def _wanted(run: JobRun) -> Any:
    job = run.job
    if job.result is not msgspec.UNSET:
        return make_value(job.result)
    return job.failed or job.timeout or job.refused or "an end"


def _check_refusal(run: JobRun, pattern: str) -> None:
    said = run.refused
    if said is None and isinstance(run.end, driver.Failed):
        said = run.end.error
    if said is None:
        raise CaseFailed(f"job {run.name} was submitted, though it must be refused", expected=pattern, actual=run.end)
    if re.search(pattern, said, re.IGNORECASE | re.DOTALL) is None:
        raise CaseFailed(f"job {run.name} was refused for another reason", expected=pattern, actual=said)


def _check_result(run: JobRun, wanted: Any, typed: bool | None) -> None:
    if not isinstance(run.end, driver.Result):
        raise CaseFailed(f"job {run.name} has no result", expected=wanted, actual=run.end)
    found = decode_value(run.end.value)
    if isinstance(wanted, JsonText):
        found, wanted, typed = _parsed(found), wanted.value, True
    if typed is None:
        typed = isinstance(wanted, list | dict)
    if not same(wanted, found, typed=typed):
        raise CaseFailed(f"job {run.name} has another result", expected=wanted, actual=found)


def _parsed(found: Any) -> Any:
    try:
        return json.loads(found)
    except (TypeError, ValueError):
        return found


def _check_text(run: JobRun, kind: type[driver.Failed | driver.Timeout], pattern: str) -> None:
    if not isinstance(run.end, kind):
        raise CaseFailed(f"job {run.name} ended in another way", expected=f"{kind.__name__}: {pattern}", actual=run.end)
    said = f"{run.end.kind}: {run.end.error}" if isinstance(run.end, driver.Failed) else run.end.error
    if re.search(pattern, said, re.IGNORECASE | re.DOTALL) is None:
        raise CaseFailed(f"job {run.name} says something else", expected=pattern, actual=said)


def reports_of(scenario: Scenario, run: JobRun) -> list[driver.Job]:
    """The workers' messages about a job that they took."""
    workers = [peer for peer in scenario.peers.values() if peer.role == "worker"]
    return [job for peer in workers for job in peer.jobs if _is(job.id, run.id)]


def _check_saw(scenario: Scenario, run: JobRun, wanted: Any) -> None:
    reports = reports_of(scenario, run)
    if not reports:
        raise CaseFailed(f"no worker reported job {run.name}", expected=wanted, actual="nothing")
    found = decode_value(reports[0].data)
    if isinstance(found, dict) and isinstance(wanted, dict):
        # The protocol's own fields are passed through; cases about them ask the handler (op `get`).
        found = {key: item for key, item in found.items() if not str(key).startswith("_") or key in wanted}
    if not _same_data(wanted, found):
        raise CaseFailed(f"the handler of job {run.name} saw something else", expected=wanted, actual=found)


def _same_data(wanted: Any, found: Any) -> bool:
    """Parameters are strings, but values inside a document keep their types."""
    if not isinstance(wanted, dict) or not isinstance(found, dict):
        return same(wanted, found)
    named = {printed(key): item for key, item in found.items()}
    return {printed(key) for key in wanted} == set(named) and all(
        same(item, named[printed(key)], typed=isinstance(item, list | dict)) for key, item in wanted.items()
    )


def _is(reported: Any, known: bytes | None) -> bool:
    value = decode_value(reported)
    return (value if isinstance(value, bytes) else str(value).encode()) == known
