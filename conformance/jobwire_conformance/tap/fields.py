"""Fields, results and envelopes as people read them. ``ci/demo`` tells its story with the same functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from jobwire import sereal
from jobwire.sereal import PerlObject, ScalarRef, SerealDecodeError
from jobwire_conformance.driver.values import Blessed, Ref
from jobwire_conformance.rules.forms import json_value
from jobwire_conformance.rules.steps import Field, tagged

__all__ = ["field_of", "fields_read", "members_read", "plain", "result_read", "shown_value"]

#: Values of more bytes are said to be there, and not decoded, whatever was asked for.
_MAX_VALUE = 1024 * 1024
#: Of a hash with more fields, the first are told.
_MAX_FIELDS = 1000
_TIMES = {"_queued", "_started", "_processed"}


def plain(value: Any, depth: int = 600) -> Any:
    """A decoded Sereal value in the suite's own types, which have tags."""
    if depth == 0:
        return "…"
    if isinstance(value, ScalarRef):
        return Ref(plain(value.value, depth - 1))
    if isinstance(value, PerlObject):
        return Blessed(_text(value.class_name), plain(value.value, depth - 1))
    if isinstance(value, list):
        return [plain(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {key: plain(item, depth - 1) for key, item in value.items()}
    return value


def shown_value(value: Any) -> str:
    """A decoded value as JSON, on one line; values that JSON cannot say in Python's form."""
    return json.dumps(value, ensure_ascii=False, default=_printed)


def _printed(value: object) -> str:
    return repr(value)


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode("utf-8", "backslashreplace")


def fields_read(fields: Mapping[bytes, bytes], *, values: bool) -> list[Field]:
    """The fields of a job hash, parameters first, and text among them (Perl writes them in any order)."""
    ordered = sorted(fields.items(), key=lambda pair: (_rank(pair[0]), pair[0]))[:_MAX_FIELDS]
    return [field_of(name, value, values=values) for name, value in ordered]


def _rank(name: bytes) -> int:
    """Short fields first, those that every job has last."""
    if name.startswith(b"_"):
        return 3
    return 2 if name == b"result" else 0 if name.startswith(b"text_") else 1


def field_of(name: bytes, value: bytes, *, values: bool) -> Field:
    """One field of a job hash."""
    if name == b"result":
        return result_read(value, values=values)
    kind, _, _ = name.partition(b"_")
    if kind in (b"text", b"sereal", b"json") and b"_" in name:
        about, decoded = _decoded(kind.decode(), value)
        return _field(_text(name), kind.decode(), value, about, decoded, values=values)
    meta = name.startswith(b"_")
    # Times, and names of clients and queues, are the protocol's own: no values of a job.
    own = name.decode("latin-1") in _TIMES or name in (b"_reply_to", b"_accept", b"_queue", b"_worker", b"_expires")
    about, decoded = _decoded("text", value)
    return _field(_text(name), "meta" if meta else "bare", value, about, decoded, values=values or own)


def result_read(raw: bytes, *, values: bool) -> Field:
    """The field ``result``."""
    tag = raw[:1].decode("latin-1") if raw[:1] in (b"T", b"J", b"E", b"V") else ""
    body = raw[1:] if tag else raw
    about, decoded = _decoded("json" if tag in ("J", "E", "V") else "text", body)
    return _field("result", "result", raw, about, decoded, values=values, tag=tag)


def members_read(envelope: Mapping[str, Any], *, values: bool) -> list[Field]:
    """The members of an envelope; those of ``data`` one by one."""
    found = []
    for name, value in envelope.items():
        if name == "data" and isinstance(value, dict):
            found += [_member(f"data.{key}", item, values=values) for key, item in value.items()]
        else:
            own = name in _TIMES or name in ("id", "_reply_to")
            found.append(_member(name, value, values=values or own))
    return sorted(found, key=lambda field: field.name.startswith("_"))


def _member(name: str, value: Any, *, values: bool) -> Field:
    raw = shown_value(value).encode("utf-8", "surrogatepass")
    return _field(name, "member", raw, _kind(value), value, values=values)


def _field(name: str, kind: str, raw: bytes, about: str, value: Any, *, values: bool, tag: str = "") -> Field:
    shown = tagged(value) if values and about != _UNREADABLE and len(raw) <= _MAX_VALUE else msgspec.UNSET
    return Field(name=name, type=kind, tag=tag, size=len(raw), about=about, value=shown)


_UNREADABLE = "cannot be read"


def _decoded(kind: str, raw: bytes) -> tuple[str, Any]:
    """A description of a value that does not show it, and the value."""
    if len(raw) > _MAX_VALUE:
        return "too large to be decoded here", None
    if kind == "sereal":
        try:
            value = plain(sereal.loads(raw))
        except SerealDecodeError:
            return _UNREADABLE, None
        return f"v{raw[4] & 15} {_kind(value)}", value
    if kind == "json":
        value, problem = json_value(raw)
        return (_UNREADABLE, None) if problem else (_kind(value), value)
    try:
        return "", raw.decode()
    except UnicodeDecodeError:
        return "not UTF-8", raw


def _kind(value: Any) -> str:
    """An array of 3, an object of 2, a string …"""
    if isinstance(value, dict):
        return f"object of {len(value)}"
    if isinstance(value, list | tuple):
        return f"array of {len(value)}"
    names = {bool: "boolean", int: "number", float: "number", str: "string", bytes: "bytes", type(None): "null"}
    return names.get(type(value), type(value).__name__)
