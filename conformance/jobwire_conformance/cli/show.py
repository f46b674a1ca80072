"""The evidence of single verdicts, as text. Without a pattern: of all that did not do well.

The peers' answers, the traffic (``>`` from the peer, ``<`` to it), the keys left in Redis, the lines that the peers
wrote to stderr. It is taken from the last run, or from ``--report FILE``.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from pathlib import Path

from jobwire_conformance.cli.common import last_report
from jobwire_conformance.driver.text import block, one_line
from jobwire_conformance.peers.registry import UsageFault
from jobwire_conformance.report.report import Report, VerdictLine, read_report
from jobwire_conformance.report.verdicts import Exit

__all__ = ["HELP", "configure", "evidence", "run"]

HELP = "the evidence of one verdict"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("pattern", nargs="*", metavar="GLOB", help="case IDs, or parts of the names of instances")
    parser.add_argument("--report", type=Path, default=last_report(), metavar="FILE", help="JSON lines (the last run)")


def run(options: argparse.Namespace) -> int:
    """Print the evidence; status 2 where there is no such report or verdict."""
    try:
        report = read_report(options.report)
    except OSError as error:
        raise UsageFault(f"no report at {options.report}: {error.strerror}") from None
    chosen = _chosen(report, options.pattern)
    if options.pattern and not chosen:
        raise UsageFault(f"no verdict of {options.report} matches {' '.join(options.pattern)}")
    sys.stdout.write("\n".join(evidence(line) for line in chosen) or "Nothing went wrong.\n")
    return Exit.CONFORMANT


def _chosen(report: Report, patterns: list[str]) -> list[VerdictLine]:
    if not patterns:
        return [line for line in report.verdicts if not line.verdict.good and not line.lacks]
    return [
        line
        for line in report.verdicts
        if any(fnmatch.fnmatchcase(line.case, pattern) or pattern in line.name for pattern in patterns)
    ]


def evidence(line: VerdictLine) -> str:
    """Everything that is known of one verdict."""
    requirements = ", ".join(f"docs/PROTOCOL.md#{name}" for name in line.proves)
    parts = [
        one_line(f"{line.verdict.sign} {line.verdict}  {line.name}"),
        one_line(f"  must hold: {line.title}"),
        one_line(f"  requires:  {requirements}"),
        one_line(f"  source:    {line.source}"),
    ]
    for what, text in (("reason", line.reason), ("expected", line.expected), ("actual", line.actual)):
        parts += [block(f"  {what + ':':<10} ", text)] if text else []
    parts += _block("steps", line.steps)
    parts += _block("wire (seconds, connection, role)", [_wire(*item) for item in _events(line)])
    parts += [f"    … {line.wire_left_out} events in the middle are left out"] if line.wire_left_out else []
    parts += _block("left in Redis", [f"{key} = {json.dumps(value)}" for key, value in line.keys.items()])
    for who, said in line.stderr.items():
        parts += _block(f"stderr of {who}", said.rstrip("\n").split("\n")[-40:])
    return "\n".join(parts) + "\n"


def _events(line: VerdictLine) -> list[tuple[float, int, str, str, str]]:
    return [
        (item.t, item.connection, item.role, item.direction, item.text or f"({item.kind})")
        for item in line.wire
        if item.text or item.kind in {"open", "close"}
    ]


def _wire(seconds: float, connection: int, role: str, direction: str, text: str) -> str:
    return f"{seconds:8.3f} {connection:>2} {role:<7} {direction or ' '} {text}"


def _block(title: str, lines: list[str]) -> list[str]:
    return [one_line(f"  {title}:"), *(block("    ", text) for text in lines)] if lines else []
