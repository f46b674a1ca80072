"""Which instances of a plan are run: ``--run``, ``--skip``, ``--last-failed``, ``--shard``."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import NamedTuple, TypeVar

from jobwire_conformance.report.report import ReportError, read_report
from jobwire_conformance.run.axes import Instance

__all__ = ["Shard", "failed_names", "selected"]

_Item = TypeVar("_Item")


class Shard(NamedTuple):
    """One of several parts of a plan: every ``of``-th instance from the ``number``-th on."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From ``2/4``; raises ``ValueError``."""
        number, _, of = text.partition("/")
        found = cls(int(number), int(of))
        if not 1 <= found.number <= found.of:
            raise ValueError(f"{text} is not of the form K/N with K from 1 to N")
        return found

    def part(self, plan: list[_Item]) -> list[_Item]:
        """This part."""
        return plan[self.number - 1 :: self.of]

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def _matches(instance: Instance, pattern: str) -> bool:
    """A glob on the case ID, a requirement ID, a tag, or a part of the instance's whole name."""
    if fnmatch.fnmatchcase(instance.case.id, pattern) or fnmatch.fnmatchcase(instance.name, pattern):
        return True
    if pattern in instance.case.proves or pattern in instance.case.tags:
        return True
    if pattern == "golden" and instance.case.golden:
        return True
    return not any(sign in pattern for sign in "*?[") and pattern in instance.name


def selected(instance: Instance, run: list[str], skip: list[str], only: set[str] | None) -> bool:
    """Whether an instance is to be run."""
    if only is not None and instance.name not in only:
        return False
    if run and not any(_matches(instance, pattern) for pattern in run):
        return False
    return not any(_matches(instance, pattern) for pattern in skip)


def failed_names(path: Path) -> set[str] | None:
    """The names of the instances that did not do well in the report at ``path``; None where there is none."""
    try:
        report = read_report(path)
    except (OSError, ReportError):
        return None
    return {line.name for line in report.verdicts if not line.verdict.good}
