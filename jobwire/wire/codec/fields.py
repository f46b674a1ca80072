"""The fields of a job hash that hold parameters.

Source: Job::Async 0.004, Job.pm ``encode_keypair`` and ``structured_data``; 0.001, Job.pm ``flattened_data``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from jobwire import sereal
from jobwire.errors import DecodeError, EncodeError, JobDecodeError
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.sereal.values import StringPolicy, string_reader
from jobwire.wire.codec.dialects import Dialect
from jobwire.wire.codec.expansion import too_large
from jobwire.wire.codec.extensions import RESULT, STANDARD, check_parameter_name
from jobwire.wire.codec.json import decode_json_strictly, encode_json
from jobwire.wire.codec.plain import to_plain
from jobwire.wire.text import Text, exact_number, readable, scalar_bytes, whole_number, wire_bytes

__all__ = ["Nested", "decode_fields", "encode_parameters", "plans", "text_field"]

Nested: TypeAlias = Literal["sereal", "json"]
"""The form of references: ``sereal_`` (Perl writes and reads it) or ``json_`` (Perl reads it)."""

# No newline inside the name; one at its very end is dropped, as Perl's `$` does.
_TYPED = re.compile(rb"(json|text|sereal)_([^\n]*)\n?", re.DOTALL)
_LOWER = frozenset(range(ord("a"), ord("z") + 1))
# The names of parameters are few and come again with every job.
_CACHED = 1024
_CACHED_LENGTH = 64


def encode_parameters(
    data: Mapping[Text, object], *, dialect: Dialect, nested: Nested = "sereal", limits: Limits = DEFAULT_LIMITS
) -> dict[bytes, bytes]:
    """The parameters of a job as hash fields; raises ``EncodeError`` that names the parameter.

    ``limits`` are those of the reader: ``max_bytes`` of one field, ``max_items`` in one.
    """
    if not _STR.issuperset(map(type, data)) and len({text_field(key) for key in data}) != len(data):
        raise EncodeError("two parameters, one named by str and one by bytes, have the same name on the wire")
    typed = dialect.typed_fields
    fields: dict[bytes, bytes] = {}
    for key, value in data.items():
        field = text_field(key)
        write = _TEXT.get(type(value))
        try:
            if not typed:
                _encode_untyped(fields, field[_TEXT_LENGTH:], value)
            elif write is not None:
                fields[field] = write(value)
            else:
                _encode_nested(fields, field[_TEXT_LENGTH:], value, nested, limits)
        except EncodeError as error:
            raise EncodeError(error.reason, field=field[_TEXT_LENGTH:]) from error
    if max(map(len, fields.values()), default=0) > limits.max_bytes:
        field, raw = max(fields.items(), key=_length)
        name = field.partition(b"_")[2] if typed else field
        raise EncodeError(f"{len(raw)} bytes; the limit is {limits.max_bytes} (max_bytes)", field=name)
    return fields


def _length(item: tuple[bytes, bytes]) -> int:
    return len(item[1])


class _TextFields(dict[Text, bytes]):
    """Kept as ``Plans`` are: bounded in bytes, whatever parameters are called."""

    def __missing__(self, key: Text) -> bytes:
        name = wire_bytes(key)
        check_parameter_name(name)
        field = b"text_" + name
        if len(field) <= _CACHED_LENGTH:
            if len(self) >= _CACHED:
                self.clear()
            self[key] = field
        return field


text_field: Callable[[Text], bytes] = _TextFields().__getitem__
"""Return the text field of a parameter; raises ``EncodeError`` for a name that it cannot have."""


# The types of most parameters. None and booleans are not here: they travel as Sereal scalars, because in a text field
# Perl could not tell them from "" and "1"; nor are floats, of which a text field holds no more than 15 digits.
_TEXT: dict[type, Callable[[Any], bytes]] = {str: wire_bytes, bytes: bytes, int: whole_number}
_TEXT_LENGTH = len(b"text_")
# Of these no two are the same on the wire.
_STR = frozenset({str})


def _encode_nested(fields: dict[bytes, bytes], name: bytes, value: object, nested: Nested, limits: Limits) -> None:
    value = to_plain(value)
    printed = _printed(value)
    if printed is not None:
        fields[b"text_" + name] = printed
    elif nested == "json" and isinstance(value, dict | list):
        fields[b"json_" + name] = encode_json(value, limits=limits)
    else:
        fields[b"sereal_" + name] = document = sereal.dumps(value)
        # An item costs a byte at the least.
        if len(document) > limits.max_items:
            _check_items(value, document, limits)


def _check_items(value: object, document: bytes, limits: Limits) -> None:
    """Raises ``EncodeError`` for a Sereal document of more items than its reader takes."""
    if too_large(value, replace(limits, max_bytes=sys.maxsize)) is None:
        return
    try:  # what is shared stands there once: only the reader can tell
        sereal.loads(document, limits=limits)
    except DecodeError as error:
        raise EncodeError(f"its reader would refuse it: {error.reason}") from None


def _printed(value: object) -> bytes | None:
    """Return a scalar in the form of a text field; None where it has no such form."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, float):
        text = exact_number(value)
        return None if text is None else text.encode()
    return scalar_bytes(value)


