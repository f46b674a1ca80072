"""Envelopes: whole jobs and replies as JSON, in mode ``simple``.

Perl's documentation describes the mode (Job::Async::Redis 0.004, ``simple``), no release implements it; the envelopes
are defined by jobwire (PROTOCOL.md, SIM). IDs and data are UTF-8 JSON; bytes have no place in it and are refused.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jobwire.errors import DecodeError, EncodeError, JobDecodeError, MismatchError, ResultDecodeError, printable
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.wire.codec.extensions import check_parameter_name
from jobwire.wire.codec.json import check_depth, check_size, encode_json
from jobwire.wire.codec.plain import parameters_of, to_plain
from jobwire.wire.codec.results import Failure, printable_failure
from jobwire.wire.text import Text, brief, wire_bytes

__all__ = [
    "JobEnvelope",
    "ReplyEnvelope",
    "address_in",
    "decode_job_envelope",
    "decode_reply_envelope",
    "encode_job_envelope",
    "encode_reply_envelope",
]


class JobEnvelope(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A whole job: ID, who wants the result, epoch seconds of submission, parameters; extensions as in a hash."""

    id: str
    reply_to: str = msgspec.field(default="", name="_reply_to")
    queued: float | None = msgspec.field(default=None, name="_queued")
    expires: float | None = msgspec.field(default=None, name="_expires")
    traceparent: str | None = msgspec.field(default=None, name="_traceparent")
    data: dict[str, Any]


