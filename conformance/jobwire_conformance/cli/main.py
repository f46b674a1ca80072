"""``jobwire-conformance``: hello, run, show, list, render, merge, doctor, mutants, chaos, soak."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from endurance.chaos import command as chaos
from endurance.soak import command as soak
from jobwire_conformance.cases.case import CaseError, load_cases
from jobwire_conformance.cli import doctor, show
from jobwire_conformance.cli import hello as greeting
from jobwire_conformance.driver.values import RECURSION
from jobwire_conformance.peers.registry import UsageFault
from jobwire_conformance.peers.servers import Environment, EnvironmentFault, make_factory
from jobwire_conformance.report import terminal
from jobwire_conformance.report.claims import doubts
from jobwire_conformance.report.conclusion import merge
from jobwire_conformance.report.rendering import FORMATS, write_rendering
from jobwire_conformance.report.report import Report, ReportError, read_report
from jobwire_conformance.report.verdicts import Exit
from jobwire_conformance.run.axes import Profile
from jobwire_conformance.run.expected import Expectations, ExpectedError, default_lists, load_expected
from jobwire_conformance.run.runner import Planned
from jobwire_conformance.run.selection import Shard, failed_names
from jobwire_conformance.run.session import (
    Peers,
    Request,
    continue_report,
    make_plan,
    meet_peers,
    run_session,
    take_up,
)
from jobwire_conformance.selftest.mutation import render_table, run_mutants
from jobwire_conformance.tap import command as tap
from jobwire_conformance.tap import options as tap_options

__all__ = ["main"]

_DEFAULT_PEERS: dict[str, list[str]] = {
    "smoke": ["python"],
    "ci": ["python:*", "perl:*"],
    "full": ["python:*", "perl:*"],
}


#: Instances wait most of the time: for processes that start, for time-outs, for what must not happen.
_SLOTS = max(2, min(8, 2 * (os.cpu_count() or 1)))


def _add_slots(parser: argparse.ArgumentParser) -> None:
    said = f"instances at a time, each with a server of its own ({_SLOTS}: two a processor)"
    parser.add_argument("-j", "--jobs", type=int, default=_SLOTS, metavar="N", help=said)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jobwire-conformance",
        description="Do these two programs understand each other over Redis? Real processes, a real Redis, every byte.",
        epilog="Exit status: 0 conformant, 1 not conformant, 2 usage, 3 environment, 4 stale list of expectations. "
        "How to write a peer: docs/PEERS.md.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    greeting.configure(
        commands.add_parser("hello", help="shake hands with a peer: what does it claim?", **_long(greeting))
    )
    run = commands.add_parser("run", help="run cases between peers and report")
    _add_selection(run)
    run.add_argument("--redis", help="URL, docker[:IMAGE], local, embedded, or the path of a server binary")
    _add_slots(run)
    run.add_argument("-x", dest="max_fail", action="store_const", const=1, help="stop after the first failure")
    run.add_argument("--max-fail", type=int, default=0, metavar="N", help="stop after N failures")
    run.add_argument("--timeout-factor", type=float, default=1.0, metavar="F", help="multiply every time-out (1.0)")
    run.add_argument("--expected", type=Path, action="append", metavar="FILE",
                     help="what your peer is known to do (TOML), besides the suite's own lists")  # fmt: skip
    run.add_argument("--record", type=Path, metavar="FOLDER", help="keep the traffic of golden cases that pass there")
    run.add_argument("--resume", type=Path, metavar="REPORT", help="keep the report there while it is written; where "
                     "an interrupted run of the same words has left one, go on with it")  # fmt: skip
    run.add_argument("--list", action="store_true", help="print the instances instead of running them")
    _add_output(run)
    show.configure(commands.add_parser("show", help="the evidence of one verdict", **_long(show)), last_report())
    listing = commands.add_parser("list", help="print the instances of a run")
    _add_selection(listing)
    render = commands.add_parser("render", help="make a rendering of a report (JSON lines)")
    render.add_argument("report", type=Path)
    _add_output(render)
    join = commands.add_parser("merge", help="one report of several: shards, and repetitions of what failed")
    join.add_argument("report", type=Path, nargs="+", help="of instances that stand in several the last counts")
    _add_output(join)
    check = commands.add_parser("doctor", help="say what is here, what is missing and how to get it")
    check.add_argument("--redis")
    broken = commands.add_parser("mutants", help="run the deliberately broken peers; each must be caught")
    broken.add_argument("name", nargs="*")
    broken.add_argument("--redis")
    _add_slots(broken)
    broken.add_argument("--timeout-factor", type=float, default=1.0)
    chaos.configure(commands.add_parser("chaos", help="a mixed fleet under kill -9, cuts and restarts", **_long(chaos)))
    soak.configure(commands.add_parser("soak", help="a mixed fleet for an hour: is memory flat?", **_long(soak)))
    look = commands.add_parser("tap", help=tap_options.HELP, **_long(tap_options))
    tap_options.configure(look)
    return parser


def _long(module: ModuleType) -> dict[str, Any]:
    return {"description": module.__doc__, "formatter_class": argparse.RawDescriptionHelpFormatter}


def _chaos(options: argparse.Namespace, _words: list[str]) -> int:
    return chaos.main(options)


def _soak(options: argparse.Namespace, _words: list[str]) -> int:
    return soak.main(options)


def _tap(options: argparse.Namespace, _words: list[str]) -> int:
    return tap.main(options)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peer", action="append", metavar="PEER", help="client and worker: python[:DIALECT|:*], perl, "
                        "golden, [NAME=]cmd:PROGRAM; repeat for several")  # fmt: skip
    parser.add_argument("--client", action="append", metavar="PEER", help="client only")
    parser.add_argument("--worker", action="append", metavar="PEER", help="worker only")
    profiles = "smoke: a dozen cases; ci: every case; full: every value of every axis with each (ci)"
    parser.add_argument("--profile", choices=["smoke", "ci", "full"], default="ci", help=profiles)
    parser.add_argument("--cases", type=Path, metavar="FOLDER", help="cases instead of the suite's own")
    parser.add_argument(
        "--run", action="append", default=[], metavar="GLOB", help="only these: case ID, requirement, tag"
    )
    parser.add_argument("--skip", action="append", default=[], metavar="GLOB", help="not these")
    parser.add_argument("--last-failed", nargs="?", type=Path, const=last_report(), metavar="REPORT",
                        help="only what did not do well in the last run, or in that report")  # fmt: skip
    parser.add_argument("--shard", type=_shard, metavar="K/N", help="one of N parts of the run; merge joins them")


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", action="append", choices=sorted(FORMATS), help="repeat for several, with --output each"
    )
    parser.add_argument("--output", action="append", type=Path, metavar="FILE", help="default: standard output")


def last_report() -> Path:
    """Where the report of the last run is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "jobwire" / "conformance-last.jsonl"


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION))
    try:
        options = _parser().parse_args(words)
    except SystemExit as end:
        return Exit.CONFORMANT if end.code in (0, None) else Exit.USAGE
    try:
        return _COMMANDS[options.command](options, words)
    except (UsageFault, CaseError, ExpectedError, ReportError) as fault:
        return _say(str(fault), Exit.USAGE)
    except EnvironmentFault as fault:
        return _say(str(fault), Exit.ENVIRONMENT)
    except KeyboardInterrupt as end:
        return _say(": ".join(["interrupted", *map(str, end.args)]), Exit.NOT_CONFORMANT)


