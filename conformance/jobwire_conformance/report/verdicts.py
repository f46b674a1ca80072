"""Verdicts, and the status that a run ends with."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Self

__all__ = ["Exit", "Verdict", "exit_status"]


class Verdict(enum.StrEnum):
    """The outcome of one instance of a case, and how every rendering shows it. Lists show them in this order.

    ``sign``    one character: colour is never the only sign
    ``look``    the class of colours in HTML: good, bad, warn, known
    ``colour``  the same on a terminal, as the parameters of SGR
    ``junit``   the element of JUnit XML that says it; empty for a plain test case
    ``good``    does not stand in the way of "conformant"
    """

    sign: str
    look: str
    colour: str
    junit: str
    good: bool

    FAIL = "fail", "✗", "bad", "31;1", "failure", False
    ERROR = "error", "!", "bad", "35;1", "error", False
    UNEXPECTED_PASS = "unexpected-pass", "?", "bad", "31;1", "failure", False
    FLAKY = "flaky", "~", "warn", "33", "", True
    LENIENT = "lenient", "≈", "good", "36", "", True
    UNSUPPORTED = "unsupported", "–", "warn", "33", "skipped", False
    KNOWN_FAILING = "known-failing", "×", "known", "2", "skipped", True
    PASS = "pass", "✓", "good", "32", "", True

    def __new__(cls, value: str, sign: str, look: str, colour: str, junit: str, good: bool) -> Self:  # noqa: PLR0917 - a row of the table
        """A member of the table above."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.sign, member.look, member.colour, member.junit, member.good = sign, look, colour, junit, good
        return member

    @property
    def tried(self) -> bool:
        """Whether anything was run."""
        return self is not Verdict.UNSUPPORTED

    @property
    def wrong(self) -> bool:
        """Whether it was tried, and is not good."""
        return self.tried and not self.good


class Exit(enum.IntEnum):
    """The status of the process."""

    CONFORMANT = 0
    NOT_CONFORMANT = 1
    USAGE = 2
    ENVIRONMENT = 3
    STALE = 4


def exit_status(verdicts: Iterable[tuple[Verdict, bool]], *, missing: bool, stale: bool) -> Exit:
    """The status of a run, from (verdict, required) pairs.

    ``missing``: a required peer was not there; ``stale``: a list entry matched nothing. A
    failure outweighs a stale list; an entry whose instances passed is stale too. A run in which
    nothing was tried is not conformant.
    """
    tried = False
    passed_unexpectedly = False
    for verdict, required in verdicts:
        tried = tried or verdict.tried
        if verdict is Verdict.UNEXPECTED_PASS:
            passed_unexpectedly = True
        elif verdict.wrong or (required and not verdict.tried):
            return Exit.NOT_CONFORMANT
    if missing or not tried:
        return Exit.NOT_CONFORMANT
    return Exit.STALE if stale or passed_unexpectedly else Exit.CONFORMANT
