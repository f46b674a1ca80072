"""A report to test renderings with: every verdict, and texts that try to break out of every format."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobwire_conformance.report.report import Footer, Header, PeerFacts, Report, VerdictLine, WireLine
from jobwire_conformance.report.verdicts import Verdict

NASTY = "</script><b>&\"'|\n\x00\u2028 ☺"


def build_report(count: int = 8, *, conformant: bool = False) -> Report:
    names = list(Verdict)[::-1]
    verdicts = [
        VerdictLine(
            case=f"group/case-{number % 40}",
            title="A title",
            proves=["KEY-1", "RES-3"],
            source="somewhere",
            level="must",
            mode=("reliable", "recoverable", "simple")[number % 3],
            client="python:0.004" if number % 2 else None,
            worker=f"perl:0.00{1 + number % 4}",
            axes={"multi": "both"} if number % 5 == 0 else {},
            verdict=names[number % len(names)],
            reason=NASTY,
            expected=NASTY,
            actual="actual",
            seconds=0.25,
            wire=[WireLine(t=0.1, connection=1, role="client", direction=">", kind="command", text=NASTY)] * 30,
            keys={"job::1": {"text_x": NASTY}},
            stderr={"worker": NASTY},
            steps=["0.1 step"],
        )
        for number in range(count)
    ]
    header = Header(
        suite="1.0", driver=1, began="2026-01-01T00:00:00Z", profile="ci", machine={"system": "Linux"},
        redis={"version": "Redis 7"}, cases=40, instances=count,
        peers=[PeerFacts(name="python:0.004"), PeerFacts(name="perl:0.001", missing="no perl")],
    )  # fmt: skip
    counts = {str(name): sum(line.verdict is name for line in verdicts) for name in names}
    footer = Footer(
        ended="2026-01-01T00:01:00Z", seconds=60, counts={key: value for key, value in counts.items() if value},
        status=0 if conformant else 1, conformant=conformant, why=[] if conformant else ["1 fail", NASTY],
    )  # fmt: skip
    return Report(header=header, verdicts=verdicts, footer=footer)


@pytest.fixture(scope="session")
def make_report() -> Callable[..., Report]:
    """``make_report(count, conformant=…)``."""
    return build_report
