"""Claims of peers, needs of cases, and the cases that are therefore not tried: never a pass, and always reported.

A peer is judged by its claims in the answer to ``hello``: roles, modes, dialects, codecs, behaviours. A case
that needs more is ``unsupported`` before anything is started, and the end of the report lists the claims and
the cases not tried. A peer that declines something it claimed is not conformant, unless a list
says why it is right.
"""

from __future__ import annotations

from collections import defaultdict
from typing import get_args

from jobwire_conformance.cases.case import Case
from jobwire_conformance.driver.protocol import BEHAVIOURS, HelloAnswer, Mode
from jobwire_conformance.report.report import PeerFacts, VerdictLine
from jobwire_conformance.rules.facts import DIALECTS, MAIN_DIALECT

__all__ = ["doubts", "in_words", "lacking", "not_tried", "spoken_codec", "what_is_claimed"]

_CODECS = ("sereal", "json")


def lacking(
    case: Case, mode: Mode, codec: str, client: HelloAnswer | None, worker: HelloAnswer | None
) -> dict[str, list[str]]:
    """Role -> missing claims of its peer that the case needs (``behaviour cancel``, ``codec sereal`` …)."""
    found: dict[str, list[str]] = {}
    sides = (("client", client, case.needs.client, case.client), ("worker", worker, case.needs.worker, case.worker))
    for role, hello, behaviours, options in sides:
        if hello is None:
            continue
        missing = [f"behaviour {name}" for name in behaviours if name not in hello.behaviours]
        if case.needs.documents and mode != "simple" and not _speaks(role, codec, hello):
            missing.append(f"codec {codec}")
        if options.get("mode", mode) not in hello.modes:
            missing.append(f"mode {options['mode']}")
        if missing:
            found[role] = missing
    return found


def _speaks(role: str, codec: str, hello: HelloAnswer) -> bool:
    """A client claims the codec that it writes. Every worker reads ``json_``: it reads the same JSON in results."""
    return codec in hello.codecs or (role == "worker" and codec == "json")


def in_words(missing: dict[str, list[str]]) -> str:
    """For a verdict's reason: the missing claims of the first of them."""
    role, names = next(iter(missing.items()))
    return f"the {role} does not claim {', '.join(name.removeprefix('behaviour ') for name in names)}"


def spoken_codec(codec: str, hello: HelloAnswer) -> str:
    """The codec to ask a peer for: no peer is asked for one that it does not claim."""
    return codec if codec in hello.codecs or not hello.codecs else hello.codecs[0]


def what_is_claimed(peer: PeerFacts) -> str:
    """One line."""
    parts = {
        "roles": peer.roles,
        "modes": peer.modes,
        "dialect": [peer.dialect],
        "codecs": peer.codecs,
        "behaviours": peer.behaviours,
    }
    return "; ".join(f"{what} {', '.join(names) or 'none'}" for what, names in parts.items())


def not_tried(peers: list[PeerFacts], verdicts: list[VerdictLine]) -> dict[str, str]:
    """Peer -> cases not tried for want of a claim, without those that a list gives a reason for.

    Only the main dialect is asked for other modes than ``reliable``, so only there their absence is told.
    """
    cases: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for line in verdicts:
        if line.link:
            continue
        for role, names in line.lacks.items():
            for name in names:
                cases[(line.client if role == "client" else line.worker) or role][name].add(line.case)
    found = {}
    for peer in peers:
        if peer.missing is not None or any(item.startswith("recorded:") for item in peer.behaviours):
            continue
        modes = [mode for mode in get_args(Mode) if mode not in peer.modes and peer.dialect == MAIN_DIALECT]
        roles = [role for role in ("client", "worker") if role not in peer.roles]
        parts = [f"role {role}" for role in roles] + [f"mode {mode}" for mode in modes]
        parts += [f"{name} ({len(cases[peer.name][name])})" for name in sorted(cases[peer.name]) if name not in parts]
        if parts:
            found[peer.name] = ", ".join(parts)
    return found


def doubts(hello: HelloAnswer) -> list[str]:
    """Hints for an author: claims that no case knows, and therefore no case asks for."""
    known = {
        "behaviour": (hello.behaviours, tuple(BEHAVIOURS)),
        "codec": (hello.codecs, _CODECS),
        "dialect": (hello.dialects, DIALECTS),
    }
    return [
        f"{what} {name!r} is not known to the suite; it knows {', '.join(names)}"
        for what, (claimed, names) in known.items()
        for name in claimed
        if name not in names and not name.startswith("recorded:")
    ]
