"""Whole documents: ``loads``, ``iter_loads``, ``dumps``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args, overload

from jobwire import fast
from jobwire.errors import SerealDecodeError, SerealEncodeError
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.sereal import tags
from jobwire.sereal.compression import Compression, compression_type, deflate, inflate
from jobwire.sereal.decoder import Body, ObjectHook
from jobwire.sereal.encoder import Style, write_body
from jobwire.sereal.header import Header, read_header, write_header
from jobwire.sereal.readers import READERS
from jobwire.sereal.values import StringPolicy, string_reader

__all__ = ["dumps", "iter_loads", "loads"]

Buffer = bytes | bytearray | memoryview

_POLICIES = {policy: number for number, policy in enumerate(get_args(StringPolicy))}
"""The compiled code's numbers."""


class _Options(NamedTuple):
    strings: StringPolicy
    limits: Limits
    hook: ObjectHook | None


@overload
def loads(
    document: Buffer,
    *,
    strings: StringPolicy = "auto",
    limits: Limits = DEFAULT_LIMITS,
    with_header: Literal[False] = False,
    object_hook: ObjectHook | None = None,
    accept_newer: bool = False,
) -> Any: ...
@overload
def loads(
    document: Buffer,
    *,
    strings: StringPolicy = "auto",
    limits: Limits = DEFAULT_LIMITS,
    with_header: Literal[True],
    object_hook: ObjectHook | None = None,
    accept_newer: bool = False,
) -> tuple[Any, Any]: ...
def loads(
    document: Buffer,
    *,
    strings: StringPolicy = "auto",
    limits: Limits = DEFAULT_LIMITS,
    with_header: bool = False,
    object_hook: ObjectHook | None = None,
    accept_newer: bool = False,
) -> Any:
    """Decode one Sereal document (versions 1–5), which must end where the value ends.

    ``strings`` is the policy for BINARY (see ``StringPolicy``); ``limits`` bounds depth and sizes;
    ``with_header`` gives ``(value, user data of the header)``, the latter None where there is none;
    ``object_hook`` is called with each blessed value as a ``PerlObject`` and returns its replacement.

    ``accept_newer`` (or that of ``limits``) reads documents of versions 6 and 7, too, as far as they hold the tags of
    version 5; without it they are refused, with the remedies. Any other tag is refused, never guessed.

    Raises ``SerealDecodeError`` (with ``offset``, ``tag`` and ``raw``) for anything malformed or beyond
    the limits, and otherwise the hook's own exceptions alone. Counterpart: Sereal::Decoder 5.003,
    ``decode_sereal`` and ``decode_sereal_with_header_data``.
    """
    data = bytes(document)
    options = _options(data, strings, limits, object_hook, accept_newer)
    value, header, stop = _read_one(data, 0, options)
    if stop != len(data):
        raise SerealDecodeError(f"{len(data) - stop} bytes behind the document (see iter_loads)", offset=stop, raw=data)
    return (value, _user_data(data, header, options)) if with_header else value


def iter_loads(
    documents: Buffer,
    *,
    strings: StringPolicy = "auto",
    limits: Limits = DEFAULT_LIMITS,
    object_hook: ObjectHook | None = None,
    accept_newer: bool = False,
) -> Iterator[Any]:
    """Yield the values of consecutive documents, each read when it is asked for.

    Options and errors as for :func:`loads`. Counterpart: Sereal::Decoder's option ``incremental``.
    """
    data = bytes(documents)
    options = _options(data, strings, limits, object_hook, accept_newer)
    start = 0
    while start < len(data):
        value, _, start = _read_one(data, start, options)
        yield value


def _options(
    data: bytes, strings: StringPolicy, limits: Limits, hook: ObjectHook | None, accept_newer: bool
) -> _Options:
    if accept_newer:
        limits = replace(limits, accept_newer=True)
    if len(data) > limits.max_bytes:
        raise SerealDecodeError(f"{len(data)} bytes, more than {limits.max_bytes} (max_bytes)", offset=0, raw=data)
    string_reader(strings)  # ValueError for an unknown policy, with any document
    return _Options(strings, limits, hook)


