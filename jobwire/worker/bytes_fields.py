"""``bytes`` in typed handlers.

Text from the wire is ``str`` wherever it is valid UTF-8, so where a type asks for ``bytes`` the original bytes are
restored before the conversion (msgspec alone would take the text for base64).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import inspect as mi

__all__ = ["bytes_restorer"]

_Restore = Callable[[Any], Any]


def bytes_restorer(wanted: Any) -> _Restore | None:
    """A function that turns ``str`` into UTF-8 ``bytes`` at each place where ``wanted`` has ``bytes`` and not ``str``;
    None where there is no such place.

    Raises ``TypeError`` for a type that msgspec does not support.
    """
    return _restorer(mi.type_info(wanted), {})


def _to_bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def _restorer(info: mi.Type, seen: dict[int, None]) -> _Restore | None:
    """None where there is nothing to restore anywhere below."""
    if isinstance(info, mi.BytesType):
        return _to_bytes
    if id(info) in seen:  # a type that contains itself: its inner occurrences are left alone
        return None
    return _container_restorer(info, {**seen, id(info): None})


def _container_restorer(info: mi.Type, seen: dict[int, None]) -> _Restore | None:
    if isinstance(info, mi.UnionType):
        if any(isinstance(kind, mi.StrType) for kind in info.types):
            return None
        return next(filter(None, (_restorer(kind, seen) for kind in info.types)), None)
    if isinstance(info, mi.StructType | mi.DataclassType | mi.TypedDictType):
        fields = {field.encode_name: _restorer(field.type, seen) for field in info.fields}
        return _in_fields({name: restore for name, restore in fields.items() if restore is not None})
    if isinstance(info, mi.DictType):
        return _in_values(_restorer(info.value_type, seen))
    if isinstance(info, mi.ListType | mi.SetType | mi.FrozenSetType | mi.VarTupleType):
        return _in_items(_restorer(info.item_type, seen))
    return None


def _in_fields(fields: dict[str, _Restore]) -> _Restore | None:
    if not fields:
        return None

    def restore(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {**value, **{name: fields[name](value[name]) for name in fields if name in value}}

    return restore


def _in_values(each: _Restore | None) -> _Restore | None:
    if each is None:
        return None
    return lambda value: {key: each(item) for key, item in value.items()} if isinstance(value, dict) else value


def _in_items(each: _Restore | None) -> _Restore | None:
    if each is None:
        return None
    return lambda value: [each(item) for item in value] if isinstance(value, list) else value
