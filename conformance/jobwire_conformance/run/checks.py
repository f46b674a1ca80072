"""Checks of the traffic on the wire and of the keys left in Redis."""

from __future__ import annotations

import asyncio
import fnmatch
import re
from typing import Any

from jobwire_conformance.cases.case import WireRule
from jobwire_conformance.cases.templates import Names, field_matches, make_value, word_matches
from jobwire_conformance.driver.values import same
from jobwire_conformance.record.redis_link import RedisLink
from jobwire_conformance.record.transcripts import Event, plain_reply
from jobwire_conformance.rules import forms as rules
from jobwire_conformance.run.scenario import CaseFailed, Scenario

__all__ = ["TOLERATED", "check_left", "check_wire", "readable", "snapshot"]

#: Keys that jobwire keeps for its own recovery, which no Perl peer reads (PROTOCOL.md, Extensions).
TOLERATED = ("*::workers", "*::worker::*", "*::looked", "workers", "worker::*", "looked")


# --- the wire ---------------------------------------------------------------------------------


def check_wire(scenario: Scenario) -> None:
    """Every rule of the case; raises :class:`CaseFailed` for the first that does not hold."""
    for rule in scenario.case.wire:
        if rule.modes and scenario.instance.mode not in rule.modes:
            continue
        if not set(rule.facts) <= scenario.instance.facts():
            continue
        _check_rule(scenario, rule)


def _check_rule(scenario: Scenario, rule: WireRule) -> None:
    sent = [event for event in scenario.recorder.events if event.kind == "command" and event.role.startswith(rule.role)]
    hits = [event for event in sent if _sends(rule.sends, event, scenario.names)]
    shown = " ".join(rule.sends)
    if rule.count == 0 and not rule.fields:
        if hits:
            raise CaseFailed(f"the {rule.role} must not send {shown}", expected="never", actual=hits[0].command)
        return
    if not hits:
        nearest = [event.command for event in sent if event.name == rule.sends[0].upper()][:3]
        raise CaseFailed(f"the {rule.role} did not send {shown}", expected=rule.sends, actual=nearest or "nothing")
    good = [event for event in hits if _fields_hold(rule, event, scenario.names)]
    if rule.count is not None and len(good) != rule.count:
        raise CaseFailed(
            f"the {rule.role} sent {shown} {len(good)} times", expected=f"{rule.count} times", actual=_brief(hits)
        )
    if not good and rule.count is None:
        wanted = {**rule.fields, **dict.fromkeys(rule.without, "(not there)")}
        raise CaseFailed(f"the fields of {shown} are not what they must be", expected=wanted, actual=_brief(hits))
    if rule.then and good:
        _check_sequence(scenario, rule, sent[sent.index(good[0]) + 1 :])


def _sends(pattern: list[str], event: Event, names: Names) -> bool:
    words = rules.plainly(event.command)
    if pattern[-1] == "**":
        pattern = pattern[:-1]
        words = words[: len(pattern)]
    if len(words) != len(pattern) or not words:
        return False
    name = words[0].decode("latin-1").upper()
    if not (re.fullmatch(pattern[0][1:], name) if pattern[0].startswith("~") else name == pattern[0].upper()):
        return False
    return all(word_matches(wanted, word, names) for wanted, word in zip(pattern[1:], words[1:], strict=True))


def _fields_hold(rule: WireRule, event: Event, names: Names) -> bool:
    if not rule.fields and not rule.without:
        return True
    flat = event.command[2:]
    fields = dict(zip(flat[::2], flat[1::2], strict=False))
    for name, pattern in rule.fields.items():
        value = fields.get(names.expand(name))
        if value is None or not field_matches(pattern, value, names):
            return False
    return not any(names.expand(name) in fields for name in rule.without)


def _check_sequence(scenario: Scenario, rule: WireRule, later: list[Event]) -> None:
    at = 0
    for wanted in rule.then:
        while at < len(later) and not _sends(wanted, later[at], scenario.names):
            at += 1
        if at == len(later):
            raise CaseFailed(
                f"{' '.join(wanted)} did not follow {' '.join(rule.sends)}",
                expected=rule.then,
                actual=[event.command for event in later[:8]],
            )
        at += 1


def _brief(events: list[Event]) -> list[tuple[bytes, ...]]:
    return [event.command for event in events[:5]]


# --- keys left -----------------------------------------------------------------------------


