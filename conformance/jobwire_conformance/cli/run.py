"""Run cases between peers and report.

Exit status: 0 conformant, 1 not conformant, 2 usage, 3 environment, 4 stale list of expectations.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

from jobwire_conformance.cli import list as listing
from jobwire_conformance.cli.common import (
    add_output,
    add_selection,
    add_slots,
    check_outputs,
    last_report,
    request_of,
    write_report,
)
from jobwire_conformance.driver.text import one_line
from jobwire_conformance.peers.servers import Environment, make_factory
from jobwire_conformance.report import terminal
from jobwire_conformance.report.claims import doubts
from jobwire_conformance.report.report import Report
from jobwire_conformance.run.expected import Expectations, default_lists, load_expected
from jobwire_conformance.run.session import (
    Peers,
    Request,
    continue_report,
    make_plan,
    meet_peers,
    run_session,
    take_up,
)

HELP = "run cases between peers and report"


def configure(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)
    parser.add_argument("--redis", help="URL, docker[:IMAGE], local, embedded, or the path of a server binary")
    add_slots(parser)
    parser.add_argument("-x", dest="max_fail", action="store_const", const=1, help="stop after the first failure")
    parser.add_argument("--max-fail", type=int, default=0, metavar="N", help="stop after N failures")
    parser.add_argument("--timeout-factor", type=float, default=1.0, metavar="F", help="multiply every time-out (1.0)")
    parser.add_argument("--expected", type=Path, action="append", metavar="FILE",
                        help="what your peer is known to do (TOML), besides the suite's own lists")  # fmt: skip
    parser.add_argument(
        "--record", type=Path, metavar="FOLDER", help="keep the traffic of golden cases that pass there"
    )
    parser.add_argument("--resume", type=Path, metavar="REPORT", help="keep the report there while it is written; "
                        "where an interrupted run of the same words has left one, go on with it")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print the instances instead of running them")
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    if options.list:
        return listing.run(options)
    request = request_of(options)
    check_outputs(options)
    environment = make_factory(options.redis)
    expectations = _expectations(options, request)
    place: Path = options.resume or last_report().with_name(f"conformance-{os.getpid()}.part")
    for path in (place, last_report()):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        report = asyncio.run(_whole_run(request, environment, expectations, place))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise KeyboardInterrupt(f"go on with: --resume {place}") from None
    if options.resume is None:
        place.replace(last_report())
    else:
        shutil.copyfile(place, last_report())
    write_report(report, options)
    return report.footer.status


def _expectations(options: argparse.Namespace, request: Request) -> Expectations:
    """The suite's own lists, which speak of its own cases, and those that were given."""
    own = load_expected([] if options.cases else default_lists())
    given = load_expected(options.expected or [])
    foreign = any(name.startswith("cmd") or "=cmd" in name for name in [*request.clients, *request.workers])
    return Expectations([*own.entries, *given.entries], borrowed=len(own.entries) if foreign else 0)


async def _whole_run(request: Request, environment: Environment, expectations: Expectations, place: Path) -> Report:
    # A run that is told to end ends its peers and servers too.
    if (this := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    peers = await meet_peers(request)
    for name, why in peers.missing.items():
        sys.stderr.write(one_line(f"missing: {name}: {why}") + "\n")
    for spec in peers.specs.values():
        sys.stderr.writelines(one_line(f"note: {spec.name}: {doubt}") + "\n" for doubt in doubts(spec.hello))
    await _add_replays(request, peers)
    plan = make_plan(request, peers)
    begun = take_up(place, request, peers, plan)
    progress = terminal.Progress(len(plan), done=len(begun.verdicts) if begun else 0)
    with continue_report(place, begun) as out:
        report = await run_session(
            request, peers, plan, environment, expectations, begun=begun, out=out, on_verdict=progress
        )
    progress.end()
    return report


async def _add_replays(request: Request, peers: Peers) -> None:
    """Where Perl was asked for and is not here, recordings of it are played instead; the run stays not conformant."""
    if not any(name.startswith("perl") for name in peers.missing):
        return
    replay = Request(cases=request.cases, clients=["golden:*"], workers=["golden:*"])
    found = await meet_peers(replay)
    peers.specs.update(found.specs)
    peers.commands.update(found.commands)
    peers.clients += found.clients
    peers.workers += found.workers
