"""Results as Markdown and SVG, without anything to install."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from bench.measure import Sample


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def load_table(results: dict[str, Sample], base: str) -> str:
    """Return every system with its rate, its ratio to ``base`` in the same run, and the cost of a job."""
    reference = results.get(base)
    rows = []
    for name, sample in sorted(results.items(), key=lambda item: -item[1].rate):
        cpu = _cpu(sample)
        ratio = f"{sample.rate / reference.rate:.3f}" if reference else ""
        costs = f"{sum(_cpu(reference)) / sum(cpu):.3f}" if reference else ""
        rows.append(
            (
                name,
                f"{sample.rate:,.0f}",
                ratio,
                f"{sample.p50:.2f}",
                f"{sample.p99:.2f}",
                *(f"{part:.1f}" for part in cpu),
                costs,
                f"{sample.commands:.1f}",
                f"{sample.reads:.2f}",
                f"{sample.writes:.2f}",
            )
        )
    head = ("system", "jobs/s", "ratio", "p50 ms", "p99 ms", "CPU client", "CPU worker", "CPU Redis")
    return table((*head, "CPU ratio", "commands", "reads", "writes"), rows)


def _cpu(sample: Sample) -> tuple[float, float, float]:
    return sample.client_cpu, sample.worker_cpu, sample.redis_cpu


_FONT = 'font-family="sans-serif" font-size="13"'


def bars(title: str, values: dict[str, float], unit: str = "jobs/s") -> str:
    """Return a bar chart as SVG; readable on light and dark pages."""
    wide, row, left = 780, 24, 260
    ordered = sorted(values.items(), key=lambda item: -item[1])
    most = max(values.values(), default=1.0) or 1.0
    height = row * len(ordered) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {height}" {_FONT}>',
        f'<rect width="{wide}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="15" fill="#1f2328">{escape(title)}</text>',
    ]
    for number, (name, value) in enumerate(ordered):
        y = 40 + number * row
        length = max(1.0, (wide - left - 110) * value / most)
        colour = "#1a7f37" if name.startswith("jobwire") else "#8c959f"
        parts += [
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end" fill="#1f2328">{escape(name)}</text>',
            f'<rect x="{left}" y="{y + 2}" width="{length:.1f}" height="{row - 8}" fill="{colour}"/>',
            f'<text x="{left + length + 6:.1f}" y="{y + 14}" fill="#1f2328">{value:,.0f} {escape(unit)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
