"""Known-failing and flaky lists: what is expected to go wrong, with the reason, and nothing silently.

A list is TOML (``conformance/expected/*.toml``): ``[[known-failing]]``, ``[[flaky]]``,
``[[unsupported]]`` and ``[[lenient]]`` tables. An entry matches instances by glob patterns. The discipline:

* an instance that a ``known-failing`` entry matches is run and must fail; where it passes, the
  verdict is ``unexpected-pass`` and the run is red;
* an entry that matches no instance that there can be (profile ``full``) between the peers of a complete run, and speaks
  of these, is stale: exit status 4;
* ``flaky`` entries are tried up to three times, and count apart;
* ``unsupported`` entries say which required cases a peer does not claim, and why that is right;
* ``lenient`` entries say which accepted deviation a passing instance shows.
"""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from jobwire_conformance.cases.places import EXPECTED
from jobwire_conformance.run.axes import Instance

__all__ = ["EXPECTED", "Entry", "Expectations", "ExpectedError", "Kind", "default_lists", "load_expected"]

Kind = Literal["known-failing", "flaky", "unsupported", "lenient"]
_KINDS: tuple[Kind, ...] = ("known-failing", "flaky", "unsupported", "lenient")


class ExpectedError(ValueError):
    """A list that cannot be used."""


class Entry(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One entry of a list; all but ``reason`` and ``link`` are globs (lists: any of them).

    ``shown_by`` is about what was said of the instance when it failed or was unsupported: an entry that names it
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

    def explains(self, reason: str) -> bool:
        """Whether this entry speaks of what was seen."""
        return _any(self.shown_by, reason)

    def matches(self, instance: Instance) -> bool:
        """Whether this entry speaks of ``instance``."""
        return (
            _any(self.case, instance.case.id)
            and _any(self.client, _listed(instance.client))
            and _any(self.worker, _listed(instance.worker))
            and _any(self.mode, instance.mode)
            and _any(self.use_multi, instance.use_multi)
        )

    def concerns(self, clients: list[str], workers: list[str]) -> bool:
        """Whether this entry speaks of any of these peers."""
        return any(_any(self.client, _listed(name)) for name in [*clients, None]) and any(
            _any(self.worker, _listed(name)) for name in [*workers, None]
        )


def _listed(peer: str | None) -> str:
    """The name that lists use: what is true of a peer is true of the same peer in a container."""
    return (peer or "-").replace("@docker:", ":")


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

    def find(self, instance: Instance, kind: Kind, reason: str = "") -> Entry | None:
        """The first entry of ``kind`` for ``instance``, and for ``reason`` where something is to be explained."""
        return next(
            (
                entry
                for of, entry in self.entries
                if of == kind and entry.matches(instance) and (not reason or entry.explains(reason))
            ),
            None,
        )

    def unused(self, instances: Iterable[Instance], clients: list[str], workers: list[str]) -> list[str]:
        """Entries that match none of ``instances``, though they speak of peers that took part."""
        possible = list(instances)
        return [
            f"[[{kind}]] {entry.case} {entry.client} {entry.worker}"
            for kind, entry in self.entries[self.borrowed :]
            if entry.concerns(clients, workers) and not any(entry.matches(instance) for instance in possible)
        ]


def load_expected(paths: list[Path]) -> Expectations:
    """Read lists; raises :class:`ExpectedError` for what is no list."""
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
