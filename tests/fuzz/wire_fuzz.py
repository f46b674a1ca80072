"""Every parser of ``jobwire.wire``, each as a function of bytes that may only return, or raise what it promises."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from jobwire.errors import DecodeError, EncodeError, JobwireError, ServerError
from jobwire.limits import Limits
from jobwire.wire import DIALECTS, HashMode, Keyspace, Recoverable, Reliable, Simple, Taken
from jobwire.wire import commands as c
from jobwire.wire import workers as fleet
from jobwire.wire.codec.envelopes import decode_job_envelope, decode_reply_envelope
from jobwire.wire.codec.extensions import parse_accept
from jobwire.wire.codec.json import decode_json, decode_json_strictly
from jobwire.wire.codec.results import decode_result, encode_result
from jobwire.wire.connection_commands import clients_named, is_listed, is_master, not_master, read_sentinel_master
from jobwire.wire.dead_letters import decode_rejected
from jobwire.wire.modes.base import popped
from jobwire.wire.probe import config_value, parse_info
from jobwire.wire.states import prefixes_in, read_state
from jobwire.wire.text import parse_epoch, readable

LIMITS = Limits(max_bytes=100_000, max_inflated=100_000, max_depth=64, max_items=20_000, max_fields=200)
POLICIES: Any = ("auto", "exact", "latin-1", "utf-8", "bytes")
SLOWEST = 2.0
"""Seconds that no input of the sizes used here may take."""
JOBS = Keyspace("jobs")
QUEUE = b"jobs::pending"


def pieces(data: bytes, most: int = 64) -> list[bytes]:
    """Cut into strings: a byte says how long the next one is."""
    found = []
    while data and len(found) < most:
        size, data = data[0], data[1:]
        found.append(data[:size])
        data = data[size:]
    return found


_NAMES = (b"_reply_to", b"result", b"_accept", b"_expires", b"_queue", b"_worker", b"_started", b"_queued", b"_error")
_TYPES = (b"text_", b"json_", b"sereal_", b"", b"_", b"Text_", b"xml_")


def fields(data: bytes) -> list[bytes]:
    """As HGETALL answers; names that mean something come often."""
    flat = []
    for number, piece in enumerate(pieces(data)):
        if number % 2 == 0 and piece:
            known = _NAMES[piece[0] % len(_NAMES)] if piece[0] < 128 else _TYPES[piece[0] % len(_TYPES)] + piece[1:]
            flat.append(known)
        else:
            flat.append(piece)
    return flat


def reply(data: bytes, depth: int = 0) -> Any:
    """Any reply that a server may send, or something that no server should."""
    kind, rest = (data[0] % 7, data[1:]) if data else (0, b"")
    if kind == 0:
        return None
    if kind == 1:
        return int.from_bytes(rest[:9], "big", signed=True)
    if kind == 2:
        return ServerError(rest[:80].decode("utf-8", "replace"))
    if kind in (3, 4) and depth < 4:
        return [reply(piece, depth + 1) for piece in pieces(rest, 12)]
    return rest


def _strings(answer: Any) -> Any:
    return [item for item in answer if isinstance(item, bytes)] if isinstance(answer, list) else answer


def _hashes(mode: HashMode) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        entry = data[:8]
        job = mode.read(Taken(QUEUE, entry), fields(data))
        if job is None:
            return None
        return (job.accept, job.expires, job.queue, job.worker, job.reply_to, repr(job)[:100])

    return read


def _replies(data: bytes) -> object:
    """Whatever takes replies takes any."""
    mode = Reliable(JOBS, owner="w", own_list=True, limits=LIMITS)
    marked = Recoverable(JOBS, owner="w", limits=LIMITS)
    answer = reply(data)
    many = [reply(piece) for piece in pieces(data, 12)]
    taken = Taken(QUEUE, b"j")
    for read in (
        lambda: c.hash_pairs(_strings(answer), key=b"k"),
        lambda: c.scanned(answer),
        lambda: c.transaction_replies(many or [None]),
        lambda: fleet.read_mark(answer),
        lambda: popped(answer, [QUEUE]),
        # A server answers HGETALL with strings; that every element is one is not looked at, once for each job.
        lambda: mode.read(taken, _strings(answer)),
        lambda: mode.taken(answer, [QUEUE]),
        lambda: marked.taken(answer, [QUEUE]),
        lambda: mode.completed([answer]),
        lambda: mode.collected(b"j", answer),
        lambda: mode.checked(b"j", [*many, None, None][:2]),
        lambda: mode.submitted(many or [None]),
        lambda: read_state([*many, *[None] * 6][:6]),
        lambda: parse_info(answer),
        lambda: config_value(answer),
        lambda: is_listed(answer, "n"),
        lambda: clients_named(answer, ["n"]),
        lambda: is_master(answer),
        lambda: not_master(answer),
        lambda: read_sentinel_master(answer),
    ):
        try:
            read()
        except (DecodeError, ServerError) as error:
            _sayable(error)
    return None


def _policies(data: bytes) -> object:
    if not data:
        return None
    strings = POLICIES[data[0] % len(POLICIES)]
    return Reliable(JOBS, strings=strings, limits=LIMITS).read(Taken(QUEUE, b"j"), fields(data[1:]))


def _result(data: bytes) -> object:
    dialect = list(DIALECTS)[data[0] % len(DIALECTS)] if data else "0.004"
    return decode_result(data[1:], dialect=dialect, strings="auto", limits=LIMITS, key=b"k")


def _simple_read(data: bytes) -> object:
    return Simple(JOBS, limits=LIMITS).read(Taken(QUEUE, data), None)


def _echo(data: bytes) -> object:
    """What a handler that gives back its parameters makes the worker write: a result, or an ``EncodeError``."""
    job = Reliable(JOBS, limits=LIMITS).read(Taken(QUEUE, b"j"), fields(data))
    if job is None:
        return None
    try:
        return encode_result(dict(job.data), limits=LIMITS)
    except EncodeError as error:
        _sayable(error)
        return None


PARSERS: dict[str, Callable[[bytes], object]] = {
    "job hash, dialect 0.004": _hashes(Reliable(JOBS, limits=LIMITS)),
    "job hash, dialect shown": _hashes(Reliable(JOBS, dialect=None, limits=LIMITS)),
    "job hash, dialect 0.001": _hashes(Reliable(JOBS, dialect=DIALECTS["0.001"], limits=LIMITS)),
    "job hash, recoverable": _hashes(Recoverable(JOBS, limits=LIMITS)),
    "job hash, every string policy": _policies,
    "job hash, echoed": _echo,
    "result": _result,
    "job envelope": lambda data: decode_job_envelope(data, limits=LIMITS),
    "job envelope, as taken": _simple_read,
    "reply envelope": lambda data: decode_reply_envelope(data, limits=LIMITS),
    "notice": lambda data: Reliable(JOBS, limits=LIMITS).notice(data),
    "notice, simple": lambda data: Simple(JOBS, limits=LIMITS).notice(data),
    "JSON": lambda data: decode_json(data, limits=LIMITS),
    "JSON, strictly": lambda data: decode_json_strictly(data, limits=LIMITS),
    "record of a rejected entry": decode_rejected,
    "home of a worker": fleet.read_home,
    "accepted tags": parse_accept,
    "time": parse_epoch,
    "text": readable,
    "keys of prefixes": lambda data: prefixes_in(pieces(data)),
    "replies": _replies,
}


def _sayable(error: JobwireError) -> None:
    """What is said of hostile bytes is one line, printable, and short."""
    words = str(error)
    if isinstance(error, DecodeError | EncodeError) and (not words.isprintable() or len(words) > 1500):
        raise AssertionError(f"an error of {len(words)} characters that cannot be logged: {words[:200]!r}")


def check(name: str, data: bytes) -> None:
    """Raises whatever must not be raised; ``AssertionError`` for what took too long, or cannot be logged."""
    began = time.monotonic()
    try:
        PARSERS[name](data)
    except (DecodeError, ServerError) as error:
        _sayable(error)
    took = time.monotonic() - began
    if took > SLOWEST:
        raise AssertionError(f"{name}: {took:.1f} s for {len(data)} bytes")
