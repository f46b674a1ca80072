"""Steps that watch: the commands of a connection, how often something is sent, lines of the log."""

from __future__ import annotations

import asyncio
import re

from jobwire_conformance.cases.case import Alone, AtMost, Monitor, Quiet
from jobwire_conformance.rules.forms import SETUP
from jobwire_conformance.run.checks import snapshot
from jobwire_conformance.run.scenario import CaseFailed, Scenario

__all__ = ["alone", "at_most", "monitor", "quiet"]


async def alone(scenario: Scenario, step: Alone) -> None:
    sent = [event for event in scenario.recorder.events if event.kind == "command" and event.role == step.peer]
    carriers = {event.connection for event in sent if re.fullmatch(step.command, event.name)}
    if not carriers:
        raise CaseFailed(f"{step.peer} never sent {step.command}", expected=step.command, actual="nothing")
    others = [
        event.command
        for event in sent
        if event.connection in carriers and not re.fullmatch(step.command, event.name) and event.name not in SETUP
    ]
    if others:
        raise CaseFailed(f"the connection of {step.command} carries more", expected=step.command, actual=others[:5])


async def at_most(scenario: Scenario, step: AtMost) -> None:
    """No flood."""
    sent = [event for event in scenario.recorder.events if event.kind == "command" and event.role == step.peer]
    count = sum(1 for event in sent if re.fullmatch(step.command, event.name))
    if count > step.count:
        raise CaseFailed(f"{step.peer} flooded Redis", expected=f"at most {step.count} {step.command}", actual=count)


async def quiet(scenario: Scenario, step: Quiet) -> None:
    """Nothing of the kind in the log."""
    said = scenario.peer(step.peer).process.stderr()
    found = re.search(scenario.names.pattern(step.matches), said, re.MULTILINE)
    if found is not None:
        raise CaseFailed(f"the log of {step.peer} says what it must not", expected=step.matches, actual=found.group())


async def monitor(scenario: Scenario, step: Monitor) -> None:
    """Read everything, again and again."""
    deadline = asyncio.get_running_loop().time() + step.seconds * scenario.factor
    while asyncio.get_running_loop().time() < deadline:
        await snapshot(scenario.link)
        await asyncio.sleep(0.01)
