"""The fields of a job hash that hold parameters.

Source: Job::Async 0.004, Job.pm ``encode_keypair`` and ``structured_data``; 0.001, Job.pm ``flattened_data``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

from jobwire import sereal
from jobwire.errors import DecodeError, EncodeError, JobDecodeError
from jobwire.limits import Limits
from jobwire.sereal.values import StringPolicy, string_reader
from jobwire.wire.dialects import Dialect
from jobwire.wire.json_text import decode_json_strictly, encode_json
from jobwire.wire.meta import RESULT, check_parameter_name
from jobwire.wire.plain import to_plain
from jobwire.wire.text import Text, perl_number, scalar_bytes, wire_bytes

__all__ = ["Nested", "decode_parameters", "encode_parameters"]

Nested: TypeAlias = Literal["sereal", "json"]
"""How references are written: ``sereal_`` (what Perl writes and reads) or ``json_`` (what Perl reads)."""

# No newline inside the name; one at its very end is dropped, as Perl's `$` does.
_TYPED = re.compile(rb"(json|text|sereal)_([^\n]*)\n?", re.DOTALL)
_LOWER = frozenset(range(ord("a"), ord("z") + 1))
# The names of parameters are few and come again with every job.
_CACHED = 1024
_CACHED_LENGTH = 64


def encode_parameters(
    data: Mapping[Text, object], *, dialect: Dialect, nested: Nested = "sereal"
) -> dict[bytes, bytes]:
    """The parameters of a job as hash fields; raises ``EncodeError`` that names the parameter."""
    encode = _encode_typed if dialect.typed_fields else _encode_untyped
    named = {_parameter_name(key): value for key, value in data.items()}
    if len(named) != len(data):
        raise EncodeError("two parameters, one named by str and one by bytes, have the same name on the wire")
    fields: dict[bytes, bytes] = {}
    for name, value in named.items():
        try:
            encode(fields, name, value, nested)
        except EncodeError as error:
            raise EncodeError(error.reason, field=name) from error
    return fields


@lru_cache(_CACHED)
def _parameter_name(key: Text) -> bytes:
    name = wire_bytes(key)
    check_parameter_name(name)
    return name


def _number(value: float) -> bytes:
    return perl_number(value).encode()


# What most parameters are. None and booleans are not here: they travel as Sereal scalars, because in a text field Perl
# could not tell them from "" and "1".
_TEXT: dict[type, Callable[[Any], bytes]] = {str: wire_bytes, bytes: bytes, int: _number, float: _number}


def _encode_typed(fields: dict[bytes, bytes], name: bytes, value: object, nested: Nested) -> None:
    text = _TEXT.get(type(value))
    if text is not None:
        fields[b"text_" + name] = text(value)
        return
    value = to_plain(value)
    printed = None if value is None or isinstance(value, bool) else scalar_bytes(value)
    if printed is not None:
        fields[b"text_" + name] = printed
    elif nested == "json" and isinstance(value, dict | list):
        fields[b"json_" + name] = encode_json(value)
    else:
        fields[b"sereal_" + name] = sereal.dumps(value)


def _encode_untyped(fields: dict[bytes, bytes], name: bytes, value: object, nested: Nested) -> None:  # noqa: ARG001 - same face as _encode_typed
    if name.startswith(b"_") or name == RESULT:
        raise EncodeError("this dialect has no field types, so a parameter cannot have this name")
    plain = to_plain(value)
    if plain is None:
        raise EncodeError("this dialect cannot say None")
    text = scalar_bytes(plain)
    fields[name] = encode_json(plain) if text is None else text


def decode_parameters(
    fields: Mapping[bytes, bytes], *, dialect: Dialect, strings: StringPolicy, limits: Limits
) -> dict[Text, object]:
    """The parameters in a job hash.

    Fields that start with ``_`` and the field ``result`` are no parameters. In dialects with typed fields, those that
    start with anything else but ``a``–``z`` are dropped, as Perl drops them. Raises ``JobDecodeError`` with the
    field's name for one that a Perl worker would die of, and for a parameter that stands there in two types (Perl
    takes one at random).
    """
    if len(fields) > limits.max_fields:
        raise JobDecodeError(f"{len(fields)} fields; the limit is {limits.max_fields}")
    reading = _Reading(string_reader(strings), strings, limits)
    decode = _decode_typed if dialect.typed_fields else _decode_untyped
    data: dict[Text, object] = {}
    for field, value in fields.items():
        if field[:1] == b"_" or field == RESULT:
            continue
        try:
            decode(data, field, value, reading)
        except DecodeError as error:
            raise JobDecodeError(error.reason, field=field, offset=error.offset, raw=value) from error
        except UnicodeDecodeError as error:
            raise JobDecodeError("not valid UTF-8", field=field, offset=error.start, raw=value) from None
    return data


class _Reading(NamedTuple):
    text: Callable[[bytes], Text]
    strings: StringPolicy
    limits: Limits

    def check(self, value: bytes) -> None:
        if len(value) > self.limits.max_bytes:
            raise DecodeError(f"{len(value)} bytes; the limit is {self.limits.max_bytes}")


def _decode_typed(data: dict[Text, object], field: bytes, value: bytes, reading: _Reading) -> None:
    split = _split_cached if len(field) <= _CACHED_LENGTH else _split
    kind, name = split(field, reading.strings)
    if kind is None:
        return
    reading.check(value)
    if name in data:
        raise DecodeError("the same parameter stands there in two types")
    if kind == b"text":
        data[name] = reading.text(value)
    elif kind == b"sereal":
        data[name] = sereal.loads(value, strings=reading.strings, limits=reading.limits)
    else:
        decoded = decode_json_strictly(value, limits=reading.limits)
        if not isinstance(decoded, dict | list):
            raise DecodeError("JSON that is neither object nor array; Perl refuses it too")
        data[name] = decoded


def _split(field: bytes, strings: StringPolicy) -> tuple[bytes | None, Text]:
    """Type and name of a parameter's field; no type for a field that is dropped."""
    if not field or field[0] not in _LOWER:
        return None, b""
    match = _TYPED.fullmatch(field)
    if match is None:
        raise DecodeError(
            "a parameter's field is called text_…, sereal_… or json_…; was it written by another dialect?"
        )
    kind, name = match.groups()
    return kind, string_reader(strings)(name)


_split_cached = lru_cache(_CACHED)(_split)


def _decode_untyped(data: dict[Text, object], field: bytes, value: bytes, reading: _Reading) -> None:
    reading.check(value)
    data[reading.text(field)] = reading.text(value)
