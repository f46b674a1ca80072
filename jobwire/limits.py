"""The limits of a decoder: one value, passed to every decoder."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on input; crossing one is a ``DecodeError`` like any other malformed input.

    ``max_bytes``     length of one document, field or envelope, in bytes
    ``max_inflated``  length of a document after decompression, in bytes; checked before inflating
    ``max_depth``     levels of nesting
    ``max_items``     values in one document (array elements, hash keys and hash values each count)
    ``max_fields``    fields of one job hash
    ``accept_newer``  read Sereal documents of version 6 and 7 too, as far as their tags are those of version 5
    """

    max_bytes: int = 64 * 1024 * 1024
    max_inflated: int = 64 * 1024 * 1024
    max_depth: int = 512
    max_items: int = 4_000_000
    max_fields: int = 10_000
    accept_newer: bool = False


DEFAULT_LIMITS = Limits()
