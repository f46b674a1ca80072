"""Every mutant of the Python peer is caught by the case that is meant for it; the table is part of the output."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from jobwire_conformance.cases import load_cases
from jobwire_conformance.cli import main
from jobwire_conformance.mutants import MUTANTS, Mutant
from jobwire_conformance.mutation import Row, render_table, run_mutants
from jobwire_conformance.servers import make_factory


def test_there_are_enough_and_each_names_a_case() -> None:
    assert len(MUTANTS) >= 20
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    known = {case.id for case in load_cases()}
    assert {mutant.caught_by.partition(" ")[0] for mutant in MUTANTS} <= known


async def test_every_mutant_is_caught(record_property: Callable[[str, object], None]) -> None:
    rows = await run_mutants(make_factory(None), jobs=3)
    record_property("table", render_table(rows))
    assert len(rows) == len(MUTANTS)
    assert [row.mutant.name for row in rows if not row.caught] == []


async def test_the_unbroken_peer_is_not_caught() -> None:
    """The other half of the proof: the same instances pass where nothing is broken."""
    from jobwire_conformance.axes import PeerSpec, expand
    from jobwire_conformance.expected import Expectations
    from jobwire_conformance.registry import resolve
    from jobwire_conformance.runner import Planned, RunOptions, probe, run_all

    command = resolve("python")[0]
    good = PeerSpec(command.name, command.dialect, await probe(command))
    wanted = {mutant.caught_by.partition(" ")[0] for mutant in MUTANTS}
    cases = [case for case in load_cases() if case.id in wanted]
    plan = [Planned(*item) for item in expand(cases, [good], [good], "ci") if item[0].mode == "reliable"]
    options = RunOptions(commands={command.name: command}, jobs=3)
    lines = await run_all(plan, make_factory(None), options, Expectations())
    assert {line.case: line.reason for line in lines if line.verdict != "pass"} == {}


def test_the_table_names_what_survived() -> None:
    one, other = MUTANTS[:2]
    text = render_table([Row(one, True, "a/b", "said no"), Row(other, False, "c/d", "pass: ")])
    assert f"✓ {one.name}" in text
    assert f"✗ {other.name}" in text
    assert "NOT CAUGHT by c/d" in text
    assert text.endswith("1 of 2 mutants caught\n")


async def test_a_mutant_that_survives_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mutant that breaks nothing: the command says so and ends with 1."""
    tame = Mutant("tag-wrong", "breaks nothing", "worker", "values/text/ascii", mode="simple")
    monkeypatch.setattr("jobwire_conformance.mutation.MUTANTS", (tame,))
    assert await asyncio.to_thread(main, ["mutants"]) == 1
    assert "NOT CAUGHT by values/text/ascii: pass" in capsys.readouterr().out
