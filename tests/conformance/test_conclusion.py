"""Long runs: shards, resuming, merging, and what they come to."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from jobwire_conformance.cases.case import Case, Job
from jobwire_conformance.cli.main import main
from jobwire_conformance.report import terminal
from jobwire_conformance.report.conclusion import conclude, merge
from jobwire_conformance.report.rendering import write_rendering
from jobwire_conformance.report.report import (
    Header,
    Report,
    ReportError,
    VerdictLine,
    read_report,
    read_unfinished,
)
from jobwire_conformance.report.verdicts import Verdict
from jobwire_conformance.run.axes import Instance
from jobwire_conformance.run.expected import load_expected
from jobwire_conformance.run.selection import Shard

MakeReport = Callable[..., Report]
CASES = 'about = "x"\n' + "".join(
    f"""[[case]]
id = "t/{name}"
title = "works"
proves = ["KEY-1"]
source = "s"
jobs = [{{ data = {{ op = "echo", value = "x" }}, result = "x" }}]
"""
    for name in ("one", "two", "three", "four", "five")
)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A run of five cases without lists."""
    place = tmp_path / "cases"
    place.mkdir()
    (place / "x.toml").write_text(CASES)
    (tmp_path / "none.toml").write_text("")
    return ["run", "--peer", "python", "--cases", str(place), "--expected", str(tmp_path / "none.toml")]


def parts(report: Report, count: int) -> list[Report]:
    """``report`` as that many shards."""
    found = []
    for number in range(1, count + 1):
        lines = Shard(number, count).part(report.verdicts)
        header = msgspec.structs.replace(report.header, shard=f"{number}/{count}", instances=len(lines))
        found.append(
            Report(header=header, verdicts=lines, footer=conclude(header, lines, ["rest", f"{number}"], seconds=5))
        )
    return found


def good(count: int, make_report: MakeReport) -> Report:
    report: Report = make_report(count)
    lines = [
        msgspec.structs.replace(line, verdict=Verdict.PASS, case=f"g/{n}") for n, line in enumerate(report.verdicts)
    ]
    header = msgspec.structs.replace(report.header, peers=report.header.peers[:1], cases=count, instances=count)
    return Report(header=header, verdicts=lines, footer=conclude(header, lines, [], seconds=1))


def test_what_a_list_explains_is_no_reason(make_report: MakeReport) -> None:
    """A run that is not conformant says why, and nothing besides."""
    report = good(3, make_report)
    verdicts = [
        msgspec.structs.replace(report.verdicts[0], verdict=Verdict.UNSUPPORTED, required=False),
        msgspec.structs.replace(report.verdicts[1], verdict=Verdict.FAIL),
        msgspec.structs.replace(report.verdicts[2], verdict=Verdict.UNSUPPORTED),
    ]
    footer = conclude(report.header, verdicts, [], seconds=1)
    assert footer.why == ["1 fail", "1 unsupported"]


