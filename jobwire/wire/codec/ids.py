"""Job, client and worker IDs: version 4 UUIDs when we make them, any bytes when others do.

Source: Job::Async 0.004, Job/Async/Utils.pm. Perl's own IDs look like UUIDs but half of them fail a strict check
(the variant digit is any of ``0-3`` and ``8-b``), so nothing here ever parses one.
"""

from __future__ import annotations

import os

from jobwire import fast
from jobwire.errors import EncodeError
from jobwire.wire.text import Text, wire_bytes

__all__ = ["check_id", "new_id"]

_FALSE_IN_PERL = frozenset({b"", b"0"})


_POOLED = 256

_pool, _used = b"", 0
"""Random bytes, and how many of them are spent; asking the system for sixteen at a time would cost more than all the
rest of an ID."""


def new_id() -> str:
    """Return a fresh version 4 UUID, 36 characters, never equal to another one for practical purposes."""
    global _pool, _used  # noqa: PLW0603 - one pool a process
    at = _used
    if at == len(_pool):
        _pool, at = os.urandom(16 * _POOLED), 0
    _used = at + 16
    spelled: str = fast.spell_id(_pool, at)
    return spelled


def _forget_pool() -> None:
    global _pool, _used
    _pool, _used = b"", 0


if hasattr(os, "register_at_fork"):
    # A child must not hand out the IDs that its parent will.
    os.register_at_fork(after_in_child=_forget_pool)


def check_id(value: Text, *, field: str = "id") -> bytes:
    """Return ``value`` as bytes; raises ``EncodeError`` for the two IDs that Perl takes for false and never runs."""
    raw = wire_bytes(value)
    if raw in _FALSE_IN_PERL:
        raise EncodeError(f"{value!r} cannot be an ID: a Perl worker takes it for false and never runs it", field=field)
    return raw
