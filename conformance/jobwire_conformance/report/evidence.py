"""Wire logs made readable, each cut to a sensible size and saying so."""

from __future__ import annotations

from typing import Any

from jobwire_conformance.driver.text import clip
from jobwire_conformance.record.transcripts import Event, plain_reply
from jobwire_conformance.report.report import WireLine

__all__ = ["wire_log"]

_WORD = 160
_LINE = 600
_EVENTS = 300


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        value = plain_reply(value)
    if isinstance(value, bytes):
        return clip(repr(value)[2:-1], _WORD)
    if isinstance(value, str):
        text = clip(value, _WORD)
        return text if text and text.isprintable() and " " not in text else repr(text)
    if value is None:
        return "(nil)"
    if isinstance(value, list):
        return "[" + " ".join(_word(item) for item in value) + "]"
    return clip(str(value), _WORD)


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
            text=clip(_event_text(event), _LINE),
        )
        for event in kept
    ]
    return lines, left_out
