"""The short forms of case files: names in braces, generated values, words of commands, patterns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jobwire import sereal
from jobwire.sereal import SerealDecodeError
from jobwire_conformance.driver.values import decode_value, encode_value, same

__all__ = ["JsonText", "Names", "PatternError", "Seconds", "field_matches", "make_value", "timed", "word_matches"]

_NAME = re.compile(r"\{([a-z]+[a-z0-9_]*)(?::([^{}]+))?\}")


class PatternError(ValueError):
    """A template or pattern of a case that cannot be used."""


# --- values -----------------------------------------------------------------------------------


def _nest(payload: Any) -> Any:
    depth, leaf = payload
    value = make_value(leaf)
    for _ in range(depth):
        value = [value]
    return value


def _sereal(payload: Any) -> bytes:
    return sereal.dumps(make_value(payload))


@dataclass(frozen=True, slots=True)
class JsonText:
    """A text that must say this value in JSON, however it is spelled."""

    value: Any


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long a job takes: on a slow machine longer, as everything that the runner waits for (:func:`timed`)."""

    value: float


def timed(value: Any, factor: float) -> Any:
    """``value`` with its :class:`Seconds` as numbers, times the time-out factor."""
    if isinstance(value, Seconds):
        return value.value * factor
    if isinstance(value, list):
        return [timed(item, factor) for item in value]
    return {key: timed(item, factor) for key, item in value.items()} if isinstance(value, dict) else value


_HUNDRED = [f"p{number:03d}" for number in range(100)]
_GENERATORS: dict[str, Callable[[Any], Any]] = {
    "$null": lambda _payload: None,
    "$hundred": lambda _payload: {name: name for name in _HUNDRED},
    "$hundrednames": lambda _payload: _HUNDRED,
    "$longname": lambda payload: {"op": "length", "value": "x", "k" * payload: "x"},
    "$records": lambda payload: [{"name": f"n{i}", "value": str(i), "kind": "record"} for i in range(payload)],
    "$rawrepeat": lambda payload: bytes.fromhex(payload[0]) * payload[1],
    "$serealdepth": lambda payload: bytes.fromhex("3df3726c0300") + b"\x41" * payload + b"\x01",
    "$repeat": lambda payload: payload[0] * payload[1],
    "$nest": _nest,
    "$count": lambda payload: [str(number) for number in range(payload)],
    "$allbytes": lambda _payload: bytes(range(256)),
    "$raw": bytes.fromhex,
    "$sereal": _sereal,
    "$seconds": Seconds,
    "$jsontext": lambda payload: JsonText(make_value(payload)),
}


def make_value(tagged: Any) -> Any:
    """The Python value of a case's tagged value, generators included."""
    if isinstance(tagged, list):
        return [make_value(item) for item in tagged]
    if not isinstance(tagged, dict):
        return tagged
    if len(tagged) == 1:
        ((tag, payload),) = tagged.items()
        if tag in _GENERATORS:
            return _GENERATORS[tag](payload)
        if tag.startswith("$"):
            return decode_value(tagged)
    return {key: make_value(item) for key, item in tagged.items()}


# --- names ------------------------------------------------------------------------------------


class Names:
    """The meaning of braces in one running case. Everything is bytes: IDs may be any bytes."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.kept: dict[str, bytes] = {"prefix": prefix.encode()}
        self.ids: dict[str, bytes] = {}
        self.last_id: bytes | None = None

    def queue(self, name: str) -> bytes:
        """The whole key of a queue."""
        return f"{self.prefix}::{name}".encode() if self.prefix else name.encode()

    def expand(self, text: str) -> bytes:
        """``text`` with its braces replaced; raises :class:`PatternError` for a name that stands for nothing yet."""
        parts: list[bytes] = []
        end = 0
        for match in _NAME.finditer(text):
            parts += [text[end : match.start()].encode(), self._lookup(match.group(1), match.group(2))]
            end = match.end()
        return b"".join([*parts, text[end:].encode()])

    def pattern(self, text: str) -> str:
        """Like :meth:`expand`, for regular expressions: inserted texts are quoted."""
        return _NAME.sub(lambda m: re.escape(self._lookup(m.group(1), m.group(2)).decode("latin-1")), text)

    def word(self, word: Any) -> bytes:
        """One word of a command: a text with braces, a number, or a tagged value (bytes, a document)."""
        if isinstance(word, str):
            return self.expand(word)
        value = make_value(word)
        return value if isinstance(value, bytes) else str(value).encode()

    def _lookup(self, name: str, argument: str | None) -> bytes:
        if name == "q":
            return self.queue(argument or "pending")
        if name == "id":
            found = self.last_id if argument is None else self.ids.get(argument)
        elif name == "channel":
            found = b"client::" + self._lookup(argument or "client", None)
        else:
            found = self.kept.get(name)
        if found is None:
            raise PatternError(f"{{{name}{':' + argument if argument else ''}}} stands for nothing here")
        return found


# --- patterns ---------------------------------------------------------------------------------


def word_matches(pattern: str, word: bytes, names: Names) -> bool:
    """Whether a word of a command fits a rule: ``*``, ``~regular expression``, or a template."""
    if pattern == "*":
        return True
    if pattern.startswith("~"):
        return re.fullmatch(names.pattern(pattern[1:]), word.decode("latin-1"), re.DOTALL) is not None
    return names.expand(pattern) == word


def field_matches(pattern: Any, value: bytes, names: Names) -> bool:
    """Whether a field's value fits a rule (see :class:`jobwire_conformance.cases.case.WireRule`)."""
    if isinstance(pattern, str):
        return word_matches(pattern, value, names)
    if isinstance(pattern, dict) and len(pattern) == 1:
        ((kind, payload),) = pattern.items()
        reader = _FIELD_KINDS.get(kind)
        if reader is not None:
            return reader(payload, value)
    return names.word(pattern) == value


def _is_sereal(payload: Any, value: bytes) -> bool:
    try:
        found = sereal.loads(value)
    except SerealDecodeError:
        return False
    return same(make_value(payload), decode_value(encode_value(found)), typed=True)


def _is_json(payload: Any, value: bytes) -> bool:
    head, text = (value[:1], value[1:]) if value[:1] in (b"J", b"E", b"V") else (b"", value)
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return head != b"" and same(make_value(payload), found, typed=True)


def _is_time(wanted: Any, value: bytes) -> bool:
    return (re.fullmatch(rb"\d{9,11}(\.\d{1,6})?", value) is not None) is bool(wanted)


_FIELD_KINDS: dict[str, Callable[[Any, bytes], bool]] = {
    "sereal": _is_sereal,
    "json": _is_json,
    "time": _is_time,
    "size": lambda payload, value: len(value) == payload,
}
