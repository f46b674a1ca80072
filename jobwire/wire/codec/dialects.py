"""The formats that each release of Job::Async::Redis writes and reads, as facts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from jobwire.errors import ConfigError
from jobwire.wire.keys import Keyspace
from jobwire.wire.text import Text

__all__ = ["DEFAULT_DIALECT", "DIALECTS", "Dialect", "dialect_named", "dialect_of"]


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one release; code asks for a fact, never for a name.

    ``prefixed_queues``   queues are called ``<prefix>::<queue>``; otherwise bare
    ``typed_fields``      parameters travel as ``text_…``, ``sereal_…``, ``json_…``; otherwise under their own
                          name, references as JSON text that the worker does not decode
    ``tagged_results``    results begin with ``T`` or ``J``; otherwise they are bare text
    ``timing_fields``     ``_queued``, ``_started``, ``_processed`` are written
    ``poll_forever``      the blocking pop waits without end (poll interval 0); otherwise 3 s
    ``drops_plain_beside_references``  its own client replaces each plain value by its key as soon as any value is
                          a reference (a defect of that release; jobwire writes the value)
    """

    name: str
    prefixed_queues: bool = True
    typed_fields: bool = True
    tagged_results: bool = True
    timing_fields: bool = True
    poll_forever: bool = False
    drops_plain_beside_references: bool = False

    def keyspace(self, prefix: Text) -> Keyspace:
        """Return the names for ``prefix``, which a release without prefixes ignores."""
        return Keyspace(prefix if self.prefixed_queues else "")


DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            Dialect(
                name="0.001",
                prefixed_queues=False,
                typed_fields=False,
                tagged_results=False,
                timing_fields=False,
                poll_forever=True,
                drops_plain_beside_references=True,
            ),
            Dialect(name="0.002", tagged_results=False, timing_fields=False, poll_forever=True),
            Dialect(name="0.003", timing_fields=False, poll_forever=True),
            Dialect(name="0.004"),
            Dialect(name="master"),
        )
    }
)
"""Every dialect by name, oldest first."""

DEFAULT_DIALECT = DIALECTS["0.004"]
"""The ``Dialect`` of 0.004, the last release on CPAN."""
_TYPED = (b"text_", b"sereal_", b"json_")


def dialect_named(name: str | Dialect) -> Dialect:
    """Return the dialect called ``name``; raises ``ConfigError`` that lists the known ones."""
    if isinstance(name, Dialect):
        return name
    found = DIALECTS.get(name)
    if found is None:
        raise ConfigError(f"unknown dialect {name!r}; known are {', '.join(DIALECTS)}")
    return found


def dialect_of(fields: Mapping[bytes, bytes], *, default: Dialect = DEFAULT_DIALECT) -> Dialect:
    """Return the dialect that a submission shows, else ``default``.

    ``_queued`` shows 0.004; a parameter without type shows 0.001; 0.002 and 0.003 look alike and like nothing else
    is known of them, so they are never guessed.
    """
    if b"_queued" in fields:
        return DIALECTS["0.004"]
    parameters = [field for field in fields if not field.startswith(b"_") and field != b"result"]
    if parameters and not any(field.startswith(_TYPED) for field in parameters):
        return DIALECTS["0.001"]
    return default
