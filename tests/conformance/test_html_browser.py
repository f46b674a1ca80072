"""The HTML report in a real headless Chromium: loads fast, filters, case pages, dark and light, no network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from jobwire_conformance.report.rendering import write_rendering
from jobwire_conformance.report.report import Report, WireLine
from jobwire_conformance.report.verdicts import Verdict

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions",
]  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="LEFT OUT: no Chromium on PATH")


def chromium(tmp_path: Path, *arguments: str) -> str:
    environment = {**os.environ, "HOME": str(tmp_path)}
    answer = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *arguments],
        capture_output=True, text=True, timeout=90, check=True, env=environment,
    )  # fmt: skip
    return answer.stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, make_report: Callable[..., Report]) -> Path:
    path = tmp_path_factory.mktemp("html") / "report.html"
    write_rendering(make_report(2000), "html", path)
    return path


def dom(tmp_path: Path, page: Path, script: str = "", fragment: str = "") -> str:
    """The page's DOM after ``script`` ran in it."""
    copy = tmp_path / "page.html"
    text = page.read_text(encoding="utf-8")
    copy.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    return chromium(tmp_path, "--virtual-time-budget=3000", "--dump-dom", f"file://{copy}{fragment}")


def test_two_thousand_verdicts_load_at_once(
    tmp_path: Path, page: Path, record_property: Callable[[str, object], None]
) -> None:
    """What the time depends on is checked, the time itself is told: a busy machine must not fail this."""
    text = page.read_text(encoding="utf-8")
    counting = text.replace(
        '"use strict";', '"use strict"; const unpack = atob; atob = x => { unpackings++; return unpack(x); };', 1
    )
    counting = counting.replace("<script>", "<script>let unpackings = 0;", 1)
    copy = tmp_path / "counting.html"
    copy.write_text(counting, encoding="utf-8")
    found = dom(tmp_path, copy, "document.title = `${unpackings} ${document.getElementsByTagName('*').length}`")
    assert "2000 verdicts" in found
    unpacked, elements = map(int, re.findall(r"<title>(\d+) (\d+)</title>", found)[0])
    assert unpacked == 0, "evidence is unpacked when it is looked at"
    assert elements < 8000, "the list begins with some hundred rows"
    assert len(text) < 1_500_000
    took = min(int(number) for number in (re.findall(r'data-ready="(\d+)"', dom(tmp_path, page))[0] for _ in range(3)))
    record_property(
        "table", f"a report of 2,000 verdicts ({len(text) // 1024} KiB) is ready after {took} ms in Chromium\n"
    )


def test_what_failed_comes_first(tmp_path: Path, page: Path) -> None:
    text = dom(tmp_path, page)
    assert text.index("Why it is not conformant") < text.index("Mode reliable") < text.index('id="rows"')
    rows = text.split('id="rows"')[1]
    shown = re.findall(r'class="row"><td><span class="pill \w+">. ([a-z-]+)</span>', rows)
    order = ["fail", "error", "unexpected-pass", "flaky", "lenient", "unsupported", "known-failing", "pass"]
    assert shown == sorted(shown, key=order.index)
    assert shown[0] == "fail"


def test_pairs_that_only_fail_as_listed_are_not_shown_as_passing(
    tmp_path: Path, make_report: Callable[..., Report]
) -> None:
    report = make_report(40, conformant=True)
    lines = [msgspec.structs.replace(line, verdict=Verdict.KNOWN_FAILING) for line in report.verdicts]
    path = tmp_path / "known.html"
    write_rendering(msgspec.structs.replace(report, verdicts=lines), "html", path)
    text = dom(tmp_path, path)
    matrices = text.split('id="matrices"')[1].split('id="list"')[0]
    assert re.findall(r'<td class="(\w+)"><button', matrices)
    assert set(re.findall(r'<td class="(\w+)"><button', matrices)) == {"known"}
    assert "What is expected, and why" in text


def test_filters(tmp_path: Path, page: Path, make_report: Callable[..., Report]) -> None:
    script = """
      document.getElementById("f-q").value = "case-7 res-3";
      document.getElementById("f-q").dispatchEvent(new Event("input"));
      document.querySelector('[data-verdict="fail"]').click();
    """
    text = dom(tmp_path, page, script)
    shown = re.search(r'id="shown"[^>]*>(\d+) of 2000', text)
    expected = sum(line.case[-6:] == "case-7" and line.verdict == "fail" for line in make_report(2000).verdicts)
    assert shown
    assert int(shown.group(1)) == expected
    assert 'data-verdict="fail" aria-pressed="true"' in text


def test_a_cell_of_the_matrix_chooses_its_pair(tmp_path: Path, page: Path) -> None:
    text = dom(tmp_path, page, """document.querySelector('table.matrix button').click();""")
    shown = re.search(r'id="shown"[^>]*>(\d+) of 2000', text)
    assert shown
    assert 0 < int(shown.group(1)) < 2000


