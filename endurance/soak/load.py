"""The load of a soak: kinds of job, each with its one right outcome, from bytes to a megabyte."""

from __future__ import annotations

import random
from typing import Any, Literal, TypeAlias

import msgspec

__all__ = ["EASY", "HARD", "Kind", "Load", "Planned"]

Outcome: TypeAlias = Literal["result", "JobFailed", "JobTimeout", "JobCancelled"]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """``weight`` against the others; ``timeout`` and ``cancel_after`` are the client's, in seconds. ``also``: an
    outcome that is as right, where a busy machine has let the other side be first.
    """

    name: str
    weight: float
    operation: str = "echo"
    seconds: float = 0.0
    outcome: Outcome = "result"
    also: Outcome | None = None
    nested: bool = False
    timeout: float | None = None
    cancel_after: float | None = None


EASY: tuple[Kind, ...] = (
    Kind(name="echo", weight=70),
    Kind(name="nested", weight=15, nested=True),
    Kind(name="sleep", weight=15, operation="sleep", seconds=0.03),
)
"""Jobs that every worker of any language can do."""

HARD: tuple[Kind, ...] = (
    Kind(name="fail", weight=50, operation="fail", outcome="JobFailed"),
    Kind(name="worker's timeout", weight=4, operation="sleep", seconds=12.0, outcome="JobFailed"),
    Kind(
        name="client's timeout",
        weight=20,
        operation="sleep",
        seconds=1.0,
        timeout=0.3,
        outcome="JobTimeout",
        also="result",
    ),
    Kind(
        name="cancel",
        weight=20,
        operation="sleep",
        seconds=0.5,
        cancel_after=0.1,
        outcome="JobCancelled",
        also="result",
    ),
)
"""Jobs that need a worker which reports failures: workers with ``timeout`` 5 and ``on_failure`` ``retry``."""

_SIZES: tuple[tuple[float, int], ...] = ((60, 60), (30, 1_000), (9, 10_000), (0.9, 100_000), (0.1, 1_000_000))


class Planned(msgspec.Struct, frozen=True):
    """One job: parameters, and the value that must come back where it has a result."""

    kind: Kind
    data: dict[str, Any]
    value: Any


class Load:
    """Draws jobs, for ever. ``hard`` is the share of ``HARD`` ones."""

    def __init__(self, seed: int, *, hard: float = 0.0) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._hard = hard
        self._made = 0

    def next(self) -> Planned:
        """The next job."""
        kinds = HARD if self._dice.random() < self._hard else EASY
        (kind,) = self._dice.choices(kinds, [kind.weight for kind in kinds])
        self._made += 1
        value: Any = self._text()
        if kind.nested:
            value = {"number": str(self._made), "list": [value[:200], "end"], "text": value}
        data = {"op": kind.operation, "value": value, "message": f"meant to fail {self._made}"}
        if kind.seconds:
            data["seconds"] = str(kind.seconds)
        return Planned(kind, data, value)

    def _text(self) -> str:
        (size,) = self._dice.choices([size for _, size in _SIZES], [weight for weight, _ in _SIZES])
        size = self._dice.randint(size // 2, size)
        return f"{self._made} " + chr(97 + self._made % 26) * size
