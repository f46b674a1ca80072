"""The output of ci/demo.py: the steps of ``jobwire tap`` as the story of one job."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from jobwire.wire import Failure
from jobwire_conformance.driver.values import decode_value
from jobwire_conformance.record.transcripts import Event
from jobwire_conformance.rules.steps import Field, Step
from jobwire_conformance.rules.watch import Watch
from jobwire_conformance.tap.fields import shown_value
from jobwire_conformance.tap.follow import Follower
from jobwire_conformance.tap.text import ARROWS, fitting, short

__all__ = ["say", "shown", "styled", "tell_steps"]

WIDTH = 88
MARGIN = " " * 33
STYLES = {"client": "36", "worker": "35", "good": "32", "bad": "31;1", "head": "1", "dim": "2"}


def styled(style: str, text: str) -> str:
    """Return ``text`` in colour on a terminal, unless NO_COLOR says otherwise."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def say(text: str = "") -> None:
    print(text, flush=True)


def shown(value: Any) -> str:
    """Return a value as JSON; a failure in words."""
    if isinstance(value, Failure):
        return f"{value.type}: {value.message}"
    return json.dumps(value, ensure_ascii=False, default=repr)


def steps_of(events: Iterable[Event], job_id: str) -> Iterator[Step]:
    """Yield the steps of one job, in the order of the wire."""
    follower = Follower(Watch(), values=True)
    for event in events:
        yield from (step for step in follower.event(event) if step.job == job_id and not step.plain)


def told(step: Step) -> str:
    """Return the subject of a step, without its fields."""
    if step.about == "script COMPLETE":
        return "in one step: LREM own list, HSET job, PUBLISH"
    keys = " → ".join(map(short, step.keys))
    match step.command:
        case "HGETALL":
            return f"{short(f'job::{step.job}')}  {len(step.fields)} fields"
        case "HMSET" | "HMGET" | "DEL":
            return short(f"job::{step.job}")
        case "message":
            return f"{short(step.job)}  on {keys}"
    return "  ".join(filter(None, [short(step.job), keys, step.about]))


def field_text(field: Field) -> tuple[str, str]:
    """Return the name and the value of a field as they are read."""
    value = decode_value(field.value)
    if field.type == "sereal":
        return field.name, f"{field.about.partition(' ')[0]}: {shown_value(value)}"
    if field.type == "result":
        return field.name, f"{field.tag} {shown_value(value)}"
    return short(field.name), short(value) if isinstance(value, str) else shown_value(value)


def tell_steps(events: Iterable[Event], job_id: str, *, every_field: bool) -> None:
    """Print the steps of a job; ``every_field``: those that start with ``_`` too."""
    began: float | None = None
    for step in steps_of(events, job_id):
        began = step.t if began is None else began
        at = styled("dim", f"{(step.t - began) * 1000:6.1f}")
        who = styled(step.role, f"{step.role} {ARROWS[step.direction]} {step.command:<10}")
        fields = [] if step.command == "HGETALL" else [field_text(field) for field in step.fields]
        kept = [field for field in fields if every_field or not field[0].startswith("_")]
        names = "" if kept else " ".join(["", "", *(name for name, _ in fields)]).rstrip()
        say(f"  {at}  {who}  {told(step)}{names}")
        width = max((len(name) for name, _ in kept), default=0)
        for name, value in kept:
            say(f"{MARGIN}{styled('dim', f'{name:<{width}}')}  {fitting(value, WIDTH - len(MARGIN) - width - 2)}")
        for flag in step.flags:
            say(f"{MARGIN}{styled('bad', f'✗ {flag.requirement}')}  {flag.what}")
