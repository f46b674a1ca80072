"""Make renderings of a report (JSON lines)."""

from __future__ import annotations

import argparse
from pathlib import Path

from jobwire_conformance.cli.common import add_output, check_outputs, report_at, write_report
from jobwire_conformance.report.verdicts import Exit

HELP = "make a rendering of a report (JSON lines)"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("report", type=Path)
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    check_outputs(options)
    write_report(report_at(options.report), options, summary=False)
    return Exit.CONFORMANT
