"""One run from beginning to end: peers, plan, verdicts, report."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

from jobwire_conformance.cases.case import Case
from jobwire_conformance.driver.process import PeerCommand, PeerFault
from jobwire_conformance.driver.protocol import DRIVER_VERSION
from jobwire_conformance.peers.registry import MissingPeer, UsageFault, resolve
from jobwire_conformance.peers.servers import Environment
from jobwire_conformance.report.conclusion import conclude, now
from jobwire_conformance.report.report import (
    Header,
    PeerFacts,
    Report,
    ReportWriter,
    VerdictLine,
    read_unfinished,
)
from jobwire_conformance.run.axes import PeerSpec, Profile, expand
from jobwire_conformance.run.expected import Expectations
from jobwire_conformance.run.runner import Planned, RunOptions, probe, run_all
from jobwire_conformance.run.selection import Shard, selected

__all__ = ["Begun", "Peers", "Request", "continue_report", "make_plan", "meet_peers", "run_session", "take_up"]


@dataclass
class Request:
    """The options of the command line."""

    cases: list[Case]
    clients: list[str]
    workers: list[str]
    profile: Profile = "ci"
    run: list[str] = field(default_factory=list)
    skip: list[str] = field(default_factory=list)
    only: set[str] | None = None
    shard: Shard | None = None
    jobs: int = 1
    max_fail: int = 0
    timeout_factor: float = 1.0
    record: Path | None = None
    command: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Begun:
    """The findings of an interrupted run."""

    header: Header
    verdicts: dict[str, VerdictLine]


@dataclass
class Peers:
    """The peers of a run: who is here, who is not and why."""

    specs: dict[str, PeerSpec] = field(default_factory=dict)
    commands: dict[str, PeerCommand] = field(default_factory=dict)
    clients: list[PeerSpec] = field(default_factory=list)
    workers: list[PeerSpec] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def facts(self) -> list[PeerFacts]:
        """For the header of the report."""
        found = [
            PeerFacts(
                name=name,
                dialect=spec.dialect,
                implementation=spec.hello.name,
                version=spec.hello.version,
                language=spec.hello.language,
                runtime=spec.hello.runtime,
                libraries=spec.hello.libraries,
                roles=list(spec.hello.roles),
                modes=list(spec.hello.modes),
                codecs=list(spec.hello.codecs),
                behaviours=list(spec.hello.behaviours),
            )
            for name, spec in self.specs.items()
        ]
        return found + [PeerFacts(name=name, missing=why) for name, why in self.missing.items()]


async def meet_peers(request: Request) -> Peers:
    """Find every peer that was asked for and shake hands with it; :class:`peers.registry.UsageFault` for bad names."""
    peers = Peers()
    for role, names in (("client", request.clients), ("worker", request.workers)):
        for name in names:
            for spec in await _meet(peers, name, request.timeout_factor):
                side = peers.clients if role == "client" else peers.workers
                if spec not in side:
                    side.append(spec)
    return peers


async def _meet(peers: Peers, name: str, factor: float) -> list[PeerSpec]:
    try:
        commands = resolve(name)
    except MissingPeer as missing:
        peers.missing[name] = str(missing)
        return []
    found = []
    for command in commands:
        if command.name not in peers.specs and command.name not in peers.missing:
            try:
                hello = await probe(command, seconds=20 * factor)
            except PeerFault as fault:
                peers.missing[command.name] = str(fault)
                continue
            if command.dialect not in hello.dialects:
                peers.missing[command.name] = (
                    f"it speaks {', '.join(hello.dialects) or 'no dialect'}, not {command.dialect}"
                )
                continue
            peers.specs[command.name] = PeerSpec(command.name, command.dialect, hello)
            peers.commands[command.name] = command
        if command.name in peers.specs:
            found.append(peers.specs[command.name])
    return found


def make_plan(request: Request, peers: Peers) -> list[Planned]:
    """Every instance of the run, in order."""
    plan = [
        Planned(*item)
        for item in expand(request.cases, peers.clients, peers.workers, request.profile)
        if selected(item[0], request.run, request.skip, request.only)
    ]
    return plan if request.shard is None else request.shard.part(plan)


async def run_session(
    request: Request,
    peers: Peers,
    plan: list[Planned],
    environment: Environment,
    expectations: Expectations,
    *,
    begun: Begun | None = None,
    out: BinaryIO | None = None,
    on_verdict: Callable[[VerdictLine], None] | None = None,
) -> Report:
    """Run the plan; the whole report, which is also written to ``out`` line by line.

    ``begun`` holds the findings of an interrupted run of the same plan (:func:`take_up`), and ``out`` holds already
    (:func:`continue_report`); only the rest is run.
    """
    writer = ReportWriter(out)
    expectations.hellos = {name: spec.hello for name, spec in peers.specs.items()}
    header = begun.header if begun is not None else await _header(request, peers, plan, environment)
    earlier = begun.verdicts if begun is not None else {}
    clock = time.monotonic() - max((line.at for line in earlier.values()), default=0.0)
    if begun is None:
        writer.write(header)

    def tell(line: VerdictLine) -> None:
        writer.write(line)
        if on_verdict is not None:
            on_verdict(line)

    options = RunOptions(
        commands=peers.commands,
        timeout_factor=request.timeout_factor,
        jobs=request.jobs,
        max_fail=request.max_fail,
        record=request.record,
        clock=clock,
        on_verdict=tell,
    )
    rest = [item for item in plan if item.instance.name not in earlier]
    found = {line.name: line for line in await run_all(rest, environment, options, expectations)} | earlier
    verdicts = [found[item.instance.name] for item in plan if item.instance.name in found]
    # Profile ci takes a part of the axes, and another one with each new case: only the entries that exist matter.
    possible = [item[0] for item in expand(request.cases, peers.clients, peers.workers, "full")]
    names = [[spec.name for spec in specs] for specs in (peers.clients, peers.workers)]
    unused = expectations.unused(possible, *names)
    footer = conclude(header, verdicts, unused, seconds=time.monotonic() - clock)
    writer.write(footer)
    return Report(header=header, verdicts=verdicts, footer=footer)


async def _header(request: Request, peers: Peers, plan: list[Planned], environment: Environment) -> Header:
    async with environment.factory() as server:
        redis = {"version": server.version, "origin": environment.origin}
    return Header(
        suite=_version(),
        driver=DRIVER_VERSION,
        began=now(),
        profile=request.profile,
        machine=_machine(),
        redis=redis,
        peers=peers.facts(),
        cases=len({item.instance.case.id for item in plan}),
        instances=len(plan),
        timeout_factor=request.timeout_factor,
        command=request.command,
        shard=str(request.shard or ""),
        whole=not (request.run or request.skip or request.only is not None) and request.profile in {"ci", "full"},
    )


def take_up(path: Path, request: Request, peers: Peers, plan: list[Planned]) -> Begun | None:
    """The findings of the run at ``path``, if there is one; :class:`UsageFault` where it was another run."""
    if not path.exists() or not path.stat().st_size:
        return None
    header, lines = read_unfinished(path)
    same = {
        "suite": (header.suite, _version()),
        "profile": (header.profile, request.profile),
        "time-out factor": (header.timeout_factor, request.timeout_factor),
        "peers": ([peer.name for peer in header.peers], [peer.name for peer in peers.facts()]),
    }
    for what, (theirs, ours) in same.items():
        if theirs != ours:
            raise UsageFault(f"{path} is of a run with another {what}: {theirs}, now {ours}")
    planned = {item.instance.name for item in plan}
    if header.instances != len(planned) or not planned.issuperset(line.name for line in lines):
        raise UsageFault(f"{path} is of a run of other instances: give the words of that run again")
    return Begun(header, {line.name: line for line in lines})


def continue_report(path: Path, begun: Begun | None) -> BinaryIO:
    """The report at ``path``, open for more lines: new, or with the findings of an interrupted run."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with fresh.open("wb") as out:
        writer = ReportWriter(out)
        if begun is not None:
            writer.write(begun.header)
            for line in begun.verdicts.values():
                writer.write(line)
    fresh.replace(path)
    return path.open("ab")


def _version() -> str:
    try:
        return metadata.version("jobwire")
    except metadata.PackageNotFoundError:
        return "unknown"


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "distribution": _distribution(),
        "processors": str(os.cpu_count() or 0),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _distribution() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system()
    return f"{release.get('NAME', '').partition(' ')[0]} {release.get('VERSION_ID', '')}".strip()
