"""Text, bytes and numbers at the border of the wire.

Perl has one string type and the wire holds bytes. Writing: ``str`` goes out as UTF-8, ``bytes`` as they are.
Reading: one policy everywhere (``jobwire.sereal.values.StringPolicy``).
"""

from __future__ import annotations

from math import isfinite
from typing import TypeAlias

from jobwire.errors import EncodeError

__all__ = [
    "Text",
    "brief",
    "epoch",
    "exact_number",
    "parse_epoch",
    "perl_number",
    "readable",
    "scalar_bytes",
    "whole_number",
    "wire_bytes",
    "words_of",
]

Text: TypeAlias = str | bytes
"""``str`` goes out as UTF-8; what comes in is ``str`` where it is valid UTF-8."""

_PERL_NAMES = {"inf": "Inf", "-inf": "-Inf", "nan": "NaN", "-0": "0"}


def wire_bytes(value: Text) -> bytes:
    """Return ``value`` as bytes; raises ``EncodeError`` for lone surrogates, and for all but ``str`` and ``bytes``."""
    if isinstance(value, bytes):
        return value
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"text with a lone surrogate at character {error.start} has no UTF-8 form") from None
    except AttributeError:
        raise EncodeError(f"str or bytes are wanted here, not a {type(value).__name__}") from None


def readable(value: bytes) -> Text:
    """Read bytes by the policy ``auto``: valid UTF-8 becomes ``str``, anything else stays ``bytes``."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def whole_number(value: int) -> bytes:
    """Return an integer in decimal; raises ``EncodeError`` for one with too many digits for Python to print it."""
    try:
        return b"%d" % value
    except ValueError as error:
        raise EncodeError(str(error)) from None


def perl_number(value: float) -> str:
    """Print a number as Perl does: integers whole, floats with ``%.15g``, ``Inf``, ``-Inf``, ``NaN``, ``0`` for -0.0.

    Raises ``EncodeError`` for an integer of so many digits that Python refuses to print it.
    """
    if isinstance(value, int):
        return whole_number(value).decode()
    text = f"{value:.15g}"
    return _PERL_NAMES.get(text, text)


def exact_number(value: float) -> str | None:
    """Print a float as Perl does, where its 15 digits are exact (not-a-number too); None where they are not."""
    text = perl_number(value)
    return text if value != value or float(text) == value else None  # noqa: PLR0124 - not-a-number is unlike itself


def scalar_bytes(value: object) -> bytes | None:
    """Return the printed form of a scalar as Perl has it, or None where ``value`` is no scalar.

    ``True`` prints as ``1``; ``False`` and ``None`` print as the empty string.
    """
    # Tuples, not unions: this runs for every result, and a union is built anew each time.
    if isinstance(value, (str, bytes)):
        return wire_bytes(value)
    if value is None or value is False:
        return b""
    if isinstance(value, int):
        return whole_number(value)
    if isinstance(value, float):
        return perl_number(value).encode()
    return bytes(value) if isinstance(value, bytearray | memoryview) else None


def brief(error: object, *, at_most: int = 300) -> str:
    """Shorten a library's message about hostile input for a log: its path into the value can be very long."""
    words = str(error)
    return words if len(words) <= at_most else f"{words[:at_most]}…"


def words_of(error: BaseException) -> str:
    """Return the type and message of an exception, also of one whose ``str`` raises."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as worse:
        return f"{type(error).__name__} (its message cannot be had: {type(worse).__name__})"


def epoch(seconds: float) -> bytes:
    """Return a moment as Perl's ``Time::HiRes::time`` prints it: epoch seconds, 15 significant digits."""
    return b"%.15g" % seconds


def parse_epoch(value: bytes | None) -> float | None:
    """Return epoch seconds, or None where the field is missing or no finite number.

    Perl never reads these fields, so a strange one must not keep a job from running.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if isfinite(seconds) else None
