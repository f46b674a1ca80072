"""Print the instances of a run, one a line."""

from __future__ import annotations

import argparse
import asyncio
import sys

from jobwire_conformance.cli.common import add_selection, request_of
from jobwire_conformance.driver.text import one_line
from jobwire_conformance.report.verdicts import Exit
from jobwire_conformance.run.session import make_plan, meet_peers

HELP = "print the instances of a run"


def configure(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)


def run(options: argparse.Namespace) -> int:
    request = request_of(options)
    peers = asyncio.run(meet_peers(request))
    plan = make_plan(request, peers)
    sys.stdout.writelines(one_line(item.instance.name) + "\n" for item in plan)
    cases = {item.instance.case.id for item in plan}
    sys.stderr.write(f"{len(cases)} cases, {len(plan)} instances\n")
    return Exit.CONFORMANT
