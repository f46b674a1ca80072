"""The samples of a soak as one SVG picture, without anything to install; readable on light and dark pages.

Every panel has time on its horizontal axis. Lines are the median of each minute (of each sixtieth part of a run that is
shorter than an hour), so that a single large job does not hide the trend.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from xml.sax.saxutils import escape

import msgspec

from endurance.soak.samples import Sample
from endurance.soak.verdict import BOUND, Soak

__all__ = ["draw"]

_WIDE, _LEFT, _RIGHT = 860, 56, 210
_TALL, _HEAD, _GAP = 150, 34, 42
_MIB = 2**20
_FONT = 'font-family="sans-serif" font-size="12"'
_STYLE = """\
<style>
  .page { fill: #ffffff } text { fill: #1f2328 } .quiet { fill: #59636e } .grid { stroke: #d1d9e0; stroke-width: 1 }
  .bound { stroke: #59636e; stroke-width: 1; stroke-dasharray: 4 3 }
  polyline { fill: none; stroke-width: 1.5 } .c0 { stroke: #0969da } .c1 { stroke: #1a7f37 } .c2 { stroke: #bc4c00 }
  .c3 { stroke: #8250df } .c4 { stroke: #bf3989 } .c5 { stroke: #9a6700 } .c6 { stroke: #1b7c83 }
  .c7 { stroke: #59636e } .c8 { stroke: #cf222e } .dash { stroke-dasharray: 5 3 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .quiet { fill: #9198a1 }   .grid { stroke: #3d444d }
    .bound { stroke: #9198a1 } .c0 { stroke: #58a6ff } .c1 { stroke: #3fb950 } .c2 { stroke: #f0883e }
    .c3 { stroke: #bc8cff } .c4 { stroke: #f778ba } .c5 { stroke: #d29922 } .c6 { stroke: #39c5cf }
    .c7 { stroke: #9198a1 } .c8 { stroke: #ff7b72 }
  }
</style>"""

Points = Sequence[tuple[float, float]]


class _Panel(msgspec.Struct, kw_only=True):
    """``lines`` by name; ``low`` and ``high`` of the vertical axis; ``rule``: a dashed line at this height."""

    title: str
    lines: Mapping[str, Points]
    low: float
    high: float
    logarithmic: bool = False
    rule: float | None = None
    show: Callable[[float], str] = "{:,.0f}".format


def draw(soak: Soak) -> str:
    """The whole picture."""
    header = soak.header
    last = soak.samples[-1].t if soak.samples else 1.0
    panels = _panels(soak, step=min(60.0, max(last, 1.0) / 60))
    height = _HEAD + 26 + len(panels) * (_TALL + _GAP)
    title = f"{last / 60:.0f} minutes at {header.rate:g} jobs/s"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {height}" {_FONT} role="img">',
        f"<title>{escape(title)}: memory, keys and latency</title>",
        _STYLE,
        f'<rect class="page" width="{_WIDE}" height="{height}"/>',
        f'<text x="12" y="22" font-size="15">{escape(title)}, {escape(header.server)}</text>',
    ]
    # A process has one colour in all panels.
    styles: dict[str, str] = {}
    for number, panel in enumerate(panels):
        for index, name in enumerate(panel.lines):
            styles.setdefault(name, f"c{index % 9}" + (" dash" if index >= 9 or "p99" in name else ""))
        parts += _panel(panel, styles, _HEAD + 26 + number * (_TALL + _GAP), last, header.warm_up)
    return "\n".join([*parts, "</svg>", ""])


def _panels(soak: Soak, step: float) -> list[_Panel]:
    samples, header = soak.samples, soak.header
    names = sorted({name for sample in samples for name in sample.processes})
    rss = {name: _medians(_of(samples, name), step) for name in names}
    judged = {name: rss[name] for name in header.judged if name in rss}
    used = _medians([(sample.t, sample.used_memory) for sample in samples], step)
    growth = {name: _since(points, header.warm_up) for name, points in {**judged, "redis": used}.items()}
    reach = max([1.5 * BOUND / _MIB, *(abs(y) for points in growth.values() for _, y in points)])
    lists = {"keys": _medians([(sample.t, sample.keys) for sample in samples], step)}
    lists["outstanding"] = _medians([(sample.t, sample.outstanding) for sample in samples], step)
    lists["in all lists"] = _medians([(sample.t, sum(sample.lists.values())) for sample in samples], step)
    times = {
        f"{client}, {what}": _medians([(s.t, s.latency[client][i]) for s in samples if client in s.latency], step)
        for client in ("client reliable", "client perl")
        for i, what in enumerate(("p50", "p99"))
    }
    descriptors = {
        name: _medians([(s.t, s.processes[name].fds) for s in samples if name in s.processes], step)
        for name in (*judged, "redis")
    }
    return [
        _Panel(title="Resident memory, MiB", lines=_scaled(rss), low=0, high=_most(_scaled(rss))),
        _Panel(
            title="Growth since the warm-up, MiB (of redis: used_memory; dashed: what is allowed)",
            lines=growth,
            low=-reach,
            high=reach,
            rule=BOUND / _MIB,
            show="{:+.1f}".format,
        ),
        _Panel(title="Keys and jobs", lines=lists, low=0, high=_most(lists)),
        _Panel(title="File descriptors", lines=descriptors, low=0, high=_most(descriptors)),
        _Panel(
            title="Latency of jobs that do nothing, ms",
            lines=times,
            low=0.1,
            high=_most(times),
            logarithmic=True,
            show=_milliseconds,
        ),
    ]


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _of(samples: Iterable[Sample], name: str) -> Points:
    return [(sample.t, sample.processes[name].rss) for sample in samples if name in sample.processes]


def _medians(points: Points, step: float) -> Points:
    parts: dict[int, list[tuple[float, float]]] = {}
    for t, value in points:
        parts.setdefault(int(t // step), []).append((t, value))
    return [
        (statistics.fmean([t for t, _ in part]), statistics.median([v for _, v in part])) for part in parts.values()
    ]


def _scaled(lines: Mapping[str, Points]) -> dict[str, Points]:
    return {name: [(t, value / _MIB) for t, value in points] for name, points in lines.items()}


def _since(points: Points, begin: float) -> Points:
    """The growth since ``begin``, in MiB, from the middle of the first tenth after it."""
    after = [(t, value) for t, value in points if t >= begin]
    base = statistics.median([value for _, value in after[: max(1, len(after) // 10)]]) if after else 0.0
    return [(t, (value - base) / _MIB) for t, value in after]


def _most(lines: Mapping[str, Points]) -> float:
    """A round number that is not less than anything in ``lines``."""
    most = max([1.0, *(value for points in lines.values() for _, value in points)])
    unit = 10 ** math.floor(math.log10(most))
    return next(float(unit * factor) for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if unit * factor >= most)


def _panel(panel: _Panel, styles: Mapping[str, str], top: int, last: float, warm_up: float) -> list[str]:
    right, bottom = _WIDE - _RIGHT, top + _TALL

    def x(t: float) -> float:
        return _LEFT + (right - _LEFT) * t / max(last, 1.0)

    def y(value: float) -> float:
        if panel.logarithmic:
            share = math.log(max(value, panel.low) / panel.low) / math.log(panel.high / panel.low)
        else:
            share = (value - panel.low) / (panel.high - panel.low)
        return bottom - _TALL * share

    parts = [f'<text x="{_LEFT}" y="{top - 8}" font-size="13">{escape(panel.title)}</text>']
    for value in _ticks(panel):
        parts += [
            f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>',
            f'<text class="quiet" x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{panel.show(value)}</text>',
        ]
    for minute in _minutes(last):
        words = f"{minute:g} min"
        parts.append(
            f'<text class="quiet" x="{x(minute * 60):.1f}" y="{bottom + 15}" text-anchor="middle">{words}</text>'
        )
    parts.append(f'<line class="bound" x1="{x(warm_up):.1f}" x2="{x(warm_up):.1f}" y1="{top}" y2="{bottom}"/>')
    if panel.rule is not None:
        parts.append(
            f'<line class="bound" x1="{_LEFT}" x2="{right}" y1="{y(panel.rule):.1f}" y2="{y(panel.rule):.1f}"/>'
        )
    ends = _labels({name: y(points[-1][1]) for name, points in panel.lines.items() if points}, top, bottom)
    for name, points in panel.lines.items():
        if not points:
            continue
        style = styles[name]
        path = " ".join(f"{x(t):.1f},{y(value):.1f}" for t, value in points)
        label = f"{name} {panel.show(points[-1][1])}"
        parts += [
            f'<polyline class="{style}" points="{path}"/>',
            f'<polyline class="{style}" points="{right + 4},{y(points[-1][1]):.1f} {right + 16},{ends[name]:.1f}"/>',
            f'<text x="{right + 19}" y="{ends[name] + 4:.1f}" font-size="11">{escape(label)}</text>',
        ]
    return parts


def _ticks(panel: _Panel) -> list[float]:
    if panel.logarithmic:
        return [10.0**power for power in range(-1, 7) if panel.low <= 10.0**power <= panel.high]
    return [panel.low + (panel.high - panel.low) * part / 4 for part in range(5)]


def _minutes(last: float) -> list[float]:
    step = next((step for step in (0.1, 0.5, 1, 2, 5, 10, 20, 60) if last / 60 / step <= 8), 120)
    return [step * number for number in range(int(last / 60 / step) + 1)]


def _labels(wanted: Mapping[str, float], top: float, bottom: float) -> dict[str, float]:
    """Heights for labels, as near as possible to their lines without standing on one another."""
    found: dict[str, float] = {}
    step = min(13.0, (bottom - top + 12) / max(1, len(wanted)))
    at = top - step
    for name, height in sorted(wanted.items(), key=lambda item: item[1]):
        at = found[name] = max(height, at + step)
    limit = bottom + 6 + step
    for name in reversed(list(found)):
        found[name] = limit = min(found[name], limit - step)
    return found
