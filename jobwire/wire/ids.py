"""Job, client and worker IDs: version 4 UUIDs when we make them, any bytes when others do.

Source: Job::Async 0.004, Job/Async/Utils.pm. Perl's own IDs look like UUIDs but half of them fail a strict check
(the variant digit is any of ``0-3`` and ``8-b``), so nothing here ever parses one.
"""

from __future__ import annotations

from uuid import uuid4

from jobwire.errors import EncodeError
from jobwire.wire.text import Text, wire_bytes

__all__ = ["check_id", "new_id"]

_FALSE_IN_PERL = frozenset({b"", b"0"})


def new_id() -> str:
    """A fresh ID, 36 characters, never equal to another one for practical purposes."""
    return str(uuid4())


def check_id(value: Text, *, field: str = "id") -> bytes:
    """``value`` as bytes; raises ``EncodeError`` for the two IDs that Perl takes for false and never runs."""
    raw = wire_bytes(value)
    if raw in _FALSE_IN_PERL:
        raise EncodeError(f"{value!r} cannot be an ID: a Perl worker takes it for false and never runs it", field=field)
    return raw
