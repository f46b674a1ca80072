"""Fields whose names start with ``_``: Perl's own, and jobwire's extensions.

Perl hands such fields to its handlers untouched and lets them win over a parameter of the same name (Job::Async
0.004, Job.pm ``structured_data``); so jobwire keeps its facts there, and refuses parameters with these names.
"""

from __future__ import annotations

from functools import lru_cache

from jobwire.errors import EncodeError
from jobwire.wire.text import Text, wire_bytes

__all__ = [
    "ACCEPT",
    "ATTEMPTS",
    "ERROR",
    "EXPIRES",
    "KEEP",
    "MARKS",
    "PROCESSED",
    "QUEUE",
    "QUEUED",
    "REPLY_TO",
    "RESERVED",
    "RESULT",
    "STANDARD",
    "STARTED",
    "TRACEPARENT",
    "WORKER",
    "check_parameter_name",
    "encode_meta",
    "kept_meta",
    "parse_accept",
    "parse_keep",
    "with_traceback",
    "without_traceback",
]

REPLY_TO = b"_reply_to"
QUEUED = b"_queued"
STARTED = b"_started"
PROCESSED = b"_processed"
RESULT = b"result"

ACCEPT = b"_accept"
EXPIRES = b"_expires"
KEEP = b"_keep"
QUEUE = b"_queue"
TRACEPARENT = b"_traceparent"
WORKER = b"_worker"
ERROR = b"_error"
ATTEMPTS = b"_attempts"

STANDARD = frozenset({REPLY_TO, QUEUED, STARTED, PROCESSED})
"""The fields that Perl writes itself."""

RESERVED = STANDARD | frozenset({ACCEPT, EXPIRES, KEEP, QUEUE, TRACEPARENT, WORKER, ERROR, ATTEMPTS})
"""Names that no parameter may have: the field of that name would win over it in a Perl worker."""

MARKS = frozenset({STARTED, WORKER, QUEUE, ERROR, ATTEMPTS})
"""The fields that a worker writes beside a submission. A hash of these alone is a ghost: its job was gone by then."""

_LONGEST_KEEP = 10 * 365 * 86400
_BEFORE_TRACEBACK = "\n-- traceback\n"
"""In ``_error`` of a dead job: the rest behind it is for operators."""
_KNOWN_TAGS = frozenset("EV")
_LONGEST_KEPT = 256
"""Bytes of a field from the wire that a cache may hold."""


def check_parameter_name(name: bytes) -> None:
    """Raise ``EncodeError`` for a parameter that Perl would not see, or not as it was sent."""
    if name in RESERVED:
        raise EncodeError("this name is reserved for the protocol; choose another", field=name)
    if b"\n" in name:
        raise EncodeError("a Perl worker cannot read a name with a newline; choose another", field=name)


def encode_meta(name: Text, value: Text) -> tuple[bytes, bytes]:
    """Return an extension field as it stands in the hash.

    Raises ``EncodeError`` for a name without ``_``, and for the fields that every submission has of its own.
    """
    short = len(name) + len(value) <= _LONGEST_KEPT
    return kept_meta(name, value) if short else kept_meta.__wrapped__(name, value)


@lru_cache(64)
def kept_meta(name: Text, value: Text) -> tuple[bytes, bytes]:
    """``encode_meta`` for short ones, without a call in Python where it is known."""
    field = wire_bytes(name)
    if not field.startswith(b"_"):
        raise EncodeError("names of meta fields start with '_'", field=name)
    if field in STANDARD:
        raise EncodeError("this field is written by the protocol itself", field=name)
    return field, wire_bytes(value)


def parse_keep(value: Text | None) -> int | None:
    """Return the milliseconds that a result is to be kept, ten years at the most; None where nobody says so."""
    try:
        seconds = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return int(min(seconds, _LONGEST_KEEP) * 1000) if seconds >= 0 else None


def parse_accept(value: Text | None) -> frozenset[str]:
    """Return the result tags besides ``T`` and ``J`` that a submitter reads; unknown ones are ignored."""
    if not value:
        return frozenset()
    # Anybody may write this field: a long one is not kept.
    return _parse_accept(value) if len(value) <= _LONGEST_KEPT else _parse_accept.__wrapped__(value)


@lru_cache(64)
def _parse_accept(value: Text) -> frozenset[str]:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return _KNOWN_TAGS & {tag.strip() for tag in text.split(",")}


def with_traceback(reason: str, traceback: str) -> str:
    """Return the text of ``_error``: the reason, then the traceback where there is one."""
    return f"{reason}{_BEFORE_TRACEBACK}{traceback}" if traceback else reason


def without_traceback(error: Text) -> tuple[Text, Text | None]:
    """Return the reason that an ``_error`` gives, and the traceback behind it, None where there is none."""
    if isinstance(error, bytes):
        reason, found, traceback = error.partition(_BEFORE_TRACEBACK.encode())
        return reason, traceback if found else None
    text, separator, story = error.partition(_BEFORE_TRACEBACK)
    return text, story if separator else None
