"""The conclusion of a run: its footer, and one report made of several.

Parts of a run (``--shard``) and repetitions of failures (``--last-failed``) are merged. An instance that
stands in several reports counts as in the last of them. A part that is missing, an instance that nobody
tried and a required peer that was in none of them are said, and the whole is then not conformant.
"""

from __future__ import annotations

import time
from collections import Counter

import msgspec

from jobwire_conformance.report.claims import not_tried, what_is_claimed
from jobwire_conformance.report.report import Footer, Header, PeerFacts, Report, ReportError, VerdictLine
from jobwire_conformance.report.verdicts import Exit, exit_status

__all__ = ["conclude", "judgement", "merge", "now"]


def now() -> str:
    """The time as reports write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def conclude(
    header: Header, verdicts: list[VerdictLine], unused: list[str], *, seconds: float, lacking: list[str] | None = None
) -> Footer:
    """The footer of a run, or of a part of one. ``unused``: entries of lists that matched nothing in it."""
    missing = {peer.name: peer.missing for peer in header.peers if peer.missing is not None}
    # Only a run of everything can say that an entry matches nothing.
    stale = unused if header.whole and not header.shard and not missing else []
    status = exit_status([(line.verdict, line.required) for line in verdicts], missing=bool(missing), stale=bool(stale))
    # Cases beyond a peer's claims are left out of its judgement; the footer names them.
    left_out = not_tried(header.peers, verdicts)
    lacking = list(lacking or [])
    if header.instances > len(verdicts):
        lacking.append(f"{header.instances - len(verdicts)} instances were not tried")
    if lacking and status in {Exit.CONFORMANT, Exit.STALE}:
        status = Exit.NOT_CONFORMANT
    counts = Counter(str(line.verdict) for line in verdicts)
    bad = Counter(line.verdict for line in verdicts if line.required or line.verdict.tried)
    why = [f"{count} {verdict}" for verdict, count in bad.items() if not verdict.good]
    why += [] if any(line.verdict.tried for line in verdicts) else ["nothing was tried"]
    why += [f"required peer missing: {name}: {reason}" for name, reason in missing.items()]
    why += lacking
    why += [f"stale: {entry}" for entry in stale]
    return Footer(
        ended=now(),
        seconds=round(seconds, 3),
        counts=dict(counts),
        status=int(status),
        conformant=status is Exit.CONFORMANT,
        why=why if status is not Exit.CONFORMANT else [],
        claimed={peer.name: what_is_claimed(peer) for peer in header.peers if peer.name in left_out},
        not_tried=left_out,
        stale=stale,
        unused=unused,
    )


def judgement(report: Report) -> str:
    """The result in words; it names the parts left out before it says "conformant"."""
    if not report.footer.conformant:
        return "not conformant"
    if not report.header.whole:
        return "conformant as far as selected"
    return "conformant in what is claimed" if report.footer.not_tried else "conformant"


def merge(reports: list[Report]) -> Report:
    """One report of several; raises :class:`report.report.ReportError` where they are not of one suite and profile."""
    first = reports[0].header
    for report in reports[1:]:
        for field in ("suite", "driver", "profile"):
            one, other = getattr(first, field), getattr(report.header, field)
            if one != other:
                raise ReportError(f"reports of different {field}: {one} and {other}")
    base = _base(reports)
    verdicts = {line.name: line for report in reports for line in report.verdicts}
    header = msgspec.structs.replace(
        first,
        began=min(report.header.began for report in reports),
        peers=_peers(reports),
        cases=len({line.case for line in verdicts.values()}),
        instances=max(len(verdicts), sum(report.header.instances for report in base)),
        command=[f"merged: {' '.join(report.header.command)}" for report in reports],
        shard="",
        whole=all(report.header.whole for report in base),
    )
    unused = [entry for entry in base[0].footer.unused if all(entry in report.footer.unused for report in reports)]
    seconds = sum(report.footer.seconds for report in reports)
    footer = conclude(header, list(verdicts.values()), unused, seconds=seconds, lacking=_lacking(base))
    return Report(header=header, verdicts=list(verdicts.values()), footer=footer)


def _base(reports: list[Report]) -> list[Report]:
    """The reports that together cover the whole plan: one a shard, else the largest."""
    shards = {report.header.shard: report for report in reports if report.header.whole and report.header.shard}
    return list(shards.values()) or [max(reports, key=lambda report: (report.header.whole, report.header.instances))]


def _lacking(base: list[Report]) -> list[str]:
    """The shards that are not there."""
    have = {report.header.shard for report in base} - {""}
    counts = {shard.partition("/")[2] for shard in have}
    if len(counts) > 1:
        raise ReportError(f"shards of different plans: {', '.join(sorted(have))}")
    wanted = [f"{number + 1}/{count}" for count in counts for number in range(int(count))]
    return [f"shard {shard} is missing" for shard in wanted if shard not in have]


def _peers(reports: list[Report]) -> list[PeerFacts]:
    """Every peer once; missing only where it was in none of the reports."""
    found: dict[str, PeerFacts] = {}
    for report in reports:
        for peer in report.header.peers:
            if peer.name not in found or found[peer.name].missing is not None:
                found[peer.name] = peer
    return list(found.values())
