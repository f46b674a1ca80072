"""What is one hash key for Perl."""

from __future__ import annotations

from collections.abc import Mapping

from jobwire.errors import SerealEncodeError
from jobwire.sereal.strings import write_utf8

__all__ = ["key_bytes", "refuse_twins"]


def key_bytes(key: object) -> bytes:
    if isinstance(key, bytes):
        return key
    return write_utf8(key) if isinstance(key, str) else b""


def refuse_twins(value: Mapping[str | bytes, object]) -> None:
    """``"a"`` and ``b"a"`` are two keys for Python and one for Perl."""
    seen: set[str] = set()
    for key in value:
        name = key.decode("latin-1") if isinstance(key, bytes) else key
        if name in seen:
            raise SerealEncodeError("two keys of one dict, str and bytes, that are one hash key in Perl")
        seen.add(name)
