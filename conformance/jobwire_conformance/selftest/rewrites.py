"""The changes that mutants make to commands, replies and notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobwire_conformance.selftest.transport import Command, Fake, Rewrite

__all__ = [
    "add_after",
    "answer_to_older_words",
    "drop",
    "each_command",
    "empty_is_absent",
    "fields_of",
    "hide_meta",
    "hurry_notice",
    "lower_keys",
    "mojibake",
    "newer_words",
    "only_first_field",
    "pushed_first",
    "rename_key",
    "replaced_bytes",
    "reply_fields",
    "result_as",
    "twice",
    "unknown_tag_is_text",
    "with_notice_deletes",
]

Items = list[tuple[int | None, Command | Fake]]


def each_command(name: bytes, change: Callable[[Command], Command]) -> Rewrite:
    """Change every command of that name."""

    def rewrite(commands: list[Command]) -> Items:
        return [(n, change(words) if words[0] == name else words) for n, words in enumerate(commands)]

    return rewrite


def newer_words(commands: list[Command]) -> Items:
    """The same effects, in the words of newer servers."""
    return [(number, _newer(words)) for number, words in enumerate(commands)]


def _newer(words: Command) -> Command:
    match words[0]:
        case b"HMSET":
            return (b"HSET", *words[1:])
        case b"HMGET" if len(words) == 3:
            return (b"HGET", *words[1:])
        case b"BRPOPLPUSH":
            return (b"BLMOVE", *words[1:3], b"RIGHT", b"LEFT", words[3])
        case b"RPOPLPUSH":
            return (b"LMOVE", *words[1:3], b"RIGHT", b"LEFT")
    return words


def answer_to_older_words(words: Command, reply: Any) -> Any:
    """The reply in the form that the peer, which knows nothing of :func:`newer_words`, expects."""
    if words[0] == b"HMSET" and isinstance(reply, int):
        return b"OK"
    if words[0] == b"HMGET" and len(words) == 3 and not isinstance(reply, list | Exception):
        return [reply]
    return reply


def drop(name: bytes, reply: Any) -> Rewrite:
    """Send no command of that name, and pretend that it was answered."""

    def rewrite(commands: list[Command]) -> Items:
        return [(n, Fake(reply) if words[0] == name else words) for n, words in enumerate(commands)]

    return rewrite


def twice(name: bytes) -> Rewrite:
    """Send commands of that name twice."""
    return add_after(name, lambda words: words)


def add_after(name: bytes, more: Callable[[Command], Command]) -> Rewrite:
    """Send another command after each of that name."""

    def rewrite(commands: list[Command]) -> Items:
        items: Items = []
        for number, words in enumerate(commands):
            items.append((number, words))
            if words[0] == name:
                items.append((None, more(words)))
        return items

    return rewrite


def _before(name: bytes, other: bytes) -> Rewrite:
    """Where both stand in one write, the one comes before the other."""

    def rewrite(commands: list[Command]) -> Items:
        order = {name: 0, other: 1}
        places = [n for n, words in enumerate(commands) if words[0] in order]
        sorted_places = sorted(places, key=lambda n: order[commands[n][0]])
        swapped = dict(zip(places, sorted_places, strict=True))
        return [(swapped.get(n, n), commands[swapped.get(n, n)]) for n in range(len(commands))]

    return rewrite


pushed_first = _before(b"LPUSH", b"HMSET")
hurry_notice = _before(b"PUBLISH", b"HMSET")


def fields_of(change: Callable[[bytes, bytes], list[tuple[bytes, bytes]]]) -> Rewrite:
    """Change every field of every HMSET; a command without fields is not sent."""

    def rewrite(commands: list[Command]) -> Items:
        items: Items = []
        for number, words in enumerate(commands):
            if words[0] != b"HMSET":
                items.append((number, words))
                continue
            pairs = zip(words[2::2], words[3::2], strict=True)
            flat = [word for name, value in pairs for pair in change(name, value) for word in pair]
            items.append((number, (*words[:2], *flat) if flat else Fake(b"OK")))
        return items

    return rewrite


def result_as(change: Callable[[bytes], bytes]) -> Rewrite:
    """Change the field ``result``."""
    return fields_of(lambda name, value: [(name, change(value) if name == b"result" else value)])


def _text_fields(change: Callable[[bytes], bytes]) -> Rewrite:
    return fields_of(lambda name, value: [(name, change(value) if name.startswith(b"text_") else value)])


def _decoded_wrongly(value: bytes) -> bytes:
    return value.decode("latin-1").encode()


def _replaced(value: bytes) -> bytes:
    return value.decode("utf-8", "replace").encode()


mojibake = _text_fields(_decoded_wrongly)
replaced_bytes = _text_fields(_replaced)
empty_is_absent = fields_of(lambda name, value: [(name, value)] if value or not name.startswith(b"text_") else [])
lower_keys = fields_of(lambda name, value: [(name.lower(), value)])
only_first_field = fields_of(lambda name, value: [] if name == b"text_value" else [(name, value)])


def rename_key(old: bytes, new: bytes) -> Rewrite:
    """Every key that begins with ``old`` begins with ``new``."""

    def rewrite(commands: list[Command]) -> Items:
        return [
            (n, tuple(new + word.removeprefix(old) if word.startswith(old) else word for word in words))
            for n, words in enumerate(commands)
        ]

    return rewrite


# --- replies ----------------------------------------------------------------------------------


def reply_fields(change: Callable[[dict[bytes, bytes]], dict[bytes, bytes]]) -> Callable[[Command, Any], Any]:
    """Change the reply of HGETALL."""

    def seen(command: Command, reply: Any) -> Any:
        if command[0] != b"HGETALL" or not isinstance(reply, list):
            return reply
        fields = dict(zip(reply[::2], reply[1::2], strict=True))
        return [word for pair in change(fields).items() for word in pair]

    return seen


_KNOWN = (b"_reply_to", b"_queued", b"_accept")
hide_meta = reply_fields(
    lambda fields: {name: value for name, value in fields.items() if not name.startswith(b"_") or name in _KNOWN}
)


def unknown_tag_is_text(_command: Command, reply: Any) -> Any:
    """``Zsomething`` becomes ``Tsomething``, wherever a result is read."""
    if isinstance(reply, list):
        return [unknown_tag_is_text(_command, item) for item in reply]
    if isinstance(reply, bytes) and reply[:1] == b"Z":
        return b"T" + reply[1:]
    return reply


def with_notice_deletes(message: list[Any]) -> tuple[list[Any] | None, list[Command]]:
    """Perl's own defect: whatever a notice names is deleted."""
    if message[0] == b"message" and message[2] == b"of-another":
        return message, [(b"DEL", b"job::" + message[2])]
    return message, []
