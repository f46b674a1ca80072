"""Perl's scalars at one place of a type: truth values, numbers and the bytes of strings.

Source: Perl 5.36 ``numeric.c`` ``Perl_grok_number_flags`` and ``Perl_grok_infnan``; ``tests/perl/perl_scalars.json``
records Perl's reading of some hundred strings. Of the spellings of infinity and not-a-number those that Perl prints are
read, in any case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import inspect as mi

from jobwire.wire.text import exact_number

__all__ = ["BytesOf", "PerlScalar", "bytes_of_characters", "bytes_of_text"]

BytesOf: TypeAlias = Callable[[str], bytes]
"""The bytes of a string, of which the characters are known."""

_BYTES = (mi.BytesType, mi.ByteArrayType, mi.MemoryViewType)


class PerlScalar:
    """The scalar types that one place allows, and the reading of a scalar from the wire there."""

    def __init__(self, infos: Sequence[mi.Type], bytes_of: BytesOf) -> None:
        kinds = [info for info in infos if not isinstance(info, mi.LiteralType | mi.EnumType)]
        values = [value for info in infos for value in _values_of(info)]
        self.is_text = _has(kinds, mi.StrType)
        self.is_bytes = _has(kinds, *_BYTES)
        self._anything = _has(kinds, mi.AnyType, mi.RawType, mi.CustomType)
        self._none = _has(kinds, mi.NoneType) or None in values
        self._bool = _has(kinds, mi.BoolType)
        self._int = _has(kinds, mi.IntType) or any(isinstance(value, int) for value in values)
        self._float = _has(kinds, mi.FloatType)
        self._decimal = _has(kinds, mi.DecimalType)
        self._moment = next(filter(None, map(_moment, kinds)), None)
        self._texts = frozenset(value for value in values if isinstance(value, str))
        self._number = self._int or self._float or self._decimal or self._moment is not None
        self._bytes_of = bytes_of
        self._by_type: dict[type, Callable[[Any], Any]] = {
            str: self._from_text,
            bytes: self._from_bytes,
            int: self._from_int,
            float: self._from_float,
            bool: self._from_bool,
        }
        if self._int and not self.is_bytes and not self._texts:
            self._by_type[str] = self._from_digits
        self.fitting = frozenset({type(None), *self._as_they_are()})
        """The types whose values msgspec takes at this place by itself, or refuses."""
        for kind in self.fitting & self._by_type.keys():
            del self._by_type[kind]

    @property
    def reads_digits(self) -> bool:
        """True where a text of digits alone is an integer."""
        return self._by_type.get(str) == self._from_digits

    @property
    def reads(self) -> bool:
        """False where any value is taken as it is."""
        return not self._anything

    def _as_they_are(self) -> Iterable[type]:
        if self.is_text:
            yield str
        if self.is_text or self.is_bytes:
            yield bytes
        if self._int or self._float or self._decimal:
            yield int
        if self._float:
            yield float
        if self._bool:
            yield bool

    def read(self, value: Any) -> Any:
        read = self._by_type.get(type(value))
        return value if read is None else read(value)

    def read_bytes(self, value: Any) -> Any:
        """Convert strings to their bytes, and pass all other values."""
        return self._bytes_of(value) if type(value) is str else value

    def _from_digits(self, text: str) -> Any:
        """Read most integers among texts at once."""
        return int(text) if text.isdigit() and text.isascii() else self._from_text(text)

    def _from_text(self, text: str) -> Any:
        if self.is_bytes:
            return self._bytes_of(text)
        if text in self._texts:
            return text
        if not text and (self._bool or self._none):
            return False if self._bool else None
        if self._number:
            return self._number_in(text)
        if self._bool and text in {"0", "1"}:
            return text == "1"
        return text

    def _number_in(self, text: str) -> Any:
        number = _number_in(text)
        if number is None:
            return text
        if self._int and (whole := _whole_in(number)) is not None:
            return whole
        if self._float:
            return float(number)
        if self._decimal:
            return Decimal(number)
        return text if self._moment is None else msgspec.convert(float(number), self._moment, strict=False)

    def _from_bytes(self, raw: bytes) -> Any:
        """Return a number or a truth value that was read as bytes (string policy ``bytes``)."""
        text = raw.decode("latin-1")
        read = self._from_text(text)
        return raw if read is text else read

    def _from_int(self, number: int) -> Any:
        if self._moment is not None:
            return msgspec.convert(number, self._moment, strict=False)
        if self._bool and number in {0, 1}:
            return number == 1
        return self._printed(number, str(number))

    def _from_float(self, number: float) -> Any:
        if self._int and (whole := _whole_number(number)) is not None:
            return whole
        if self._int or self._decimal:
            return number
        if self._moment is not None:
            return msgspec.convert(number, self._moment, strict=False)
        if self._bool and number in {0.0, 1.0}:
            return number == 1.0
        return self._printed(number, exact_number(number) or repr(number))

    def _from_bool(self, flag: bool) -> Any:
        """Perl's booleans are the scalars 1 and the empty string, which is 0 as a number."""
        if self._int:
            return int(flag)
        if self._float:
            return float(flag)
        if self._decimal:
            return Decimal(flag)
        return self._printed(flag, "1" if flag else "")

    def _printed(self, value: Any, text: str) -> Any:
        if self.is_text or self._texts:
            return text
        return text.encode() if self.is_bytes else value