def test_a_case_page_shows_the_evidence_and_escapes_it(tmp_path: Path, page: Path) -> None:
    text = dom(tmp_path, page, fragment="#v2")
    for heading in (
        "Expected",
        "Actual",
        "On the wire",
        "Left in Redis",
        "stderr of worker",
        "All instances of this case",
    ):
        assert heading in text
    assert "<b>&amp;" not in text.split("</script>")[-1], "what came from peers is text, never markup"
    assert "case-39" in dom(tmp_path, page, fragment="#v1999"), "the last verdict of the last block"


def test_the_wire_without_the_setting_up_of_connections(tmp_path: Path, make_report: Callable[..., Report]) -> None:
    lines = [
        WireLine(t=0, connection=1, role="client", direction=">", kind="command", text="CLIENT SETNAME x"),
        WireLine(t=0, connection=1, role="client", direction="<", kind="reply", text="OK"),
        WireLine(t=0, connection=1, role="client", direction=">", kind="command", text="LPUSH q j"),
        WireLine(t=0, connection=1, role="client", direction=">", kind="command", text="PING"),
    ]
    report = make_report(1)
    one = msgspec.structs.replace(report.verdicts[0], wire=lines)
    path = tmp_path / "wire.html"
    write_rendering(msgspec.structs.replace(report, verdicts=[one]), "html", path)
    count = """setTimeout(() => { %s
      document.title = [...document.getElementById("wire").rows].filter(r => !r.hidden).length; }, 300)"""
    assert "<title>2</title>" in dom(tmp_path, path, count % "", "#v0")
    both = """document.querySelector("#wire-filters [data-quiet]").click();"""
    assert "<title>4</title>" in dom(tmp_path, path, count % both, "#v0")
    none = """document.querySelector("#wire-filters [data-role]").click();"""
    assert "<title>0</title>" in dom(tmp_path, path, count % none, "#v0")


def test_keyboard(tmp_path: Path, page: Path) -> None:
    script = """
      document.dispatchEvent(new KeyboardEvent("keydown", {key: "/", bubbles: true}));
      document.title = document.activeElement.id;
    """
    assert "<title>f-q</title>" in dom(tmp_path, page, script)
    back = """location.hash = "#v1"; setTimeout(() => {
      dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"})); document.title = "at " + location.hash; }, 100);"""
    assert "<title>at </title>" in dom(tmp_path, page, back)
    onward = """location.hash = "#v2"; setTimeout(() => { dispatchEvent(new KeyboardEvent("keydown", {key: "j"}));
      setTimeout(() => { const at = location.hash; dispatchEvent(new KeyboardEvent("keydown", {key: "k"}));
      setTimeout(() => document.title = `${at} ${location.hash}`, 300); }, 300); }, 300);"""
    assert "<title>#v10 #v2</title>" in dom(tmp_path, page, onward), "the next failure in the list, and back"


def test_a_view_has_an_address(tmp_path: Path, page: Path, make_report: Callable[..., Report]) -> None:
    text = dom(tmp_path, page, fragment="#?verdict=fail&mode=simple")
    expected = sum(line.verdict == "fail" and line.mode == "simple" for line in make_report(2000).verdicts)
    assert f'role="status">{expected} of 2000' in text
    script = """document.querySelector('[data-verdict="fail"]').click(); document.title = location.hash;"""
    assert "<title>#?verdict=fail</title>" in dom(tmp_path, page, script)


def test_dark_and_light(tmp_path: Path, page: Path) -> None:
    dark = dom(tmp_path, page, "document.title = getComputedStyle(document.body).backgroundColor", "?theme=dark")
    light = dom(tmp_path, page, "document.title = getComputedStyle(document.body).backgroundColor", "?theme=light")
    colours = [re.search(r"<title>rgb\((\d+)", text) for text in (dark, light)]
    assert colours[0]
    assert colours[1]
    assert int(colours[0].group(1)) < 60
    assert int(colours[1].group(1)) > 200


def test_phone_width_does_not_scroll_sideways(tmp_path: Path, page: Path) -> None:
    # A headless window has a least width; a frame of phone width has not.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="f" style="width:390px;height:800px" src="file://{page}"></iframe><script>'
        "onload = () => setTimeout(() => { try { const d = f.contentDocument.documentElement;"
        "document.title = JSON.stringify([d.scrollWidth, d.clientWidth]); }"
        "catch (e) { document.title = String(e); } }, 500)"
        "</script>"
    )
    text = chromium(
        tmp_path, "--allow-file-access-from-files", "--virtual-time-budget=3000", "--dump-dom", f"file://{frame}"
    )
    found = re.search(r"<title>(\[.*?\])</title>", text)
    assert found, re.search(r"<title>.*?</title>", text)
    wide, seen = json.loads(found.group(1))
    assert wide <= seen


def test_no_network_requests(tmp_path: Path, page: Path) -> None:
    log = tmp_path / "net.json"
    began = time.monotonic()
    chromium(tmp_path, f"--log-net-log={log}", "--virtual-time-budget=2000", "--dump-dom", f"file://{page}#v3")
    assert time.monotonic() - began < 60
    urls = re.findall(r'"url":"(https?://[^"]+)"', log.read_text(errors="replace"))
    assert [url for url in urls if "report" in url or "page" in url] == []
    assert "http" not in page.read_text().split("</style>")[1].replace("http-equiv", "")
