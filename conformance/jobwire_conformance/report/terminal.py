"""The terminal: progress while it runs, and the summary at the end. Colour is never the only sign."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import TextIO

from jobwire_conformance.driver.text import block, one_line
from jobwire_conformance.report.conclusion import judgement
from jobwire_conformance.report.report import Report, VerdictLine
from jobwire_conformance.report.verdicts import Verdict

__all__ = ["Progress", "render"]


def coloured(stream: TextIO) -> bool:
    """Whether to write colours there: a terminal, and NO_COLOR not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


#: Seconds between two lines of progress where there is no terminal.
_EVERY = 60.0


class Progress:
    """One line that is written over, on a terminal; elsewhere a line a minute. Failures are told at once.

    ``stream``: standard error unless given.
    """

    def __init__(
        self,
        total: int,
        stream: TextIO | None = None,
        *,
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._clock = clock
        self._began = self._printed_at = clock()
        self._earlier = done
        self._stream = out = sys.stderr if stream is None else stream
        self._live = out.isatty()
        self._colour = coloured(out)
        self._counts: Counter[Verdict] = Counter()
        self._done = done

    def __call__(self, line: VerdictLine) -> None:
        """Told of every verdict."""
        self._done += 1
        self._counts[line.verdict] += 1
        if line.verdict.wrong:
            self._clear()
            self._stream.write(_failure(line, colour=self._colour) + "\n")
        if self._live:
            self._stream.write(f"\r\x1b[K{self._state()} {one_line(line.case[:40])}")
        elif self._clock() - self._printed_at >= _EVERY:
            self._printed_at = self._clock()
            self._stream.write(f"{self._state()}\n")
        self._stream.flush()

    def _state(self) -> str:
        counts = " ".join(f"{verdict.sign}{count}" for verdict, count in sorted(self._counts.items()))
        return f"{self._done}/{self._total}, {self._left()} {counts}"

    def _left(self) -> str:
        """How long the rest will take, if it goes on as it went so far."""
        here = self._done - self._earlier
        seconds = (self._clock() - self._began) / here * (self._total - self._done) if here else 0.0
        minutes, seconds = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes:02} min left" if hours else f"{minutes}:{seconds:02} left"

    def _clear(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[K")

    def end(self) -> None:
        """Take the line away."""
        self._clear()
        self._stream.flush()


def _paint(text: str, verdict: Verdict, *, colour: bool) -> str:
    return f"\x1b[{verdict.colour}m{text}\x1b[0m" if colour else text


def _who(line: VerdictLine) -> str:
    axes = "".join(f" {key}={value}" for key, value in line.axes.items())
    return f"{line.mode} {line.client or '(runner)'} → {line.worker or '(runner)'}{axes}"


def _failure(line: VerdictLine, *, colour: bool) -> str:
    head = _paint(f"{line.verdict.sign} {line.verdict}", line.verdict, colour=colour)
    parts = [f"{head} {one_line(f'{line.case} [{_who(line)}]')}", block("    ", line.reason)]
    if line.expected or line.actual:
        parts += [block("    expected: ", line.expected), block("    actual:   ", line.actual)]
    for who, text in line.stderr.items():
        last = next((row.strip() for row in reversed(text.split("\n")) if row.strip()), "")
        parts += [one_line(f"    stderr of {who} ends: {last[:160]}")] if last and line.verdict.tried else []
    return "\n".join(parts)


def render(report: Report, *, colour: bool = False) -> str:
    """The whole report as text."""
    header, footer = report.header, report.footer
    size = f"{header.cases} cases, {header.instances} instances"
    lines = [
        one_line(f"jobwire conformance {header.suite}, profile {header.profile}: {size}"),
        one_line(f"Redis: {header.redis.get('version', '?')}"),
    ]
    for peer in header.peers:
        about = f"missing: {peer.missing}" if peer.missing else f"{peer.implementation} {peer.version}, {peer.runtime}"
        lines.append(one_line(f"  {peer.name}: {about}"))
    lines.append("")
    lines += _matrix(report)
    wrong = [line for line in report.verdicts if line.verdict.wrong]
    declined = [line for line in report.verdicts if not (line.verdict.tried or line.lacks or line.link)]
    for title, chosen in (("What went wrong", wrong), ("Declined, though claimed", declined)):
        if chosen:
            lines += ["", f"{title} ({len(chosen)}):"]
            lines += [_failure(line, colour=colour) for line in chosen[:200]]
    lines += [
        "",
        "  ".join(f"{kind.sign} {kind} {footer.counts[kind]}" for kind in sorted(Verdict) if kind in footer.counts),
    ]
    for name, what in footer.claimed.items():
        lines += [one_line(f"  {name} claims: {what}"), one_line(f"    not tried: {footer.not_tried[name]}")]
    if wrong:
        lines.append(
            f"  evidence: jobwire-conformance show {one_line(wrong[0].case)}    again: the same run with --last-failed"
        )
    if declined:
        lines.append("  what is declined: claim less in hello, or give the reason in a list (--expected)")
    lines.append(f"{footer.seconds:.1f} s; {judgement(report).replace('not', 'NOT', 1)} ({footer.status})")
    lines += [block("  ", why) for why in footer.why]
    return "\n".join(lines) + "\n"


def _matrix(report: Report) -> list[str]:
    """client × worker: how many did well, of how many."""
    cells: dict[tuple[str, str], Counter[bool]] = {}
    for line in report.verdicts:
        if not line.verdict.tried:
            continue
        key = (one_line(line.client or "(runner)"), one_line(line.worker or "(runner)"))
        cells.setdefault(key, Counter())[line.verdict.good] += 1
    clients = list(dict.fromkeys(key[0] for key in cells))
    workers = list(dict.fromkeys(key[1] for key in cells))
    width = max([len(name) for name in [*clients, "client ↓ worker →"]], default=0)
    rows = ["  ".join(["client ↓ worker →".ljust(width), *(name.rjust(13) for name in workers)])]
    for client in clients:
        row = [client.ljust(width)]
        for worker in workers:
            counter = cells.get((client, worker))
            row.append(("·" if counter is None else f"{counter[True]}/{counter.total()}").rjust(13))
        rows.append("  ".join(row))
    return rows
