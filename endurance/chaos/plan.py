"""The plan of a chaos run, settled by the seed before it begins.

Faults are tied to the number of jobs submitted, not to the clock, so that a run can be repeated on another machine.
The part of the operating system (which instruction a kill −9 meets) cannot be.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import msgspec

__all__ = ["CLUSTER_FAULTS", "FAULTS", "KINDS", "Fault", "Kind", "Plan", "make_plan"]

Kind: TypeAlias = Literal[
    "kill",
    "stop",
    "storm",
    "restart",
    "term",
    "half",
    "flush",
    "memory",
    "pause",
    "replica",
    "proxy",
    "clock",
    "client",
    "trickle",
    "double",
    "late",
    "slot",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
FAULTS: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "slot")
"""Those of one server."""
CLUSTER_FAULTS: tuple[Kind, ...] = tuple("slot" if kind == "replica" else kind for kind in FAULTS)
"""Those of a cluster, whose nodes refuse REPLICAOF."""


_FOR_A_WHILE = frozenset({"flush", "memory", "pause", "replica", "proxy", "trickle", "double", "late"})


class Fault(msgspec.Struct, frozen=True, order=True):
    """After ``at`` submissions. ``choice`` (0 … 1) picks the victim, or the way; ``seconds`` is how long it lasts.
    ``second`` is one that meets it, ``after`` so many seconds.
    """

    at: int
    kind: Kind
    choice: float
    seconds: float
    second: Fault | None = None
    after: float = 0.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. ``jobs`` are operation and seconds of each."""

    seed: int
    jobs: tuple[tuple[str, float], ...]
    faults: tuple[Fault, ...]


def make_plan(
    *,
    seed: int,
    jobs: int,
    counts: dict[Kind, int],
    ttl: float,
    pairs: int = 0,
    kinds: Sequence[Kind] = FAULTS,
) -> Plan:
    """The same arguments always give the same plan. ``kinds`` are those that meet in ``pairs``."""
    dice = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    work = tuple(_work(dice) for _ in range(jobs))
    first, last = jobs // 100, max(jobs // 100 + 1, jobs * 95 // 100)
    faults = [
        Fault(dice.randint(first, last), kind, dice.random(), _lasting(kind, number, ttl, dice))
        for kind in FAULTS
        for number in range(counts.get(kind, 0))
    ]
    order = dice.sample(kinds, len(kinds))
    faults += [_pair(dice.randint(first, last), number, order, ttl, dice) for number in range(pairs)]
    return Plan(seed=seed, jobs=work, faults=tuple(sorted(faults, key=lambda fault: fault.at)))


def _pair(at: int, number: int, kinds: Sequence[Kind], ttl: float, dice: random.Random) -> Fault:
    """Two faults of which the second meets the first: at once, a moment later, or when its victim is being recovered.

    Of the kinds each is the first in its turn: with the next one, in the next turn with the one after that, and so on.
    """
    kind, other = kinds[number % len(kinds)], kinds[(number + 1 + number // len(kinds)) % len(kinds)]
    second = Fault(at, other, dice.random(), _lasting(other, number, ttl, dice))
    after = dice.choice((0.0, 0.05, 0.3, 1.2 * ttl))
    return Fault(at, kind, dice.random(), _lasting(kind, number, ttl, dice), second=second, after=after)


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
    return round(ttl * dice.choice((0.3, 0.6, 1.3)), 3) if kind in _FOR_A_WHILE else 0.0
