"""Evidence made readable: wire logs, expected and actual values, each cut to a sensible size and saying so."""

from __future__ import annotations

from typing import Any

import msgspec

from jobwire_conformance.record.transcripts import Event, plain_reply
from jobwire_conformance.report.report import WireLine

__all__ = ["shorten", "wire_log"]

_WORD = 160
_LINE = 600
_EVENTS = 300


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}… ({len(text)} in all)"


def shorten(value: Any, limit: int = 1500) -> str:
    """One readable text for any value of an expectation."""
    if isinstance(value, str):
        return _clip(value, limit)
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return _clip(f"{type(value).__name__} {fields!r}", limit)
    return _clip(repr(_text(value)), limit)


def _text(value: Any, depth: int = 20) -> Any:
    """bytes that are text become text, as far down as anybody reads."""
    if isinstance(value, bytes):
        return plain_reply(value)
    if isinstance(value, list | tuple | dict) and depth == 0:
        return "…"
    if isinstance(value, list | tuple):
        return [_text(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {_text(key): _text(item, depth - 1) for key, item in value.items()}
    return value


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        value = plain_reply(value)
    if isinstance(value, bytes):
        return _clip(repr(value)[2:-1], _WORD)
    if isinstance(value, str):
        text = _clip(value, _WORD)
        return text if text and text.isprintable() and " " not in text else repr(text)
    if value is None:
        return "(nil)"
    if isinstance(value, list):
        return "[" + " ".join(_word(item) for item in value) + "]"
    return _clip(str(value), _WORD)


def _event_text(event: Event) -> str:
    if event.kind == "command":
        return " ".join(_word(word) for word in event.command)
    if event.kind in {"reply", "push"}:
        return _word(event.decoded())
    return str(event.value or "")


def wire_log(events: list[Event]) -> tuple[list[WireLine], int]:
    """The log for a report, and how many events were left out (from the middle of a long one)."""
    kept = events
    left_out = 0
    if len(events) > _EVENTS:
        left_out = len(events) - _EVENTS
        kept = events[: _EVENTS // 2] + events[-_EVENTS // 2 :]
    lines = [
        WireLine(
            t=event.t,
            connection=event.connection,
            role=event.role,
            direction=event.direction,
            kind=event.kind,
            text=_clip(_event_text(event), _LINE),
        )
        for event in kept
    ]
    return lines, left_out
