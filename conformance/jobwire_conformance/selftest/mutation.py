"""The mutation table: every mutant against the good peer, and whether the suite caught it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import msgspec

from jobwire_conformance.cases.case import Case, load_cases
from jobwire_conformance.driver.text import one_line
from jobwire_conformance.peers.registry import resolve
from jobwire_conformance.peers.servers import Environment
from jobwire_conformance.record.transcripts import Event
from jobwire_conformance.report.report import VerdictLine
from jobwire_conformance.report.verdicts import Verdict
from jobwire_conformance.run.axes import Instance, PeerSpec, expand
from jobwire_conformance.run.expected import Expectations
from jobwire_conformance.run.runner import Planned, RunOptions, probe, run_all
from jobwire_conformance.selftest.mutants import MUTANTS, Mutant

__all__ = ["Row", "render_table", "run_mutants"]


@dataclass(frozen=True, slots=True)
class Row:
    """One mutant and its fate."""

    mutant: Mutant
    caught: bool
    case: str
    how: str


def _plan(mutant: Mutant, cases: list[Case], good: PeerSpec, bad: PeerSpec) -> list[Planned]:
    pattern, _, axes = mutant.caught_by.partition(" ")
    # Some mutants show by an answer that never comes: no need to wait as long for it as in a run.
    chosen = [msgspec.structs.replace(case, seconds=min(case.seconds, 4.0)) for case in cases if case.id == pattern]
    if not chosen:
        raise LookupError(f"mutant {mutant.name}: there is no case {pattern}")
    client = bad if mutant.side in {"client", "both"} else good
    worker = bad if mutant.side in {"worker", "both"} else good
    found = [Planned(*item) for item in expand(chosen, [client], [worker], "ci")]
    return [item for item in found if item.instance.mode == mutant.mode and _has(item.instance, axes)][:1]


def _has(instance: Instance, axes: str) -> bool:
    return not axes or fnmatchcase(instance.name, axes)


async def run_mutants(
    environment: Environment,
    *,
    jobs: int = 2,
    timeout_factor: float = 1.0,
    only: list[str] | None = None,
    on_row: Callable[[Row], None] | None = None,
    on_traffic: Callable[[Planned, list[Event]], None] | None = None,
) -> list[Row]:
    """Run every mutant (or those named) against the case that must catch it; ``on_traffic`` gets the recording."""
    cases = load_cases()
    good_command = resolve("python")[0]
    commands = {good_command.name: good_command}
    hello = await probe(good_command)
    good = PeerSpec(good_command.name, good_command.dialect, hello)
    plan: list[Planned] = []
    mutants = [mutant for mutant in MUTANTS if only is None or mutant.name in only]
    for mutant in mutants:
        command = resolve(f"mutant:{mutant.name}")[0]
        commands[command.name] = command
        bad = PeerSpec(command.name, command.dialect, hello)
        found = _plan(mutant, cases, good, bad)
        if not found:
            raise LookupError(f"mutant {mutant.name}: no instance of {mutant.caught_by} in mode {mutant.mode}")
        plan += found
    options = RunOptions(commands=commands, jobs=jobs, timeout_factor=timeout_factor, on_traffic=on_traffic)
    lines = await run_all(plan, environment, options, Expectations())
    rows = [_row(mutant, line) for mutant, line in zip(mutants, lines, strict=True)]
    for row in rows:
        if on_row is not None:
            on_row(row)
    return rows


def _row(mutant: Mutant, line: VerdictLine) -> Row:
    # An error of the harness is no catch: only a verdict of failure is.
    caught = line.verdict is Verdict.FAIL
    how = line.reason if caught else f"{line.verdict}: {line.reason}"
    return Row(mutant=mutant, caught=caught, case=line.case, how=how)


def render_table(rows: list[Row]) -> str:
    """The table, for people."""
    width = max((len(row.mutant.name) for row in rows), default=0)
    lines = [
        f"{'✓' if row.caught else '✗'} {row.mutant.name.ljust(width)}  {row.mutant.does} ({row.mutant.side}): "
        f"{'caught by' if row.caught else 'NOT CAUGHT by'} {row.case}: {one_line(row.how.partition(chr(10))[0])}"
        for row in rows
    ]
    caught = sum(row.caught for row in rows)
    return "\n".join([*lines, f"{caught} of {len(rows)} mutants caught"]) + "\n"