def _say(message: str, status: Exit) -> int:
    sys.stderr.write(f"jobwire-conformance: {message}\n")
    return status


def _request(options: argparse.Namespace, words: list[str]) -> Request:
    chosen = list(options.peer or [])
    clients, workers = [*chosen, *(options.client or [])], [*chosen, *(options.worker or [])]
    profile: Profile = options.profile
    if not clients and not workers:
        clients = workers = _DEFAULT_PEERS[profile]
    only = None
    if options.last_failed:
        only = failed_names(options.last_failed)
        if only is None:
            raise UsageFault(f"there is no run to take the failures from at {options.last_failed}")
    return Request(
        cases=load_cases(options.cases) if options.cases else load_cases(),
        clients=clients,
        workers=workers,
        profile=profile,
        run=options.run,
        skip=options.skip,
        only=only,
        shard=options.shard,
        jobs=getattr(options, "jobs", 1),
        max_fail=getattr(options, "max_fail", 0) or 0,
        timeout_factor=getattr(options, "timeout_factor", 1.0),
        record=getattr(options, "record", None),
        command=["jobwire-conformance", *words],
    )


def _run(options: argparse.Namespace, words: list[str]) -> int:
    request = _request(options, words)
    if options.list:
        return _list(options, words)
    _check_outputs(options)
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
    _write(report, options)
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
        sys.stderr.write(f"missing: {name}: {why}\n")
    for spec in peers.specs.values():
        sys.stderr.writelines(f"note: {spec.name}: {doubt}\n" for doubt in doubts(spec.hello))
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


def _list(options: argparse.Namespace, words: list[str]) -> int:
    request = _request(options, words)
    peers = asyncio.run(meet_peers(request))
    plan = make_plan(request, peers)
    for item in plan:
        sys.stdout.write(f"{item.instance.name}\n")
    sys.stderr.write(_tally(plan))
    return Exit.CONFORMANT


def _tally(plan: list[Planned]) -> str:
    cases = {item.instance.case.id for item in plan}
    return f"{len(cases)} cases, {len(plan)} instances\n"


def _check_outputs(options: argparse.Namespace) -> None:
    formats, outputs = options.format or [], options.output or []
    if len(outputs) > max(1, len(formats)) or (len(formats) > 1 and len(outputs) != len(formats)):
        raise UsageFault("several formats need an --output each, in the same order")


def _write(report: Report, options: argparse.Namespace) -> None:
    formats: list[str] = options.format or ["terminal"]
    outputs: list[Path | None] = list(options.output or [None])
    for name, output in zip(formats, outputs, strict=False):
        write_rendering(report, name, output)
    if options.format and None not in outputs and options.command != "render":
        sys.stdout.write(terminal.render(report, colour=terminal.coloured(sys.stdout)))


def _render(options: argparse.Namespace, _words: list[str]) -> int:
    _check_outputs(options)
    try:
        report = read_report(options.report)
    except OSError as error:
        raise UsageFault(f"{options.report}: {error.strerror}") from None
    _write(report, options)
    return Exit.CONFORMANT


def _merge(options: argparse.Namespace, _words: list[str]) -> int:
    _check_outputs(options)
    reports = []
    for path in options.report:
        try:
            reports.append(read_report(path))
        except OSError as error:
            raise UsageFault(f"{path}: {error.strerror}") from None
    report = merge(reports)
    _write(report, options)
    return report.footer.status


def _doctor(options: argparse.Namespace, _words: list[str]) -> int:
    return doctor.main(options.redis)


def _mutants(options: argparse.Namespace, _words: list[str]) -> int:
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


_COMMANDS = {
    "chaos": _chaos,
    "doctor": _doctor,
    "hello": lambda options, _words: greeting.main(options),
    "list": _list,
    "merge": _merge,
    "mutants": _mutants,
    "render": _render,
    "run": _run,
    "show": lambda options, _words: show.main(options),
    "soak": _soak,
    "tap": _tap,
}
