"""A badge: as SVG, and as the JSON that badge services read (schema version 1 of shields endpoints)."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from jobwire_conformance.report.conclusion import judgement
from jobwire_conformance.report.report import Report

__all__ = ["render_json", "render_svg"]

_LABEL = "Job::Async wire"


def _message(report: Report) -> tuple[str, str]:
    good = sum(1 for line in report.verdicts if line.verdict.good)
    tried = sum(1 for line in report.verdicts if line.verdict.tried)
    return f"{judgement(report)} {good}/{tried}", "#2da44e" if report.footer.conformant else "#cf222e"


def render_json(report: Report) -> str:
    """For badge services."""
    message, colour = _message(report)
    fields = {"schemaVersion": 1, "label": _LABEL, "message": message, "color": colour}
    return json.dumps(fields) + "\n"


def render_svg(report: Report) -> str:
    """A flat badge with a title for screen readers."""
    message, colour = _message(report)
    left, right = 10 + 7 * len(_LABEL), 10 + 7 * len(message)
    whole = left + right
    text = escape(f"{_LABEL}: {message}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" aria-label="{text}">'
        f"<title>{text}</title>"
        f'<rect width="{left}" height="20" rx="3" fill="#444"/>'
        f'<rect x="{left}" width="{right}" height="20" rx="3" fill="{colour}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2}" y="14">{escape(_LABEL)}</text>'
        f'<text x="{left + right / 2}" y="14">{escape(message)}</text></g></svg>\n'
    )
