#!/usr/bin/env python3
"""Coverage-guided fuzzing of the Sereal decoder with atheris (libFuzzer).

    pip install atheris
    python tests/fuzz/sereal_atheris.py -max_total_time=180 NEW_FINDS/ tests/fuzz/sereal_corpus/

The first byte of an input chooses the string policy, the rest is the document. Whatever escapes,
lasts, or differs between plain Python and the compiled code ends the run with the input kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[2])]

with atheris.instrument_imports(include=["jobwire.sereal"]):
    import jobwire.sereal  # noqa: F401 - instrumented

from tests.support.sereal_fuzz import POLICIES, check  # noqa: E402 - behind the path, and the instrumentation


def one_input(data: bytes) -> None:
    if data:
        check(data[1:], POLICIES[data[0] % len(POLICIES)])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
