"""An incremental decoder of RESP2 and RESP3, for both directions, that keeps the raw bytes.

hiredis does not give the raw bytes of a reply back, and the recorder needs them: what it forwards
and writes down must be what was sent, byte for byte. So the suite has a parser of its own, and its
judgement does not rest on the parser that the implementation under test uses.

::

    decoder = Decoder()
    for frame in decoder.feed(chunk):
        frame.value, frame.raw
    if decoder.broken is not None: …   # not RESP; decoder.rest() holds the bytes
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Decoder", "Frame", "Incomplete", "Map", "Push", "RespError", "RespSyntaxError", "Value", "pack"]

Value = Any
"""bytes (bulk and simple strings, verbatim text), int, float, bool, None, list, :class:`Map`,
:class:`Push`, :class:`RespError`."""

_MAX_LINE = 64 * 1024
_MAX_DEPTH = 64


class RespSyntaxError(ValueError):
    """Bytes that are not RESP; the connection cannot be followed any further."""


class Incomplete(Exception):
    """More bytes are needed; ``total`` is a lower bound for the size of the whole frame."""

    def __init__(self, total: int = 0) -> None:
        self.total = total


@dataclass(frozen=True, slots=True)
class RespError:
    """An error reply: its text, with the code in front (``ERR …``)."""

    message: bytes


class Push(list[Any]):
    """An out-of-band message of RESP3 (``>``)."""


class Map(list[tuple[Any, Any]]):
    """A map of RESP3 as pairs in the order of the wire (keys may repeat or be unhashable)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole command or reply: its value and the bytes that said it."""

    value: Value
    raw: bytes


class Decoder:
    """Feed it what arrived, get whole frames back."""

    __slots__ = ("_buffer", "_need", "broken")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = 1
        #: Why the bytes can no longer be followed; None as long as they can.
        self.broken: str | None = None

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame are held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes; sets :attr:`broken` at what is not RESP, and gives no more then."""
        self._buffer += data
        if self.broken is not None:
            return []
        frames: list[Frame] = []
        start = 0
        # A frame is read again from its beginning when more of it arrives; _need keeps a large
        # bulk string from being tried at every chunk.
        while len(self._buffer) - start >= self._need:
            try:
                value, end = _read(self._buffer, start, 0)
            except Incomplete as more:
                self._need = max(more.total - start, len(self._buffer) - start + 1)
                break
            except RespSyntaxError as error:
                self.broken = str(error)
                break
            frames.append(Frame(value, bytes(self._buffer[start:end])))
            start = end
            self._need = 1
        del self._buffer[:start]
        return frames

    def rest(self) -> bytes:
        """The bytes that no frame was made of yet."""
        return bytes(self._buffer)

    def clear(self) -> None:
        """Forget the bytes held."""
        self._buffer.clear()


def _line(buffer: bytearray, start: int) -> tuple[bytes, int]:
    end = buffer.find(b"\r\n", start)
    if end < 0:
        if len(buffer) - start > _MAX_LINE:
            raise RespSyntaxError("a line of more than 64 KiB")
        raise Incomplete
    return bytes(buffer[start:end]), end + 2


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise RespSyntaxError(f"not a number: {text[:40]!r}") from None


def _read(buffer: bytearray, start: int, depth: int) -> tuple[Value, int]:
    if start >= len(buffer):
        raise Incomplete
    if depth > _MAX_DEPTH:
        raise RespSyntaxError("nested too deeply")
    kind = buffer[start : start + 1]
    text, end = _line(buffer, start + 1)
    if (bulk := _BULKS.get(bytes(kind))) is not None:
        return _bulk(buffer, text, end, bulk)
    if bytes(kind) in b"*~>%|":
        return _aggregate(buffer, bytes(kind), text, end, depth)
    reader = _SIMPLE.get(bytes(kind))
    if reader is not None:
        return reader(text), end
    # An inline command: a line of words, as people type it.
    line, end = _line(buffer, start)
    return line.split(), end


def _bulk(buffer: bytearray, text: bytes, start: int, kind: str) -> tuple[Value, int]:
    size = _number(text)
    if size < 0:
        return None, start
    end = start + size + 2
    if len(buffer) < end:
        raise Incomplete(end)
    if buffer[end - 2 : end] != b"\r\n":
        raise RespSyntaxError("a string longer than it says")
    value = bytes(buffer[start : end - 2])
    if kind == "error":
        return RespError(value), end
    return (value[4:] if kind == "verbatim" else value), end


def _aggregate(buffer: bytearray, kind: bytes, text: bytes, at: int, depth: int) -> tuple[Value, int]:
    count = _number(text)
    if count < 0:
        return None, at
    pairs = kind in (b"%", b"|")
    items: list[Any] = []
    for _ in range(count * 2 if pairs else count):
        item, at = _read(buffer, at, depth + 1)
        items.append(item)
    if kind == b">":
        return Push(items), at
    if not pairs:
        return items, at
    mapping = Map(zip(items[::2], items[1::2], strict=True))
    if kind == b"|":
        # Attributes are facts about the reply that follows; they are no reply of their own.
        return _read(buffer, at, depth)
    return mapping, at


def _boolean(text: bytes) -> bool:
    if text not in (b"t", b"f"):
        raise RespSyntaxError(f"not a boolean: {text[:40]!r}")
    return text == b"t"


def _double(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        raise RespSyntaxError(f"not a number: {text[:40]!r}") from None


def _null(_text: bytes) -> None:
    return None


_BULKS = {b"$": "string", b"!": "error", b"=": "verbatim"}
_SIMPLE: dict[bytes, Any] = {
    b"+": bytes,
    b"-": RespError,
    b":": _number,
    b"(": _number,
    b"_": _null,
    b"#": _boolean,
    b",": _double,
}


def pack(command: list[bytes] | tuple[bytes, ...]) -> bytes:
    """A command as RESP bytes."""
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command)
