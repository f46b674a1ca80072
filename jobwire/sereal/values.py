"""Types for Sereal's values without a counterpart in Python, and the reading of Perl's byte strings.

Perl has one string type; a Sereal BINARY holds bytes that may be text. One rule reads them
everywhere (Sereal BINARY, text fields, results, keys): a *string policy*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["PerlObject", "PerlRegexp", "ScalarRef", "StringPolicy", "string_reader"]

REGEXP_CLASS = "Regexp"
"""The class of every qr// that was not blessed into another."""

StringPolicy = Literal["auto", "exact", "latin-1", "utf-8", "bytes"]
"""The reading of bytes that may be text.

========== =====================================================
``auto``    valid UTF-8 → ``str``, else ``bytes`` (the default)
``exact``   ASCII → ``str``, else ``bytes``
``latin-1`` always ``str``, one character a byte (as in Perl)
``utf-8``   always ``str``; an error where it is not UTF-8
``bytes``   always ``bytes``
========== =====================================================
"""


def _auto(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _exact(raw: bytes) -> str | bytes:
    return raw.decode("ascii") if raw.isascii() else raw


def _latin_1(raw: bytes) -> str | bytes:
    return raw.decode("latin-1")


def _utf_8(raw: bytes) -> str | bytes:
    return raw.decode()


def _bytes(raw: bytes) -> str | bytes:
    return raw


_READERS: dict[str, Callable[[bytes], str | bytes]] = {
    "auto": _auto,
    "exact": _exact,
    "latin-1": _latin_1,
    "utf-8": _utf_8,
    "bytes": _bytes,
}


def string_reader(policy: StringPolicy) -> Callable[[bytes], str | bytes]:
    """Return the function that reads bytes by ``policy``.

    The function raises ``UnicodeDecodeError`` under ``utf-8`` alone. ``ValueError`` where there
    is no such policy.
    """
    try:
        return _READERS[policy]
    except (KeyError, TypeError):
        raise ValueError(f"no string policy {policy!r}; there are {', '.join(_READERS)}") from None


@dataclass(slots=True)
class PerlObject:
    """A blessed Perl value, passive: no class is looked up, imported or called.

    ``value`` holds the object's data: a ``dict``, a ``list``, a :class:`ScalarRef` or a
    :class:`PerlRegexp`. With ``frozen`` (OBJECT_FREEZE) it is the list that the class's FREEZE
    method returned; ``bytes`` as class name means that it is no text.
    """

    class_name: str | bytes
    value: object
    frozen: bool = False


@dataclass(slots=True)
class ScalarRef:
    r"""A Perl reference to a scalar (``\"text"``) or to another reference (``\[1, 2]``)."""

    value: object = field(default=None)


@dataclass(frozen=True, slots=True)
class PerlRegexp:
    """A Perl regular expression (``qr/…/flags``) as text; it is never compiled.

    ``flags`` are letters. Perl's encoder writes those of the pattern; its decoder reads ``m s i x p``
    alone, so that only these are written.
    """

    pattern: str | bytes
    flags: str = ""
