"""Transcripts: recorded wire traffic as JSON lines, and their comparison.

The first line is a :class:`Header` (versions, case, submissions), each other line one
:class:`Event`. The suite's recorder writes format 2; format 1 is that of the first
recordings in ``golden/`` (``{t, conn, dir, hex}``: chunks of a connection), which
:func:`read_transcript` decodes into the same events.

Two transcripts are compared after :class:`Normalizer` has replaced job, client and worker IDs,
times, and the order of hash fields, and nothing else.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from jobwire_conformance.driver.values import decode_value, encode_value
from jobwire_conformance.record.resp import Decoder, Map, RespError

__all__ = [
    "FORMAT",
    "Event",
    "EventLine",
    "Header",
    "Normalizer",
    "Transcript",
    "broken_event",
    "event_line",
    "header_line",
    "is_push",
    "make_event",
    "plain_reply",
    "read_transcript",
    "write_transcript",
]

FORMAT = 2


class Header(msgspec.Struct, kw_only=True, frozen=True):
    """The source of a recording: case, peers, versions."""

    kind: Literal["transcript"] = "transcript"
    format: int = FORMAT
    case: str = ""
    mode: str = "reliable"
    dialect: str = ""
    client: dict[str, Any] = {}
    worker: dict[str, Any] = {}
    redis: str = ""
    recorded: str = ""
    use_multi: bool = False
    prefix: str = "jobs"
    submitted: list[Any] = []
    net_async_redis: str = ""
    redis_states: dict[str, Any] = {}


class Event(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One thing on one connection.

    ``t`` is in seconds since the recording began, ``connection`` is unique in the transcript,
    ``role`` says whose it is, ``direction`` is ``>`` (to Redis) or ``<`` (from Redis), ``kind`` is
    ``command``, ``reply``, ``push`` (a message nobody asked for), ``open``, ``close`` or ``broken``
    (bytes that are not RESP). ``value`` is the decoded command or reply (tagged), ``raw`` the bytes.
    """

    t: float
    connection: int
    role: str
    direction: Literal[">", "<", ""]
    kind: Literal["command", "reply", "push", "open", "close", "broken"]
    value: Any = None
    raw: bytes = b""

    def decoded(self) -> Any:
        """The command (a list of bytes) or reply as a Python value."""
        return decode_value(self.value)

    @property
    def command(self) -> tuple[bytes, ...]:
        """The words of a command; empty for anything else."""
        if self.kind != "command":
            return ()
        words = self.decoded()
        return tuple(_as_bytes(word) for word in words) if isinstance(words, list) else ()

    @property
    def name(self) -> str:
        """The command's name in upper case; empty for anything else."""
        words = self.command
        return words[0].decode("latin-1").upper() if words else ""


class Transcript(msgspec.Struct, kw_only=True, frozen=True):
    """A header and its events, in the order of time."""

    header: Header
    events: list[Event]

    def commands(self, role: str | None = None) -> list[tuple[bytes, ...]]:
        """All commands (of one role), in order."""
        return [e.command for e in self.events if e.kind == "command" and (role is None or e.role == role)]


def _as_bytes(word: Any) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def plain_reply(value: Any) -> Any:
    """A decoded RESP value as plain data that :func:`jobwire_conformance.driver.values.encode_value` can tag."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, RespError):
        return {"error": value.message.decode("utf-8", "backslashreplace")}
    if isinstance(value, Map):
        return {"map": [[plain_reply(key), plain_reply(item)] for key, item in value]}
    if isinstance(value, list):
        return [plain_reply(item) for item in value]
    return value


def make_event(*, t: float, connection: int, role: str, direction: str, value: Any, raw: bytes) -> Event:
    """The event of one decoded frame."""
    kind: Literal["command", "reply", "push"] = "command"
    if direction == "<":
        kind = "push" if is_push(value) else "reply"
    return Event(
        t=round(t, 6),
        connection=connection,
        role=role,
        direction=">" if direction == ">" else "<",
        kind=kind,
        value=encode_value(plain_reply(value)),
        raw=raw,
    )


def broken_event(*, t: float, connection: int, role: str, direction: str, decoder: Decoder) -> Event:
    """The event that says that a connection can no longer be followed, with the bytes that said so."""
    raw = decoder.rest()
    decoder.clear()
    side: Literal[">", "<"] = ">" if direction == ">" else "<"
    return Event(
        t=round(t, 6), connection=connection, role=role, direction=side, kind="broken", value=decoder.broken, raw=raw
    )


def is_push(value: Any) -> bool:
    """Whether a frame from Redis is a published message (RESP2 or RESP3)."""
    return isinstance(value, list) and len(value) >= 3 and value[0] in (b"message", b"pmessage")


# --- reading and writing ----------------------------------------------------------------------

_encode = msgspec.json.Encoder().encode


class EventLine(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A line of a transcript file: an :class:`Event` whose raw bytes are base64."""

    t: float
    connection: int
    role: str
    direction: str
    kind: str
    value: Any = None
    raw: str = ""


