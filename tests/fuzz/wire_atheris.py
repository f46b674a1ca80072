#!/usr/bin/env python3
"""Coverage-guided fuzzing of every parser of jobwire.wire with atheris (libFuzzer).

    pip install atheris
    python tests/fuzz/wire_atheris.py -max_total_time=180 NEW_FINDS/

The first byte of an input chooses the parser, the rest is what it reads.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parent)]

with atheris.instrument_imports(include=["jobwire"]):
    import jobwire.wire  # noqa: F401 - instrumented

from wire_fuzz import PARSERS, check  # noqa: E402 - behind the path, and the instrumentation

NAMES = list(PARSERS)


def one_input(data: bytes) -> None:
    if data:
        check(NAMES[data[0] % len(NAMES)], data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
