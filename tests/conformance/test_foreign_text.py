"""Text of others on a terminal: in no output of the suite can it move the cursor or forge a line."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobwire_conformance.cli import hello, show
from jobwire_conformance.cli.main import main
from jobwire_conformance.driver.process import PeerCommand
from jobwire_conformance.driver.protocol import HelloAnswer
from jobwire_conformance.driver.text import block, clip, json_line, one_line
from jobwire_conformance.report import rendering, terminal
from jobwire_conformance.report.report import Footer, Header, PeerFacts, Report, VerdictLine, WireLine
from jobwire_conformance.report.verdicts import Verdict
from jobwire_conformance.rules.steps import encode_line
from jobwire_conformance.selftest.mutants import MUTANTS
from jobwire_conformance.selftest.mutation import Row, render_table
from jobwire_conformance.tap.text import Teller
from tests.support.tap_traffic import JOB, Traffic

#: A cleared screen, a bell, text turned round, a C1 introducer, and a line that looks like the suite's own.
FORGED = "✓ forged"
FOREIGN = f"a\x1b[2J\x07\u202eb\x9b1m\x7f\u2028c\r\n{FORGED}\n"


def safe(said: str) -> None:
    """No character but printable ones and line feeds; no line that begins as a forged one would."""
    assert said
    assert {sign for sign in said if not sign.isprintable()} <= {"\n"}
    assert [line for line in said.split("\n") if line.startswith(FORGED)] == []


@pytest.fixture
def report() -> Report:
    line = VerdictLine(
        case=FOREIGN, title=FOREIGN, proves=["KEY-1"], source=FOREIGN, level="must", mode="reliable",
        client=FOREIGN, worker=FOREIGN, axes={"prefix": FOREIGN}, verdict=Verdict.FAIL, reason=FOREIGN,
        expected=FOREIGN, actual=FOREIGN, keys={FOREIGN: FOREIGN}, stderr={FOREIGN: f"{FOREIGN}{FOREIGN}"},
        steps=[FOREIGN],
        wire=[WireLine(t=0.1, connection=1, role=FOREIGN, direction=">", kind="command", text=FOREIGN)],
    )  # fmt: skip
    peer = PeerFacts(name=FOREIGN, implementation=FOREIGN, version=FOREIGN, runtime=FOREIGN)
    gone = PeerFacts(name=FOREIGN, missing=FOREIGN)
    header = Header(
        suite="1", driver=1, began="2026-01-01T00:00:00Z", profile="ci", machine={}, redis={"version": FOREIGN},
        peers=[peer, gone], cases=1, instances=1,
    )  # fmt: skip
    footer = Footer(
        ended="", seconds=1.0, counts={"fail": 1}, status=1, conformant=False, why=[FOREIGN],
        claimed={FOREIGN: FOREIGN}, not_tried={FOREIGN: FOREIGN},
    )  # fmt: skip
    known = msgspec.structs.replace(line, verdict=Verdict.KNOWN_FAILING, link=FOREIGN)
    return Report(header=header, verdicts=[line, known], footer=footer)


def test_the_report_on_a_terminal(report: Report) -> None:
    safe(terminal.render(report))


def test_progress(report: Report) -> None:
    out = io.StringIO()
    progress = terminal.Progress(2, out)
    for line in report.verdicts:
        progress(line)
    safe(out.getvalue())


def test_the_evidence_of_a_verdict(report: Report) -> None:
    safe(show.evidence(report.verdicts[0]))


@pytest.mark.parametrize("name", sorted(rendering.FORMATS.keys() - {"html", "junit"}))
def test_every_rendering_that_is_read_on_a_terminal(report: Report, name: str) -> None:
    safe(rendering.FORMATS[name](report))


def test_a_line_of_json_says_the_same(report: Report, tmp_path: Path) -> None:
    text = rendering.FORMATS["jsonl"](report)
    assert json.loads(text.split("\n")[1])["reason"] == FOREIGN
    (tmp_path / "report.jsonl").write_text(text, encoding="utf-8")
    assert main(["render", str(tmp_path / "report.jsonl"), "--output", str(tmp_path / "out")]) == 0


def test_junit_holds_no_character_that_xml_has_not(report: Report) -> None:
    root = ET.fromstring(rendering.FORMATS["junit"](report))
    assert root.find("testsuite") is not None


def test_the_answer_to_hello() -> None:
    answer = HelloAnswer(
        driver=1, name=FOREIGN, version=FOREIGN, language=FOREIGN, runtime=FOREIGN, libraries={FOREIGN: FOREIGN},
        roles=["client"], modes=["reliable"], dialects=[FOREIGN], codecs=[FOREIGN], behaviours=[FOREIGN],
    )  # fmt: skip
    said = hello.describe(PeerCommand(name=FOREIGN, dialect="0.004", argv=("x",)), answer)
    safe(said)
    assert "a\\x1b[2J\\x07\\u202eb" in said


def test_messages_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--peer", f"python:{FOREIGN}", "--list"]) == 2
    safe(capsys.readouterr().err)


def test_the_table_of_mutants() -> None:
    safe(render_table([Row(MUTANTS[0], True, "a/b", FOREIGN)]))


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("colour", [False, True])
def test_the_lines_of_tap(values: bool, colour: bool) -> None:
    raw = FOREIGN.encode()
    traffic = Traffic(values=values)
    traffic.submit(b"text_" + raw, raw, raw, raw, b"_accept", raw)
    traffic.send(1, b"HMSET", b"job::" + raw, b"text_x", raw)
    traffic.send(1, b"LPUSH", raw + b"::pending", raw)
    traffic.send(2, raw, raw, reply=b"-" + raw.replace(b"\r\n", b" ").replace(b"\n", b" ") + b"\r\n")
    traffic.send(2, b"PUBLISH", b"client::" + raw, JOB)
    traffic.send(2, b"LPUSH", b"jobs::pending", json.dumps({"id": FOREIGN, "data": {FOREIGN: FOREIGN}}).encode())
    traffic.end()
    teller = Teller(colour=colour)
    said = [text for step in traffic.steps for text in teller.lines(step)]
    assert len(said) > 10
    for text in said:
        assert "\n" not in text
        safe(re.sub(r"\x1b\[[0-9;]*m", "", text) if colour else text)
    for step in traffic.steps:
        safe(encode_line(step).decode())


# --- the functions ----------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_one_line(text: str) -> None:
    said = one_line(text)
    assert said.isprintable()
    assert (said == text) is text.isprintable()


@given(st.text())
def test_block(text: str) -> None:
    first, *rest = block("  head: ", text).split("\n")
    assert first.startswith("  head: ")
    assert all(line.startswith(" " * 8) and line.isprintable() for line in rest)


@given(st.recursive(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(), st.lists, max_leaves=5))
def test_json_line(value: Any) -> None:
    line = json_line(msgspec.json.encode(value))
    assert line.decode().isprintable()
    assert json.loads(line) == value


def test_clip() -> None:
    assert clip("abc", 3) == "abc"
    assert clip("abcd", 3) == "ab… (4 in all)"
