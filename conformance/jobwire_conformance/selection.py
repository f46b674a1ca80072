"""Which instances of a plan are run: ``--run``, ``--skip``, ``--last-failed``."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from .axes import Instance
from .report import ReportError, read_report
from .verdicts import GOOD

__all__ = ["failed_names", "selected"]


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
    names = set()
    for line in report.verdicts:
        if line.verdict in GOOD:
            continue
        axes = {"mode": line.mode, "client": line.client or "-", "worker": line.worker or "-", **line.axes}
        names.add(" ".join([line.case, *(f"{key}={value}" for key, value in axes.items())]))
    return names
