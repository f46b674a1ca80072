"""Is the memory flat, and was nothing lost? The rule, and its application to the samples of a soak.

**The rule.** After the warm-up, the trend of a series is its Theil–Sen slope: the median of the slopes of all pairs of
samples, which single peaks (a large job, a rewrite of the append-only file) do not move. A process is flat where that
slope, over the judged part of the run, adds up to less than ``BOUND`` of resident memory; so is the server's
``used_memory``. File descriptors and the keys of the server are flat where they grow by less than ``COUNTS``.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import msgspec

from endurance.soak.samples import Event, Footer, Header, Line, Sample

__all__ = ["BOUND", "COUNTS", "Soak", "Trend", "collect", "judge", "ok", "render", "theil_sen"]

BOUND = 2 * 2**20
"""Bytes that resident memory may grow in the judged part of a run."""
COUNTS = {"fds": 2.0, "keys": 100.0}
_MOST = 1200
"""Samples that a trend is computed from; more are thinned out evenly (pairs are many)."""


class Soak(msgspec.Struct, kw_only=True):
    """A whole run, as read."""

    header: Header
    samples: list[Sample]
    events: list[Event]
    footer: Footer | None


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """One series after the warm-up: where it stood in the middle, by how much it grew, and by how much it might."""

    name: str
    unit: str
    middle: float
    growth: float
    bound: float

    @property
    def flat(self) -> bool:
        return self.growth <= self.bound


def collect(lines: Iterable[Line]) -> Soak:
    """Raises ``ValueError`` where there is no header."""
    header, footer = None, None
    samples: list[Sample] = []
    events: list[Event] = []
    for line in lines:
        match line:
            case Header():
                header = line
            case Sample():
                samples.append(line)
            case Event():
                events.append(line)
            case Footer():
                footer = line
    if header is None:
        raise ValueError("these are not the samples of a soak: there is no header")
    return Soak(header=header, samples=samples, events=events, footer=footer)


def theil_sen(points: Sequence[tuple[float, float]]) -> float:
    """The median slope of all pairs; 0 for fewer than two points."""
    thin = points[:: max(1, -(-len(points) // _MOST))]
    slopes = [(y - v) / (x - u) for index, (x, y) in enumerate(thin) for u, v in thin[:index] if x > u]
    return statistics.median(slopes) if slopes else 0.0


def judge(soak: Soak, bound: float = BOUND) -> list[Trend]:
    """The trend of every judged series."""
    samples = [sample for sample in soak.samples if sample.t >= soak.header.warm_up]
    found = []
    for name in soak.header.judged:
        measured = [(sample.t, sample.processes[name]) for sample in samples if name in sample.processes]
        found.append(_trend(f"{name}: resident", "B", [(t, one.rss) for t, one in measured], bound))
        found.append(_trend(f"{name}: descriptors", "", [(t, one.fds) for t, one in measured], COUNTS["fds"]))
    found.append(_trend("redis: used_memory", "B", [(sample.t, sample.used_memory) for sample in samples], bound))
    found.append(_trend("redis: keys", "", [(sample.t, sample.keys) for sample in samples], COUNTS["keys"]))
    return found


def _trend(name: str, unit: str, points: Sequence[tuple[float, float]], bound: float) -> Trend:
    seconds = points[-1][0] - points[0][0] if points else 0.0
    middle = statistics.median([value for _, value in points]) if points else 0.0
    return Trend(name=name, unit=unit, middle=middle, growth=theil_sen(points) * seconds, bound=bound)


def lost(footer: Footer) -> int:
    """Jobs of clients that live which had no end, or another one than they had to have."""
    return footer.unanswered + sum(footer.unexpected.values())


def ok(soak: Soak, trends: Sequence[Trend]) -> bool:
    """The promise: an end, every job as it had to be, nothing left in a list, everything flat."""
    footer = soak.footer
    kept = footer is not None and not lost(footer) and not any(footer.left.values())
    return kept and bool(trends) and all(trend.flat for trend in trends)


def render(soak: Soak, trends: Sequence[Trend]) -> str:
    """For a terminal."""
    header, footer = soak.header, soak.footer
    lines = [
        f"{header.server}; {header.rate:g} jobs/s; samples every {header.every:g} s, judged from {header.warm_up:g} s"
    ]
    if footer is None:
        lines.append("the run has no end: it was broken off")
    else:
        ends = ", ".join(f"{count} {name}" for name, count in sorted(footer.ended.items(), key=lambda item: -item[1]))
        lines += [
            f"{footer.submitted} jobs in {footer.seconds:.0f} s: {ends}",
            f"unanswered: {footer.unanswered}; not as they had to be: {footer.unexpected or 0}",
            f"outstanding when their client was killed: {footer.died_with}, {footer.told_the_dying} of them told to it",
            "left in Redis: " + (", ".join(f"{name} {n}" for name, n in footer.left.items() if n) or "nothing"),
            "done to the fleet: " + (_events(soak.events) or "nothing"),
        ]
    lines += ["", f"{'after the warm-up':<38}{'middle':>12}{'growth':>12}{'bound':>12}"]
    lines += [
        f"{trend.name:<38}{_amount(trend.middle, trend.unit):>12}{_amount(trend.growth, trend.unit):>12}"
        f"{_amount(trend.bound, trend.unit):>12}{'' if trend.flat else '  GROWS'}"
        for trend in trends
    ]
    lines.append("nothing lost, memory flat" if ok(soak, trends) else "NOT OK")
    return "\n".join(lines) + "\n"


def _events(events: Sequence[Event]) -> str:
    names = [event.what for event in events]
    return ", ".join(f"{names.count(name)} × {name}" for name in sorted(set(names)))


def _amount(value: float, unit: str) -> str:
    return f"{value / 2**20:.2f} MiB" if unit == "B" else f"{value:.1f}"
