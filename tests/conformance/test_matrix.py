"""The matrix of Perl distributions: its table, and a short part of it from real runs in each root that is here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from jobwire_conformance.cli.main import main
from jobwire_conformance.peers.missing import MissingPeer
from jobwire_conformance.peers.perl import perl_peer
from jobwire_conformance.peers.perl_roots import SUITES, roots_folder
from jobwire_conformance.peers.registry import UsageFault, resolve
from jobwire_conformance.report.matrix import render
from jobwire_conformance.report.report import PeerFacts, Report
from jobwire_conformance.report.verdicts import Verdict

RELEASES = {"bullseye": "Debian 11", "trixie": "Debian 13", "sid": "Debian sid"}


def rows(table: str) -> list[list[str]]:
    """The cells of each row below the head."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def perl(name: str, **libraries: str) -> PeerFacts:
    named = {key.replace("__", "::"): version for key, version in libraries.items()}
    return PeerFacts(name=name, language="Perl", runtime="perl 5.40.1", libraries=named)


def test_a_row_a_stack_and_a_cell_a_role(make_report: Callable[..., Report]) -> None:
    report = make_report(4)
    one, two, three, four = report.verdicts
    changed = [
        (one, {"client": "python:0.004", "worker": "perl@sid:0.004", "verdict": Verdict.PASS}),
        (two, {"client": "perl@sid:0.004", "worker": "python:0.004", "verdict": Verdict.FAIL}),
        (three, {"client": "python:0.004", "worker": "perl@bullseye:0.004+json-xs", "verdict": Verdict.KNOWN_FAILING}),
        (four, {"client": "python:0.004", "worker": "perl@sid:0.004", "verdict": Verdict.UNSUPPORTED}),
    ]
    peers = [
        PeerFacts(name="python:0.004", language="Python"),
        perl("perl@sid:0.004", Sereal__Decoder="5.011", Cpanel__JSON__XS="4.80", Net__Async__Redis="2.001"),
        perl("perl@bullseye:0.004+json-xs", JSON__XS="4.03"),
        perl("perl@trixie:0.004"),
        PeerFacts(name="perl@sid:0.003", missing="it does not load"),
    ]
    report = msgspec.structs.replace(
        report,
        header=msgspec.structs.replace(report.header, peers=peers),
        verdicts=[msgspec.structs.replace(line, **fields) for line, fields in changed],
    )
    table = render(report)
    assert rows(table) == [
        ["Debian 11", "5.40.1", "", "JSON::XS 4.03", "0.004+json-xs", "", "", "known to fail: × 1"],
        ["Debian sid", "5.40.1", "5.011", "Cpanel::JSON::XS 4.80", "0.004", "2.001", "fails: ✗ 1", "passes: ✓ 1 – 1"],
    ]
    assert "not run: `perl@sid:0.003`: it does not load" in table


@pytest.mark.parametrize("name", ["perl@potato", "perl@trixie:0.009", "perl@trixie:0.004/../x", "perl@:0.004"])
def test_peers_that_mean_nothing(name: str) -> None:
    with pytest.raises(UsageFault):
        resolve(name)


def test_a_root_that_is_not_there_says_how_to_make_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JOBWIRE_ROOTS", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(MissingPeer, match="ci/perl-roots trixie makes it"):
        resolve("perl@trixie")


def test_without_root_another_release_is_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, str]] = []

    def image(name: str, stack: str, _root: Path, *, release: str, env: dict[str, str]) -> object:
        asked.append((name, stack, release))
        assert env["JOBWIRE_PEER_JSON"] == "JSON::PP"
        return object()

    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("jobwire_conformance.peers.container_peers.perl_command", image)
    perl_peer("trixie", "0.004+json-pp")
    perl_peer("docker", "0.003+json-pp")
    assert asked == [("perl@trixie:0.004+json-pp", "0.004", "trixie"), ("perl@docker:0.003+json-pp", "0.003", "")]


@pytest.mark.parametrize("suite", SUITES)
def test_a_part_of_the_matrix(
    suite: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = f"perl@{suite}:0.004"
    monkeypatch.setenv("JOBWIRE_ROOTS", str(roots_folder()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        resolve(peer)
    except MissingPeer as missing:
        pytest.skip(f"LEFT OUT: {peer}: {missing}")
    words = ["run", "--profile", "matrix", "--peer", "python:0.004", "--peer", peer, "--format", "matrix"]
    chosen = ["interop/text", "stack/booleans*", "stack/reads*"]
    assert main([*words, *(word for one in chosen for word in ("--run", one))]) == 0
    (row,) = rows(capsys.readouterr().out)
    assert (row[0], row[4]) == (RELEASES[suite], "0.004")
    assert re.fullmatch(r"passes: × 1 ✓ \d+", row[6]), row  # J[inf] resolves in no Perl client
    assert re.fullmatch(r"passes: ✓ \d+", row[7]), row
