"""Run the deliberately broken peers; each must be caught by the case that is meant for it."""

from __future__ import annotations

import argparse
import asyncio
import sys

from jobwire_conformance.cli.common import add_slots
from jobwire_conformance.peers.servers import make_factory
from jobwire_conformance.report.verdicts import Exit
from jobwire_conformance.selftest.mutation import render_table, run_mutants

HELP = "run the deliberately broken peers; each must be caught"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="*")
    parser.add_argument("--redis")
    add_slots(parser)
    parser.add_argument("--timeout-factor", type=float, default=1.0)


def run(options: argparse.Namespace) -> int:
    rows = asyncio.run(
        run_mutants(
            make_factory(options.redis),
            jobs=options.jobs,
            timeout_factor=options.timeout_factor,
            only=options.name or None,
        )
    )
    sys.stdout.write(render_table(rows))
    return Exit.CONFORMANT if rows and all(row.caught for row in rows) else Exit.NOT_CONFORMANT
