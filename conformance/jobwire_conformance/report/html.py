"""One self-contained HTML file: the matrix, filters, a page a case, the evidence; no network, no libraries.

The data of the lists is one JSON block. The evidence is packed, some verdicts a block, and unpacked by the page
when it is looked at, so that a report of fifteen thousand verdicts opens at once and can be sent by mail.
"""

from __future__ import annotations

import base64
import html
import json
import zlib
from collections.abc import Iterator
from importlib import resources
from typing import Any

import msgspec

from jobwire_conformance.report.conclusion import judgement
from jobwire_conformance.report.report import Report, VerdictLine
from jobwire_conformance.report.verdicts import Verdict

__all__ = ["render"]

_EVIDENCE = ("expected", "actual", "wire", "wire_left_out", "keys", "stderr", "steps")
_FIELDS = ("case", "mode", "client", "worker", "axes", "verdict", "reason", "link", "seconds", "tries", "required")
#: Verdicts whose evidence is packed together: neighbours are alike, so that most of it is said once.
_BLOCK = 40


def _safe(value: Any) -> str:
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


def _packed(report: Report) -> Iterator[str]:
    """The evidence, a script element a block."""
    for number, start in enumerate(range(0, len(report.verdicts), _BLOCK)):
        lines = report.verdicts[start : start + _BLOCK]
        text = msgspec.json.encode([{name: getattr(line, name) for name in _EVIDENCE} for line in lines])
        packed = base64.b64encode(zlib.compress(text, 9)).decode("ascii")
        yield f'<script type="text/plain" id="e{number}">{packed}</script>'


def _asset(name: str) -> str:
    return resources.files("jobwire_conformance.report").joinpath("assets", name).read_text(encoding="utf-8")


def render(report: Report) -> str:
    """The whole page."""
    plain = msgspec.to_builtins
    data = {
        "header": plain(report.header),
        "footer": plain(report.footer),
        "judgement": judgement(report),
        "cases": _cases(report),
        "block": _BLOCK,
        "kinds": [{"name": kind, "sign": kind.sign, "look": kind.look, "wrong": kind.wrong} for kind in Verdict],
        "fields": _FIELDS,
        "verdicts": [plain(_summary(line)) for line in report.verdicts],
    }
    # The suite's own parts first: the peers' own words may hold anything, these signs too.
    return (
        _asset("report.html")
        .replace("/*STYLE*/", _asset("report.css"))
        .replace("/*SCRIPT*/", _asset("report.js"))
        .replace("<!--TITLE-->", html.escape(f"jobwire conformance: {judgement(report)}"))
        .replace("<!--EVIDENCE-->", "\n".join(_packed(report)))
        .replace("/*DATA*/null", _safe(data))
    )