def header_line(header: Header) -> bytes:
    """The first line of format 2, without its end."""
    return _encode(header)


def event_line(event: Event) -> bytes:
    """One of the other lines, without its end: the raw bytes as base64."""
    return _encode(
        EventLine(
            t=event.t,
            connection=event.connection,
            role=event.role,
            direction=event.direction,
            kind=event.kind,
            value=event.value,
            raw=base64.b64encode(event.raw).decode("ascii"),
        )
    )


def write_transcript(path: Path, transcript: Transcript) -> None:
    """Write format 2: the header, then a line an event."""
    with path.open("wb") as out:
        out.write(header_line(transcript.header) + b"\n")
        for event in transcript.events:
            out.write(event_line(event) + b"\n")


def read_transcript(path: Path) -> Transcript:
    """Read either format; raises ``ValueError`` (with the line) for anything else."""
    lines = path.read_bytes().splitlines()
    if not lines:
        raise ValueError(f"{path.name}: empty, not a transcript")
    try:
        raw_header = json.loads(lines[0])
    except ValueError:
        raw_header = None
    if not isinstance(raw_header, dict) or raw_header.get("kind") != "transcript":
        raise ValueError(f"{path.name}:1: not the header of a transcript")
    fmt = raw_header.get("format")
    if fmt not in (1, FORMAT):
        raise ValueError(f"{path.name}:1: format {fmt!r} is not one of 1, {FORMAT}")
    header = msgspec.convert(raw_header, Header)
    records = list(_records(path, lines[1:]))
    events = list(_first_format(records)) if fmt == 1 else [_second_format(record) for record in records]
    return Transcript(header=header, events=events)


def _records(path: Path, lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 2):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path.name}:{number}: {error}") from None
        if not isinstance(record, dict):
            raise ValueError(f"{path.name}:{number}: not an object")  # noqa: TRY004 - the file's fault, not a type's
        yield record


def _second_format(record: dict[str, Any]) -> Event:
    record["raw"] = base64.b64decode(record.get("raw", ""))
    return msgspec.convert(record, Event)


def _first_format(records: Iterable[dict[str, Any]]) -> Iterator[Event]:
    """Chunks of named connections (``client1``, ``worker2``) into events."""
    numbers: dict[str, int] = {}
    decoders: dict[tuple[str, str], Decoder] = {}
    for record in records:
        if "conn" not in record:
            continue
        name, direction = str(record["conn"]), str(record["dir"])
        number = numbers.setdefault(name, len(numbers) + 1)
        role = name.rstrip("0123456789")
        if direction not in (">", "<"):
            kind: Literal["open", "close"] = "open" if direction == "open" else "close"
            yield Event(t=record["t"], connection=number, role=role, direction="", kind=kind)
            continue
        decoder = decoders.setdefault((name, direction), Decoder())
        for frame in decoder.feed(bytes.fromhex(record["hex"])):
            yield make_event(
                t=record["t"], connection=number, role=role, direction=direction, value=frame.value, raw=frame.raw
            )
        if decoder.broken is not None:
            yield broken_event(t=record["t"], connection=number, role=role, direction=direction, decoder=decoder)


# --- normalization ----------------------------------------------------------------------------

_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME_FIELDS = {b"_queued", b"_started", b"_processed"}
_HASH_WRITERS = {b"HMSET", b"HSET"}


class Normalizer:
    """Replaces IDs by ``<id 1>``, ``<id 2>`` … in order of appearance, times by ``<time>``, and sorts hash fields."""

    def __init__(self) -> None:
        self._ids: dict[bytes, bytes] = {}

    def text(self, data: bytes) -> bytes:
        """``data`` with every ID replaced."""
        return _ID.sub(self._replace, data)

    def _replace(self, match: re.Match[bytes]) -> bytes:
        found = match.group()
        return self._ids.setdefault(found, b"<id %d>" % (len(self._ids) + 1))

    def command(self, words: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """A command with IDs and times replaced; the fields of HMSET and HSET sorted."""
        if not words or words[0].upper() not in _HASH_WRITERS or len(words) % 2:
            return tuple(self.text(word) for word in words)
        head = [self.text(word) for word in words[:2]]
        return (*head, *self._fields(words[2:]))

    def fields(self, flat: list[bytes]) -> list[bytes]:
        """A flat list of fields and values (the reply of HGETALL), normalized and sorted."""
        return list(self._fields(tuple(flat)))

    def _fields(self, flat: tuple[bytes, ...]) -> Iterator[bytes]:
        for name, value in sorted(zip(flat[::2], flat[1::2], strict=True)):
            yield name
            yield b"<time>" if name in _TIME_FIELDS and _is_time(value) else self.text(value)


def _is_time(value: bytes) -> bool:
    """Whether this is epoch seconds as a peer writes them (a text in that place is not replaced)."""
    return re.fullmatch(rb"\d{9,11}(\.\d{1,7})?", value) is not None
