"""Cases with one expectation broken: a case that still passes then is one that cannot fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from jobwire_conformance.cases import steps as s
from jobwire_conformance.cases.case import Case, WireRule

__all__ = ["broken"]

_UNSET = msgspec.UNSET
_NEVER = "^never said by anybody$"
_MANY = 10**12


def _other(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, str):
        return value + "~"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, "~"]
    if isinstance(value, dict):
        return {"$bytes": "fn5+"} if any(str(key).startswith("$") for key in value) else {**value, "~": "~"}
    return "~"


def broken(case: Case) -> Iterator[tuple[str, Case]]:
    """Each expectation of ``case`` in turn, broken: what it is, and the case."""
    change = msgspec.structs.replace
    for number, job in enumerate(case.jobs):
        for what, other in _job(job):
            jobs = [*case.jobs[:number], other, *case.jobs[number + 1 :]]
            yield f"job {number + 1}: {what}", change(case, jobs=jobs)
    for number, step in enumerate(case.steps):
        for what, changed in _step(step):
            steps = [*case.steps[:number], changed, *case.steps[number + 1 :]]
            yield f"step {number + 1}: {what}", change(case, steps=steps)
    for number, rule in enumerate(case.wire):
        for what, changed_rule in _rule(rule):
            wire = [*case.wire[:number], changed_rule, *case.wire[number + 1 :]]
            yield f"wire {number + 1}: {what}", change(case, wire=wire)
    if case.left is not None:
        yield "left: a key that is not there", change(case, left={"{q:never}": {"any": True}, **case.left})
        for key in case.left:
            if "*" not in case.left:
                yield f"left: without {key}", change(case, left={k: v for k, v in case.left.items() if k != key})


def _job(job: Any) -> Iterator[tuple[str, Any]]:
    change = msgspec.structs.replace
    if job.result is not _UNSET:
        yield "another result", change(job, result=_other(job.result))
    for name in ("failed", "timeout", "refused"):
        if getattr(job, name) is not None:
            yield f"another way of {name}", change(job, **{name: _NEVER})
    if job.saw is not _UNSET:
        yield "the handler saw something else", change(job, saw=_other(job.saw))


def _step(step: Any) -> Iterator[tuple[str, Any]]:
    change = msgspec.structs.replace
    match step:
        case s.SubmitJob():
            yield from _job(step)
        case s.StartPeer(fails=str()):
            yield "refuses for another reason", change(step, fails=_NEVER)
        case s.Redis() if step.equals is not _UNSET:
            yield "another reply", change(step, equals=_other(step.equals))
        case s.Wait() if step.equals is not _UNSET:
            # Not the value next to it: that may be there for a moment, say before a key is deleted, and end the wait.
            other = _MANY if isinstance(step.equals, int) else _other(step.equals)
            yield "another reply", change(step, equals=other, seconds=1.0)
        case s.Wait(matches=str()):
            yield "another reply", change(step, matches=_NEVER, seconds=1.0)
        case s.Wait(at_least=int()):
            yield "more", change(step, at_least=_MANY, seconds=1.0)
        case s.Took():
            yield "more", change(step, count=step.count + 1 if step.exactly else _MANY, seconds=1.0)
            if step.exactly and step.count:
                yield "fewer", change(step, count=step.count - 1)
        case s.Taken() | s.Ended() if len(step.names) > 1:
            yield "another order", change(step, names=step.names[::-1])
        case s.AtMost():
            yield "fewer", change(step, count=-1)
        case s.Log():
            yield "another word", change(step, matches=_NEVER, seconds=0.5)


def _rule(rule: WireRule) -> Iterator[tuple[str, WireRule]]:
    change = msgspec.structs.replace
    if rule.modes or rule.facts or rule.count == 0:
        return
    yield "another command", change(rule, sends=["NEVER", *rule.sends[1:]])
    for name in rule.fields:
        yield f"another {name}", change(rule, fields={**rule.fields, name: "never~"})
    if rule.then:
        yield "another sequel", change(rule, then=[*rule.then, ["NEVER"]])
