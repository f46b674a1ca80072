"""Results as Markdown and SVG."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.measure import Sample


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def load_table(results: dict[str, Sample], base: str) -> str:
    """Return every system with its rate, its ratio to ``base`` in the same run, and the cost of a job."""
    reference = results.get(base)
    rows = []
    for name, sample in sorted(results.items(), key=lambda item: -item[1].rate):
        cpu = sample.cpu_parts
        ratio = f"{sample.rate / reference.rate:.3f}" if reference else ""
        costs = f"{reference.cpu / sample.cpu:.3f}" if reference else ""
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


_OURS, _OTHERS = "#1a7f37", "#8c959f"


def bars(title: str, values: Mapping[str, float], unit: str) -> str:
    """Return a bar chart as SVG, the largest value first."""
    ordered = sorted(values.items(), key=lambda item: -item[1])
    chart = _chart("HorizontalBar", height=90 + 28 * len(ordered), title=f"{title}, {unit}", show_legend=False)
    chart.x_labels = [name for name, _ in ordered]
    ours = ("jobwire", "now")
    colours = [_OURS if name.startswith(ours) else _OTHERS for name, _ in ordered]
    chart.add(unit, [{"value": value, "color": colour} for (_, value), colour in zip(ordered, colours, strict=True)])
    return _svg(chart)


def lines(title: str, across: Sequence[str], values: Mapping[str, Sequence[float]], unit: str) -> str:
    """Return a line for each system as SVG, over ``across``, the values on a logarithmic scale."""
    options = {"logarithmic": True, "legend_at_bottom": True, "print_values": False, "margin_right": 60}
    chart = _chart("Line", height=420, title=f"{title}, {unit}", **options)
    chart.x_labels = list(across)
    for name, row in values.items():
        chart.add(name, [value if value > 0 else None for value in row])
    return _svg(chart)


def _spelled(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


_LOOK: dict[str, Any] = {"js": [], "print_values": True, "width": 780, "value_formatter": _spelled}


def _chart(kind: str, **options: Any) -> Any:
    import pygal  # by whoever draws: it changes the import system of its process

    return getattr(pygal, kind)(**{**_LOOK, **options})


def _svg(chart: Any) -> str:
    drawn = str(chart.render(is_unicode=True, disable_xml_declaration=True))
    # No script: a page of documentation shows the picture alone.
    return re.sub(r"<script.*?</script>", "", drawn, flags=re.DOTALL) + "\n"
