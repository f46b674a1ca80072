"""Text of others, made safe to print: names, IDs, messages and values come from peers and from Redis."""

from __future__ import annotations

import json

__all__ = ["block", "clip", "json_line", "one_line"]


def one_line(text: str) -> str:
    """``text`` on one line of a terminal: control, format and surrogate characters and line ends are escaped.

    A backslash stays as it is, so that text without such characters does not change.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def block(head: str, text: str) -> str:
    """``head`` and ``text``, its further lines under its first: none of them can pass for a line of ours."""
    first, *rest = (one_line(line.removesuffix("\r")) for line in text.rstrip("\n").split("\n"))
    return "\n".join([head + first, *(" " * len(head) + line for line in rest)])


def json_line(line: bytes) -> bytes:
    """A JSON document with such characters escaped: the same document, safe on a terminal."""
    text = line.decode("utf-8", "surrogatepass")
    if text.isprintable():
        return line
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text).encode()


def clip(text: str, limit: int) -> str:
    """``text``, cut to ``limit`` characters, and saying so."""
    return text if len(text) <= limit else f"{text[: limit - 1]}… ({len(text)} in all)"