class ReplyEnvelope(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A whole reply: ``result`` (any JSON value) or ``error``, and when the job was started and done."""

    id: str
    result: Any | msgspec.UnsetType = msgspec.UNSET
    error: Failure | None = None
    started: float | None = msgspec.field(default=None, name="_started")
    processed: float | None = msgspec.field(default=None, name="_processed")


class _Address(msgspec.Struct, frozen=True):
    """Who is to be told of a job, whatever else its envelope holds."""

    id: str
    reply_to: str = msgspec.field(name="_reply_to")


_CONTAINERS = (dict, list, tuple)
_BYTES = (bytes, bytearray, memoryview)
_decode_job = msgspec.json.Decoder(JobEnvelope).decode
_decode_address = msgspec.json.Decoder(_Address).decode
_decode_reply = msgspec.json.Decoder(ReplyEnvelope).decode


def _json_text(value: Text, field: str) -> str:
    raw = wire_bytes(value)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise EncodeError(
            "bytes that are not UTF-8 have no place in mode 'simple'; use mode 'reliable' or encode them", field=field
        ) from None


def _plain_without_bytes(value: object, field: str) -> Any:
    try:
        plain = to_plain(value)
    except EncodeError as error:
        raise EncodeError(error.reason, field=field) from error
    stack = [plain]
    seen: set[int] = set()  # a value may contain itself; encode_json refuses that later
    while stack:
        item = stack.pop()
        if isinstance(item, _CONTAINERS):
            if id(item) not in seen:
                seen.add(id(item))
                stack += (*item, *item.values()) if isinstance(item, dict) else item
        elif isinstance(item, _BYTES):
            raise EncodeError(
                f"bytes, {printable(bytes(item), at_most=20)}, have no place in the JSON of mode 'simple'; decode "
                "them, or use mode 'reliable'",
                field=field,
            )
    return plain


def encode_job_envelope(
    job_id: Text,
    data: object,
    *,
    reply_to: Text,
    queued: float | None = None,
    expires: float | None = None,
    traceparent: Text | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> bytes:
    """Encode a submission as one JSON object.

    Raises ``EncodeError`` for bytes anywhere in it, and beyond ``limits``, with shared values written out.
    """
    parameters: dict[str, Any] = {}
    for key, value in parameters_of(data).items():
        name = _json_text(key, "data")
        check_parameter_name(name.encode())
        if name in parameters:
            raise EncodeError("two parameters, one named by str and one by bytes, have this name", field=name)
        parameters[name] = _plain_without_bytes(value, name)
    envelope = {"id": _json_text(job_id, "id"), "_reply_to": _json_text(reply_to, "_reply_to")}
    parent = None if traceparent is None else _json_text(traceparent, "_traceparent")
    extras = {"_queued": _fifteen_digits(queued), "_expires": _fifteen_digits(expires), "_traceparent": parent}
    return _within(
        {**envelope, **{name: value for name, value in extras.items() if value is not None}, "data": parameters},
        limits,
    )


def _within(envelope: dict[str, Any], limits: Limits) -> bytes:
    """Measured again: quotes, commas and escapes have their length, too."""
    raw = encode_json(envelope, limits=limits)
    if len(raw) > limits.max_bytes:
        raise EncodeError(f"an envelope of {len(raw)} bytes; the limit is {limits.max_bytes} (max_bytes)")
    return raw


def _fifteen_digits(seconds: float | None) -> float | None:
    # 15 significant digits, as everywhere on this wire.
    return None if seconds is None else float(f"{seconds:.15g}")


def decode_job_envelope(raw: bytes, *, limits: Limits = DEFAULT_LIMITS, key: Text | None = None) -> JobEnvelope:
    """Return the job in a queue entry of mode ``simple``.

    Raises ``MismatchError`` for an entry that is no JSON object (a job ID: a client of another mode pushed it),
    ``JobDecodeError`` for an object that is no job.
    """
    if not raw.lstrip().startswith(b"{"):
        raise MismatchError(
            f"an entry that is no envelope: {printable(raw)}; a client of mode 'reliable' or 'recoverable' pushes job "
            "IDs: give client and worker the same mode, or queues of their own",
            key=key,
            offset=0,
            raw=raw,
        )
    try:
        check_size(raw, limits)
        envelope = _decode_job(raw)
        check_depth(envelope.data, raw, limits)
    except (msgspec.MsgspecError, DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JobDecodeError(f"not a job envelope: {brief(error)}", key=key, raw=raw) from None
    return envelope


def address_in(raw: bytes) -> tuple[str, str] | None:
    """ID and client ID in an envelope that may be unreadable otherwise; None where they cannot be had."""
    try:
        address = _decode_address(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return (address.id, address.reply_to) if address.id and address.reply_to else None


def encode_reply_envelope(
    job_id: Text,
    *,
    value: object = None,
    failure: Failure | None = None,
    started: float | None = None,
    processed: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> bytes:
    """Encode a reply as one JSON object: ``failure`` where given, else ``value``.

    Raises ``EncodeError`` for bytes anywhere in it, and beyond ``limits``, with shared values written out.
    """
    body: dict[str, Any] = {"id": _json_text(job_id, "id")}
    if failure is None:
        body["result"] = _plain_without_bytes(value, "result")
    else:
        body["error"] = msgspec.to_builtins(printable_failure(failure))
    times = {"_started": _fifteen_digits(started), "_processed": _fifteen_digits(processed)}
    return _within({**body, **{name: value for name, value in times.items() if value is not None}}, limits)


def decode_reply_envelope(raw: bytes, *, limits: Limits = DEFAULT_LIMITS, key: Text | None = None) -> ReplyEnvelope:
    """Return the reply in a message of mode ``simple``.

    Raises ``MismatchError`` for a message that is no JSON object (a bare job ID: a worker of another mode sent it),
    ``ResultDecodeError`` for an object that is no reply.
    """
    if not raw.lstrip().startswith(b"{"):
        raise MismatchError(
            f"a notice that is no reply envelope: {printable(raw)}; a worker of mode 'reliable' or 'recoverable' sends "
            "job IDs: give client and worker the same mode",
            key=key,
            raw=raw,
        )
    try:
        check_size(raw, limits)
        reply = _decode_reply(raw)
        check_depth(reply.result, raw, limits)
    except (msgspec.MsgspecError, DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ResultDecodeError(f"not a reply envelope: {brief(error)}", key=key, raw=raw) from None
    if reply.result is msgspec.UNSET and reply.error is None:
        raise ResultDecodeError("a reply with neither result nor error", key=key, raw=raw)
    return reply
