"""The compressed kinds of documents. Libraries are imported when such a document is met.

Snappy: ``cramjam`` where installed, else plain Python. zlib: the standard library. Zstandard:
``zstandard`` (the extra ``sereal``), or the standard library's ``compression.zstd`` (Python 3.14).
"""

from __future__ import annotations

import importlib
import zlib
from types import ModuleType
from typing import Literal, NoReturn

from jobwire.errors import SerealDecodeError, SerealEncodeError
from jobwire.sereal import snappy, tags
from jobwire.sereal.header import Header, read_length, write_varint

__all__ = ["Compression", "compression_type", "deflate", "inflate"]

Compression = Literal["snappy", "snappy-old", "zlib", "zstd"]
"""The names of the compressions that ``dumps`` writes."""

_TYPES: dict[str, tuple[int, range]] = {
    "snappy": (tags.SNAPPY, range(1, 6)),
    "snappy-old": (tags.SNAPPY_OLD, range(1, 2)),
    "zlib": (tags.ZLIB, range(3, 6)),
    "zstd": (tags.ZSTD, range(4, 6)),
}
_ZSTD_WINDOW = 27  # 128 MiB, zstd's own default ceiling


def _library(*names: str) -> ModuleType | None:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def inflate(document: bytes, header: Header, limit: int) -> tuple[bytes, int]:
    """Return the inflated body, and the place behind the compressed one. Lengths are checked before inflating."""
    at = header.stop
    announced = None
    if header.compression == tags.ZLIB:
        announced, at = read_length(document, at)
    stop = len(document)
    if header.compression != tags.SNAPPY_OLD:
        length, at = read_length(document, at)
        stop = at + length
        if stop > len(document):
            _fail(f"{length} compressed bytes announced, {len(document) - at} are left", document, at)
    blob = document[at:stop]
    if header.compression == tags.ZLIB:
        body = _from_zlib(blob, announced or 0, limit, document, at)
    elif header.compression == tags.ZSTD:
        body = _from_zstd(blob, limit, document, at)
    else:
        body = _from_snappy(blob, limit, document, at)
    return body, stop


def _fail(reason: str, document: bytes, at: int) -> NoReturn:
    raise SerealDecodeError(reason, offset=at, raw=document) from None


def _check(length: int, limit: int, document: bytes, at: int) -> None:
    if length > limit:
        _fail(f"a body of more than {limit} bytes when inflated (max_inflated)", document, at)


def _from_snappy(blob: bytes, limit: int, document: bytes, at: int) -> bytes:
    library = _library("cramjam")
    try:
        length, _ = snappy.inflated_length(blob)
        _check(length, limit, document, at)
        if library is None:
            return snappy.decompress(blob)
        body = bytes(library.snappy.decompress_raw(blob))
    except snappy.SnappyError as error:
        _fail(str(error), document, at)
    except Exception as error:
        if library is None or not isinstance(error, library.DecompressionError):
            raise
        _fail(f"not Snappy's format: {error}", document, at)
    return body


def _from_zlib(blob: bytes, announced: int, limit: int, document: bytes, at: int) -> bytes:
    _check(announced, limit, document, at)
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(blob, announced + 1)
    except zlib.error as error:
        _fail(f"not zlib's format: {error}", document, at)
    if len(body) != announced or not inflater.eof or inflater.unused_data:
        _fail(f"a zlib body that does not hold the {announced} bytes it announces", document, at)
    return body


def _from_zstd(blob: bytes, limit: int, document: bytes, at: int) -> bytes:
    """Zstandard names no length that must be true, so that it is read as far as the limit."""
    library = _library("zstandard", "compression.zstd")
    if library is None:
        _fail("a Zstandard body: install the extra jobwire[sereal] to read it", document, at)
    error_type: type[Exception] = library.ZstdError
    try:
        if library.__name__ == "zstandard":
            inflater = library.ZstdDecompressor(max_window_size=1 << _ZSTD_WINDOW)
            with inflater.stream_reader(blob, read_across_frames=False) as stream:
                body: bytes = stream.read(limit + 1)
        else:
            body = library.ZstdDecompressor().decompress(blob, max_length=limit + 1)
    except error_type as error:
        _fail(f"not Zstandard's format: {error}", document, at)
    _check(len(body), limit, document, at)
    return body


def compression_type(compression: Compression, version: int) -> int:
    """Return the number of ``compression``. ``SerealEncodeError`` where ``version`` does not know it."""
    if compression not in _TYPES:
        raise SerealEncodeError(f"no compression {compression!r}; there are {', '.join(_TYPES)}")
    kind, versions = _TYPES[compression]
    if version not in versions:
        raise SerealEncodeError(f"version {version} of Sereal has no compression {compression}")
    return kind


def deflate(body: bytes, kind: int) -> bytes:
    """Return the compressed ``body``. ``SerealEncodeError`` where the library is missing."""
    if kind == tags.ZLIB:
        packed = zlib.compress(body)
        return write_varint(len(body)) + write_varint(len(packed)) + packed
    packed = _to_zstd(body) if kind == tags.ZSTD else _to_snappy(body)
    return packed if kind == tags.SNAPPY_OLD else write_varint(len(packed)) + packed


def _to_snappy(body: bytes) -> bytes:
    library = _library("cramjam")
    return snappy.compress(body) if library is None else bytes(library.snappy.compress_raw(body))


def _to_zstd(body: bytes) -> bytes:
    library = _library("zstandard", "compression.zstd")
    if library is None:
        raise SerealEncodeError("zstd: install the extra jobwire[sereal] to write it")
    packed: bytes = (
        library.ZstdCompressor().compress(body) if library.__name__ == "zstandard" else library.compress(body)
    )
    return packed