def _encode_untyped(fields: dict[bytes, bytes], name: bytes, value: object) -> None:
    if name.startswith(b"_") or name == RESULT:
        raise EncodeError("this dialect has no field types, so a parameter cannot have this name")
    plain = to_plain(value)
    if plain is None:
        raise EncodeError("this dialect cannot say None")
    if isinstance(plain, float) and exact_number(plain) is None:
        # There is nothing but text here: Perl reads all the digits that it would not print.
        text: bytes | None = repr(plain).encode()
    else:
        text = scalar_bytes(plain)
    fields[name] = encode_json(plain) if text is None else text


def decode_fields(
    fields: Mapping[bytes, bytes], *, dialect: Dialect, strings: StringPolicy, limits: Limits
) -> tuple[dict[Text, object], dict[Text, Text]]:
    """Parameters and extensions (``_accept`` …) in a job hash.

    Fields that start with ``_`` and the field ``result`` are no parameters. In dialects with typed fields, those that
    start with anything else but ``a``–``z`` are dropped, as Perl drops them. Raises ``JobDecodeError`` with the
    field's name for one that a Perl worker would die of, and for a parameter that stands there in two types (Perl
    takes one at random).
    """
    if len(fields) > limits.max_fields:
        raise JobDecodeError(f"{len(fields)} fields; the limit is {limits.max_fields}")
    known = plans(dialect.typed_fields, strings)
    text = known.text
    longest = limits.max_bytes
    data: dict[Text, object] = {}
    meta: dict[Text, Text] = {}
    field = value = b""
    try:
        for field, value in fields.items():
            kind, name = known[field]
            if kind == "":
                continue
            if kind == "meta":
                meta[name] = readable(value)
                continue
            if len(value) > longest:
                raise DecodeError(f"{len(value)} bytes; the limit is {longest}")
            if name in data:
                raise DecodeError("the same parameter stands there in two types")
            data[name] = text(value) if kind == "text" else _decode_nested(kind, value, strings, limits)
    except DecodeError as error:
        raise JobDecodeError(error.reason, field=field, offset=error.offset, raw=value) from error
    except UnicodeDecodeError as error:
        raise JobDecodeError("not valid UTF-8", field=field, offset=error.start, raw=value) from None
    return data, meta


def _decode_nested(kind: _Kind, value: bytes, strings: StringPolicy, limits: Limits) -> object:
    if kind == "sereal":
        return sereal.loads(value, strings=strings, limits=limits)
    decoded = decode_json_strictly(value, limits=limits)
    if not isinstance(decoded, dict | list):
        raise DecodeError("JSON that is neither object nor array; Perl refuses it too")
    return decoded


_Kind: TypeAlias = Literal["text", "sereal", "json", "meta", ""]


class Plans(dict[bytes, tuple[_Kind, Text]]):
    """The kind (empty: not read) and parameter name of each field. Fields are few, and come again with every job, so
    each is worked out once; long ones, and those beyond a number, are not kept.
    """

    def __init__(self, *, typed: bool, strings: StringPolicy) -> None:
        self.text = string_reader(strings)
        self._typed = typed

    def __missing__(self, field: bytes) -> tuple[_Kind, Text]:
        plan = self._plan(field)
        if len(field) <= _CACHED_LENGTH:
            if len(self) >= _CACHED:
                self.clear()
            self[field] = plan
        return plan

    def _plan(self, field: bytes) -> tuple[_Kind, Text]:
        if field.startswith(b"_"):
            return ("", b"") if field in STANDARD else ("meta", readable(field))
        if field == RESULT:
            return "", b""
        if not self._typed:
            return "text", self.text(field)
        if not field or field[0] not in _LOWER:
            return "", b""
        match = _TYPED.fullmatch(field)
        if match is None:
            raise DecodeError(
                "a parameter's field is called text_…, sereal_… or json_…; was it written by another dialect?"
            )
        kind: Any = match[1].decode()
        return kind, self.text(match[2])


@lru_cache
def plans(typed: bool, strings: StringPolicy) -> Plans:
    """Return the table of job fields for one kind of dialect and one string policy."""
    return Plans(typed=typed, strings=strings)
