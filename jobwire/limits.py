"""The bounds of decoders, which encoders therefore keep to: one value, passed to all codecs."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on input; crossing one is a ``DecodeError`` like any other malformed input. Output keeps to the larger of
    these and the defaults (``EncodeError``), so that the other side can read it.

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

    @property
    def of_the_other_side(self) -> Limits:
        """Bounds on output: what the other side reads at the least, with the default limits or with these.

        Its own are not known here; whoever raises them raises them on both sides.
        """
        default = DEFAULT_LIMITS
        return replace(
            self,
            max_bytes=max(self.max_bytes, default.max_bytes),
            max_items=max(self.max_items, default.max_items),
            max_fields=max(self.max_fields, default.max_fields),
        )


DEFAULT_LIMITS = Limits()
"""The ``Limits`` that decoders use unless told otherwise."""
