"""The command line: exit statuses, selection, outputs, and whole runs between real processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from jobwire_conformance.cli.main import main
from jobwire_conformance.report.report import read_report

CASE = """
about = "x"
[[case]]
id = "t/good"
title = "works"
proves = ["KEY-1"]
source = "s"
tags = ["smoke"]
jobs = [{ data = { op = "echo", value = "x" }, result = "x" }]
"""
BAD = CASE.replace("t/good", "t/bad").replace('result = "x"', 'result = "y"').replace("works", "does not")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "cases"
    place.mkdir()
    (place / "good.toml").write_text(CASE)
    return place


@pytest.fixture
def empty_list(tmp_path: Path) -> Path:
    path = tmp_path / "none.toml"
    path.write_text("")
    return path


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_a_conformant_run(folder: Path, empty_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.jsonl"
    status = run(
        "run", "--peer", "python", "--cases", folder, "--expected", empty_list, "--format", "jsonl", "--output", out
    )
    assert status == 0
    report = read_report(out)
    assert report.footer.conformant
    assert [line.verdict for line in report.verdicts] == ["pass"]
    line = report.verdicts[0]
    assert any(item.text.startswith("HMSET job::") for item in line.wire), "the evidence is there for passes too"
    assert "conformant" in capsys.readouterr().out


def test_a_run_that_is_not(folder: Path, empty_list: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.toml").write_text(BAD)
    assert run("run", "--peer", "python", "--cases", folder, "--expected", empty_list) == 1
    said = capsys.readouterr().out
    assert "expected: y" in said
    assert "actual:   x" in said
    # … and --last-failed runs that one alone.
    assert run("run", "--peer", "python", "--cases", folder, "--expected", empty_list, "--last-failed", "--list") == 0
    assert capsys.readouterr().out.split()[0] == "t/bad"


def test_stopping_early(folder: Path, empty_list: Path, tmp_path: Path) -> None:
    (folder / "a-bad.toml").write_text(BAD)
    out = tmp_path / "r.jsonl"
    assert run("run", "--peer", "python", "--cases", folder, "--expected", empty_list, "-x", "-j", 1,
               "--format", "jsonl", "--output", out) == 1  # fmt: skip
    report = read_report(out)
    assert len(report.verdicts) == 1
    assert any("not tried" in why for why in report.footer.why)


def test_a_known_failure_and_a_stale_entry(folder: Path, tmp_path: Path) -> None:
    (folder / "bad.toml").write_text(BAD)
    known = tmp_path / "known.toml"
    known.write_text('[[known-failing]]\ncase = "t/bad"\nreason = "it is meant to"\nlink = "here"\n')
    assert run("run", "--peer", "python", "--cases", folder, "--expected", known) == 0
    known.write_text('[[known-failing]]\ncase = "t/*"\nreason = "it is meant to"\nlink = "here"\n')
    assert run("run", "--peer", "python", "--cases", folder, "--expected", known) == 4, "t/good passed"
    rest = 'reason = "r"\nlink = "l"\n'
    known.write_text(f'[[known-failing]]\ncase = "t/bad"\n{rest}[[flaky]]\ncase = "t/nobody"\n{rest}')
    assert run("run", "--peer", "python", "--cases", folder, "--expected", known) == 4, "t/nobody matched nothing"


def test_an_entry_about_what_the_profile_leaves_out_is_not_stale(folder: Path, tmp_path: Path) -> None:
    """Which values of the axes profile ci takes in a dialect shifts with every new case."""
    (folder / "good.toml").write_text(f'{CASE}axes = {{ use_multi = ["none", "both"] }}\n')
    known = tmp_path / "known.toml"
    known.write_text('[[known-failing]]\ncase = "t/good"\nuse_multi = "both"\nreason = "r"\nlink = "l"\n')
    words = ["run", "--peer", "python:0.003", "--cases", folder, "--expected", known]
    assert run(*words) == 0
    assert run(*words, "--profile", "full") == 4, "it passed"


def test_a_required_peer_that_is_missing(
    folder: Path, empty_list: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOBWIRE_PERL_ROOT", str(tmp_path))
    assert run("run", "--client", "python", "--worker", "perl:0.001", "--worker", "python", "--cases", folder,
               "--expected", empty_list) == 1  # fmt: skip
    said = capsys.readouterr()
    assert "required peer missing: perl:0.001" in said.out
    assert "missing: perl:0.001" in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--peer", "ruby"],
        ["run", "--nonsense"],
        [],
        ["render", "/nonexistent.jsonl"],
        ["run", "--peer", "python", "--last-failed"],
        ["run", "--peer", "python", "--format", "html", "--format", "junit", "--output", "x"],
        ["run", "--peer", "python", "--expected", "/nonexistent.toml"],
    ],
)
def test_usage(words: list[str]) -> None:
    assert main(words) == 2


def test_no_redis(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "--peer", "python", "--cases", folder, "--redis", "redis://:secret@127.0.0.1:1") == 3
    assert "secret" not in capsys.readouterr().err
    assert run("doctor", "--redis", "redis://127.0.0.1:1") == 3


def test_help() -> None:
    assert main(["--help"]) == 0


def test_list_and_selection(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--peer", "python", "--run", "RES-4") == 0
    assert capsys.readouterr().out == "", "0.004 has tags"
    assert run("list", "--peer", "python:0.002", "--run", "RES-4") == 0
    assert "client/collects-untagged" in capsys.readouterr().out


def test_a_shared_server_is_left_as_it_was(folder: Path, empty_list: Path, redis_url: str) -> None:
    import redis

    with redis.Redis.from_url(redis_url) as link:
        link.set("of-somebody-else", "1")
        assert run("run", "--peer", "python", "--cases", folder, "--expected", empty_list, "--redis", redis_url) == 0
        assert sorted(link.keys()) == [b"of-somebody-else"]
        link.delete("of-somebody-else")


def test_a_foreign_peer(folder: Path, empty_list: Path, tmp_path: Path) -> None:
    import sys

    peer = f"cmd:{sys.executable} -m jobwire_conformance.peers.python"
    out = tmp_path / "r.jsonl"
    assert run("run", "--client", peer, "--worker", "python", "--cases", folder, "--expected", empty_list,
               "--format", "jsonl", "--output", out) == 0  # fmt: skip
    assert read_report(out).verdicts[0].client == peer


def test_render(folder: Path, empty_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.jsonl"
    run("run", "--peer", "python", "--cases", folder, "--expected", empty_list, "--format", "jsonl", "--output", out)
    capsys.readouterr()
    assert run("render", out, "--format", "badge-json") == 0
    assert json.loads(capsys.readouterr().out)["message"] == "conformant 1/1"
    out.write_bytes(b"\n".join(out.read_bytes().splitlines()[:-1]))
    assert run("render", out, "--format", "badge-json") == 2
    assert "no footer" in capsys.readouterr().err


def test_smoke_profile() -> None:
    """A few cases of every kind, as a user would run them first."""
    assert run("run", "--profile", "smoke", "--peer", "python", "-j", 2) == 0


@pytest.mark.parametrize("name", ["chaos", "soak"])
def test_commands_that_the_wheel_has_not(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are loaded when they are asked for, and where there is no checkout the message says so."""
    for module in [module for module in sys.modules if module.partition(".")[0] == "endurance"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "endurance", None)
    assert run(name, "--seed", 1) == 3
    said = capsys.readouterr().err
    assert f"{name} is not part of the installed package" in said
    assert "endurance/" in said
    assert run("list", "--peer", "python", "--run", "values/text/ascii") == 0


def test_a_bound_on_jobs_on_a_slow_machine(tmp_path: Path) -> None:
    """Everything takes longer there, jobs too: the next ones are not taken while it is looked whether they are."""
    words = ("run", "--peer", "python", "--run", "concurrency/bound mode=simple*", "--timeout-factor", 3)
    assert run(*words, "--format", "jsonl", "--output", tmp_path / "r.jsonl") == 0
    assert [line.verdict for line in read_report(tmp_path / "r.jsonl").verdicts] == ["pass"]
    assert run("mutants", "too-many-slots", "--timeout-factor", 3) == 0