async def snapshot(link: RedisLink, *, only: list[str] | None = None, patience: int = 3) -> dict[bytes, Any]:
    """Every key (matching one of ``only``) with its content as plain values."""
    found: dict[bytes, Any] = {}
    for key in sorted(await _keys(link)):
        if only is not None and not any(fnmatch.fnmatchcase(key.decode("latin-1"), pattern) for pattern in only):
            continue
        for _ in range(patience):
            content = await _content(link, key)
            if content is not None:
                found[key] = content
                break
    return found


async def _keys(link: RedisLink) -> set[bytes]:
    keys: set[bytes] = set()
    cursor: bytes | int = b"0"
    while True:
        cursor, batch = await link.call("SCAN", cursor, "COUNT", 1000)
        keys.update(batch)
        if cursor in (b"0", 0):
            return keys


_READERS: dict[bytes, tuple[str, ...]] = {
    b"hash": ("HGETALL",),
    b"list": ("LRANGE", "0", "-1"),
    b"set": ("SMEMBERS",),
    b"string": ("GET",),
    b"zset": ("ZRANGE", "0", "-1"),
}


async def _content(link: RedisLink, key: bytes) -> Any:
    kind = await link.call("TYPE", key)
    reader = _READERS.get(kind)
    if reader is None:
        return None
    reply = await link.try_call(reader[0], key, *reader[1:])
    if kind == b"hash" and isinstance(reply, list):
        return dict(zip(reply[::2], reply[1::2], strict=True))
    return sorted(reply) if kind == b"set" and isinstance(reply, list) else reply


async def check_left(scenario: Scenario, *, seconds: float = 1.5) -> None:
    """Redis must hold exactly the keys of the case; peers get a moment to take their last things away."""
    wanted = scenario.case.left
    if wanted is None:
        scenario.keys = readable(await snapshot(scenario.link))
        return
    deadline = asyncio.get_running_loop().time() + seconds * scenario.factor
    while True:
        found = await snapshot(scenario.link, only=_own_keys(scenario))
        problem = _difference(scenario.names, wanted, found)
        scenario.keys = readable(found)
        if problem is None:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise CaseFailed(problem[0], expected=problem[1], actual=problem[2])
        await asyncio.sleep(0.05)


def _own_keys(scenario: Scenario) -> list[str] | None:
    """On a shared server a case looks at its own keys only."""
    if scenario.server.own:
        return None
    ids = [run.id.decode("latin-1") for run in scenario.runs if run.id is not None]
    return [f"{scenario.instance.prefix}::*", *(f"job::{name}" for name in ids)]


def readable(found: dict[bytes, Any]) -> dict[str, Any]:
    def text(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(text(key)): text(item) for key, item in value.items()}
        if isinstance(value, list):
            return [text(item) for item in value[:50]]
        shown = plain_reply(value)
        if isinstance(shown, bytes):
            shown = repr(shown)[2:-1]
        return f"{shown[:300]}… ({len(shown)} in all)" if isinstance(shown, str) and len(shown) > 300 else shown

    return {str(text(key)): text(value) for key, value in list(found.items())[:100]}


def _difference(names: Names, wanted: dict[str, Any], found: dict[bytes, Any]) -> tuple[str, Any, Any] | None:
    """(reason, expected, actual), or None. A key may be ``~pattern``, its value ``{any = true}``.

    The key ``*``, as the last one, accepts whatever else is there.
    """
    rest = {key: value for key, value in found.items() if not _tolerated(key)}
    for template, content in wanted.items():
        if template == "*":
            return None
        key = next((key for key in rest if word_matches(template, key, names)), None)
        if key is None:
            return f"the key {template} is not there", content, sorted(rest)
        if not _holds(names, content, rest.pop(key)):
            return f"the key {template} holds something else", content, found[key]
    if rest:
        return "keys were left behind", sorted(wanted), {key: rest[key] for key in sorted(rest)}
    return None


def _tolerated(key: bytes) -> bool:
    return any(fnmatch.fnmatchcase(key.decode("latin-1"), pattern) for pattern in TOLERATED)


def _holds(names: Names, wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict):
        return wanted == {"any": True} or _holds_table(names, wanted, found)
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return False
        return all(field_matches(one, other, names) for one, other in zip(wanted, found, strict=True))
    return isinstance(found, bytes) and field_matches(wanted, found, names)


def _holds_table(names: Names, wanted: dict[str, Any], found: Any) -> bool:
    if set(wanted) == {"size"}:
        return hasattr(found, "__len__") and len(found) == wanted["size"]
    if not isinstance(found, dict):
        return field_matches(wanted, found, names) if isinstance(found, bytes) else same(make_value(wanted), found)
    return all(
        (value := found.get(names.expand(name))) is not None and field_matches(pattern, value, names)
        for name, pattern in wanted.items()
    )
