"""Snappy's raw format in plain Python, for where no library is installed.

Source: the format description of google/snappy (``format_description.txt``): a varint with the
inflated length, then literals and back-references.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["SnappyError", "compress", "decompress", "inflated_length"]


class SnappyError(ValueError):
    """Not Snappy's raw format."""


def inflated_length(blob: bytes) -> tuple[int, int]:
    """Return the length that the blob announces, and the place behind it."""
    value = 0
    for index, byte in enumerate(blob[:5]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, index + 1
    raise SnappyError("no length at the start of the Snappy blob")


def decompress(blob: bytes) -> bytes:
    """Return the inflated bytes; never more than the blob announces (look at that first)."""
    length, pos = inflated_length(blob)
    out = bytearray()
    while pos < len(blob):
        kind = blob[pos] & 3
        if kind == 0:
            size, pos = _literal(blob, pos)
            if pos + size > len(blob):
                raise SnappyError("a Snappy literal runs over the end")
            out += blob[pos : pos + size]
            pos += size
        else:
            size, distance, pos = _reference(blob, pos, kind)
            _repeat(out, size, distance)
        if len(out) > length:
            raise SnappyError("a Snappy blob that holds more than it announces")
    if len(out) != length:
        raise SnappyError("a Snappy blob that holds less than it announces")
    return bytes(out)


def _literal(blob: bytes, pos: int) -> tuple[int, int]:
    size = blob[pos] >> 2
    if size < 60:
        return size + 1, pos + 1
    extra = size - 59
    raw = blob[pos + 1 : pos + 1 + extra]
    if len(raw) != extra:
        raise SnappyError("a Snappy literal is cut short")
    return int.from_bytes(raw, "little") + 1, pos + 1 + extra


def _reference(blob: bytes, pos: int, kind: int) -> tuple[int, int, int]:
    tag = blob[pos]
    extra = (0, 1, 2, 4)[kind]
    raw = blob[pos + 1 : pos + 1 + extra]
    if len(raw) != extra:
        raise SnappyError("a Snappy reference is cut short")
    distance = int.from_bytes(raw, "little")
    if kind == 1:
        return (tag >> 2 & 7) + 4, (tag >> 5) << 8 | distance, pos + 2
    return (tag >> 2) + 1, distance, pos + 1 + extra


def _repeat(out: bytearray, size: int, distance: int) -> None:
    start = len(out) - distance
    if distance == 0 or start < 0:
        raise SnappyError("a Snappy reference to what was not written")
    piece = out[start : start + size]
    while len(piece) < size:  # it overlaps its own output: a run
        piece += piece[: size - len(piece)]
    out += piece


def compress(data: bytes) -> bytes:
    """Return a valid blob; greedy and simple, so longer than a library's."""
    out = bytearray(_varint(len(data)))
    done = 0
    for start, size, distance in _matches(data):
        _write_literal(out, data[done:start])
        done = start + size
        for part in [64] * (size // 64) + [size % 64] * bool(size % 64):
            out.append((part - 1) << 2 | 2)
            out += distance.to_bytes(2, "little")
    _write_literal(out, data[done:])
    return bytes(out)


def _matches(data: bytes) -> Iterator[tuple[int, int, int]]:
    seen: dict[bytes, int] = {}
    at = 0
    while at + 4 <= len(data):
        four = data[at : at + 4]
        before = seen.get(four, -1)
        seen[four] = at
        if before < 0 or at - before > 0xFFFF:
            at += 1
            continue
        size = 4
        while at + size < len(data) and data[before + size] == data[at + size]:
            size += 1
        yield at, size, at - before
        at += size


def _write_literal(out: bytearray, piece: bytes) -> None:
    if not piece:
        return
    size = len(piece) - 1
    if size < 60:
        out.append(size << 2)
    else:
        raw = size.to_bytes((size.bit_length() + 7) // 8, "little")
        out.append((59 + len(raw)) << 2)
        out += raw
    out += piece


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
