"""How ci/demo.py tells what crossed the wire: events of the suite's recorder as aligned, decoded lines."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from jobwire import sereal
from jobwire.wire import Failure, decode_result
from jobwire.wire.scripts import COMPLETE
from jobwire_conformance.transcripts import Event

__all__ = ["say", "shown", "styled", "tell_steps"]

WIDTH = 88
MARGIN = " " * 33
STYLES = {"client": "36", "worker": "35", "good": "32", "bad": "31;1", "head": "1", "dim": "2"}
ARROWS = {">": "▸", "<": "◂"}


class Step(NamedTuple):
    """One line of the story of a job, and the fields that came with it."""

    event: Event
    command: str
    text: str
    fields: Sequence[tuple[str, str]] = ()


def styled(style: str, text: str) -> str:
    """``text`` in colour on a terminal, unless NO_COLOR says otherwise."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def say(text: str = "") -> None:
    print(text, flush=True)


def shown(value: Any) -> str:
    """A value as JSON; a failure in words."""
    if isinstance(value, Failure):
        return f"{value.type}: {value.message}"
    return json.dumps(value, ensure_ascii=False, default=repr)


def short(raw: bytes | str) -> str:
    """A key, an ID or plain text; the IDs in it keep their first eight digits."""
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "backslashreplace")
    parts = text.split("::")
    return "::".join(f"{part[:8]}…" if len(part) == 36 and part.count("-") == 4 else part for part in parts)


def fitting(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def field_text(name: bytes, value: bytes) -> tuple[str, str]:
    """A hash field as it is read."""
    if name == b"result":
        outcome = decode_result(value)
        said = outcome if isinstance(outcome, Failure) else outcome.value
        return "result", f"{value[:1].decode('latin-1')} {shown(said)}"
    if name.startswith(b"sereal_"):
        return short(name), f"v{value[4] & 15}: {shown(sereal.loads(value))}"
    return short(name), short(value)


def fields_of(words: Sequence[bytes]) -> list[tuple[str, str]]:
    """The fields of HMSET, the protocol's own last: Perl writes them in any order."""
    pairs = zip(words[::2], words[1::2], strict=True)
    return [field_text(*pair) for pair in sorted(pairs, key=lambda pair: (pair[0].startswith(b"_"), pair[0]))]


def outcome_of(given: Sequence[bytes]) -> list[tuple[str, str]]:
    """What the script that completes a job writes: named fields, or values whose order says what they are."""
    if b"result" in given[::2]:
        return fields_of(given)
    return [field_text(*pair) for pair in zip((b"result", b"_started", b"_processed"), given, strict=False)]


def command_step(event: Event) -> Step | None:
    """A command as a step; None for one whose reply tells more."""
    name, *words = event.command
    match name.upper():
        case b"HMSET":
            return Step(event, "HMSET", short(words[0]), fields_of(words[1:]))
        case b"EVALSHA" if words[0] == COMPLETE.sha:
            return Step(event, "EVALSHA", "in one step: LREM own list, HSET job, PUBLISH", outcome_of(words[6:]))
        case b"HGETALL" | b"HMGET":
            return None
        case other:
            return Step(event, other.decode(), " ".join(short(word) for word in words))


def reply_step(command: Sequence[bytes], reply: Event, job_id: bytes) -> Step | None:
    """A reply as a step, where it says something of this job that the command did not."""
    value = reply.decoded()
    key = command[1] if len(command) > 1 else b""
    match command[0].upper():
        case b"BRPOPLPUSH" | b"RPOPLPUSH" if value == job_id.decode():
            return Step(reply, command[0].decode(), f"{short(value)}  {short(key)} → {short(command[2])}")
        case b"HGETALL" if key == b"job::" + job_id and isinstance(value, list):
            return Step(reply, "HGETALL", f"{short(key)}  {len(value) // 2} fields")
        case b"HMGET" if key == b"job::" + job_id and isinstance(value, list):
            raw = value[0] if isinstance(value[0], bytes) else str(value[0]).encode()
            return Step(reply, "HMGET", short(key), [field_text(b"result", raw)])
    return None


def steps_of(events: Iterable[Event], job_id: str) -> Iterator[Step]:
    """The steps of one job, in the order of the wire."""
    wanted = job_id.encode()
    outstanding: dict[int, deque[tuple[bytes, ...]]] = defaultdict(deque)
    for event in events:
        step = None
        if event.kind == "command":
            outstanding[event.connection].append(event.command)
            if not {wanted, b"job::" + wanted}.isdisjoint(event.command):
                step = command_step(event)
        elif event.kind == "push":
            kind, channel, payload = event.decoded()[:3]
            if payload == job_id:
                step = Step(event, kind, f"{short(payload)}  on {short(channel)}")
        elif event.kind == "reply" and outstanding[event.connection]:
            step = reply_step(outstanding[event.connection].popleft(), event, wanted)
        if step is not None:
            yield step


def tell_steps(events: Iterable[Event], job_id: str, *, every_field: bool) -> None:
    """Print the steps of a job; ``every_field``: those that start with ``_`` too."""
    began: float | None = None
    for event, command, text, fields in steps_of(events, job_id):
        began = event.t if began is None else began
        at = styled("dim", f"{(event.t - began) * 1000:6.1f}")
        who = styled(event.role, f"{event.role} {ARROWS[event.direction]} {command:<10}")
        kept = [field for field in fields if every_field or not field[0].startswith("_")]
        names = "" if kept else " ".join(["", "", *(name for name, _ in fields)]).rstrip()
        say(f"  {at}  {who}  {text}{names}")
        width = max((len(name) for name, _ in kept), default=0)
        for name, value in kept:
            say(f"{MARGIN}{styled('dim', f'{name:<{width}}')}  {fitting(value, WIDTH - len(MARGIN) - width - 2)}")
