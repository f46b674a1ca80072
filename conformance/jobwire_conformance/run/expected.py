"""Known-failing and flaky lists: expected failures, each with its reason, and none of them silent.

A list is TOML (``conformance/expected/*.toml``): ``[[known-failing]]``, ``[[flaky]]``,
``[[unsupported]]`` and ``[[lenient]]`` tables. An entry matches instances by glob patterns. The discipline:

* an instance that a ``known-failing`` entry matches is run and must fail; where it passes, the
  verdict is ``unexpected-pass`` and the run is red;
* an entry that matches no instance that there can be (profile ``full``) between the peers of a complete run, and speaks
  of these, is stale: exit status 4;
* ``flaky`` entries are tried up to three times, and count apart;
* ``unsupported`` entries say which required cases a peer does not claim, and why that is right;
* ``lenient`` entries say which accepted deviation a passing instance shows.

``client_has`` and ``worker_has`` narrow an entry to peers that say so in ``hello`` (``Cpanel::JSON::XS >= 4.38``,
``runtime < 5.40``), ``client_stack`` and ``worker_stack`` to Perl peers of whose stack these facts hold
(:mod:`jobwire_conformance.cases.stacks`).
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from jobwire_conformance.cases.places import EXPECTED
from jobwire_conformance.cases.stacks import facts_of_stack, is_condition, known_facts, meets
from jobwire_conformance.driver.protocol import HelloAnswer
from jobwire_conformance.run.axes import Instance

__all__ = ["EXPECTED", "Entry", "Expectations", "ExpectedError", "Kind", "default_lists", "load_expected"]

Kind = Literal["known-failing", "flaky", "unsupported", "lenient"]
_KINDS: tuple[Kind, ...] = ("known-failing", "flaky", "unsupported", "lenient")


class ExpectedError(ValueError):
    """A list that cannot be used."""


class Entry(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One entry of a list; all but ``reason`` and ``link`` are globs (lists: any of them).

    ``shown_by`` is about the report of the instance when it failed or was unsupported: an entry that names it
    forgives nothing else.
    """

    case: str | list[str]
    reason: str
    link: str
    client: str | list[str] = "*"
    worker: str | list[str] = "*"
    mode: str = "*"
    use_multi: str | list[str] = "*"
    shown_by: str | list[str] = "*"
    client_has: str | list[str] = []
    worker_has: str | list[str] = []
    client_stack: list[str] = []
    worker_stack: list[str] = []

    def __post_init__(self) -> None:
        for condition in [*_listed_conditions(self.client_has), *_listed_conditions(self.worker_has)]:
            if not is_condition(condition):
                raise ValueError(f"{condition!r} is not of the form NAME >= VERSION")
        for fact in {*self.client_stack, *self.worker_stack} - known_facts():
            raise ValueError(f"{fact!r} is no fact of stacks/perl.toml")

    def explains(self, reason: str) -> bool:
        """Whether this entry speaks of this outcome."""
        return _any(self.shown_by, reason)

    def matches(self, instance: Instance, hellos: Mapping[str, HelloAnswer] | None = None) -> bool:
        """Whether this entry speaks of ``instance``, whose peers said ``hellos``."""
        return (
            _any(self.case, instance.case.id)
            and _any(self.client, _listed(instance.client))
            and _any(self.worker, _listed(instance.worker))
            and _any(self.mode, instance.mode)
            and _any(self.use_multi, instance.use_multi)
            and _fits(self.client_has, self.client_stack, instance.client, hellos or {})
            and _fits(self.worker_has, self.worker_stack, instance.worker, hellos or {})
        )

    def concerns(self, clients: list[str], workers: list[str], hellos: Mapping[str, HelloAnswer] | None = None) -> bool:
        """Whether this entry speaks of any of these peers."""
        said = hellos or {}
        return any(
            _any(self.client, _listed(name)) and _fits(self.client_has, self.client_stack, name, said)
            for name in [*clients, None]
        ) and any(
            _any(self.worker, _listed(name)) and _fits(self.worker_has, self.worker_stack, name, said)
            for name in [*workers, None]
        )


def _listed_conditions(conditions: str | list[str]) -> list[str]:
    return [conditions] if isinstance(conditions, str) else conditions


def _fits(conditions: str | list[str], facts: list[str], peer: str | None, hellos: Mapping[str, HelloAnswer]) -> bool:
    wanted = _listed_conditions(conditions)
    if not wanted and not facts:
        return True
    hello = hellos.get(peer or "")
    return (
        hello is not None
        and all(meets(condition, hello) for condition in wanted)
        and facts_of_stack(hello).issuperset(facts)
    )


_PLACE = re.compile(r"(?<=^perl)@\w+(?=:)")
_BACKEND = re.compile(r"\+json-\w+$")


def _listed(peer: str | None) -> str:
    """The name that lists use: a Perl peer has it wherever it runs and whichever JSON module it is given.

    Entries about those ask for versions or facts.
    """
    return _BACKEND.sub("", _PLACE.sub("", peer or "-"))


def _any(patterns: str | list[str], text: str) -> bool:
    return any(
        fnmatch.fnmatchcase(text, pattern) for pattern in ([patterns] if isinstance(patterns, str) else patterns)
    )


@dataclass
class Expectations:
    """All entries. The first ``borrowed`` of them come with the suite and speak of its own peers: between other peers
    they may match nothing."""

    entries: list[tuple[Kind, Entry]] = field(default_factory=list)
    borrowed: int = 0
    hellos: Mapping[str, HelloAnswer] = field(default_factory=dict)
    """Peer -> its answer to hello, for entries with conditions."""

    def find(self, instance: Instance, kind: Kind, reason: str = "") -> Entry | None:
        """The first entry of ``kind`` for ``instance``, and for ``reason`` where something is to be explained."""
        return next(
            (
                entry
                for of, entry in self.entries
                if of == kind and entry.matches(instance, self.hellos) and (not reason or entry.explains(reason))
            ),
            None,
        )

    def unused(self, instances: Iterable[Instance], clients: list[str], workers: list[str]) -> list[str]:
        """Entries that match none of ``instances``, though they speak of peers that took part."""
        possible = list(instances)
        return [
            f"[[{kind}]] {entry.case} {entry.client} {entry.worker}"
            for kind, entry in self.entries[self.borrowed :]
            if entry.concerns(clients, workers, self.hellos)
            and not any(entry.matches(instance, self.hellos) for instance in possible)
        ]


def load_expected(paths: list[Path]) -> Expectations:
    """Read lists; raises :class:`ExpectedError` for a file that is none."""
    entries: list[tuple[Kind, Entry]] = []
    for path in paths:
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
            for kind in _KINDS:
                found = msgspec.convert(raw.pop(kind, []), list[Entry])
                entries.extend((kind, entry) for entry in found)
        except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise ExpectedError(f"{path.name}: {error}") from None
        if raw:
            raise ExpectedError(f"{path.name}: unknown tables {', '.join(sorted(raw))}")
    return Expectations(entries)


def default_lists(directory: Path = EXPECTED) -> list[Path]:
    """The lists that come with the suite."""
    return sorted(directory.glob("*.toml"))