def _moment(info: mi.Type) -> Any:
    """Return the type of a moment or a time span, which may come as seconds; None for other types."""
    if isinstance(info, mi.DateTimeType):
        return datetime if info.tz is None else Annotated[datetime, msgspec.Meta(tz=info.tz)]
    return timedelta if isinstance(info, mi.TimeDeltaType) else None


def _has(infos: Iterable[mi.Type], *kinds: type[mi.Type]) -> bool:
    return any(isinstance(info, kinds) for info in infos)


def _values_of(info: mi.Type) -> Sequence[Any]:
    if isinstance(info, mi.LiteralType):
        return info.values
    return [member.value for member in info.cls] if isinstance(info, mi.EnumType) else ()


def bytes_of_text(text: str) -> bytes:
    return text.encode()


def bytes_of_characters(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:  # characters beyond: no byte string, so text
        return text.encode()


# -- numbers in text

_SPACE = r"[ \t\n\v\f\r]*+"
_NUMBER = re.compile(
    rf"{_SPACE}([+-]?(?:(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:e[+-]?[0-9]++)?+|inf(?:inity)?+|nan)){_SPACE}",
    re.IGNORECASE | re.ASCII,
)
_DIGITS = 15
"""Significant digits that Perl prints of a float: behind so many, more may have been cut off."""
_MAX_EXPONENT = 5
_INT64 = range(-(2**63), 2**64)


def _number_in(text: str) -> str | None:
    """Return the number that ``text`` is to Perl, without space around it; None where ``looks_like_number`` says no."""
    if text == "0 but true":
        return "0"
    match = _NUMBER.fullmatch(text)
    return None if match is None else match[1]


def _whole_in(number: str) -> int | None:
    """Return the integer that ``number`` says digit by digit; None for a fraction, and where digits may be missing.

    Digits alone have no bound; with an exponent they are a float's, which Perl prints with 15 digits, so that
    ``1e+15`` is an integer and ``9.22337203685478e+18`` is not.
    """
    mantissa, _, exponent = number.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    if "n" in mantissa or len(exponent) > _MAX_EXPONENT:
        return None
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return 0
    zeros = int(exponent or 0) - len(fraction) + len(digits) - len(significant)
    if zeros < 0 or (exponent and zeros > _DIGITS + 5):
        return None
    value: int = int(significant) * 10**zeros
    if number.startswith("-"):
        value = -value
    if exponent and (value not in _INT64 or (zeros and len(significant) >= _DIGITS)):
        return None
    return value


def _whole_number(number: float) -> int | None:
    """Return ``number`` as the integer that it certainly is, by the same rule."""
    if not number.is_integer():
        return None
    return int(number) if abs(number) <= 2**53 else _whole_in(repr(number))
