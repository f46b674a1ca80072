"""One report of several: shards of a run, and repetitions of failures."""

from __future__ import annotations

import argparse
from pathlib import Path

from jobwire_conformance.cli.common import add_output, check_outputs, report_at, write_report
from jobwire_conformance.report.conclusion import merge

HELP = "one report of several: shards, and repetitions of what failed"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("report", type=Path, nargs="+", help="of instances that stand in several the last counts")
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    check_outputs(options)
    report = merge([report_at(path) for path in options.report])
    write_report(report, options)
    return report.footer.status
