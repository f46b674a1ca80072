"""The steps of a case, carried out on a :class:`jobwire_conformance.run.scenario.Scenario`."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from jobwire_conformance.cases.case import (
    Alone,
    AtMost,
    Await,
    Cancel,
    Ended,
    Exits,
    Fault,
    Log,
    Monitor,
    Quiet,
    Redis,
    Sleep,
    StartPeer,
    Step,
    StopPeer,
    SubmitJob,
    Sums,
    Taken,
    Took,
    Wait,
)
from jobwire_conformance.cases.templates import make_value
from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.values import decode_value, same
from jobwire_conformance.record.redis_link import RedisReplyError
from jobwire_conformance.record.resp import RespError
from jobwire_conformance.run.ends import check_end, reports_of
from jobwire_conformance.run.faults import break_something
from jobwire_conformance.run.scenario import CaseFailed, JobRun, Scenario
from jobwire_conformance.run.watching import alone, at_most, monitor, quiet

__all__ = ["run_jobs", "run_steps"]

StepT = TypeVar("StepT", bound=msgspec.Struct)


async def run_steps(scenario: Scenario, steps: list[Step]) -> None:
    """Carry the steps out in order; whatever was submitted and not looked at is awaited at the end."""
    for step in steps:
        await _HANDLERS[type(step)](scenario, step)
    left = [run for run in scenario.runs if not run.checked]
    if left:
        await _finish(scenario, left, 10.0)


async def run_jobs(scenario: Scenario) -> None:
    """The short form: submit every job of the case, await every end."""
    for job in scenario.case.jobs:
        for _ in range(job.times):
            run = scenario.submit(job)
            await _throttle(scenario)
            scenario.note(f"submitted job {run.name}")
    await scenario.wait_submitted(scenario.runs)
    # Peers that cannot understand each other are known not to answer.
    await _finish(scenario, scenario.runs, 2.0 if scenario.instance.pair_note else scenario.case.seconds)


async def _throttle(scenario: Scenario) -> None:
    """No more than ``in_flight`` jobs under way (0: no bound)."""
    bound = scenario.case.in_flight
    if bound:
        ok = await scenario.until(
            lambda: sum(1 for run in scenario.runs if run.end is None and run.refused is None) < bound, 20
        )
        if not ok:
            raise CaseFailed("no job ended in time", expected=f"fewer than {bound} jobs under way", actual="all wait")


async def _finish(scenario: Scenario, runs: list[JobRun], seconds: float) -> None:
    silent = [run for run in runs if run.job.silent is not None]
    loud = [run for run in runs if run.job.silent is None and not run.job.any]
    await scenario.until(lambda: all(run.end is not None or run.refused is not None for run in loud), seconds)
    # The client's result may be here before the worker's report, though it was said later.
    told = [run for run in loud if run.job.saw is not msgspec.UNSET and isinstance(run.end, driver.Result)]
    await scenario.until(lambda: all(reports_of(scenario, run) for run in told), 3.0)
    for run in loud:
        check_end(scenario, run)
        run.checked = True
    if silent:
        await scenario.until(lambda: any(run.end for run in silent), max(run.job.silent or 0 for run in silent))
    for run in silent:
        if run.end is not None:
            raise CaseFailed(f"job {run.name} ended, though nobody can know how", expected="silence", actual=run.end)
        run.checked = True
    for run in runs:
        run.checked = True


# --- one handler a kind of step ---------------------------------------------------------------


async def _start(scenario: Scenario, step: StartPeer) -> None:
    await scenario.start_peer(step)


async def _submit(scenario: Scenario, step: SubmitJob) -> None:
    runs = [scenario.submit(step, step.peer) for _ in range(step.times)]
    await scenario.wait_submitted(runs)
    scenario.note(f"submitted {', '.join(run.name for run in runs[:5])}{' …' if len(runs) > 5 else ''}")


async def _await(scenario: Scenario, step: Await) -> None:
    runs = [run for run in scenario.runs if not step.jobs or run.name in step.jobs]
    await _finish(scenario, runs, step.seconds)
    if step.order:
        submitted = [run.name for run in runs]
        ended = [run.name for run in scenario.ends if run in runs]
        if submitted != ended:
            raise CaseFailed("the jobs ended in another order", expected=submitted, actual=ended)


async def _cancel(scenario: Scenario, step: Cancel) -> None:
    run = next(run for run in scenario.runs if run.name == step.job)
    scenario.peer(step.peer).process.send(driver.Cancel(seq=run.seq))
    scenario.note(f"cancelled {step.job}")


def _comparable(reply: Any) -> Any:
    """A reply in the form that cases write: text where it is UTF-8, errors as their message."""
    if isinstance(reply, RespError):
        return {"error": reply.message.decode("utf-8", "replace")}
    if isinstance(reply, list):
        return [_comparable(item) for item in reply]
    return reply


async def _redis(scenario: Scenario, step: Redis) -> None:
    words = [scenario.names.word(word) for word in step.command]
    reply = await scenario.link.try_call(*words)
    scenario.note(f"runner: {_shown(words)} → {_shown_reply(reply)}")
    if isinstance(reply, RespError):
        raise RedisReplyError(f"{words[0].decode()}: {reply.message.decode('utf-8', 'replace')}")
    if step.save is not None and isinstance(reply, bytes):
        scenario.names.kept[step.save] = reply
    if step.equals is not msgspec.UNSET and not same(_expected(scenario, step.equals), _comparable(reply)):
        raise CaseFailed(
            f"{_shown(words)} is not what it must be", expected=_expected(scenario, step.equals), actual=reply
        )


def _expected(scenario: Scenario, wanted: Any) -> Any:
    if isinstance(wanted, str):
        return scenario.names.expand(wanted)
    if isinstance(wanted, list):
        return [_expected(scenario, item) for item in wanted]
    return make_value(wanted)


def _shown(words: list[bytes]) -> str:
    return " ".join(repr(word)[1:].strip("'")[:60] for word in words)


def _shown_reply(reply: Any) -> str:
    text = repr(reply)
    return text if len(text) <= 120 else text[:117] + "…"


async def _wait(scenario: Scenario, step: Wait) -> None:
    words = [scenario.names.word(word) for word in step.command]
    deadline = time.monotonic() + step.seconds * scenario.factor
    while True:
        reply = await scenario.link.try_call(*words)
        if _wait_holds(scenario, step, reply):
            scenario.note(f"runner: {_shown(words)} is {_shown_reply(reply)}")
            return
        if time.monotonic() > deadline:
            wanted = _first_set(scenario, step)
            raise CaseFailed(f"waited in vain for {_shown(words)}", expected=wanted, actual=reply)
        await asyncio.sleep(0.01)


def _first_set(scenario: Scenario, step: Wait) -> Any:
    if step.matches is not None:
        return f"~{step.matches}"
    return f"at least {step.at_least}" if step.at_least is not None else _expected(scenario, step.equals)


def _wait_holds(scenario: Scenario, step: Wait, reply: Any) -> bool:
    if step.at_least is not None:
        return isinstance(reply, int) and reply >= step.at_least
    if step.matches is not None:
        if isinstance(reply, list):
            return any(_matches(scenario, step.matches, item) for item in reply)
        return _matches(scenario, step.matches, reply)
    return same(_expected(scenario, step.equals), _comparable(reply))


def _matches(scenario: Scenario, pattern: str, reply: Any) -> bool:
    text = reply.decode("latin-1") if isinstance(reply, bytes) else str(reply)
    return re.search(scenario.names.pattern(pattern), text, re.DOTALL) is not None


async def _took(scenario: Scenario, step: Took) -> None:
    peer = scenario.peer(step.peer)
    if not await scenario.until(lambda: len(peer.jobs) >= step.count, step.seconds):
        raise CaseFailed(f"{step.peer} did not take enough jobs", expected=step.count, actual=len(peer.jobs))
    if step.exactly:
        await asyncio.sleep(0.5 * scenario.factor)
        if len(peer.jobs) != step.count:
            raise CaseFailed(f"{step.peer} took too many jobs", expected=step.count, actual=len(peer.jobs))


def _in_order(wanted: list[str], found: list[str], what: str) -> None:
    if [name for name in found if name in wanted] != wanted:
        raise CaseFailed(f"the jobs {what} in another order", expected=wanted, actual=found)


async def _taken(scenario: Scenario, step: Taken) -> None:
    names = {run.id: run.name for run in scenario.runs}
    ids = [decode_value(job.id) for job in scenario.peer(step.peer).jobs]
    found = [names.get(i if isinstance(i, bytes) else str(i).encode(), "?") for i in ids]
    _in_order(step.names, found, "were taken")


async def _ended(scenario: Scenario, step: Ended) -> None:
    _in_order(step.names, [run.name for run in scenario.ends], "ended")


async def _stop(scenario: Scenario, step: StopPeer) -> None:
    peer = scenario.peer(step.peer)
    peer.stopped = True
    if not step.wait:
        peer.process.send(driver.Stop())
        return
    await peer.process.ask(driver.Stopped, step.seconds * scenario.factor, driver.Stop())
    scenario.note(f"{step.peer} stopped")


async def _exits(scenario: Scenario, step: Exits) -> None:
    status = await scenario.peer(step.peer).process.wait_exit(step.seconds * scenario.factor)
    if status is None:
        raise CaseFailed(f"{step.peer} did not end", expected="an exit", actual="still running")
    if step.status is not None and status != step.status:
        raise CaseFailed(f"{step.peer} ended with another status", expected=step.status, actual=status)
    scenario.note(f"{step.peer} ended with status {status}")


async def _log(scenario: Scenario, step: Log) -> None:
    process = scenario.peer(step.peer).process
    pattern = re.compile(scenario.names.pattern(step.matches), re.IGNORECASE | re.DOTALL)

    def said() -> str:
        return process.stderr() + "\n".join(process.errors)

    deadline = time.monotonic() + step.seconds * scenario.factor
    while pattern.search(said()) is None:
        if time.monotonic() > deadline:
            raise CaseFailed(f"{step.peer} did not say what is wrong", expected=step.matches, actual=said()[-2000:])
        await process.news(0.1)


async def _sleep(scenario: Scenario, step: Sleep) -> None:
    await asyncio.sleep(step.seconds * scenario.factor)


async def _sums(scenario: Scenario, step: Sums) -> None:
    """The run of Job::Async::Test::Compliance: 8 + 2, then 506 sums, at most ``at_a_time`` under way."""
    pairs = [(0, 1), (1, 1), (1, 0), (1, 1), (0, 0), (10, 11)]
    pairs += [(first, second) for first in (0, 2, 4, 5, 7) for second in range(1, 101)]
    for first, second in [(8, 2), *pairs]:
        job = SubmitJob(data={"op": "add", "first": first, "second": second}, result=first + second)
        scenario.submit(job)

        def under_way() -> int:
            return sum(1 for run in scenario.runs[-1000:] if run.end is None and run.refused is None)

        if not await scenario.until(lambda: under_way() < step.at_a_time, 20):
            raise CaseFailed("no sum came back", expected=f"fewer than {step.at_a_time} waiting", actual=under_way())
    await _finish(scenario, scenario.runs, 20)


_HANDLERS: dict[type[Any], Callable[[Scenario, Any], Awaitable[None]]] = {
    StartPeer: _start,
    SubmitJob: _submit,
    Await: _await,
    Cancel: _cancel,
    Redis: _redis,
    Wait: _wait,
    Took: _took,
    Taken: _taken,
    Ended: _ended,
    Alone: alone,
    AtMost: at_most,
    Quiet: quiet,
    Monitor: monitor,
    Fault: break_something,
    StopPeer: _stop,
    Exits: _exits,
    Log: _log,
    Sleep: _sleep,
    Sums: _sums,
}
