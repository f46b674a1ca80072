"""Values in driver messages and cases: tagged JSON for values that JSON cannot say.

null, booleans, text, integers within ±2^53, arrays and objects stand for themselves. The rest:

=========================  ===================================================================
``{"$bytes": base64}``     a byte string (a Perl peer says it for bytes that are not valid UTF-8)
``{"$float": "0.1"}``      a floating-point number: digits, ``Infinity``, ``-Infinity``, ``NaN``
``{"$int": "2^64…"}``      an integer beyond ±2^53, in digits
``{"$ref": value}``        a reference to a scalar or to a reference (Perl)
``{"$object": [c, v]}``    a value blessed into class ``c``
``{"$map": [[k, v], …]}``  an object with a key that is not text, or that starts with ``$``
``{"$chars": text}``       only towards a peer: a decoded string (characters, not UTF-8 bytes)
=========================  ===================================================================

In Python: ``bytes``, ``float``, ``int``, :class:`Ref`, :class:`Blessed`, ``dict``, :class:`Chars`.
Numbers with a fraction may also stand untagged; the tag exists because JSON writers round.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["RECURSION", "Blessed", "Chars", "Ref", "decode_value", "encode_value", "printed", "same"]

_SAFE = 2**53

#: For ``sys.setrecursionlimit`` in the programs of the suite: values are 512 deep where a case says so, and
#: reading them takes several frames a level.
RECURSION = 12_000


class ValueTagError(ValueError):
    """A tagged value that cannot be read; the message names the tag."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to a scalar, or to another reference."""

    value: Any


@dataclass(frozen=True, slots=True)
class Blessed:
    """A value blessed into a class."""

    class_name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Chars:
    """Text that the peer is to hold as decoded characters, where its language can tell."""

    text: str


# --- Python -> tagged JSON --------------------------------------------------------------------


def encode_value(value: Any) -> Any:
    """Tagged JSON (plain dicts, lists, scalars) for ``value``; raises ``TypeError`` for foreign types."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return _encode_number(value)
    if isinstance(value, list | tuple):
        return [encode_value(item) for item in value]
    if isinstance(value, dict):
        return _encode_map(value)
    return _encode_special(value)


def _encode_map(value: dict[Any, Any]) -> Any:
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: encode_value(item) for key, item in value.items()}
    return {"$map": [[encode_value(key), encode_value(item)] for key, item in value.items()]}


def _encode_number(value: int | float) -> Any:  # noqa: PYI041 - told apart below
    if isinstance(value, float):
        return {"$float": _float_text(value)}
    return value if -_SAFE <= value <= _SAFE else {"$int": str(value)}


def _encode_special(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, Ref):
        return {"$ref": encode_value(value.value)}
    if isinstance(value, Blessed):
        return {"$object": [value.class_name, encode_value(value.value)]}
    if isinstance(value, Chars):
        return {"$chars": value.text}
    raise TypeError(f"no tag for a value of type {type(value).__name__}")


def _float_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


# --- tagged JSON -> Python --------------------------------------------------------------------


def _read_bytes(payload: Any) -> bytes:
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ValueTagError(f"$bytes does not hold base64: {error}") from None


def _read_map(payload: Any) -> dict[Any, Any]:
    return {decode_value(key): decode_value(item) for key, item in payload}


def _read_object(payload: Any) -> Blessed:
    class_name, inner = payload
    return Blessed(class_name, decode_value(inner))


_TAGS: dict[str, Callable[[Any], Any]] = {
    "$bytes": _read_bytes,
    "$float": float,
    "$int": int,
    "$ref": lambda payload: Ref(decode_value(payload)),
    "$object": _read_object,
    "$map": _read_map,
    "$chars": Chars,
}


def decode_value(tagged: Any) -> Any:
    """The Python value of tagged JSON; raises :class:`ValueTagError` for a tag that is unknown or malformed."""
    if isinstance(tagged, list):
        return [decode_value(item) for item in tagged]
    if not isinstance(tagged, dict):
        return tagged
    if len(tagged) == 1:
        ((tag, payload),) = tagged.items()
        if tag.startswith("$"):
            reader = _TAGS.get(tag)
            if reader is None:
                raise ValueTagError(f"unknown tag {tag!r}")
            try:
                return reader(payload)
            except (TypeError, ValueError) as error:
                raise ValueTagError(f"{tag}: {error}") from error
    return {key: decode_value(item) for key, item in tagged.items()}


# --- comparison -------------------------------------------------------------------------------


def printed(value: Any) -> bytes:
    """The bytes of a scalar as Perl prints it: ``%.15g``, true → ``1``, false and undef → nothing."""
    if value is None or isinstance(value, bool):
        return b"1" if value else b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Chars | str):
        return (value if isinstance(value, str) else value.text).encode("utf-8", "surrogatepass")
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return str(value).encode()
    if isinstance(value, int | float):
        return _printed_float(float(value))
    raise TypeError(f"{type(value).__name__} is not a scalar")


def _printed_float(value: float) -> bytes:
    if math.isnan(value):
        return b"NaN"
    if math.isinf(value):
        return b"Inf" if value > 0 else b"-Inf"
    # Perl 5.36 prints a negative zero as 0 when it came from arithmetic, as -0 when it was parsed.
    return b"0" if value == 0 else b"%.15g" % value


def same(expected: Any, actual: Any, *, typed: bool = False) -> bool:
    """Whether two decoded values are the same.

    A scalar equals its printed form (``5`` ≡ ``"5"``, and bytes equal the text whose UTF-8 form
    they are) unless ``typed`` says that the value travelled in Sereal or in a ``J`` result, where
    numbers, booleans and null keep their type. Containers are compared item by item.
    """
    if isinstance(expected, list | tuple) or isinstance(actual, list | tuple):
        return (
            isinstance(expected, list | tuple)
            and isinstance(actual, list | tuple)
            and len(expected) == len(actual)
            and all(same(one, other, typed=typed) for one, other in zip(expected, actual, strict=True))
        )
    if isinstance(expected, dict) or isinstance(actual, dict):
        return isinstance(expected, dict) and isinstance(actual, dict) and _same_maps(expected, actual, typed)
    if isinstance(expected, Ref) and isinstance(actual, Ref):
        return same(expected.value, actual.value, typed=typed)
    if isinstance(expected, Blessed) and isinstance(actual, Blessed):
        return expected.class_name == actual.class_name and same(expected.value, actual.value, typed=typed)
    if isinstance(expected, Ref | Blessed) or isinstance(actual, Ref | Blessed):
        return False
    return _same_scalars(expected, actual, typed)


def _same_maps(expected: dict[Any, Any], actual: dict[Any, Any], typed: bool) -> bool:
    ours = {printed(key): item for key, item in expected.items()}
    theirs = {printed(key): item for key, item in actual.items()}
    return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key], typed=typed) for key in ours)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string"


def _same_scalars(expected: Any, actual: Any, typed: bool) -> bool:
    if typed:
        if _kind(expected) != _kind(actual):
            return False
        if _kind(expected) == "number":
            return bool(expected == actual) or printed(expected) == printed(actual)
    return printed(expected) == printed(actual)
