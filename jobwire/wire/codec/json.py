"""JSON as the two sides exchange it: UTF-8, containers at the top, Perl's view of bytes and numbers.

Source: JSON::MaybeUTF8 2.000 over Cpanel::JSON::XS (Job::Async::Redis 0.004, Worker/Redis.pm): depth at most 512,
infinities and NaN become ``null``, byte strings become the text of their Latin-1 characters.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

import msgspec

from jobwire.errors import DecodeError, EncodeError
from jobwire.fast import shape
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.sereal.values import PerlObject, PerlRegexp, ScalarRef
from jobwire.wire.codec.expansion import check_expanded
from jobwire.wire.text import Text, brief

__all__ = ["MAX_DEPTH", "check_depth", "check_size", "decode_json", "decode_json_strictly", "encode_json"]

MAX_DEPTH = 512
"""Levels of nesting that Perl's JSON modules read and write by default."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
# Strings as a whole, so that their contents are not taken for structure. The closing quote is optional and the
# quantifiers give nothing back: malformed input costs no more time than the well-formed.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[,:{\[]', re.DOTALL)
_QUOTE = ord('"')
_TOO_DEEP = f"nested deeper than the {MAX_DEPTH} levels that Perl's JSON reads"
_CONTAINERS = frozenset({dict, list})
_PERL = (PerlObject, PerlRegexp, ScalarRef)


def encode_json(value: object, *, field: Text | None = None, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Encode ``value`` as JSON in UTF-8.

    bytes become the string of their Latin-1 characters, NaN and infinities ``null``, Structs, dataclasses, dates and
    the other types that msgspec knows their JSON form; keys that are numbers, booleans or None become the JSON text
    of these. Raises ``EncodeError`` for anything else (Perl's objects too, as Perl refuses them), for lone surrogates,
    for more than 512 levels, and for a value beyond ``limits``, with shared parts written out.
    """
    known = shape(value, max_levels=MAX_DEPTH, max_items=limits.max_items, max_size=limits.max_bytes)
    if known is not None and known.is_json:
        with suppress(UnicodeEncodeError):  # a lone surrogate: found again, and said, below
            return _encode(value)
    check_expanded(value, limits=limits, field=field)
    raw = _encode_quickly(value)
    if raw is not None:
        return raw
    try:
        text = _dumps(value)
    except (TypeError, ValueError, RecursionError):
        # NaN, or a key that JSONEncoder does not take: the slow way finds out which, and says so.
        text = _dumps_carefully(value, field)
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise EncodeError("text with a lone surrogate has no JSON form", field=field) from None
    if _may_be_deeper_than(MAX_DEPTH, raw):
        # Looked at as the other side will see it: Structs and mappings in ``value`` are levels too.
        try:
            deep = deeper_than(MAX_DEPTH, _decode(raw))
        except RecursionError:
            deep = True
        if deep:
            raise EncodeError(_TOO_DEEP, field=field)
    return raw


def _encode_quickly(value: object) -> bytes | None:
    """Return msgspec's JSON of ``value`` if it reads back as an equal value, else None.

    msgspec has forms of its own for bytes, dates, Perl's kinds and other types, none of which read back as equal.
    """
    try:
        raw = _encode(value)
        read = _decode(raw)
        same = read == value and not (_may_be_deeper_than(MAX_DEPTH, raw) and deeper_than(MAX_DEPTH, read))
    except (TypeError, ValueError, RecursionError):
        return None
    return raw if same else None


def _plain(value: object) -> object:
    """Return one level of the plain form of a type that ``json`` does not know."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("latin-1")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, _PERL):
        # They are dataclasses, so msgspec would make objects of them that mean something else.
        raise TypeError(f"a {type(value).__name__} has no JSON form")
    try:
        return msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview), str_keys=True)
    except TypeError:
        raise TypeError(f"a {type(value).__name__} has no JSON form") from None


_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain).encode


def _dumps_carefully(value: object, field: Text | None) -> str:
    try:
        return _dumps(_cleaned(value))
    except RecursionError:
        raise EncodeError(_TOO_DEEP, field=field) from None
    except (TypeError, ValueError) as error:
        reason = error.reason if isinstance(error, EncodeError) else str(error)
        raise EncodeError(reason, field=field) from None


