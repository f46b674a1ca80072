"""Recorded Perl traffic, played against live Python peers; and the recordings themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from jobwire_conformance.cases.case import load_cases
from jobwire_conformance.driver.values import encode_value
from jobwire_conformance.peers.registry import resolve
from jobwire_conformance.peers.replay import GOLDEN, load_recordings
from jobwire_conformance.peers.servers import make_factory
from jobwire_conformance.record.transcripts import read_transcript
from jobwire_conformance.rules.facts import FACTS
from jobwire_conformance.run.axes import PeerSpec, expand
from jobwire_conformance.run.expected import Expectations, default_lists, load_expected
from jobwire_conformance.run.runner import Planned, RunOptions, probe, run_all

DIALECTS = ("0.001", "0.002", "0.003", "0.004", "master")
#: One case of each value class; the whole of the recordings is played by a run of the suite without Perl.
PLAYED = [
    "values/text/ascii", "values/text/utf8", "values/bytes/latin1", "values/number/float", "values/text/empty",
    "nested/array", "nested/object", "nested/null", "result/array", "result/nothing", "keys/bytes",
]  # fmt: skip
RECORDED = sorted(GOLDEN.glob("*/*.jsonl"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_recorded_with_and_without_multi(dialect: str) -> None:
    """Each class of values; what a Perl release cannot do is in the lists of what is expected, or in no field of it."""
    classes = {"values/text/ascii", "values/text/empty", "values/text/utf8", "values/text/9-kib", "values/bytes/latin1"}
    classes |= {"values/bytes/all", "values/number/integer", "result/nothing"}
    if "tagged" in FACTS[dialect]:
        classes |= {"nested/array", "nested/object", "nested/null", "nested/deep-mix", "result/array"}
    stalls = {("values/number/integer", True)} if dialect == "master" else set()
    recorded = {(recording.case, recording.use_multi) for recording in load_recordings(dialect)}
    assert {(case, multi) for case in classes for multi in (False, True)} - stalls - recorded == set()


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recording_says_where_it_comes_from(path: Path) -> None:
    header = read_transcript(path).header
    assert header.dialect == path.parent.name
    assert header.client["libraries"]["Job::Async::Redis"]
    assert header.client["runtime"].startswith("perl")
    assert header.redis
    assert header.recorded
    assert encode_value(header.submitted) is not None


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_replays_against_live_python(dialect: str) -> None:
    commands, specs = {}, []
    for name in (f"golden:{dialect}", f"python:{dialect}"):
        command = resolve(name)[0]
        commands[command.name] = command
        specs.append(PeerSpec(command.name, command.dialect, await probe(command)))
    golden, python = specs
    cases = [case for case in load_cases() if case.id in PLAYED]
    plan = [Planned(*item) for item in expand(cases, [golden], [python], "full")]
    plan += [Planned(*item) for item in expand(cases, [python], [golden], "full")]
    assert len(plan) >= 10
    lists = load_expected(default_lists())
    lines = await run_all(plan, make_factory(None), RunOptions(commands=commands, jobs=3), lists)
    assert {f"{line.case} {line.client}": line.reason for line in lines if not line.verdict.good} == {}


def test_what_is_recorded_is_what_replays_play(tmp_path: Path) -> None:
    """Perl's own mode, both values of use_multi, nothing but defaults on the other axes."""
    command = resolve("python")[0]
    python = PeerSpec(command.name, command.dialect, asyncio.run(probe(command)))
    cases = [case for case in load_cases() if case.id == "nested/array"]
    plan = [Planned(*item) for item in expand(cases, [python], [python], "full")]
    assert {(i.instance.mode, i.instance.use_multi, i.instance.codec) for i in plan} >= {
        ("reliable", "none", "sereal"), ("reliable", "both", "json"), ("simple", "none", "sereal"),
    }  # fmt: skip
    options = RunOptions({command.name: command}, jobs=3, record=tmp_path)
    asyncio.run(run_all(plan, make_factory(None), options, Expectations()))
    assert sorted(path.name for path in tmp_path.rglob("*.jsonl")) == [
        "reliable-multi0-nested.array.jsonl", "reliable-multi1-nested.array.jsonl",
    ]  # fmt: skip
    written = read_transcript(tmp_path / "0.004" / "reliable-multi1-nested.array.jsonl")
    assert written.header.client["version"]
    assert any(event.name == "EXEC" for event in written.events if event.kind == "command")
    assert not any(b"json_" in event.raw for event in written.events), "the default of the axis"
