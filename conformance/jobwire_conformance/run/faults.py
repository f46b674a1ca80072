"""Faults: processes killed and paused, connections cut, replies held back, the server taken away."""

from __future__ import annotations

import signal
from collections.abc import Callable

from jobwire_conformance.cases.case import Fault
from jobwire_conformance.record.proxy import Action, Rule
from jobwire_conformance.record.transcripts import Event
from jobwire_conformance.run.scenario import CaseFailed, Scenario

__all__ = ["break_something"]


_SIGNALS = {
    "kill": signal.SIGKILL,
    "pause": signal.SIGSTOP,
    "resume": signal.SIGCONT,
    "terminate": signal.SIGTERM,
}
_FRAME_ACTIONS: dict[str, Action] = {"cut-before": "cut", "cut-after": "cut-after", "half": "half", "drop-push": "drop"}


async def break_something(scenario: Scenario, step: Fault) -> None:
    scenario.note(f"fault: {step.kind} {step.peer if 'redis' not in step.kind else ''}{' ' + (step.command or '')}")
    if step.kind.endswith("-redis"):
        await _break_redis(scenario, step.kind)
        return
    peer = scenario.peer(step.peer)
    if step.kind in _SIGNALS:
        peer.process.signal(_SIGNALS[step.kind])
    elif step.kind in _FRAME_ACTIONS:
        peer.proxy.rules.append(Rule(_frame(step), _FRAME_ACTIONS[step.kind], step.times))
    elif step.kind == "cut":
        peer.proxy.cut()
    elif step.kind in {"refuse", "accept"}:
        peer.proxy.refusing = step.kind == "refuse"
    else:
        peer.proxy.hold(step.kind == "hold")


async def _break_redis(scenario: Scenario, kind: str) -> None:
    if not scenario.server.breakable:
        raise CaseFailed("this case needs a server of its own")
    if kind == "stop-redis":
        await scenario.server.stop()
        return
    await scenario.server.restart()
    await scenario.link.wait_until_up(20 * scenario.factor)


def _frame(step: Fault) -> Callable[[Event], bool]:
    if step.kind == "drop-push":
        return lambda event: event.kind == "push"
    command = (step.command or "").upper()
    if step.kind == "half" and not command:
        return lambda event: event.kind == "reply"
    return lambda event: event.name == command
