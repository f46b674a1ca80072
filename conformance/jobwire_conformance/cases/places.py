"""Where the suite's data is: beside the package in a checkout, inside it when installed."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CASES", "EXPECTED", "GOLDEN", "STACKS", "SUITE"]

_PACKAGE = Path(__file__).resolve().parents[1]
#: The folder that the package itself is in: ``conformance/`` in a checkout.
SUITE = _PACKAGE.parent
_DATA = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else SUITE
CASES = _DATA / "cases"
EXPECTED = _DATA / "expected"
GOLDEN = _DATA / "golden"
STACKS = _DATA / "stacks" / "perl.toml"
