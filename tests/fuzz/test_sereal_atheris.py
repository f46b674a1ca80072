"""The coverage-guided fuzzer runs at all, and finds nothing in a moment; docs/SEREAL.md has the long runs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ATHERIS = Path(__file__).with_name("sereal_atheris.py")
CORPUS = ATHERIS.with_name("sereal_corpus")


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="coverage-guided fuzzing needs: pip install atheris"
)
def test_coverage_guided_for_a_moment(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    command = [sys.executable, str(ATHERIS), "-runs=1500", "-max_total_time=20", str(corpus), str(CORPUS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