def _cleaned(value: object) -> object:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        cleaned = {_key(key): _cleaned(item) for key, item in value.items()}
        if len(cleaned) != len(value):
            raise EncodeError("two keys of one object have the same JSON form")
        return cleaned
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
    if key is None or isinstance(key, int | float):
        return json.dumps(key)
    raise EncodeError(f"a {type(key).__name__} cannot be a key in JSON")


def _may_be_deeper_than(levels: int, raw: bytes) -> bool:
    # A level costs two bytes at the least: most documents need no look at all.
    return len(raw) > 2 * levels and raw.count(b"[") + raw.count(b"{") > levels


def deeper_than(levels: int, value: Any) -> bool:
    """Return whether ``value``, as decoded from JSON, has more than so many levels."""
    if shape(value, max_levels=levels) is not None:
        return False
    containers = (dict, list)
    level = [value] if isinstance(value, containers) else []
    while level and levels:
        levels -= 1
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, containers)
        ]
    return bool(level)


def check_depth(value: Any, raw: bytes, limits: Limits) -> None:
    """Raise ``DecodeError`` where ``value``, decoded from ``raw``, has more levels than ``limits`` allow."""
    if _may_be_deeper_than(limits.max_depth, raw) and deeper_than(limits.max_depth, value):
        raise DecodeError(f"JSON of more than {limits.max_depth} levels, which is the limit", raw=raw)


def check_size(raw: bytes, limits: Limits) -> None:
    """Raise ``DecodeError`` for a document of more bytes or items than ``limits`` allow."""
    size = len(raw)
    if size > limits.max_bytes:
        raise DecodeError(f"{size} bytes of JSON; the limit is {limits.max_bytes}", raw=raw)
    # An item costs a byte at the least.
    if size > limits.max_items and _more_items_than(limits.max_items, raw):
        raise DecodeError(f"JSON of more than {limits.max_items} items, which is the limit", raw=raw)


def _more_items_than(items: int, raw: bytes) -> bool:
    # n elements have n - 1 commas and a bracket, n pairs n - 1 commas, n colons and a brace.
    if sum(map(raw.count, (b",", b":", b"[", b"{"))) <= items:
        return False
    return sum(raw[token.start()] != _QUOTE for token in _TOKENS.finditer(raw)) > items


def decode_json(raw: bytes, *, limits: Limits) -> Any:
    """Decode JSON; a byte order mark is skipped, of duplicate keys the last counts. Raises ``DecodeError``."""
    size = len(raw)
    if size > limits.max_items or size > limits.max_bytes:
        check_size(raw, limits)
    try:
        value = _decode(raw.removeprefix(BOM_UTF8))
    except RecursionError:
        raise DecodeError("JSON nested too deeply", raw=raw) from None
    except UnicodeDecodeError:
        raise DecodeError("invalid JSON: a string in it is not UTF-8", raw=raw) from None
    except msgspec.MsgspecError as error:
        raise DecodeError(f"invalid JSON: {brief(error)}", raw=raw) from None
    if size > 2 * limits.max_depth:  # a level costs two bytes at the least
        check_depth(value, raw, limits)
    return value


def decode_json_strictly(raw: bytes, *, limits: Limits) -> Any:
    """Decode as ``decode_json`` does, but duplicate keys are refused, as Perl refuses them."""
    value = decode_json(raw, limits=limits)
    if raw.count(b":") == _pairs(value):
        return value  # each colon has its pair, so no pair was replaced by another one
    try:
        return json.loads(raw.removeprefix(BOM_UTF8), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except RecursionError:
        raise DecodeError("JSON nested too deeply", raw=raw) from None
    except ValueError as error:
        raise DecodeError(f"invalid JSON: {brief(error)}", raw=raw) from None


def _pairs(value: Any) -> int:
    """Count the pairs of all objects in ``value``, as msgspec decoded it."""
    known = shape(value)
    if known is not None:
        return known.pairs
    found = 0
    level = [value]
    while level:
        objects = [item for item in level if type(item) is dict]
        found += sum(map(len, objects))
        below = [child for item in objects for child in item.values() if type(child) in _CONTAINERS]
        level = below + [child for item in level if type(item) is list for child in item if type(child) in _CONTAINERS]
    return found


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same key stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
