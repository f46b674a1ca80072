"""Every mutant of the Python peer is caught by the case that is meant for it; the table is part of the output.

The same runs are a test bed for ``jobwire tap``: which of the mutants its linter flags, knowing nothing of the case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from jobwire_conformance.cases.case import load_cases
from jobwire_conformance.cli.main import main
from jobwire_conformance.peers.registry import resolve
from jobwire_conformance.peers.servers import make_factory
from jobwire_conformance.record.transcripts import Event
from jobwire_conformance.run.axes import PeerSpec, expand
from jobwire_conformance.run.expected import Expectations, default_lists, load_expected
from jobwire_conformance.run.runner import Planned, RunOptions, probe, run_all
from jobwire_conformance.selftest.mutants import MUTANTS, VARIANTS, Mutant
from jobwire_conformance.selftest.mutation import Row, render_table, run_mutants
from tests.support.tap_traffic import flags_in

#: Mutant -> what ``jobwire tap`` flags it for, without being told anything.
FLAGGED = {
    "tag-wrong": "RES-1",
    "tag-missing": "RES-1",
    "scalar-as-json": "RES-7",
    "no-removal": "CMP-2",
    "removes-all": "CMP-2",
    "removes-elsewhere": "CMP-2",
    "no-notice": "CMP-7",
    "notice-first": "CMP-1",
    "notice-elsewhere": "KEY-7",
    "notice-with-key": "NOT-1",
    "no-times": "CMP-3",
    "millisecond-times": "FLD-14",
    "deletes-hash": "CMP-8",
    "sets-time-to-live": "KEY-9",
    "prefixed-hash": "KEY-2",
    "pushed-first": "SUB-1",
    "pushed-twice": "SUB-7",
    "pushed-right": "QUE-2",
    "untyped-fields": "FLD-13",
    "no-reply-to": "SUB-2",
    "document-as-text": "FLD-2",
    "takes-last": "QUE-3",
    "runs-the-void": "TAK-9",
    "runs-again": "TAK-12",
    "always-accepts-e": "EXT-4",
    "no-deletion": "NOT-3",
    "eats-unknown-tags": "RES-11",
    "deletes-foreign-jobs": "NOT-4",
}
#: … when it is told the mode, the dialect and the prefix as well.
FLAGGED_WHEN_TOLD = {"no-queued": "SUB-3", "empty-prefix-is-default": "KEY-3", "zero-prefix-is-empty": "KEY-3"}
#: These write what another program could have meant; nothing on the wire says that it was not.
UNSEEN = {
    *("container-as-text", "null-as-word", "true-as-word", "result-stripped", "empty-is-absent", "mojibake"),
    *("replacement", "lower-keys", "last-parameter-lost", "hides-meta"),
    *("too-many-slots", "ignores-multi", "no-deadline"),
}


class Ran(NamedTuple):
    rows: list[Row]
    flagged: dict[str, set[str]]
    flagged_when_told: dict[str, set[str]]


def told(planned: Planned) -> dict[str, Any]:
    """What an operator would tell ``jobwire tap`` of an instance."""
    instance = planned.instance
    dialect = instance.client_dialect or instance.worker_dialect
    return {"mode": instance.mode, "dialect": dialect, "prefix": instance.prefix}


@pytest.fixture(scope="module")
def ran() -> Ran:
    flagged: dict[str, set[str]] = {}
    when_told: dict[str, set[str]] = {}

    def look(planned: Planned, events: list[Event]) -> None:
        names = [spec.name for spec in (planned.client, planned.worker) if spec is not None]
        name = next(name.removeprefix("mutant:") for name in names if name.startswith("mutant:"))
        flagged[name] = {flag.requirement for flag in flags_in(events)}
        when_told[name] = {flag.requirement for flag in flags_in(events, **told(planned))}

    return Ran(asyncio.run(run_mutants(make_factory(None), jobs=3, on_traffic=look)), flagged, when_told)


def test_there_are_enough_and_each_names_a_case() -> None:
    assert len(MUTANTS) >= 20
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    known = {case.id for case in load_cases()}
    assert {mutant.caught_by.partition(" ")[0] for mutant in MUTANTS} <= known


def test_every_mutant_is_caught(ran: Ran, record_property: Callable[[str, object], None]) -> None:
    record_property("table", render_table(ran.rows))
    assert len(ran.rows) == len(MUTANTS)
    assert [row.mutant.name for row in ran.rows if not row.caught] == []


def test_what_tap_flags_of_the_mutants(ran: Ran) -> None:
    assert FLAGGED.keys() | FLAGGED_WHEN_TOLD.keys() | UNSEEN == {mutant.name for mutant in MUTANTS}
    assert {name: FLAGGED[name] in ran.flagged[name] for name in FLAGGED} == dict.fromkeys(FLAGGED, True)
    found = {name: FLAGGED_WHEN_TOLD[name] in ran.flagged_when_told[name] for name in FLAGGED_WHEN_TOLD}
    assert found == dict.fromkeys(FLAGGED_WHEN_TOLD, True)
    assert {name: ran.flagged[name] for name in UNSEEN | FLAGGED_WHEN_TOLD.keys() if ran.flagged[name]} == {}


async def test_the_unbroken_peer_is_neither_caught_nor_flagged() -> None:
    """The other half of the proof: the same instances pass where nothing is broken, and tap has nothing to say."""
    command = resolve("python")[0]
    good = PeerSpec(command.name, command.dialect, await probe(command))
    wanted = {mutant.caught_by.partition(" ")[0] for mutant in MUTANTS}
    cases = [case for case in load_cases() if case.id in wanted]
    plan = [Planned(*item) for item in expand(cases, [good], [good], "ci") if item[0].mode == "reliable"]
    flagged: dict[str, list[tuple[str, str]]] = {}

    def look(planned: Planned, events: list[Event]) -> None:
        if planned.client is not None and planned.worker is not None:
            flagged[planned.instance.name] = [(flag.requirement, flag.what) for flag in flags_in(events)]

    options = RunOptions(commands={command.name: command}, jobs=3, on_traffic=look)
    lines = await run_all(plan, make_factory(None), options, Expectations())
    assert {line.case: line.reason for line in lines if line.verdict != "pass"} == {}
    assert flagged
    assert {name: flags for name, flags in flagged.items() if flags} == {}


async def test_what_the_protocol_leaves_open_is_not_caught() -> None:
    """Every case that speaks of commands, and one with each axis, between peers that say the same in other words."""
    for variant in VARIANTS:
        command = resolve(f"mutant:{variant.name}")[0]
        peer = PeerSpec(command.name, command.dialect, await probe(command))
        cases = [case for case in load_cases() if case.wire or case.id == variant.caught_by]
        plan = [Planned(*item) for item in expand(cases, [peer], [peer], "ci") if item[0].mode == "reliable"]
        assert len(plan) > 25
        flagged: dict[str, list[tuple[str, str]]] = {}

        def look(planned: Planned, events: list[Event], flagged: dict[str, Any] = flagged) -> None:
            if planned.client is not None and planned.worker is not None:
                flagged[planned.instance.name] = [(flag.requirement, flag.what) for flag in flags_in(events)]

        options = RunOptions(commands={command.name: command}, jobs=3, on_traffic=look)
        lines = await run_all(plan, make_factory(None), options, load_expected(default_lists()))
        assert {line.name: (line.reason, line.expected) for line in lines if line.verdict != "pass"} == {}
        assert flagged
        assert {name: flags for name, flags in flagged.items() if flags} == {}
        if variant.name == "newer-words":
            sent = {event.text.partition(" ")[0] for line in lines for event in line.wire if event.kind == "command"}
            assert {"HSET", "HGET", "BLMOVE"} <= sent
            assert not {"HMSET", "HMGET", "BRPOPLPUSH"} & sent


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
    monkeypatch.setattr("jobwire_conformance.selftest.mutation.MUTANTS", (tame,))
    assert await asyncio.to_thread(main, ["mutants"]) == 1
    assert "NOT CAUGHT by values/text/ascii: pass" in capsys.readouterr().out
