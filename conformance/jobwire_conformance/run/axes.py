"""From cases and peers to instances: which case is run between whom, with which axes.

An **instance** is a case with every axis decided. ``full`` is the whole product. ``ci`` runs every
case between the peers of dialect 0.004 with each value of each of its own axes once (against the
defaults of the others), and spreads the cases over the pairs of the other dialects so that every
(client, worker), (client, case) and (worker, case) meets at least once (an orthogonal array of
strength two), in mode ``reliable``, but for the long cases tagged ``main-dialect``. ``smoke`` takes
the cases tagged so, with the default of every axis. ``matrix`` holds each peer that is not jobwire's to
jobwire's own of the same dialect, as client and as worker: the cases tagged ``smoke``, ``probe`` and ``stack``, in mode
``reliable``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from jobwire_conformance.cases.case import Case
from jobwire_conformance.cases.stacks import facts_of_stack
from jobwire_conformance.driver.protocol import HelloAnswer, Mode
from jobwire_conformance.rules.facts import FACTS, MAIN_DIALECT, misunderstanding

__all__ = ["Instance", "PeerSpec", "Profile", "expand"]

Profile = Literal["smoke", "ci", "full", "matrix"]
_TAGS: dict[Profile, set[str]] = {"smoke": {"smoke"}, "matrix": {"smoke", "probe", "stack"}}


@dataclass(frozen=True, slots=True)
class PeerSpec:
    """A peer as named on the command line (``perl:0.004``), with its answer to ``hello``."""

    name: str
    dialect: str
    hello: HelloAnswer

    @property
    def language(self) -> str:
        """Lower-case language name."""
        return self.hello.language.lower()


@dataclass(frozen=True, slots=True)
class Instance:
    """One case with every axis decided; ``client`` or ``worker`` is None where the runner plays that side."""

    case: Case
    mode: Mode
    client: str | None
    worker: str | None
    client_dialect: str
    worker_dialect: str
    use_multi: str = "none"
    prefix: str = "jobs"
    codec: str = "sereal"
    concurrency: int = 1
    pair_note: str | None = None

    @property
    def name(self) -> str:
        """A name that is the same in every run."""
        return " ".join([self.case.id, *(f"{key}={value}" for key, value in self.axes().items())])

    def axes(self) -> dict[str, str]:
        """The decided axes, those that are not at their default or that are always of interest."""
        shown = {"mode": self.mode, "client": self.client or "-", "worker": self.worker or "-"}
        if self.use_multi != "none":
            shown["multi"] = self.use_multi
        if self.prefix != "jobs":
            shown["prefix"] = self.prefix or "(empty)"
        if self.codec != "sereal":
            shown["codec"] = self.codec
        if self.concurrency != 1:
            shown["at-a-time"] = str(self.concurrency)
        return shown

    def facts(self) -> frozenset[str]:
        """The facts that both sides' dialects share."""
        return FACTS[self.client_dialect] & FACTS[self.worker_dialect]


def _applies(case: Case, client: PeerSpec | None, worker: PeerSpec | None, mode: Mode) -> bool:
    """Whether the case speaks of such a pair at all (roles, modes, dialect facts, languages)."""
    facts: frozenset[str] = frozenset(itertools.chain.from_iterable(FACTS.values()))
    for spec, role in ((client, "client"), (worker, "worker")):
        if spec is None:
            continue
        if role not in spec.hello.roles or mode not in spec.hello.modes:
            return False
        facts &= FACTS[spec.dialect]
    if not set(case.needs.facts) <= facts:
        return False
    return (
        _language_fits(client, case.needs.client_language)
        and _language_fits(worker, case.needs.worker_language)
        and _stack_fits(client, case.needs.client_stack)
        and _stack_fits(worker, case.needs.worker_stack)
    )


def _recorded(case: Case, spec: PeerSpec, *, multi: str) -> bool:
    """A replay can play its recordings, and nothing else."""
    recorded = [item for item in spec.hello.behaviours if item.startswith("recorded:")]
    return not recorded or f"recorded:{case.id}:{int(multi != 'none')}" in recorded


def _language_fits(spec: PeerSpec | None, wanted: list[str]) -> bool:
    return spec is None or not wanted or spec.language in wanted


def _stack_fits(spec: PeerSpec | None, wanted: list[str]) -> bool:
    return spec is None or facts_of_stack(spec.hello).issuperset(wanted)


def expand(
    cases: list[Case], clients: list[PeerSpec], workers: list[PeerSpec], profile: Profile = "ci"
) -> list[tuple[Instance, PeerSpec | None, PeerSpec | None]]:
    """All instances of a run, in a stable order."""
    found: list[tuple[Instance, PeerSpec | None, PeerSpec | None]] = []
    for number, case in enumerate(cases):
        if profile in _TAGS and _TAGS[profile].isdisjoint(case.tags):
            continue
        for client, worker in _pairs(case, number, clients, workers, profile):
            main = _is_main(client) and _is_main(worker) and profile != "matrix"
            if profile != "full" and not main and "main-dialect" in case.tags:
                continue
            for mode in case.modes:
                # Dialects differ in `reliable` alone; the other modes are of nobody but 0.004.
                if (profile != "full" and not main and mode != "reliable") or not _applies(case, client, worker, mode):
                    continue
                base = _base(case, mode, client, worker)
                found += [
                    (item, client, worker)
                    for item in _spread(base, profile, main=main)
                    if all(spec is None or _recorded(case, spec, multi=item.use_multi) for spec in (client, worker))
                ]
    return found


