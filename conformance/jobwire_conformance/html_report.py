"""One self-contained HTML file: the matrix, filters, a page a case, the evidence; no network, no libraries.

What the lists need is one JSON block; the evidence of each verdict is a block of its own that the page
reads only when it is opened, so that thousands of verdicts load at once.
"""

from __future__ import annotations

import html
import json
from importlib import resources
from typing import Any

import msgspec

from .report import Report, VerdictLine

__all__ = ["render"]

_EVIDENCE = ("expected", "actual", "wire", "wire_left_out", "keys", "stderr", "steps")
_FIELDS = ("case", "mode", "client", "worker", "axes", "verdict", "reason", "link", "seconds", "tries", "required")


def _block(value: Any) -> str:
    """JSON that is safe inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign, escape in (
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(sign, escape)
    return text


def _cases(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in report.verdicts:
        found.setdefault(
            line.case,
            {"title": line.title, "proves": line.proves, "source": line.source, "level": line.level},
        )
    return found


def _summary(line: VerdictLine) -> list[Any]:
    return [getattr(line, name) for name in _FIELDS]


def render(report: Report) -> str:
    """The whole page."""
    template = resources.files("jobwire_conformance").joinpath("assets", "report.html").read_text(encoding="utf-8")
    plain = msgspec.to_builtins
    data = {
        "header": plain(report.header),
        "footer": plain(report.footer),
        "cases": _cases(report),
        "fields": _FIELDS,
        "verdicts": [plain(_summary(line)) for line in report.verdicts],
    }
    evidence = "\n".join(
        f'<script type="application/json" id="e{number}">'
        f"{_block(plain({name: getattr(line, name) for name in _EVIDENCE}))}</script>"
        for number, line in enumerate(report.verdicts)
    )
    words = "conformant" if report.footer.conformant else "not conformant"
    return (
        template.replace("<!--TITLE-->", html.escape(f"jobwire conformance: {words}"))
        .replace("/*DATA*/null", _block(data))
        .replace("<!--EVIDENCE-->", evidence)
    )
