"""The grammar of the wire: the form of one command, one hash, one result, one envelope.

Rules look at one thing at a time, and name the requirement of PROTOCOL.md that a :class:`Breach` goes against. The
linter (:mod:`rules.linter`) asks them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jobwire import sereal
from jobwire.sereal import SerealDecodeError
from jobwire_conformance.driver.text import one_line
from jobwire_conformance.rules.facts import traits_of
from jobwire_conformance.rules.scripts import script_words

__all__ = [
    "LOOKING",
    "POPS",
    "SETUP",
    "Breach",
    "allowed",
    "documents",
    "envelope_of",
    "extends",
    "fields_of",
    "job_envelope",
    "outcome",
    "removal",
    "reply_envelope",
    "result",
    "submission",
    "time_of",
]


class Breach(NamedTuple):
    """A violation of a requirement. ``seen`` holds no value of a job, ``actual`` may."""

    requirement: str
    what: str
    expected: Any
    seen: str
    field: bytes | None = None
    actual: Any = None


#: Commands that set a connection up or look at the server; they touch no key of the exchange.
SETUP = frozenset(
    {"HELLO", "AUTH", "SELECT", "CLIENT", "PING", "ROLE", "INFO", "COMMAND", "CONFIG", "ECHO", "TIME", "QUIT"}
)
#: Commands that only look; a deadline or a sweep may ask where a job is.
LOOKING = frozenset({"EXISTS", "LLEN", "LPOS", "LRANGE", "HGET", "HMGET", "TYPE", "SCAN", "PUBSUB", "GET"}) | {
    "SMEMBERS",
    "SCARD",
    "SSCAN",
    "HSCAN",
}
POPS = frozenset({"BRPOP", "BRPOPLPUSH", "BLMOVE", "BLPOP"})  # these wait for an entry
_CLIENT = frozenset({"SUBSCRIBE", "UNSUBSCRIBE", "HMSET", "LPUSH", "DEL", "MULTI", "EXEC", "LREM"})
_MOVING = frozenset({"BRPOPLPUSH", "RPOPLPUSH", "BLMOVE", "LMOVE", "LREM"})
_WORKER = frozenset({"HGETALL", "HMSET", "PUBLISH", "MULTI", "EXEC"})
_ALLOWED = {
    ("client", "simple"): frozenset({"SUBSCRIBE", "UNSUBSCRIBE", "LPUSH"}),
    ("worker", "simple"): frozenset({"BRPOP", "RPOP", "PUBLISH", "LPUSH", "RPUSH"}),
    ("client", "recoverable"): _CLIENT,
    # A worker of one queue may move what it takes into a list of its own (REC-10).
    ("worker", "recoverable"): _WORKER | {"BRPOP", "RPOP", "LPUSH", "RPUSH", *_MOVING},
    ("client", "reliable"): _CLIENT,
    ("worker", "reliable"): _WORKER | _MOVING,
}
#: Commands that jobwire keeps its own facts with (heartbeat, dead, rejected, attempts, fenced completion): a worker
#: may send them for keys of its own keyspace and for job hashes, and for nothing else.
_EXTENDING = frozenset(
    {"SADD", "SREM", "SET", "DEL", "EXPIRE", "PEXPIRE", "HINCRBY", "HDEL", "HSET", "HSETNX", "LMOVE", "LPUSH"}
) | {"RPUSH", "RPOPLPUSH", "LREM", "LTRIM", "SISMEMBER", "SMISMEMBER"}


def plainly(words: Sequence[bytes]) -> tuple[bytes, ...]:
    """The command that Perl sends for the same effect: a peer may say it in the words of newer servers (CON-8)."""
    found = tuple(words)
    name = found[0].upper() if found else b""
    if name in {b"HSET", b"HGET"}:
        return (b"HMSET" if name == b"HSET" else b"HMGET", *found[1:])
    if name in {b"BLMOVE", b"LMOVE"} and tuple(word.upper() for word in found[3:5]) == (b"RIGHT", b"LEFT"):
        return (b"BRPOPLPUSH" if name == b"BLMOVE" else b"RPOPLPUSH", *found[1:3], *found[5:])
    return found


def allowed(role: str, mode: str) -> frozenset[str]:
    """The commands of a role in a mode, besides SETUP, LOOKING and those that :func:`extends` names."""
    return _ALLOWED[role, mode]


def extends(name: str, words: Sequence[bytes], prefix: bytes) -> bool:
    """Whether a command keeps facts of an extension, in the keyspace of the one who sends it."""
    if name == "SCRIPT":
        return True
    if name in {"EVAL", "EVALSHA"}:
        keys: Sequence[bytes] = script_words(tuple(words))[0]
    elif name in {"DEL", "LMOVE", "RPOPLPUSH"}:
        keys = words[1:] if name == "DEL" else words[1:3]
    elif name in _EXTENDING:
        keys = words[1:2]
    else:
        return False
    inside = prefix + b"::" if prefix else b""
    return all(key.startswith((inside, b"job::")) for key in keys)


def fields_of(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """The fields that follow the key in HMSET, or that HGETALL answers; an odd one out is left out."""
    return dict(zip(flat[::2], flat[1::2], strict=False))


# --- fields -----------------------------------------------------------------------------------

_TIME = re.compile(rb"\d{9,11}(\.\d{1,6})?")
_NAMED = re.compile(rb"(text|sereal|json)_|_", re.DOTALL)
_TYPED = re.compile(rb"(text|sereal|json)_(.*)", re.DOTALL)
_MAGIC = (b"=srl", b"=\xf3rl")
_TIMES = (b"_queued", b"_started", b"_processed")


def time_of(name: bytes, value: bytes | None, requirement: str = "FLD-14") -> Iterator[Breach]:
    """A field that has to hold the time of something."""
    if value is None:
        yield Breach(requirement, f"{name.decode()} is missing", "epoch seconds", "no such field", name)
    elif _TIME.fullmatch(value) is None:
        seen = "digits, too many or too few" if value.isdigit() else f"{len(value)} bytes, not a decimal number"
        if re.fullmatch(rb"\d+\.\d+", value):
            seen = "digits before or decimals behind the point, too many or too few"
        yield Breach(
            "FLD-14",
            f"{name.decode()} is not a time in seconds",
            "epoch seconds, at most 6 decimals",
            seen,
            name,
            value,
        )


def submission(fields: Mapping[bytes, bytes], dialect: str | None) -> Iterator[Breach]:
    """The hash of a job as its client writes it. ``dialect`` None: whichever it shows."""
    reply_to = fields.get(b"_reply_to")
    if not reply_to:
        seen = "no such field" if reply_to is None else "an empty one"
        yield Breach("SUB-2", "_reply_to is missing", "the client's ID", seen, b"_reply_to", reply_to)
    traits = traits_of(dialect)
    queued = fields.get(b"_queued")
    if traits.times or (dialect is None and queued is not None):
        yield from time_of(b"_queued", queued, "SUB-3")
    elif traits.times is False and queued is not None:
        yield Breach("SUB-4", f"_queued in dialect {dialect}", "no such field", "the field", b"_queued", queued)
    untyped = traits.untyped or (dialect is None and queued is None and is_untyped(fields))
    yield from _parameters_replaced(fields) if untyped else names(fields)


def is_untyped(fields: Iterable[bytes]) -> bool:
    """Whether all parameters are written as dialect 0.001 does."""
    parameters = [name for name in fields if not name.startswith(b"_")]
    return bool(parameters) and not any(map(_TYPED.match, parameters))


def names(fields: Iterable[bytes]) -> Iterator[Breach]:
    """The names of fields, where they bear types."""
    keys: dict[bytes, bytes] = {}
    for name in fields:
        if _NAMED.match(name) is None:
            seen = f"{_printable(name)}"
            yield Breach("FLD-13", "a field without a type", "text_, sereal_, json_ or _", seen, name, name)
            continue
        typed = _TYPED.match(name)
        if typed is None:
            continue
        if b"\n" in name:
            yield Breach("FLD-7", "a key with a line feed", "a key that Perl can read", _printable(name), name)
        other = keys.setdefault(typed[2], name)
        if other != name:
            seen = f"{_printable(other)} and {_printable(name)}"
            yield Breach("FLD-4", "one parameter in two types", "one field for each parameter", seen, name)


def _parameters_replaced(fields: Mapping[bytes, bytes]) -> Iterator[Breach]:
    """The defect of 0.001: where a value is a document, plain values are replaced by their keys."""
    plain = {name: value for name, value in fields.items() if not name.startswith(b"_")}
    replaced = [name for name, value in plain.items() if name == value and name]
    if replaced and len(replaced) < len(plain):
        seen = ", ".join(map(_printable, replaced))
        yield Breach("DIA-4", "values replaced by their keys", "the values", seen, replaced[0])


def documents(fields: Mapping[bytes, bytes]) -> Iterator[Breach]:
    """The contents of typed fields."""
    for name, value in fields.items():
        if name.startswith(b"sereal_"):
            problem = sereal_problem(value)
            if problem:
                yield Breach("SER-18", "a Sereal document that cannot be read", "a document", problem, name, value)
        elif name.startswith(b"json_"):
            problem = json_problem(value, container=True)
            if problem:
                requirement = "JSN-4" if problem == _SCALAR else _json_requirement(problem, "JSN-5")
                yield Breach(
                    requirement, "a json_ field that cannot be read", "an object or array", problem, name, value
                )
        elif name.startswith(b"text_") and value.startswith(_MAGIC) and not sereal_problem(value):
            yield Breach("FLD-2", "a Sereal document in a text field", "sereal_", "a document", name, value)


def sereal_problem(document: bytes) -> str:
    """Why a document cannot be read; empty where it can."""
    try:
        sereal.loads(document)
    except SerealDecodeError as error:
        return str(error)
    return ""


# --- JSON -------------------------------------------------------------------------------------

_SCALAR = "a scalar"
_TWICE = "two members of one name"
_LITERAL = "a literal that JSON has not"


class _BadJsonError(ValueError):
    pass


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _BadJsonError(_TWICE)
    return found


def _no_literal(_text: str) -> Any:
    raise _BadJsonError(_LITERAL)


def json_value(text: bytes) -> tuple[Any, str]:
    """The value of a document and no problem, or None and the problem."""
    try:
        # A byte order mark may be skipped (JSN-3); writers are not to begin with one, and none was seen to.
        decoded = text.decode("utf-8-sig")
        return json.loads(decoded, object_pairs_hook=_members, parse_constant=_no_literal), ""
    except UnicodeDecodeError as error:
        return None, f"not UTF-8 at byte {error.start}"
    except _BadJsonError as error:
        return None, str(error)
    except json.JSONDecodeError as error:
        return None, f"not JSON at character {error.pos}"
    except RecursionError:
        return None, "nested too deeply"
    except ValueError:
        return None, "a number of too many digits"


def json_problem(text: bytes, *, container: bool) -> str:
    """Why a document cannot be read; empty where it can."""
    value, problem = json_value(text)
    if problem or not container or isinstance(value, dict | list):
        return problem
    return _SCALAR


def _json_requirement(problem: str, otherwise: str) -> str:
    known = {_TWICE: "JSN-6", _LITERAL: "NUM-9", "nested too deeply": "JSN-8"}
    return "JSN-1" if problem.startswith("not UTF-8") else known.get(problem, otherwise)


# --- results ----------------------------------------------------------------------------------

_PERL_REFERENCE = re.compile(rb"(?:[\w:]+=)?(ARRAY|HASH|SCALAR|CODE|REF|GLOB)\(0x[0-9a-f]+\)")


def outcome(fields: Mapping[bytes, bytes], dialect: str | None) -> Iterator[Breach]:
    """The times that are written with a result."""
    times = traits_of(dialect).times
    processed = fields.get(b"_processed")
    if times:
        yield from time_of(b"_processed", processed, "CMP-3")
    elif times is False and processed is not None:
        yield Breach(
            "TAK-4", f"_processed in dialect {dialect}", "no such field", "the field", b"_processed", processed
        )
    elif processed is not None:
        yield from time_of(b"_processed", processed)


def result(raw: bytes, dialect: str | None, accept: bytes | None = None) -> Iterator[Breach]:
    """A result. ``accept``: the tags that the client reads besides ``T`` and ``J``; None where that is not known."""
    if traits_of(dialect).untagged is not False:
        if _PERL_REFERENCE.fullmatch(raw):
            yield Breach("DIA-8", "a reference in place of its JSON document", "JSON", "a Perl address", b"result", raw)
        return
    tag = raw[:1]
    if tag not in {b"T", b"J", b"E", b"V"}:
        seen = f"{tag!r}, {len(raw)} bytes" if raw else "nothing at all"
        yield Breach("RES-1", "a result without a known tag", "T… or J…", seen, b"result", raw[:80])
    elif tag in {b"E", b"V"} and accept is not None and tag not in [item.strip() for item in accept.split(b",")]:
        seen = f"tag {tag.decode()}, _accept {_printable(accept) if accept else 'not there'}"
        yield Breach("EXT-4", "a tag that the client does not read", "T… or J…", seen, b"result", raw[:80])
    elif tag != b"T":
        yield from _document(tag, raw)


def _document(tag: bytes, raw: bytes) -> Iterator[Breach]:
    value, problem = json_value(raw[1:])
    if problem:
        requirement = _json_requirement(problem, "RES-2" if tag == b"J" else "EXT-5" if tag == b"E" else "EXT-6")
        yield Breach(requirement, "a result that is not JSON", "a JSON document", problem, b"result", raw[:80])
    elif tag == b"J" and not isinstance(value, dict | list):
        yield Breach("RES-7", "a J result that is a scalar", "an object or array", _kind(value), b"result", raw[:80])
    elif tag == b"E" and not _is_error(value):
        yield Breach(
            "EXT-5", "a failure without type and message", "type and message", _kind(value), b"result", raw[:80]
        )


def _is_error(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("type", "message"))


def removal(words: Sequence[bytes], processing: bytes | None) -> Iterator[Breach]:
    """The command that takes a finished job off its processing queue (None: whichever it is)."""
    if len(words) < 4:
        return
    if processing is not None and words[1] != processing:
        seen = f"LREM {_printable(words[1])}"
        yield Breach("CMP-2", "the ID is removed from another list", _printable(processing), seen, actual=words)
    elif words[2] not in (b"1", b"-1"):
        yield Breach("CMP-2", "more entries than one are removed", "LREM … 1", f"LREM … {_printable(words[2])}")


# --- envelopes --------------------------------------------------------------------------------


def envelope_of(text: bytes) -> dict[str, Any] | None:
    """The object that a queue entry or a message is in ``simple``; None where it is none."""
    if text[:64].lstrip(b" \t\r\n")[:1] != b"{":
        return None
    value, _ = json_value(text)
    return value if isinstance(value, dict) else None


def job_envelope(envelope: Mapping[str, Any]) -> Iterator[Breach]:
    """A whole job as one object."""
    for name in ("id", "_reply_to"):
        if not isinstance(envelope.get(name), str) or not envelope[name]:
            seen = _kind(envelope.get(name))
            yield Breach("SIM-2", f"the member {name} is no name", "a string that is not empty", seen, name.encode())
    if not isinstance(envelope.get("data"), dict):
        yield Breach("SIM-3", "the envelope has no data", {"data": {}}, _kind(envelope.get("data")), b"data", envelope)
    if "_queued" not in envelope:
        yield Breach("SIM-1", "the envelope does not say when it was pushed", "_queued", "no such member", b"_queued")
    yield from _member_times(envelope)


def reply_envelope(envelope: Mapping[str, Any]) -> Iterator[Breach]:
    """A whole reply as one object."""
    outcomes = [name for name in ("result", "error") if name in envelope]
    if len(outcomes) != 1 or not isinstance(envelope.get("id"), str):
        seen = f"members {', '.join(map(repr, envelope))}"[:200]
        yield Breach("SIM-8", "a reply that is no envelope", {"id": "…", "result": "…"}, seen, actual=envelope)
    elif outcomes == ["error"] and not _is_error(envelope["error"]):
        yield Breach("SIM-10", "an error without type and message", "type and message", _kind(envelope["error"]))
    yield from _member_times(envelope)


def _member_times(envelope: Mapping[str, Any]) -> Iterator[Breach]:
    for field in _TIMES:
        value = envelope.get(field.decode(), 1e9)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1e8 <= value < 1e11:
            yield Breach("SIM-4", f"{field.decode()} is not a time in seconds", "a number", _kind(value), field)


# --- words ------------------------------------------------------------------------------------


def _kind(value: Any) -> str:
    if value is None:
        return "nothing, or null"
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)


def _printable(word: bytes) -> str:
    text = one_line(word.decode("utf-8", "backslashreplace")[:80])
    return text if len(word) <= 80 else f"{text}…"
