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

import pytest

from jobwire_conformance.rendering import write_rendering
from jobwire_conformance.report import Report

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


def test_two_thousand_verdicts_load_in_under_a_second(tmp_path: Path, page: Path) -> None:
    text = dom(tmp_path, page)
    ready = re.search(r'data-ready="(\d+)"', text)
    assert ready, "the page's script did not come to its end"
    assert int(ready.group(1)) < 1000, f"{ready.group(1)} ms"
    assert "2000 verdicts" in text


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


def test_keyboard(tmp_path: Path, page: Path) -> None:
    script = """
      document.dispatchEvent(new KeyboardEvent("keydown", {key: "/", bubbles: true}));
      document.title = document.activeElement.id;
    """
    assert "<title>f-q</title>" in dom(tmp_path, page, script)
    back = """location.hash = "#v1"; setTimeout(() => {
      dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"})); document.title = "at " + location.hash; }, 100);"""
    assert "<title>at </title>" in dom(tmp_path, page, back)


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
