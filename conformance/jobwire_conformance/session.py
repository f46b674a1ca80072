"""One run from beginning to end: peers, plan, verdicts, report."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

from .axes import PeerSpec, Profile, expand
from .cases import Case
from .driver import DRIVER_VERSION
from .expected import Expectations
from .process import PeerCommand, PeerFault
from .registry import MissingPeer, resolve
from .report import Footer, Header, PeerFacts, Report, ReportWriter, VerdictLine
from .runner import Planned, RunOptions, probe, run_all
from .selection import selected
from .servers import Environment
from .verdicts import Exit, exit_status

__all__ = ["Peers", "Request", "make_plan", "meet_peers", "run_session"]


@dataclass
class Request:
    """What was asked for on the command line."""

    cases: list[Case]
    clients: list[str]
    workers: list[str]
    profile: Profile = "ci"
    run: list[str] = field(default_factory=list)
    skip: list[str] = field(default_factory=list)
    only: set[str] | None = None
    jobs: int = 1
    max_fail: int = 0
    timeout_factor: float = 1.0
    record: Path | None = None
    command: list[str] = field(default_factory=list)


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
                behaviours=list(spec.hello.behaviours),
            )
            for name, spec in self.specs.items()
        ]
        return found + [PeerFacts(name=name, missing=why) for name, why in self.missing.items()]


async def meet_peers(request: Request) -> Peers:
    """Find every peer that was asked for and shake hands with it; :class:`.registry.UsageFault` for bad names."""
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
    return [
        Planned(*item)
        for item in expand(request.cases, peers.clients, peers.workers, request.profile)
        if selected(item[0], request.run, request.skip, request.only)
    ]


async def run_session(
    request: Request,
    peers: Peers,
    plan: list[Planned],
    environment: Environment,
    expectations: Expectations,
    *,
    out: BinaryIO | None = None,
    on_verdict: Callable[[VerdictLine], None] | None = None,
) -> Report:
    """Run the plan; the whole report, which is also written to ``out`` line by line."""
    writer = ReportWriter(out)
    began = time.monotonic()
    async with environment.factory() as server:
        redis = {"version": server.version, "origin": environment.origin}
    header = Header(
        suite=_version(),
        driver=DRIVER_VERSION,
        began=_now(),
        profile=request.profile,
        machine=_machine(),
        redis=redis,
        peers=peers.facts(),
        cases=len({item.instance.case.id for item in plan}),
        instances=len(plan),
        timeout_factor=request.timeout_factor,
        command=request.command,
    )
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
        on_verdict=tell,
    )
    verdicts = await run_all(plan, environment, options, expectations)
    footer = _footer(request, peers, plan, verdicts, expectations, seconds=time.monotonic() - began)
    writer.write(footer)
    return Report(header=header, verdicts=verdicts, footer=footer)


def _footer(
    request: Request,
    peers: Peers,
    plan: list[Planned],
    verdicts: list[VerdictLine],
    expectations: Expectations,
    *,
    seconds: float,
) -> Footer:
    # Only a run of everything can say that an entry matches nothing.
    whole = not (request.run or request.skip or request.only or peers.missing) and request.profile != "smoke"
    stale = [f"[[{kind}]] {entry.case} {entry.client} {entry.worker}" for kind, entry in expectations.stale()]
    stale = stale if whole else []
    status = exit_status(
        [(line.verdict, line.required) for line in verdicts], missing=bool(peers.missing), stale=bool(stale)
    )
    left_out = len(plan) - len(verdicts)
    if left_out and status is Exit.CONFORMANT:
        status = Exit.NOT_CONFORMANT
    counts = Counter(str(line.verdict) for line in verdicts)
    why = [f"{count} {verdict}" for verdict, count in counts.items() if verdict not in _QUIET]
    why += [f"required peer missing: {name}: {reason}" for name, reason in peers.missing.items()]
    why += [f"{left_out} instances were not tried"] if left_out else []
    why += [f"stale: {entry}" for entry in stale]
    return Footer(
        ended=_now(),
        seconds=round(seconds, 3),
        counts=dict(counts),
        status=int(status),
        conformant=status is Exit.CONFORMANT,
        why=why if status is not Exit.CONFORMANT else [],
        stale=stale,
    )


_QUIET = frozenset({"pass", "lenient", "known-failing", "flaky"})


def _version() -> str:
    try:
        return metadata.version("jobwire")
    except metadata.PackageNotFoundError:
        return "unknown"


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processors": str(os.cpu_count() or 0),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
