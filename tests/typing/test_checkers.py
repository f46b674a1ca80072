"""What mypy and pyright make of the public names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BAD = HERE / "bad.py"
WRONG = {number for number, line in enumerate(BAD.read_text().splitlines(), 1) if "# WRONG" in line}


def checked(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def mypy() -> list[tuple[str, int, str]]:
    done = checked(
        ["mypy", "--strict", "--no-error-summary", "--follow-imports=silent", str(HERE / "good.py"), str(BAD)]
    )
    assert done.stderr == ""
    found = []
    for line in done.stdout.splitlines():
        path, number, kind, words = line.split(":", 3)
        if kind.strip() == "error":
            found.append((Path(path).name, int(number), words.strip()))
    return found


@pytest.fixture(scope="module")
def pyright() -> list[tuple[str, int, str]]:
    done = checked(["pyright", "--outputjson", str(HERE / "good.py"), str(BAD)])
    report = json.loads(done.stdout)
    return [
        (Path(entry["file"]).name, entry["range"]["start"]["line"] + 1, entry["message"])
        for entry in report["generalDiagnostics"]
        if entry["severity"] == "error"
    ]


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_right_code_is_right(checker: str, request: pytest.FixtureRequest) -> None:
    assert [found for found in request.getfixturevalue(checker) if found[0] == "good.py"] == []


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_each_mistake_is_found(checker: str, request: pytest.FixtureRequest) -> None:
    assert {number for name, number, _ in request.getfixturevalue(checker) if name == "bad.py"} == WRONG
