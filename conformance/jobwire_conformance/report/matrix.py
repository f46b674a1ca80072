"""One table for runs of profile ``matrix``: distribution, library stack, role, verdict.

A row is a peer that is not jobwire's, a cell its role against jobwire's own peer of the dialect. A pair that was not
run is not in the table.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from jobwire_conformance.report.markdown import cell
from jobwire_conformance.report.report import Header, PeerFacts, Report, VerdictLine
from jobwire_conformance.report.verdicts import Verdict

__all__ = ["render"]

_RELEASES = {"bullseye": "Debian 11", "bookworm": "Debian 12", "trixie": "Debian 13", "sid": "Debian sid"}
_BACKENDS = ("Cpanel::JSON::XS", "JSON::XS", "JSON::PP")
_HEAD = [
    "| distribution | Perl | Sereal | JSON | stack | Net::Async::Redis | as client | as worker |",
    "|---|---|---|---|---|---|---|---|",
]


def _distribution(peer: PeerFacts, header: Header) -> str:
    place = peer.name.partition(":")[0].partition("@")[2]
    return _RELEASES.get(place, place) or header.machine.get("distribution") or "this machine"


def _json(peer: PeerFacts) -> str:
    return ", ".join(f"{name} {peer.libraries[name]}" for name in _BACKENDS if name in peer.libraries)


def _order(name: str) -> int:
    """Oldest release first; those of one release in the order in which they were asked for."""
    places = ["bullseye", "", "bookworm", "trixie", "sid"]
    place = name.partition(":")[0].partition("@")[2]
    return places.index(place) if place in places else len(places)


def _verdict(lines: list[VerdictLine]) -> str:
    counts = Counter(line.verdict for line in lines)
    tried = [verdict for verdict in counts if verdict.tried]
    if any(verdict.wrong for verdict in counts):
        word = "fails"
    elif not tried:
        word = "not tried"
    else:
        word = "known to fail" if tried == [Verdict.KNOWN_FAILING] else "passes"
    return f"{word}: {' '.join(f'{verdict.sign} {counts[verdict]}' for verdict in sorted(counts))}"


def _row(peer: PeerFacts, header: Header, roles: dict[str, list[VerdictLine]]) -> str:
    columns = [
        _distribution(peer, header),
        peer.runtime.removeprefix("perl "),
        peer.libraries.get("Sereal::Decoder", ""),
        _json(peer),
        peer.name.partition(":")[2],
        peer.libraries.get("Net::Async::Redis", ""),
        *(_verdict(roles[role]) if roles[role] else "" for role in ("client", "worker")),
    ]
    return f"| {' | '.join(map(cell, columns))} |"


def render(report: Report) -> str:
    """The table, a line about the run above it."""
    header, footer = report.header, report.footer
    roles: dict[str, dict[str, list[VerdictLine]]] = defaultdict(lambda: {"client": [], "worker": []})
    for line in report.verdicts:
        for role, name in (("client", line.client), ("worker", line.worker)):
            if name is not None:
                roles[name][role].append(line)
    rows = [
        _row(peer, header, roles[peer.name])
        for peer in sorted(header.peers, key=lambda peer: _order(peer.name))
        if peer.language.lower() == "perl" and peer.name in roles
    ]
    about = (
        f"Profile {header.profile}, {header.began}: {header.cases} cases, {len(report.verdicts)} of {header.instances} "
        f"instances in {footer.seconds:.0f} s, {header.redis.get('version', '')}, {header.machine.get('python', '')}."
    )
    missing = [f"* not run: `{cell(peer.name)}`: {cell(peer.missing)}" for peer in header.peers if peer.missing]
    return "\n".join([cell(about), "", *_HEAD, *rows, *([""] if missing else []), *missing]) + "\n"
