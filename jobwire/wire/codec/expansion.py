"""The size of a value with every shared part written out as often as it is referred to.

A Sereal document can refer to the same array many times, in arrays that are themselves referred to many times: a few
hundred bytes, and little memory, until somebody writes it as JSON, which cannot share. So this is counted first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from gc import get_referents
from itertools import chain
from typing import Any

import msgspec

from jobwire.errors import EncodeError
from jobwire.fast import shape
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.wire.text import Text

__all__ = ["check_expanded", "too_large"]

_LEVELS = 600
"""Deeper than any value on this wire may be; a cyclic value has no end."""
_FEW = 64
_TEXTS = frozenset({str, bytes})
_LEAVES = frozenset({str, bytes, int, float, bool, type(None)})
_PLAIN = frozenset({dict, list})
_SEQUENCES = (list, tuple, set, frozenset)


def check_expanded(value: object, *, limits: Limits = DEFAULT_LIMITS, field: Text | None = None) -> None:
    """Raise ``EncodeError`` for a value that is ``too_large``."""
    reason = too_large(value, limits)
    if reason is not None:
        raise EncodeError(reason, field=field)


def too_large(value: object, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """Return the limit that ``value``, written out, crosses, and how; None where it keeps to both."""
    known = shape(value, max_items=limits.max_items, max_size=limits.max_bytes)
    if (known is not None and known.is_json) or _is_small(value, limits):
        return None
    items = size = 0
    level: list[Any] = [value]
    for _ in range(_LEVELS):
        if not _PLAIN.issuperset(map(type, level)):
            level = [item if type(item) in _PLAIN else _parts(item) for item in level]
        mappings = [item for item in level if type(item) is dict]
        # Counted before anything is put together: a level may be far larger than the one above it.
        items += sum(map(len, level)) + sum(map(len, mappings))
        if items > limits.max_items:
            return f"more than {limits.max_items} items (max_items), what is shared counted wherever it stands"
        parts = [*chain.from_iterable(mappings), *get_referents(*level)]
        kinds = set(map(type, parts))
        if not kinds.isdisjoint(_TEXTS):
            size += sum([len(part) for part in parts if type(part) in _TEXTS])
        if size > limits.max_bytes:
            return f"more than {limits.max_bytes} bytes (max_bytes), what is shared counted wherever it stands"
        if kinds <= _LEAVES:
            return None
        level = [part for part in parts if type(part) not in _LEAVES]
    return None


def _is_small(value: Any, limits: Limits) -> bool:
    """Recognize a few leaves, as most results are. Keys of one mapping all differ; only its texts may be shared."""
    kind = type(value)
    parts = value.values() if kind is dict else value if kind is list else ()
    return (
        0 < len(parts) <= min(_FEW, limits.max_items // 2)
        and _LEAVES.issuperset(map(type, parts))
        and sum([len(part) for part in parts if type(part) in _TEXTS]) <= limits.max_bytes
    )


def _parts(item: Any) -> list[Any]:
    """Return the parts of a container; empty for a scalar."""
    if isinstance(item, Mapping):
        return [*item, *item.values()]
    if isinstance(item, _SEQUENCES):
        return list(item)
    if isinstance(item, msgspec.Struct):
        return [getattr(item, name) for name in item.__struct_fields__]
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return [getattr(item, field.name) for field in dataclasses.fields(item)]
    return []
