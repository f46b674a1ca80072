"""Python values reduced to the types of the codecs: Structs, dataclasses, dates and the like become plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import msgspec

from jobwire.errors import EncodeError
from jobwire.fast import shape
from jobwire.sereal.values import PerlObject, PerlRegexp, ScalarRef
from jobwire.wire.codec.expansion import check_expanded

__all__ = ["parameters_of", "to_plain"]

_LEAVES = (str, bytes, bool, int, float, type(None), PerlObject, PerlRegexp, ScalarRef)
_CONTAINERS = (dict, list)
_MANY = 100_000


def to_plain(value: object) -> Any:
    """Return ``value`` with every Struct, dataclass, date, UUID, enum … inside it in msgspec's plain form.

    Values made of plain data come back as they are, the same objects (so shared and cyclic data keep their identity).
    Perl's own kinds (``PerlObject`` …) pass. Raises ``EncodeError`` for a type without a plain form.
    """
    if _is_plain(value):
        return value
    check_expanded(value)
    try:
        return _converted(value)
    except RecursionError:
        raise EncodeError("nested too deeply, or a Struct or tuple that contains itself") from None


def _is_plain(value: object) -> bool:
    # A shared object is one here, and many in the plain form: bounded, so that it costs no more than it saves.
    if shape(value, max_items=_MANY) is not None:
        return True
    seen: set[int] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, _LEAVES):
            continue
        if not isinstance(item, _CONTAINERS):
            return False
        if id(item) in seen:
            continue
        seen.add(id(item))
        stack += item.values() if isinstance(item, dict) else item
    return True


def _converted(value: object) -> Any:
    if isinstance(value, _LEAVES):
        return value
    if isinstance(value, dict):
        return _converted_pairs(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_converted(item) for item in value]
    try:
        return msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview), enc_hook=_perl_hook)
    except TypeError:
        raise EncodeError(f"a {type(value).__name__} has no form on the wire") from None
    except ValueError as error:
        raise EncodeError(f"a {type(value).__name__} has no form on the wire: {error}") from None


def _converted_pairs(pairs: dict[Any, object]) -> dict[Any, Any]:
    converted: dict[Any, Any] = {}
    for key, item in pairs.items():
        name = _converted(key)
        if isinstance(name, list | dict):
            raise EncodeError(f"a {type(key).__name__} cannot be a key on the wire")
        if name in converted:
            raise EncodeError("two keys of one mapping are the same on the wire")
        converted[name] = _converted(item)
    return converted


def _perl_hook(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(value, "model_dump", None)
    if callable(dump):  # a pydantic model
        return dump(by_alias=True)
    raise TypeError(type(value).__name__)


def parameters_of(data: object) -> Mapping[Any, object]:
    """Return the parameters of a submission: a mapping as it is, a Struct (its tag too), dataclass, attrs class or
    pydantic model by its fields.

    Raises ``EncodeError`` for anything else.
    """
    if type(data) is dict or isinstance(data, Mapping):
        return data
    if isinstance(data, msgspec.Struct):
        return _fields_of(data)
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    attributes = getattr(type(data), "__attrs_attrs__", None)
    if attributes is not None:
        return {field.name: getattr(data, field.name) for field in attributes}
    dump = getattr(data, "model_dump", None)
    if callable(dump) and isinstance(fields := dump(by_alias=True), dict):
        return fields
    kinds = "a mapping, a msgspec.Struct, a dataclass, an attrs class or a pydantic model"
    raise EncodeError(f"a job's parameters are {kinds}, not a {type(data).__name__}")


def _fields_of(data: msgspec.Struct) -> dict[str, object]:
    names = zip(data.__struct_encode_fields__, data.__struct_fields__, strict=True)
    fields = {name: value for name, field in names if (value := getattr(data, field)) is not msgspec.UNSET}
    config = data.__struct_config__
    return fields if config.tag_field is None else {config.tag_field: config.tag, **fields}
