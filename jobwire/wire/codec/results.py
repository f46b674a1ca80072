"""Results: the contents of the field ``result``, written by the worker.

Source: Job::Async::Redis 0.004, Worker/Redis.pm ``on_job_received`` and Client/Redis.pm ``on_subscribed``;
the tags ``E`` and ``V`` are defined by jobwire and only written where the submission says that they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from jobwire.errors import DecodeError, EncodeError, MismatchError, ResultDecodeError, printable
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.sereal.values import StringPolicy, string_reader
from jobwire.wire.codec.dialects import DEFAULT_DIALECT, Dialect, dialect_named
from jobwire.wire.codec.json import check_size, decode_json, encode_json
from jobwire.wire.codec.plain import to_plain
from jobwire.wire.text import Text, brief, scalar_bytes

__all__ = [
    "Failure",
    "Result",
    "Success",
    "decode_result",
    "encode_failure",
    "encode_outcome",
    "encode_result",
    "printable_failure",
]


class Success(msgspec.Struct, frozen=True):
    """The job was done; ``value`` is its handler's return value, as read from the wire."""

    value: Any


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """The job failed; ``type`` and ``message`` are the worker's words, ``traceback`` only where it sends one.

    ``rejected``: it could not be read, was never begun, and is set aside; its hash stays for whoever mends it.
    """

    type: str
    message: str
    traceback: str | None = None
    rejected: bool = False


Result: TypeAlias = Success | Failure
"""How a job ended."""


_encode_body = msgspec.json.Encoder().encode
_decode_body = msgspec.json.Decoder(Failure).decode
_NOTHING: frozenset[str] = frozenset()


def encode_result(
    value: object,
    *,
    dialect: str | Dialect = DEFAULT_DIALECT,
    accept: frozenset[str] = _NOTHING,
    limits: Limits = DEFAULT_LIMITS,
) -> bytes:
    """Encode the ``result`` of a job that was done.

    Tagged dialects: ``J`` and JSON for a container, ``T`` and the printed form for a scalar, exactly as Perl tells
    them apart; ``V`` and JSON for None, booleans and numbers where ``accept`` has ``V``. Untagged dialects: the
    printed form, or JSON text for a container. Raises ``EncodeError``, also for what is larger than ``limits``, those
    of the reader, once what is shared in it is written out.
    """
    raw = _encode_result(value, dialect, accept, limits)
    if len(raw) > limits.max_bytes:
        raise EncodeError(f"{len(raw)} bytes; the limit is {limits.max_bytes} (max_bytes)", field="result")
    return raw


def _encode_result(value: object, dialect: str | Dialect, accept: frozenset[str], limits: Limits) -> bytes:
    known = dialect if isinstance(dialect, Dialect) else dialect_named(dialect)
    text = scalar_bytes(value)
    if text is None:
        value = value if isinstance(value, dict | list | tuple) else to_plain(value)
        text = scalar_bytes(value)
        if text is None:
            return (b"J" if known.tagged_results else b"") + encode_json(value, field="result", limits=limits)
    if not known.tagged_results:
        return text
    # Text, and numbers that JSON does not have, stay text.
    if "V" not in accept or isinstance(value, (str, bytes, bytearray, memoryview)):
        return b"T" + text
    if type(value) is int:
        return b"V" + text
    if isinstance(value, float) and value - value != 0:
        return b"T" + text
    return b"V" + encode_json(value, field="result")


def encode_failure(failure: Failure) -> bytes:
    """Return the bytes of ``result`` for a job that failed (tag ``E``); only for a submitter that accepts ``E``.

    Lone surrogates (a file name in a message, say) become ``\\udcff`` in so many characters: a failure is always told.
    """
    return b"E" + _encode_body(printable_failure(failure))


def printable_failure(failure: Failure) -> Failure:
    """Return ``failure`` with text that has a UTF-8 form."""
    return Failure(
        _escaped(failure.type),
        _escaped(failure.message),
        None if failure.traceback is None else _escaped(failure.traceback),
        failure.rejected,
    )


def _escaped(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def encode_outcome(
    result: Result, *, dialect: str | Dialect, accept: frozenset[str], limits: Limits = DEFAULT_LIMITS
) -> bytes:
    """Return the bytes of ``result`` for either outcome.

    Raises ``EncodeError`` for a failure whose submitter does not accept ``E``: ``T`` and ``J`` cannot say it; nor
    can a dialect without tags.
    """
    if isinstance(result, Success):
        return encode_result(result.value, dialect=dialect, accept=accept, limits=limits)
    if "E" not in accept or not dialect_named(dialect).tagged_results:
        raise EncodeError("the submitter of this job does not read failures (tag E)", field="result")
    return encode_failure(result)


def decode_result(
    raw: bytes,
    *,
    dialect: str | Dialect = DEFAULT_DIALECT,
    strings: StringPolicy = "auto",
    limits: Limits = DEFAULT_LIMITS,
    key: Text | None = None,
) -> Result:
    """Decode a ``result``. Empty bytes are the empty string, as in Perl.

    Raises ``ResultDecodeError`` for one that cannot be read, ``MismatchError`` for a tag that the dialect does not
    have; both carry ``raw`` and the ``key``.
    """
    known = dialect if isinstance(dialect, Dialect) else dialect_named(dialect)
    tag = 1 if known.tagged_results and raw else 0
    try:
        if len(raw) > limits.max_bytes:
            raise ResultDecodeError(f"{len(raw)} bytes; the limit is {limits.max_bytes}")
        if not tag:
            return Success(string_reader(strings)(raw))
        decode = _BY_TAG.get(raw[:1], _unknown_tag)
        return decode(raw, strings, limits)
    except UnicodeDecodeError as error:
        reason = "not valid UTF-8; use the string policy 'auto' or 'bytes' to read it"
        raise ResultDecodeError(reason, key=key, field="result", offset=tag + error.start, raw=raw) from None
    except DecodeError as error:
        if isinstance(error, ResultDecodeError | MismatchError):
            error.raw = raw
            error.located(key=key, field="result")
            raise
        raise ResultDecodeError(error.reason, key=key, field="result", offset=error.offset, raw=raw) from error


def _text(raw: bytes, strings: StringPolicy, limits: Limits) -> Result:
    del limits
    return Success(string_reader(strings)(raw[1:]))


def _json(raw: bytes, strings: StringPolicy, limits: Limits) -> Result:
    # A scalar is never written here by us, but peers on JSON::XS can write one; there is one way to read it.
    del strings
    return Success(decode_json(raw[1:], limits=limits))


def _failure(raw: bytes, strings: StringPolicy, limits: Limits) -> Result:
    del strings
    check_size(raw, limits)
    try:
        return _decode_body(raw[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ResultDecodeError(f"a failure (tag E) that is no {{type, message}} object: {brief(error)}") from None


def _unknown_tag(raw: bytes, strings: StringPolicy, limits: Limits) -> Result:
    del strings, limits
    raise MismatchError(
        f"a result with the unknown tag {printable(raw[:1])}: results of this dialect start with T or J; "
        "a worker of dialect 0.002 writes none: give this client dialect='0.002', or update that worker",
        offset=0,
    )


_BY_TAG: dict[bytes, Callable[[bytes, StringPolicy, Limits], Result]] = {
    b"T": _text,
    b"J": _json,
    b"V": _json,
    b"E": _failure,
}
