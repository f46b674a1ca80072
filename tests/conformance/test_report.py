"""The report and its renderings."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from jobwire_conformance.report import terminal
from jobwire_conformance.report.rendering import FORMATS, write_rendering
from jobwire_conformance.report.report import Report, ReportError, ReportWriter, read_report
from jobwire_conformance.report.verdicts import Verdict

MakeReport = Callable[..., Report]


def written(report: Report, tmp_path: Path, *, footer: bool = True) -> Path:
    path = tmp_path / "report.jsonl"
    with path.open("wb") as out:
        writer = ReportWriter(out)
        for line in [report.header, *report.verdicts, *([report.footer] if footer else [])]:
            writer.write(line)
    return path


def test_there_and_back(tmp_path: Path, make_report: MakeReport) -> None:
    report = make_report()
    assert read_report(written(report, tmp_path)) == report


def test_without_footer_it_is_refused(tmp_path: Path, make_report: MakeReport) -> None:
    with pytest.raises(ReportError, match="no footer"):
        read_report(written(make_report(), tmp_path, footer=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[1:], "no header"),
        (lambda lines: [*lines[:2], b"{{{", *lines[2:]], ":3:"),
        (lambda lines: [*lines, lines[-1]], "more than one"),
        (lambda lines: [lines[0].replace(b'"report":1', b'"report":99'), *lines[1:]], "report version 99"),
        (lambda _: [], "no header"),
    ],
)
def test_what_is_no_report(tmp_path: Path, change: object, message: str, make_report: MakeReport) -> None:
    path = written(make_report(), tmp_path)
    path.write_bytes(b"\n".join(change(path.read_bytes().splitlines())))  # type: ignore[operator]  # a lambda
    with pytest.raises(ReportError, match=message):
        read_report(path)


def test_junit(make_report: MakeReport) -> None:
    report = make_report(40)
    root = ET.fromstring(FORMATS["junit"](report))
    cases = root.findall(".//testcase")
    assert len(cases) == 40
    assert len(root.findall(".//failure")) == sum(
        line.verdict in {Verdict.FAIL, Verdict.UNEXPECTED_PASS} for line in report.verdicts
    )
    assert len(root.findall(".//error")) == sum(line.verdict is Verdict.ERROR for line in report.verdicts)
    assert sum(int(suite.get("tests", "0")) for suite in root) == 40


def test_markdown(make_report: MakeReport) -> None:
    text = FORMATS["markdown"](make_report())
    assert "**not conformant**" in text
    assert "python:0.004" in text
    table = [row for row in text.splitlines() if row.startswith("| ✗ fail")]
    assert table
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in table), "a cell cannot break its row"


def test_badges(make_report: MakeReport) -> None:
    badge = json.loads(FORMATS["badge-json"](make_report(conformant=True)))
    assert badge["schemaVersion"] == 1
    assert badge["message"].startswith("conformant ")
    svg = ET.fromstring(FORMATS["badge-svg"](make_report()))
    assert svg.get("role") == "img"
    assert "not conformant" in (svg.get("aria-label") or "")


def test_jsonl_is_the_report_itself(tmp_path: Path, make_report: MakeReport) -> None:
    report = make_report()
    write_rendering(report, "jsonl", tmp_path / "sub" / "x.jsonl")
    assert read_report(tmp_path / "sub" / "x.jsonl") == report


def test_terminal_has_no_colour_unless_asked(monkeypatch: pytest.MonkeyPatch, make_report: MakeReport) -> None:
    report = make_report()
    assert "\x1b" not in terminal.render(report)
    assert "\x1b[31;1m✗ fail" in terminal.render(report, colour=True)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.coloured(Terminal())
    assert not terminal.coloured(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.coloured(Terminal())


def test_progress_on_a_terminal_only(make_report: MakeReport) -> None:
    quiet = io.StringIO()
    progress = terminal.Progress(2, quiet)
    lines = {line.verdict: line for line in make_report(len(Verdict)).verdicts}
    good, bad = lines[Verdict.PASS], msgspec.structs.replace(lines[Verdict.FAIL], reason="why")
    progress(good)
    assert quiet.getvalue() == ""
    progress(bad)
    progress.end()
    assert f"✗ fail {bad.case}" in quiet.getvalue()
    assert "\r" not in quiet.getvalue()


def test_html_is_one_file_without_network(make_report: MakeReport) -> None:
    text = FORMATS["html"](make_report(50))
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text)
    assert "default-src 'none'" in text
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert len(json.loads(data)["verdicts"]) == 50
    blocks = re.findall(r'<script type="text/plain" id="e(\d+)">([^<]*)</script>', text)
    assert [number for number, _ in blocks] == ["0", "1"]
    evidence = [item for _, block in blocks for item in json.loads(zlib.decompress(base64.b64decode(block)))]
    assert len(evidence) == 50
    assert evidence[49]["keys"] == make_report(50).verdicts[49].keys
