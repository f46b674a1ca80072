"""The documentation site: it builds, no link on it leads nowhere, nothing on it comes from another host."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("material", reason="LEFT OUT: the documentation site: pip install 'jobwire[test]'")

ROOT = Path(__file__).resolve().parents[1]


def build(checkout: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "ci/site.py", str(site)]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=120, check=False)


def test_it_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        loaded = re.findall(r'<(?:script|img|link)[^>]* (?:src|href)="(https?://[^"]+)"', page.read_text())
        assert not loaded, page


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    for name in ("ci", "docs", "perl_fixtures", "findings"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for page in ROOT.glob("*.md"):
        shutil.copy(page, tmp_path)
    with (tmp_path / "CHANGELOG.md").open("a") as page:
        page.write("\n[gone](docs/GONE.md)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "docs/GONE.md" in done.stderr