def _read_one(document: bytes, start: int, options: _Options) -> tuple[Any, Header, int]:
    header = read_header(document, start, accept_newer=options.limits.accept_newer)
    if header.compression == tags.RAW:
        base = start if header.version == 1 else header.stop - 1
        value, stop = _read_body(document, header.stop, base, options)
        return value, header, stop
    inflated, stop = inflate(document, header, options.limits.max_inflated)
    # Version 1 counts from the start of the document, as if it had never been compressed.
    base = start - header.stop if header.version == 1 else -1
    value, end = _read_body(inflated, 0, base, options)
    if end != len(inflated):
        raise SerealDecodeError(
            f"{len(inflated) - end} bytes behind the value in the inflated body", offset=end, raw=inflated
        )
    return value, header, stop


def _user_data(document: bytes, header: Header, options: _Options) -> Any:
    if header.user_data is None:
        return None
    start, stop = header.user_data
    return _read_body(document[start:stop], 0, -1, options)[0]


def _read_body(data: bytes, start: int, base: int, options: _Options) -> tuple[Any, int]:
    """Return the value and the place behind it; in plain Python where the compiled code does not know a tag."""
    limits = options.limits
    done = fast.decode(data, start, base, _POLICIES[options.strings], limits.max_depth, limits.max_items)
    if done is not NotImplemented:
        value, stop = done
        return value, stop
    body = Body(data, READERS, start=start, base=base, strings=options.strings, limits=limits, hook=options.hook)
    return body.read(), body.pos


def dumps(
    value: object,
    *,
    version: int = 3,
    compression: Compression | None = None,
    canonical: bool = False,
    header: object = None,
    share_keys: bool = True,
    dedupe_strings: bool = False,
    booleans: Literal["native", "json-pp"] = "native",
    compress_threshold: int = 1024,
    default: Callable[[object], object] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> bytes:
    """Encode ``value`` as a Sereal document that Perl reads as the same value.

    ``version``             1–5; 3 is read by every decoder since 2014
    ``compression``         ``snappy``, ``zlib`` (version ≥ 3), ``zstd`` (≥ 4), ``snappy-old`` (1 alone)
    ``compress_threshold``  bodies of fewer bytes stay as they are (Perl's option and default)
    ``canonical``           equal values, equal bytes: keys in the order of their bytes, one form of reference
    ``header``              user data for the header (version ≥ 2); None: none
    ``share_keys``          a hash key met again is a COPY (Perl's default)
    ``dedupe_strings``      so is any string of more than 3 bytes (Perl's option)
    ``booleans``            ``native`` tags, or objects of ``JSON::PP::Boolean``
    ``default``             called with a value of another type, returns one that can be written
    ``limits``              ``max_depth`` applies

    Raises ``SerealEncodeError`` for a value that Sereal or the version cannot hold. Counterpart: Sereal::Encoder
    5.003, ``encode_sereal`` and ``encode_sereal_with_header_data``.
    """
    if not 1 <= version <= tags.NEWEST:
        raise SerealEncodeError(f"version {version}: jobwire writes versions 1 to 5")
    if booleans not in ("native", "json-pp"):
        raise SerealEncodeError(f"booleans {booleans!r}: there are native and json-pp")
    style = Style(
        version=version,
        canonical=canonical,
        share_keys=share_keys,
        dedupe_strings=dedupe_strings,
        booleans=booleans,
        default=default,
        limits=limits,
    )
    user_data = None
    if header is not None:
        if version == 1:
            raise SerealEncodeError("version 1 of Sereal has no user data in the header")
        user_data = _write(b"", header, style, base=1)
    head = write_header(version, tags.RAW, user_data)
    document = _write(head, value, style, base=len(head) if version == 1 else 1)
    if compression is not None:
        kind = compression_type(compression, version)
        if len(document) - len(head) >= compress_threshold:
            return write_header(version, kind, user_data) + deflate(document[len(head) :], kind)
    return document


def _write(head: bytes, value: object, style: Style, *, base: int) -> bytes:
    """Return ``head`` and the body behind it."""
    if not style.unusual:
        true, false = (tags.YES, tags.NO) if style.version >= 5 else (tags.TRUE, tags.FALSE)
        done = fast.encode(value, head, base, style.share_keys, true, false, style.limits.max_depth)
        if done is not NotImplemented:
            document: bytes = done
            return document
    return head + write_body(value, style, base=base)
