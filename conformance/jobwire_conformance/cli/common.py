"""Shared by the commands: selecting instances, the report of the last run, renderings."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from jobwire_conformance.cases.case import load_cases
from jobwire_conformance.peers.perl import BACKENDS
from jobwire_conformance.peers.registry import UsageFault
from jobwire_conformance.report import terminal
from jobwire_conformance.report.rendering import FORMATS, write_rendering
from jobwire_conformance.report.report import Report, read_report
from jobwire_conformance.run.axes import Profile
from jobwire_conformance.run.selection import Shard, failed_names
from jobwire_conformance.run.session import Request

__all__ = [
    "add_output",
    "add_selection",
    "add_slots",
    "check_outputs",
    "last_report",
    "report_at",
    "request_of",
    "write_report",
]

_DEFAULT_PEERS: dict[str, list[str]] = {
    "smoke": ["python"],
    "ci": ["python:*", "perl:*"],
    "full": ["python:*", "perl:*"],
    "matrix": ["python:*", "perl@*:*", *(f"perl@*:0.004+{backend}" for backend in BACKENDS)],
}
#: Instances wait most of the time: for processes that start, for time-outs, for events that must not happen.
_SLOTS = max(2, min(8, 2 * (os.cpu_count() or 1)))


def last_report() -> Path:
    """Where the report of the last run is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "jobwire" / "conformance-last.jsonl"


# --- options ----------------------------------------------------------------------------------


def add_slots(parser: argparse.ArgumentParser) -> None:
    """--jobs."""
    said = f"instances at a time, each with a server of its own ({_SLOTS}: two a processor)"
    parser.add_argument("-j", "--jobs", type=int, default=_SLOTS, metavar="N", help=said)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """The options that :func:`request_of` reads."""
    parser.add_argument("--peer", action="append", metavar="PEER", help="client and worker: python[:DIALECT|:*], perl, "
                        "golden, [NAME=]cmd:PROGRAM; repeat for several")  # fmt: skip
    parser.add_argument("--client", action="append", metavar="PEER", help="client only")
    parser.add_argument("--worker", action="append", metavar="PEER", help="worker only")
    profiles = (
        "smoke: a dozen cases; ci: every case; full: every value of every axis with each; matrix: each Perl that is "
        "here, on each library stack, as client and as worker with jobwire (ci)"
    )
    parser.add_argument("--profile", choices=["smoke", "ci", "full", "matrix"], default="ci", help=profiles)
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


def add_output(parser: argparse.ArgumentParser) -> None:
    """The options that :func:`write_report` reads."""
    parser.add_argument(
        "--format", action="append", choices=sorted(FORMATS), help="repeat for several, with --output each"
    )
    parser.add_argument("--output", action="append", type=Path, metavar="FILE", help="default: standard output")


def request_of(options: argparse.Namespace) -> Request:
    """The run that was asked for. Raises :class:`UsageFault`, ``CaseError``."""
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
        command=["jobwire-conformance", *options.words],
    )


# --- reports ----------------------------------------------------------------------------------


def report_at(path: Path) -> Report:
    """The report in that file. Raises :class:`UsageFault`, ``ReportError``."""
    try:
        return read_report(path)
    except OSError as error:
        raise UsageFault(f"{path}: {error.strerror}") from None


def check_outputs(options: argparse.Namespace) -> None:
    """Raises :class:`UsageFault` where ``--format`` and ``--output`` do not go together."""
    formats, outputs = options.format or [], options.output or []
    if len(outputs) > max(1, len(formats)) or (len(formats) > 1 and len(outputs) != len(formats)):
        raise UsageFault("several formats need an --output each, in the same order")


def write_report(report: Report, options: argparse.Namespace, *, summary: bool = True) -> None:
    """All renderings that were asked for; with ``summary`` the terminal has one in any case."""
    formats: list[str] = options.format or ["terminal"]
    outputs: list[Path | None] = list(options.output or [None])
    for name, output in zip(formats, outputs, strict=False):
        write_rendering(report, name, output)
    if summary and options.format and None not in outputs:
        sys.stdout.write(terminal.render(report, colour=terminal.coloured(sys.stdout)))