def _is_main(spec: PeerSpec | None) -> bool:
    return spec is None or spec.dialect == MAIN_DIALECT


def _base(case: Case, mode: Mode, client: PeerSpec | None, worker: PeerSpec | None) -> Instance:
    ours, theirs = (spec.dialect if spec else None for spec in (client, worker))
    one, other = ours or theirs or MAIN_DIALECT, theirs or ours or MAIN_DIALECT
    note = misunderstanding(one, other) if mode != "simple" else None
    return Instance(
        case=case,
        mode=mode,
        client=client.name if client else None,
        worker=worker.name if worker else None,
        client_dialect=one,
        worker_dialect=other,
        use_multi=case.axes.use_multi[0],
        prefix=case.axes.prefix[0],
        codec=case.axes.codec[0],
        concurrency=case.axes.concurrency[0],
        pair_note=note,
    )


def _pairs(
    case: Case, number: int, clients: list[PeerSpec], workers: list[PeerSpec], profile: Profile
) -> Iterator[tuple[PeerSpec | None, PeerSpec | None]]:
    if case.peers == "client":
        yield from ((client, None) for client in clients if profile != "matrix" or not _is_ours(client))
        return
    if case.peers == "worker":
        able = [worker for worker in workers if _takes_jobs(worker)]
        yield from ((None, worker) for worker in able if profile != "matrix" or not _is_ours(worker))
        return
    yield from _chosen_pairs(number, clients, workers, profile)
    if "probe" in case.tags:
        # Where two peers cannot understand each other, the probes show that; nothing else is asked of them.
        yield from (
            (client, worker)
            for client, worker in itertools.product(clients, workers)
            if not _understand(client, worker) and (profile != "matrix" or _is_held_to(client, worker))
        )


def _chosen_pairs(
    number: int, clients: list[PeerSpec], workers: list[PeerSpec], profile: Profile
) -> list[tuple[PeerSpec, PeerSpec]]:
    pairs = [pair for pair in itertools.product(clients, workers) if _understand(*pair)]
    if profile == "matrix":
        return [pair for pair in pairs if _is_held_to(*pair)]
    if profile == "full":
        return pairs
    main = [pair for pair in pairs if _is_main(pair[0]) and _is_main(pair[1])]
    chosen = list(main)
    for family in _families(clients + workers):
        ours = [spec for spec in clients if spec.dialect in family]
        theirs = [spec for spec in workers if spec.dialect in family and _takes_jobs(spec)]
        if ours and theirs:
            size = max(len(ours), len(theirs))
            chosen += [(ours[i % len(ours)], theirs[(i + number) % len(theirs)]) for i in range(size)]
    by_name = {(client.name, worker.name): (client, worker) for client, worker in chosen}
    return list(by_name.values())


def _understand(client: PeerSpec, worker: PeerSpec) -> bool:
    return misunderstanding(client.dialect, worker.dialect) is None and _takes_jobs(worker)


def _takes_jobs(worker: PeerSpec) -> bool:
    return "no-works" not in facts_of_stack(worker.hello)


def _is_ours(spec: PeerSpec) -> bool:
    return spec.name.startswith("python:")


def _is_held_to(client: PeerSpec, worker: PeerSpec) -> bool:
    """Whether one of them is jobwire's, of the dialect of the other, which is not."""
    return client.dialect == worker.dialect and _is_ours(client) != _is_ours(worker)


def _families(specs: list[PeerSpec]) -> list[frozenset[str]]:
    """The dialects at hand, in groups that understand each other."""
    dialects = sorted({spec.dialect for spec in specs})
    return list(
        dict.fromkeys(
            frozenset(other for other in dialects if misunderstanding(one, other) is None) for one in dialects
        )
    )


def _spread(base: Instance, profile: Profile, *, main: bool) -> Iterator[Instance]:
    axes = base.case.axes
    if "golden" in f"{base.client} {base.worker}":
        # Recorded with the default of every axis, and with use_multi on both sides.
        yield base
        yield from (replace(base, use_multi=value) for value in axes.use_multi if value == "both")
        return
    if profile == "full":
        multis = axes.use_multi if base.mode == "reliable" else axes.use_multi[:1]
        prefixes = axes.prefix if "prefix" in base.facts() else axes.prefix[:1]
        for multi, prefix, codec, concurrency in itertools.product(multis, prefixes, axes.codec, axes.concurrency):
            yield replace(base, use_multi=multi, prefix=prefix, codec=codec, concurrency=concurrency)
        return
    yield base
    if profile == "smoke" or not main:
        return
    if base.mode == "reliable":
        # Perl has the option in this mode alone.
        yield from (replace(base, use_multi=value) for value in axes.use_multi[1:])
    yield from (replace(base, prefix=value) for value in axes.prefix[1:])
    yield from (replace(base, codec=value) for value in axes.codec[1:])
    yield from (replace(base, concurrency=value) for value in axes.concurrency[1:])
