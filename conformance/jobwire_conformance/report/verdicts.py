"""Verdicts, and the status that a run ends with."""

from __future__ import annotations

import enum
from collections.abc import Iterable

__all__ = ["GOOD", "SIGN", "Exit", "Verdict", "exit_status"]


class Verdict(enum.StrEnum):
    """What became of one instance of a case."""

    PASS = "pass"  # noqa: S105 - a verdict, not a word to pass by
    LENIENT = "lenient"
    FAIL = "fail"
    ERROR = "error"
    UNSUPPORTED = "unsupported"
    KNOWN_FAILING = "known-failing"
    UNEXPECTED_PASS = "unexpected-pass"  # noqa: S105
    FLAKY = "flaky"


#: Verdicts that do not stand in the way of "conformant".
GOOD = frozenset({Verdict.PASS, Verdict.LENIENT, Verdict.KNOWN_FAILING, Verdict.FLAKY})

#: Colour is never the only sign.
SIGN = {
    Verdict.PASS: "✓",
    Verdict.LENIENT: "≈",
    Verdict.FAIL: "✗",
    Verdict.ERROR: "!",
    Verdict.UNSUPPORTED: "–",
    Verdict.KNOWN_FAILING: "×",
    Verdict.UNEXPECTED_PASS: "?",
    Verdict.FLAKY: "~",
}


class Exit(enum.IntEnum):
    """The status of the process."""

    CONFORMANT = 0
    NOT_CONFORMANT = 1
    USAGE = 2
    ENVIRONMENT = 3
    STALE = 4


def exit_status(verdicts: Iterable[tuple[Verdict, bool]], *, missing: bool, stale: bool) -> Exit:
    """The status of a run, from (verdict, required) pairs.

    ``missing``: a required peer was not there; ``stale``: a list entry matched nothing. What
    went wrong outweighs a stale list; an entry whose instances passed is stale too. A run in which
    nothing was tried is not conformant.
    """
    tried = False
    passed_unexpectedly = False
    for verdict, required in verdicts:
        tried = tried or verdict is not Verdict.UNSUPPORTED
        if verdict is Verdict.UNEXPECTED_PASS:
            passed_unexpectedly = True
        elif verdict is Verdict.UNSUPPORTED:
            if required:
                return Exit.NOT_CONFORMANT
        elif verdict not in GOOD:
            return Exit.NOT_CONFORMANT
    if missing or not tried:
        return Exit.NOT_CONFORMANT
    return Exit.STALE if stale or passed_unexpectedly else Exit.CONFORMANT
