"""The renderings of a report, by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from jobwire_conformance.report import badge, junit, markdown, matrix, terminal
from jobwire_conformance.report import html as html_report
from jobwire_conformance.report.report import Line, Report, encode_line

__all__ = ["FORMATS", "write_rendering"]


def _jsonl(report: Report) -> str:
    lines: list[Line] = [report.header, *report.verdicts, report.footer]
    return "".join(encode_line(line).decode() + "\n" for line in lines)


#: name -> rendering
FORMATS: dict[str, Callable[[Report], str]] = {
    "terminal": terminal.render,
    "markdown": markdown.render,
    "matrix": matrix.render,
    "junit": junit.render,
    "jsonl": _jsonl,
    "html": html_report.render,
    "badge-svg": badge.render_svg,
    "badge-json": badge.render_json,
}


def write_rendering(report: Report, name: str, output: Path | None) -> None:
    """Write one rendering to a file, or to standard output."""
    if name == "terminal" and output is None:
        sys.stdout.write(terminal.render(report, colour=terminal.coloured(sys.stdout)))
        return
    text = FORMATS[name](report)
    if output is None:
        sys.stdout.write(text)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
