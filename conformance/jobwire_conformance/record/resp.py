"""An incremental decoder of RESP2 and RESP3, for both directions, that keeps the raw bytes.

hiredis does not give the raw bytes of a reply back, and the recorder needs them: the bytes it forwards
and writes down must be those sent. So the suite has a parser of its own, and its
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

__all__ = ["Decoder", "Frame", "Map", "Push", "RespError", "RespSyntaxError", "Value", "pack"]

Value = Any
"""bytes (bulk and simple strings, verbatim text), int, float, bool, None, list, :class:`Map`,
:class:`Push`, :class:`RespError`."""

_MAX_LINE = 64 * 1024
_MAX_DEPTH = 64


class RespSyntaxError(ValueError):
    """Bytes that are not RESP; the connection cannot be followed any further."""


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
    """Feed it bytes, get whole frames back. No byte is looked at twice, however the bytes are cut.

    ``max_frame``: a frame of more bytes counts as broken, so that nobody can fill the memory; 0: no such bound.
    """

    __slots__ = ("_at", "_buffer", "_max_frame", "_need", "_open", "_start", "broken")

    def __init__(self, max_frame: int = 0) -> None:
        self._buffer = bytearray()
        self._start = 0  # where the frame begins
        self._at = 0  # everything before it has been read
        self._need = 1  # how long the buffer must be for the next item
        self._open: list[_Aggregate] = []  # from the outermost to the innermost
        self._max_frame = max_frame
        #: Why the bytes can no longer be followed; None as long as they can.
        self.broken: str | None = None

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame are held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes; sets :attr:`broken` at bytes that are not RESP, and ends there."""
        self._buffer += data
        if self.broken is not None:
            return []
        frames: list[Frame] = []
        try:
            while len(self._buffer) >= self._need and self._item(frames):
                self._need = self._at + 1
            if self._max_frame and max(len(self._buffer), self._need) - self._start > self._max_frame:
                self.broken = f"a frame of more than {self._max_frame} bytes"
        except RespSyntaxError as error:
            self.broken = str(error)
        # Drop the bytes read, up to the frame that is not whole yet.
        del self._buffer[: self._start]
        self._at -= self._start
        self._need -= self._start
        self._start = 0
        return frames

    def rest(self) -> bytes:
        """The bytes that no frame was made of yet."""
        return bytes(self._buffer)

    def clear(self) -> None:
        """Forget the bytes held."""
        self._buffer.clear()
        self._open.clear()
        self._at, self._need = 0, 1

    def _item(self, frames: list[Frame]) -> bool:
        """Read one item; False where it is not all there."""
        buffer, at = self._buffer, self._at
        if len(self._open) > _MAX_DEPTH:
            raise RespSyntaxError("nested too deeply")
        end = buffer.find(b"\r\n", at)
        if end < 0:
            if len(buffer) - at > _MAX_LINE:
                raise RespSyntaxError("a line of more than 64 KiB")
            self._need = len(buffer) + 1
            return False
        kind = buffer[at]
        if kind in _BULKS:
            return self._bulk(kind, end + 2, _number(buffer[at + 1 : end]), frames)
        self._at = end + 2
        if kind in _AGGREGATES:
            self._begin(kind, _number(buffer[at + 1 : end]), frames)
            return True
        reader = _SIMPLE.get(kind)
        # Anything else is an inline command: a line of words, as people type it.
        line = bytes(buffer[at:end])
        self._done(line.split() if reader is None else reader(line[1:]), frames)
        return True

    def _bulk(self, kind: int, begin: int, size: int, frames: list[Frame]) -> bool:
        end = begin + size
        value = None
        if size < 0:
            self._at = begin
        elif len(self._buffer) < end + 2:
            self._need = end + 2
            return False
        elif not self._buffer.startswith(b"\r\n", end):
            raise RespSyntaxError("a string longer than it says")
        else:
            self._at = end + 2
            value = _BULKS[kind](bytes(self._buffer[begin:end]))
        self._done(value, frames)
        return True

    def _begin(self, kind: int, count: int, frames: list[Frame]) -> None:
        size = count * 2 if kind in _PAIRS else count
        if size > 0:
            self._open.append(_Aggregate(kind, size))
        elif kind != _ATTRIBUTES:
            self._done(None if size < 0 else _finished(kind, []), frames)

    def _done(self, value: Value, frames: list[Frame]) -> None:
        """An item is whole; with it, perhaps, the items around it."""
        while self._open:
            innermost = self._open[-1]
            innermost.items.append(value)
            if len(innermost.items) < innermost.size:
                return
            self._open.pop()
            if innermost.kind == _ATTRIBUTES:
                # Attributes are facts about the reply that follows; they are no reply of their own.
                return
            value = _finished(innermost.kind, innermost.items)
        frames.append(Frame(value, bytes(self._buffer[self._start : self._at])))
        self._start = self._at


class _Aggregate:
    __slots__ = ("items", "kind", "size")

    def __init__(self, kind: int, size: int) -> None:
        self.kind = kind
        self.size = size
        self.items: list[Any] = []


_AGGREGATES = frozenset(b"*~>%|")
_PAIRS = frozenset(b"%|")
_PUSH, _MAP, _ATTRIBUTES = b">%|"


def _finished(kind: int, items: list[Any]) -> Value:
    if kind == _PUSH:
        return Push(items)
    return Map(zip(items[::2], items[1::2], strict=True)) if kind == _MAP else items


def _number(text: bytes | bytearray) -> int:
    try:
        return int(text)
    except ValueError:
        raise RespSyntaxError(f"not a number: {bytes(text[:40])!r}") from None


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


def _verbatim(text: bytes) -> bytes:
    return text[4:]


_BULKS: dict[int, Any] = dict(zip(b"$!=", (bytes, RespError, _verbatim), strict=True))
_SIMPLE: dict[int, Any] = dict(
    zip(b"+-:(_#,", (bytes, RespError, _number, _number, _null, _boolean, _double), strict=True)
)


def pack(command: list[bytes] | tuple[bytes, ...]) -> bytes:
    """A command as RESP bytes."""
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command)
