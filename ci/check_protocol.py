"""Check docs/PROTOCOL.md against its own form, the recordings, the register and the cases.

python ci/check_protocol.py            print the problems; exit 1 if there are any
python ci/check_protocol.py --write    take proven requirements off the list of unproven ones, and write
                                       docs/PROTOCOL-COVERAGE.md; then check
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "conformance")]  # where the suite is not installed

from ci.requirements import (  # noqa: E402 - needs the path
    REGISTER,
    check_coverage,
    check_recordings,
    coverage,
    load_document,
    load_register,
    render_coverage,
    without_proven,
)
from jobwire_conformance.cases.case import load_cases  # noqa: E402 - needs the path

COVERAGE = ROOT / "docs" / "PROTOCOL-COVERAGE.md"
GOLDEN = ROOT / "conformance" / "golden"


def problems() -> list[str]:
    """Return all that is wrong, each in one line."""
    document, register, cases = load_document(), load_register(), load_cases()
    found = [f"docs/PROTOCOL.md: {problem}" for problem in document.problems]
    found += [f"docs/PROTOCOL.md: {problem}" for problem in check_recordings(document, GOLDEN)]
    found += check_coverage(document, register, cases)
    fresh = render_coverage(document, register, cases)
    if not COVERAGE.is_file() or COVERAGE.read_text(encoding="utf-8") != fresh:
        found.append("docs/PROTOCOL-COVERAGE.md is out of date: run  python ci/check_protocol.py --write")
    return found


def write() -> None:
    document, cases = load_document(), load_cases()
    register = REGISTER.read_text(encoding="utf-8")
    REGISTER.write_text(without_proven(register, coverage(document, cases)), encoding="utf-8")
    COVERAGE.write_text(render_coverage(document, load_register(), cases), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the coverage page, tidy the register")
    if parser.parse_args().write:
        write()
    found = problems()
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
