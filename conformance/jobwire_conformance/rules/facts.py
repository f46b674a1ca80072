"""The differences between dialects that cases and rules depend on, and which pairs understand each other.

The suite keeps its own table: it must be able to contradict ``jobwire.wire``.
"""

from __future__ import annotations

import msgspec

__all__ = ["DIALECTS", "FACTS", "MAIN_DIALECT", "Traits", "misunderstanding", "shown_dialect", "traits_of"]


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """One dialect; None: not known; it may be any of them.

    ``bare_queues``       the names of queues bear no prefix
    ``untyped``           the names of fields bear no type
    ``untagged``          results bear no tag
    ``times``             ``_queued``, ``_started`` and ``_processed`` are written
    ``always_multi``      a worker completes in MULTI … EXEC, whatever ``use_multi`` says
    ``poll_interval``, ``reconnect``  the options of that name are there
    """

    bare_queues: bool | None = None
    untyped: bool | None = None
    untagged: bool | None = None
    times: bool | None = None
    always_multi: bool | None = None
    poll_interval: bool | None = None
    reconnect: bool | None = None

    def facts(self) -> frozenset[str]:
        """The names that cases use for them (``needs.facts``, ``wire.facts``)."""
        names = {
            "prefix": self.bare_queues is False,
            "bare-queues": self.bare_queues is True,
            "typed-fields": self.untyped is False,
            "sereal": self.untyped is False,
            "tagged": self.untagged is False,
            "untagged": self.untagged is True,
            "times": self.times is True,
            "no-times": self.times is False,
            "poll-interval": self.poll_interval is True,
            "reconnect": self.reconnect is True,
        }
        return frozenset(name for name, holds in names.items() if holds)


def _traits(*there: str) -> Traits:
    return Traits(**{name: name in there for name in Traits.__struct_fields__})


#: Source: the releases of Job::Async::Redis, Worker/Redis.pm and Client/Redis.pm.
_TRAITS = {
    "0.001": _traits("bare_queues", "untyped", "untagged", "always_multi"),
    "0.002": _traits("untagged"),
    "0.003": _traits(),
    "0.004": _traits("times", "poll_interval"),
    "master": _traits("times", "poll_interval", "reconnect"),
}
_UNKNOWN = Traits()
DIALECTS = tuple(_TRAITS)
#: The released one that teams run; the only one with modes besides ``reliable``.
MAIN_DIALECT = "0.004"
#: dialect -> facts that cases may need
FACTS: dict[str, frozenset[str]] = {name: traits.facts() for name, traits in _TRAITS.items()}


def traits_of(dialect: str | None) -> Traits:
    """The traits of a dialect; nothing is known where the dialect is not (``auto``, None)."""
    return _TRAITS.get(dialect or "", _UNKNOWN)


def shown_dialect(*, untyped: bool = False, times: bool = False) -> str | None:
    """The first dialect that such traffic can be of; None where nothing in it shows that."""
    if not (untyped or times):
        return None
    return next(name for name, traits in _TRAITS.items() if (traits.untyped, traits.times) == (untyped, times))


def misunderstanding(client: str, worker: str) -> str | None:
    """Why a client and a worker of these dialects cannot work together; None where they can."""
    submits, works = traits_of(client), traits_of(worker)
    if submits.bare_queues != works.bare_queues:
        bare = client if submits.bare_queues else worker
        return f"{bare} has queues without prefix and untyped fields: the two never meet on a queue"
    if works.untagged and not submits.untagged:
        return f"{worker} writes results without a tag: the other side's client cuts the first character off"
    if submits.untagged and not works.untagged:
        return f"a {client} client does not know the tag in front of a result and hands it on"
    return None
