"""The plan of a chaos run, settled by the seed before it begins.

Faults are tied to the number of jobs submitted, not to the clock, so that a run can be repeated on another machine.
The part of the operating system (which instruction a kill −9 meets) cannot be.
"""

from __future__ import annotations

import random
from typing import Literal, TypeAlias, get_args

import msgspec

__all__ = ["FAULTS", "Fault", "Kind", "Plan", "make_plan"]

Kind: TypeAlias = Literal["kill", "stop", "storm", "restart"]
FAULTS: tuple[Kind, ...] = get_args(Kind)


class Fault(msgspec.Struct, frozen=True, order=True):
    """After ``at`` submissions. ``choice`` (0 … 1) picks the victim, or the way; ``seconds`` is how long it lasts."""

    at: int
    kind: Kind
    choice: float
    seconds: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. ``jobs`` are operation and seconds of each."""

    seed: int
    jobs: tuple[tuple[str, float], ...]
    faults: tuple[Fault, ...]


def make_plan(*, seed: int, jobs: int, counts: dict[Kind, int], ttl: float) -> Plan:
    """The same arguments always give the same plan."""
    dice = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    work = tuple(_work(dice) for _ in range(jobs))
    first, last = jobs // 100, max(jobs // 100 + 1, jobs * 95 // 100)
    faults = [
        Fault(dice.randint(first, last), kind, dice.random(), _lasting(kind, number, ttl, dice))
        for kind in FAULTS
        for number in range(counts.get(kind, 0))
    ]
    return Plan(seed=seed, jobs=work, faults=tuple(sorted(faults)))


def _work(dice: random.Random) -> tuple[str, float]:
    draw = dice.random()
    if draw < 0.50:
        return "echo", 0.0
    if draw < 0.92:
        return "sleep", round(dice.uniform(0.005, 0.08), 4)
    if draw < 0.97:
        return "sleep", round(dice.uniform(0.2, 0.8), 3)
    return ("block", 0.02) if draw < 0.985 else ("spin", 0.02)


def _lasting(kind: Kind, number: int, ttl: float, dice: random.Random) -> float:
    if kind == "stop":
        # Some stops are shorter than the heartbeat: their workers keep their jobs.
        return round(ttl * dice.choice((0.3, 1.5, 1.5, 2.0)), 3)
    if kind == "restart":
        # Every other time Redis is away for longer than the heartbeat.
        return round(ttl * (1.2 if number % 2 else 0.2), 3)
    return 0.0
