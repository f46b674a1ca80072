"""Markdown, for job summaries: the matrix, failures, known failures with their reasons."""

from __future__ import annotations

from collections import Counter, defaultdict

from jobwire_conformance.report.conclusion import judgement
from jobwire_conformance.report.report import Report, VerdictLine
from jobwire_conformance.report.verdicts import Verdict

__all__ = ["cell", "render"]


def cell(text: str) -> str:
    """Text in a cell of a table, in one line."""
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _matrix(report: Report) -> list[str]:
    cells: dict[tuple[str, str], Counter[Verdict]] = defaultdict(Counter)
    for line in report.verdicts:
        cells[line.client or "(runner)", line.worker or "(runner)"][line.verdict] += 1
    clients = list(dict.fromkeys(key[0] for key in cells))
    workers = list(dict.fromkeys(key[1] for key in cells))
    rows = [f"| client ↓ worker → | {' | '.join(map(cell, workers))} |", "|---" * (len(workers) + 1) + "|"]
    for client in clients:
        row = []
        for worker in workers:
            counts = cells.get((client, worker))
            row.append(" ".join(f"{verdict.sign} {count}" for verdict, count in sorted((counts or {}).items())))
        rows.append(f"| {cell(client)} | {' | '.join(row)} |")
    return rows


def _row(line: VerdictLine) -> str:
    axes = " ".join(f"{key}={value}" for key, value in line.axes.items())
    who = f"{line.client or '(runner)'} → {line.worker or '(runner)'}"
    between = cell(f"{line.mode} {who} {axes}")
    return f"| {line.verdict.sign} {line.verdict} | `{cell(line.case)}` | {between} | {cell(line.reason)} |"


def _grouped(report: Report) -> list[str]:
    """Known failures by reason: one row a reason, with the cases and pairs it covers."""
    groups: dict[tuple[str, str], list[VerdictLine]] = defaultdict(list)
    for line in report.verdicts:
        if line.verdict is Verdict.KNOWN_FAILING:
            groups[line.reason.partition(" (shown by:")[0], line.link].append(line)
    rows = []
    for (reason, link), lines in groups.items():
        cases = sorted({f"`{cell(line.case)}`" for line in lines})
        pairs = sorted({f"{line.client or '(runner)'} → {line.worker or '(runner)'}" for line in lines})
        shown = ", ".join(cases[:6]) + (f" and {len(cases) - 6} more" if len(cases) > 6 else "")
        who = ", ".join(pairs[:4]) + (f" and {len(pairs) - 4} more" if len(pairs) > 4 else "")
        rows.append(f"| {shown} | {cell(who)} | {cell(reason)} | {cell(link)} |")
    return rows


def render(report: Report) -> str:
    """The whole report."""
    header, footer = report.header, report.footer
    verdict = f"**{judgement(report)}**"
    size = f"{header.cases} cases, {header.instances} instances"
    where = cell(f"profile {header.profile}, {header.redis.get('version', '')}, suite {header.suite}")
    lines = [
        "# jobwire conformance",
        "",
        f"{verdict}: {size} in {footer.seconds:.0f} s, {where}, {header.began}.",
        "",
        *[f"* {cell(why)}" for why in footer.why],
        *[f"* `{cell(name)}` claims: {cell(text)}" for name, text in footer.claimed.items()],
        *[f"* not tried with `{cell(name)}`: {cell(text)}" for name, text in footer.not_tried.items()],
        "",
        *_matrix(report),
        "",
        "Signs: " + ", ".join(f"{verdict.sign} {verdict}" for verdict in Verdict) + ".",
    ]
    bad = [line for line in report.verdicts if line.verdict.wrong]
    if bad:
        lines += ["", "## What went wrong", "", "| verdict | case | between | reason |", "|---|---|---|---|"]
        lines += [_row(line) for line in bad[:200]]
    known = _grouped(report)
    if known:
        lines += ["", "## Known to fail", "", "| cases | pairs | reason | where |", "|---|---|---|---|", *known]
    return "\n".join(lines) + "\n"
