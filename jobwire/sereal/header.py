"""The header before the body: magic, version, compression type, header suffix, user data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from jobwire.errors import SerealDecodeError
from jobwire.sereal import tags

__all__ = ["Header", "read_header", "read_length", "write_header", "write_varint"]

_USER_DATA = 0x01
_FIRST_VERSION = {tags.RAW: 1, tags.SNAPPY_OLD: 1, tags.SNAPPY: 1, tags.ZLIB: 3, tags.ZSTD: 3}
"""Compression type → the first version in which Perl's decoder (5.003) reads it."""

_NEWER = (6, 7)
"""Versions that Sereal::Encoder 6 and 7 write; their new tags are not known here."""


@dataclass(frozen=True, slots=True)
class Header:
    """``user_data`` is the place of the user's own body, (first, behind last), None where there is none."""

    version: int
    compression: int
    start: int
    stop: int
    user_data: tuple[int, int] | None


def _fail(reason: str, document: bytes, at: int) -> NoReturn:
    raise SerealDecodeError(reason, offset=at, raw=document)


def read_length(document: bytes, at: int) -> tuple[int, int]:
    """Read the varint at ``at``; return it and the place behind it; leading zero groups (padding) are fine."""
    value = 0
    for index, byte in enumerate(document[at : at + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    _fail("varint longer than 10 bytes, or cut short", document, at)


def read_header(document: bytes, start: int = 0, *, accept_newer: bool = False) -> Header:
    """Read the header at ``start``. ``SerealDecodeError`` where there is none, or one of a version not known here.

    ``accept_newer``: read versions 6 and 7, too, as if they were 5, and refuse flags that 5 does not have.
    """
    magic = document[start : start + 4]
    if magic not in (tags.MAGIC, tags.MAGIC_HIGH):
        if document[start : start + 5] == tags.MAGIC_AS_UTF8:
            _fail("this Sereal document was encoded as UTF-8 on its way: send the bytes as they are", document, start)
        _fail("no Sereal document: it starts with other bytes", document, start)
    if len(document) < start + 6:
        _fail("the header ends early", document, len(document))
    version, compression = document[start + 4] & 0x0F, document[start + 4] >> 4
    newer = version in _NEWER and magic == tags.MAGIC_HIGH
    if newer and not accept_newer:
        _fail(_newer(version), document, start + 4)
    if not newer and (not 1 <= version <= tags.NEWEST or (version >= 3) != (magic == tags.MAGIC_HIGH)):
        _fail(f"version {version} with the magic {magic!r}: jobwire reads versions 1 to 5", document, start + 4)
    _check_compression(compression, version, document, start + 4)
    length, suffix = read_length(document, start + 5)
    stop = suffix + length
    if stop > len(document):
        _fail(f"header suffix of {length} bytes announced, {len(document) - suffix} are left", document, suffix)
    flags = document[suffix] if length and version > 1 else 0
    if newer and flags & ~_USER_DATA:
        _fail(f"header flags 0x{flags:02x} of version {version} are not known", document, suffix)
    return Header(version, compression, start, stop, (suffix + 1, stop) if flags & _USER_DATA else None)


def _newer(version: int) -> str:
    return (
        f"version {version}, which Sereal::Encoder {version} writes by default; jobwire reads versions 1 to 5: pin "
        "Sereal::Encoder below 6, or wrap Sereal::Encoder::new with protocol_version => 5 before Job::Async is loaded "
        "(Jobwire::SerealProtocol does); with accept_newer jobwire reads the tags that version 5 has"
    )


def _check_compression(compression: int, version: int, document: bytes, at: int) -> None:
    if compression not in _FIRST_VERSION or version < _FIRST_VERSION[compression]:
        _fail(f"compression type {compression} is not known in version {version}", document, at)
    if compression == tags.SNAPPY_OLD and version > 1:
        _fail("compression type 1 is for version 1 alone", document, at)


def write_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_header(version: int, compression: int, user_data: bytes | None) -> bytes:
    magic = tags.MAGIC if version < 3 else tags.MAGIC_HIGH
    suffix = b"" if user_data is None else bytes([_USER_DATA]) + user_data
    return magic + bytes([version | compression << 4]) + write_varint(len(suffix)) + suffix
