"""JSON as the two sides exchange it: UTF-8, containers at the top, Perl's view of bytes and numbers.

Source: JSON::MaybeUTF8 2.000 over Cpanel::JSON::XS (Job::Async::Redis 0.004, Worker/Redis.pm): depth at most 512,
infinities and NaN become ``null``, byte strings become the text of their Latin-1 characters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from jobwire.errors import DecodeError, EncodeError
from jobwire.limits import Limits
from jobwire.wire.text import Text, perl_number

__all__ = ["MAX_DEPTH", "decode_json", "decode_json_strictly", "encode_json"]

MAX_DEPTH = 512
"""Levels of nesting that Perl's JSON modules read and write by default."""

_decode = msgspec.json.Decoder().decode


def encode_json(value: object, *, field: Text | None = None) -> bytes:
    """``value`` as JSON in UTF-8.

    bytes become the string of their Latin-1 characters, NaN and infinities ``null``, Structs, dataclasses, dates and
    the other types that msgspec knows their JSON form. Raises ``EncodeError`` for anything else, for lone surrogates
    and for more than 512 levels.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError):
        # NaN, or a key that json.dumps does not take: the slow way finds out which, and says so.
        text = _dumps_carefully(value, field)
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value, field)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EncodeError("text with a lone surrogate has no JSON form", field=field) from None


def _plain(value: object) -> object:
    """One level of the plain form of what ``json`` does not know."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("latin-1")
    if isinstance(value, Mapping):
        return dict(value)
    try:
        return msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview), str_keys=True)
    except TypeError:
        raise TypeError(f"a {type(value).__name__} has no JSON form") from None


def _dumps_carefully(value: object, field: Text | None) -> str:
    try:
        _check_depth(value, field)
        return json.dumps(_cleaned(value), ensure_ascii=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError) as error:
        if isinstance(error, EncodeError):
            raise
        raise EncodeError(str(error), field=field) from None


def _cleaned(value: object) -> object:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {_key(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    if isinstance(value, str | int | None):
        return value
    return _cleaned(_plain(value))


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return key.decode("latin-1")
    if isinstance(key, int | float):
        return "1" if key is True else "" if key is False else perl_number(key)
    raise EncodeError(f"a {type(key).__name__} cannot be a key in JSON")


def _check_depth(value: object, field: Text | None) -> None:
    # Iterative: a value may be deeper than Python's stack, or contain itself.
    stack = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, dict):
            children = list(item.values())
        elif isinstance(item, list | tuple):
            children = list(item)
        else:
            continue
        if depth >= MAX_DEPTH:
            raise EncodeError(f"nested deeper than the {MAX_DEPTH} levels that Perl's JSON reads", field=field)
        stack += [(child, depth + 1) for child in children]


def decode_json(raw: bytes, *, limits: Limits) -> Any:
    """A JSON document. Of duplicate keys the last counts. Raises ``DecodeError``."""
    if len(raw) > limits.max_bytes:
        raise DecodeError(f"{len(raw)} bytes of JSON; the limit is {limits.max_bytes}", raw=raw)
    try:
        return _decode(raw)
    except RecursionError:
        raise DecodeError("JSON nested too deeply", raw=raw) from None
    except msgspec.MsgspecError as error:
        raise DecodeError(f"invalid JSON: {error}", raw=raw) from None


def decode_json_strictly(raw: bytes, *, limits: Limits) -> Any:
    """As ``decode_json``, but duplicate keys are refused, as Perl refuses them."""
    decode_json(raw, limits=limits)
    try:
        return json.loads(raw, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except RecursionError:
        raise DecodeError("JSON nested too deeply", raw=raw) from None
    except ValueError as error:
        raise DecodeError(f"invalid JSON: {error}", raw=raw) from None


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same key stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
