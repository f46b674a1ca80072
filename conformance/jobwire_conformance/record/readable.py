"""Recorded values as texts of a sensible size, for evidence and flags."""

from __future__ import annotations

from typing import Any

import msgspec

from jobwire_conformance.driver.text import clip, one_line
from jobwire_conformance.record.transcripts import plain_reply

__all__ = ["shorten", "shown"]


def shown(word: bytes, at_most: int = 120) -> str:
    """A key, an ID or a name as one line of text; ``at_most`` bytes of it."""
    text = one_line(word[:at_most].decode("utf-8", "backslashreplace"))
    return text if len(word) <= at_most else f"{text}… ({len(word)} bytes)"


def shorten(value: Any, limit: int = 1500) -> str:
    """One readable text for any value of an expectation; ``limit`` in characters."""
    if isinstance(value, str):
        return clip(value, limit)
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return clip(f"{type(value).__name__} {fields!r}", limit)
    return clip(repr(_text(value)), limit)


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