def test_shards_are_the_plan_and_no_instance_twice() -> None:
    plan = list(range(23))
    pieces = [Shard(number, 4).part(plan) for number in (1, 2, 3, 4)]
    assert sorted(item for piece in pieces for item in piece) == plan
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/b", "1/0", "-1/3"])
def test_a_shard_that_is_none(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever part of it is wrong
        Shard.parse(text)
    assert main(["list", "--peer", "python", "--shard", text]) == 2


def test_merged_shards_are_the_run(make_report: MakeReport) -> None:
    whole = good(10, make_report)
    pieces = parts(whole, 3)
    assert [piece.footer.stale for piece in pieces] == [[], [], []], "a part cannot say that an entry matches nothing"
    merged = merge(pieces)
    assert {line.name for line in merged.verdicts} == {line.name for line in whole.verdicts}
    assert merged.footer.stale == ["rest"], "what matched nothing in any part"
    assert merged.footer.status == 4
    assert merged.footer.seconds == 15
    assert merged.header.instances == 10


def test_a_missing_shard_is_said(make_report: MakeReport) -> None:
    one, _, three = parts(good(10, make_report), 3)
    merged = merge([one, three])
    assert (merged.footer.status, merged.footer.why[0]) == (1, "shard 2/3 is missing")
    with pytest.raises(ReportError, match="different plans"):
        merge([one, parts(good(10, make_report), 2)[0]])


def test_a_repetition_takes_the_place_of_what_failed(make_report: MakeReport) -> None:
    report = good(4, make_report)
    failed = msgspec.structs.replace(report.verdicts[2], verdict=Verdict.FAIL)
    lines = [*report.verdicts[:2], failed, report.verdicts[3]]
    first = Report(header=report.header, verdicts=lines, footer=conclude(report.header, lines, [], seconds=1))
    assert first.footer.status == 1
    header = msgspec.structs.replace(report.header, whole=False, instances=1, cases=1)
    second = Report(header=header, verdicts=[report.verdicts[2]], footer=conclude(header, [], [], seconds=1))
    merged = merge([first, second])
    assert (merged.footer.status, len(merged.verdicts), merged.header.whole) == (0, 4, True)
    assert merge([second, first]).footer.status == 1, "the last one counts"


def test_reports_of_another_profile_are_not_merged(make_report: MakeReport) -> None:
    report = make_report()
    other = msgspec.structs.replace(report, header=msgspec.structs.replace(report.header, profile="full"))
    with pytest.raises(ReportError, match="profile"):
        merge([report, other])


def test_a_peer_is_missing_only_where_no_report_had_it(make_report: MakeReport) -> None:
    report = good(4, make_report)
    gone = msgspec.structs.replace(report.header.peers[0], missing="not here")
    without = msgspec.structs.replace(report, header=msgspec.structs.replace(report.header, peers=[gone]))
    assert merge([without, report]).footer.status == 0
    assert "required peer missing" in merge([without, without]).footer.why[0]


def test_an_entry_about_peers_of_another_run_is_not_stale(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text('[[known-failing]]\ncase = "a/b"\nworker = "perl:*"\nreason = "r"\nlink = "l"\n')
    expectations = load_expected([path])
    assert expectations.unused([], ["python:0.004"], ["python:0.004"]) == []
    assert len(expectations.unused([], ["python:0.004"], ["perl:0.003"])) == 1
    case = Case(id="a/b", title="t", proves=["KEY-1"], source="s", jobs=[Job(result="x")])
    instance = Instance(case, "reliable", "python:0.004", "perl:0.003", "0.004", "0.003")
    assert expectations.unused([instance], ["python:0.004"], ["perl:0.003"]) == []


def test_the_suites_own_lists_are_not_stale_for_a_program_of_ones_own(tmp_path: Path, words: list[str]) -> None:
    own = [sys.executable, "-m", "jobwire_conformance.peers.python"]
    peer = f"cmd:{' '.join(own)}"
    assert main(["run", "--peer", peer, "--cases", words[words.index("--cases") + 1]]) == 0


def test_resuming(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "long.jsonl"
    again = [*words, "--resume", str(place), "-j", "1"]
    assert main([*again, "--format", "jsonl", "--output", str(tmp_path / "whole.jsonl")]) == 0
    lines = place.read_bytes().splitlines(keepends=True)
    assert len(lines) == 7
    marked = lines[1].replace(b'"title":"works"', b'"title":"was kept"')
    place.write_bytes(lines[0] + marked + lines[2][:-10])  # killed while it wrote the second verdict
    assert main([*again, "--format", "jsonl", "--output", str(tmp_path / "whole.jsonl")]) == 0
    whole = read_report(tmp_path / "whole.jsonl")
    assert [line.title for line in whole.verdicts] == ["was kept", "works", "works", "works", "works"]
    assert {line.name for line in read_report(place).verdicts} == {line.name for line in whole.verdicts}
    assert whole.footer.seconds >= whole.verdicts[0].at > 0, "the time of the first part counts"
    capsys.readouterr()
    assert main([*again, "--timeout-factor", "2"]) == 2
    assert "another time-out factor" in capsys.readouterr().err
    assert main([*again, "--run", "t/one"]) == 2
    assert "other instances" in capsys.readouterr().err
    place.write_text("something else\n")
    assert main(again) == 2
    assert place.read_text() == "something else\n"


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, words: list[str]) -> None:
    sleeper = 'about = "y"\n' + CASES.split("\n", 1)[1].replace('"echo", value = "x"', '"sleep", seconds = 2').replace(
        "t/", "u/"
    )
    (tmp_path / "cases" / "y.toml").write_text(sleeper)
    place = tmp_path / "part.jsonl"
    command = [sys.executable, "-m", "jobwire_conformance", *words, "--resume", str(place), "-j", "1"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (place.exists() and place.read_bytes().count(b"\n") >= 4):
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 1
    assert f"interrupted: go on with: --resume {place}" in said
    header, lines = read_unfinished(place)
    assert isinstance(header, Header)
    assert len(lines) >= 3
    with pytest.raises(ReportError, match="no footer"):
        read_report(place)


def test_progress_says_how_long_it_will_take(make_report: MakeReport) -> None:
    now = [0.0]
    out = io.StringIO()
    progress = terminal.Progress(1000, out, done=900, clock=lambda: now[0])
    line: VerdictLine = make_report(1).verdicts[0]
    for _ in range(10):
        now[0] += 9.0
        progress(line)
    assert out.getvalue() == "907/1000, 13:57 left ✓7\n", "a line a minute, the rate of this run"
    out = io.StringIO()
    progress = terminal.Progress(3000, out, clock=lambda: now[0])
    now[0] += 61
    progress(line)
    assert out.getvalue() == "1/3000, 50 h 48 min left ✓1\n"


def test_merge_command(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for number, path in enumerate(paths, 1):
        assert main([*words, "--shard", f"{number}/2", "--format", "jsonl", "--output", str(path)]) == 0
    out = tmp_path / "both.jsonl"
    assert main(["merge", *map(str, paths), "--format", "jsonl", "--output", str(out)]) == 0
    assert len(read_report(out).verdicts) == 5
    assert main(["merge", str(paths[1])]) == 1
    assert "shard 1/2 is missing" in capsys.readouterr().out
    assert main(["merge", str(tmp_path / "nothing.jsonl")]) == 2


def test_last_failed_of_a_report(tmp_path: Path, words: list[str], make_report: MakeReport) -> None:
    report = make_report()
    path = tmp_path / "r.jsonl"
    write_rendering(report, "jsonl", path)
    assert main([*words, "--list", "--last-failed", str(path)]) == 0
    assert main([*words, "--list", "--last-failed", os.devnull]) == 2
