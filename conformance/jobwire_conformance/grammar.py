"""The traffic of each mode, as a grammar that every job of every case must follow.

Cases say what is particular to them; what holds for every job is checked here, on the recorded
commands: what a submission is made of and in which order, what a completion is, how a result is
collected, that no key is touched that does not belong to the exchange.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from .cases import Fault
from .scenario import CaseFailed, Scenario
from .transcripts import Event

__all__ = ["SETUP", "check_grammar"]

#: Commands that set a connection up or look at the server; they touch no key of the exchange.
SETUP = frozenset({"HELLO", "AUTH", "SELECT", "CLIENT", "PING", "INFO", "COMMAND", "CONFIG", "ECHO", "TIME", "QUIT"})
#: Commands that only look; a deadline or a sweep may ask where a job is.
_LOOKING = frozenset({"EXISTS", "LLEN", "LPOS", "LRANGE", "HGET", "HMGET", "TYPE", "SCAN", "PUBSUB", "SMEMBERS", "GET"})
_ALLOWED = {
    ("client", "simple"): {"SUBSCRIBE", "UNSUBSCRIBE", "LPUSH"},
    ("worker", "simple"): {"BRPOP", "RPOP", "PUBLISH", "LPUSH", "RPUSH"},
    ("client", "recoverable"): {"SUBSCRIBE", "UNSUBSCRIBE", "HMSET", "LPUSH", "DEL", "MULTI", "EXEC", "LREM"},
    ("worker", "recoverable"): {"BRPOP", "RPOP", "HGETALL", "HMSET", "PUBLISH", "MULTI", "EXEC", "LPUSH", "RPUSH"},
    ("client", "reliable"): {"SUBSCRIBE", "UNSUBSCRIBE", "HMSET", "LPUSH", "DEL", "MULTI", "EXEC", "LREM"},
    ("worker", "reliable"): {
        "BRPOPLPUSH",
        "RPOPLPUSH",
        "BLMOVE",
        "LMOVE",
        "HGETALL",
        "HMSET",
        "PUBLISH",
        "LREM",
        "MULTI",
        "EXEC",
    },
}
#: Commands that jobwire keeps its own facts with (heartbeat, dead, rejected, attempts, fenced completion): a worker
#: may send them for keys of its own keyspace and for job hashes, and for nothing else.
_EXTENDING = frozenset(
    {"SADD", "SREM", "SET", "DEL", "EXPIRE", "PEXPIRE", "HINCRBY", "HDEL", "HSET", "HSETNX", "LMOVE", "LPUSH", "RPUSH"}
    | {"RPOPLPUSH", "LREM", "LTRIM"}
)
_TIME = re.compile(rb"\d{9,11}(\.\d{1,6})?")


@dataclass(frozen=True, slots=True)
class _Sent:
    """A command with its place in the order of time."""

    at: int
    event: Event
    words: tuple[bytes, ...]


def check_grammar(scenario: Scenario) -> None:
    """Check all commands of all peers; raises :class:`CaseFailed` for the first that breaks the grammar."""
    sent = [
        _Sent(number, event, event.command)
        for number, event in enumerate(scenario.recorder.events)
        if event.kind == "command"
    ]
    _no_broken_frames(scenario)
    _only_known_commands(scenario, sent)
    _pops_stand_alone(sent)
    for run in scenario.runs:
        if run.id is None or run.refused is not None:
            continue
        if scenario.instance.mode == "simple":
            _simple_submission(scenario, sent, run.id)
        else:
            _submission(scenario, sent, run.id)
    if scenario.instance.mode == "simple":
        _simple_replies(sent)
    else:
        _completions(scenario, sent)


def _no_broken_frames(scenario: Scenario) -> None:
    for event in scenario.recorder.events:
        if event.kind == "broken":
            raise CaseFailed(f"{event.role} sent bytes that are not RESP", expected="RESP", actual=event.raw[:200])


def _only_known_commands(scenario: Scenario, sent: list[_Sent]) -> None:
    for item in sent:
        role = "client" if item.event.role.startswith("client") else "worker"
        name = item.event.name
        if name in SETUP or name in _LOOKING or name in _ALLOWED[role, scenario.instance.mode]:
            continue
        if role == "worker" and _extends(scenario, item):
            continue
        raise CaseFailed(
            f"the {role} sent {name}, which is no part of mode {scenario.instance.mode}",
            expected=sorted(_ALLOWED[role, scenario.instance.mode]),
            actual=item.words,
        )


def _extends(scenario: Scenario, item: _Sent) -> bool:
    """Whether a command keeps facts of an extension, in the keyspace of the one who sends it."""
    name, words = item.event.name, item.words
    if name == "SCRIPT":
        return True
    if name in {"EVAL", "EVALSHA"}:
        keys = words[3 : 3 + int(words[2])]
    elif name in {"DEL", "LMOVE", "RPOPLPUSH"}:
        keys = words[1:] if name == "DEL" else words[1:3]
    elif name in _EXTENDING:
        keys = words[1:2]
    else:
        return False
    start = scenario.peer(item.event.role).start
    inside = f"{start.prefix}::".encode() if start.prefix else b""
    return all(key.startswith((inside, b"job::")) for key in keys)


_POPS = {"BRPOP", "BRPOPLPUSH", "BLMOVE", "BLPOP"}


def _pops_stand_alone(sent: list[_Sent]) -> None:
    """No blocking pop inside MULTI … EXEC (CON-7)."""
    open_multi: set[int] = set()
    for item in sent:
        connection, name = item.event.connection, item.event.name
        if name == "MULTI":
            open_multi.add(connection)
        elif name in {"EXEC", "DISCARD"}:
            open_multi.discard(connection)
        elif name in _POPS and connection in open_multi:
            raise CaseFailed("a blocking pop inside MULTI", expected="outside", actual=item.words)


# --- submissions ------------------------------------------------------------------------------


def _by(sent: list[_Sent], role: str, name: str) -> list[_Sent]:
    return [item for item in sent if item.event.role.startswith(role) and item.event.name == name]


def _submission(scenario: Scenario, sent: list[_Sent], job_id: bytes) -> None:
    key = b"job::" + job_id
    writes = [item for item in _by(sent, "client", "HMSET") if item.words[1] == key]
    pushes = [item for item in _by(sent, "client", "LPUSH") if item.words[2:] == (job_id,)]
    if len(writes) != 1 or len(pushes) != 1:
        found = [item.words[:3] for item in sent if item.event.role.startswith("client") and job_id in item.words]
        raise CaseFailed(
            "a submission is one HMSET of job::<id> and one LPUSH of the ID",
            expected=["HMSET", key, "LPUSH", job_id],
            actual=found or [item.words[:3] for item in _by(sent, "client", "HMSET")[:3]],
        )
    write, push = writes[0], pushes[0]
    if write.at > push.at or write.event.connection != push.event.connection:
        raise CaseFailed(
            "the ID was pushed before the hash was written", expected="HMSET, LPUSH", actual="LPUSH, HMSET"
        )
    _submission_fields(scenario, write, _listening(sent, write.event.role))
    multi = scenario.instance.use_multi in {"client", "both"} or scenario.case.client.get("use_multi") is True
    _in_multi(sent, [write, push], wanted=multi, what="a submission")
    _subscribed_before(scenario, sent, push)


def _listening(sent: list[_Sent], role: str) -> set[bytes]:
    """The client IDs that a peer listens as: a Perl program has one client for each queue."""
    return {
        channel.removeprefix(b"client::")
        for item in sent
        if item.event.role == role and item.event.name == "SUBSCRIBE"
        for channel in item.words[1:]
    }


def _submission_fields(scenario: Scenario, write: _Sent, known: set[bytes]) -> None:
    flat = write.words[2:]
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    if fields.get(b"_reply_to") not in known:
        raise CaseFailed("_reply_to is not the client's ID", expected=sorted(known), actual=fields.get(b"_reply_to"))
    dialect = scenario.instance.client_dialect
    times = dialect in {"0.004", "master"}
    queued = fields.get(b"_queued")
    if times and (queued is None or _TIME.fullmatch(queued) is None):
        raise CaseFailed("_queued is not the time of the submission", expected="epoch seconds", actual=queued)
    if not times and queued is not None:
        raise CaseFailed(f"_queued in dialect {dialect}", expected="no such field", actual=queued)
    if dialect != "0.001":
        foreign = [name for name in fields if re.match(rb"(text|sereal|json)_|_", name, re.DOTALL) is None]
        if foreign:
            raise CaseFailed("a field without a type", expected="text_, sereal_, json_ or _", actual=foreign)


def _subscribed_before(scenario: Scenario, sent: list[_Sent], push: _Sent) -> None:
    channel = b"client::" + scenario.names.kept.get(push.event.role, b"")
    mine = [item for item in _by(sent, "client", "SUBSCRIBE") if channel in item.words[1:]]
    if not mine or mine[0].at > push.at:
        raise CaseFailed(
            "the client pushed a job before it listened", expected=f"SUBSCRIBE {channel!r}", actual="LPUSH"
        )


def _in_multi(sent: list[_Sent], items: list[_Sent], *, wanted: bool, what: str) -> None:
    """Whether ``items`` stand together between MULTI and EXEC on their connection."""
    connection = items[0].event.connection
    stream = [item for item in sent if item.event.connection == connection]
    before = [item.event.name for item in stream if item.at < items[0].at]
    after = [item.event.name for item in stream if item.at > items[-1].at]
    opened = "MULTI" in before and "EXEC" not in before[len(before) - 1 - before[::-1].index("MULTI") :]
    inside = opened and "EXEC" in after
    if inside is not wanted:
        raise CaseFailed(
            f"{what} {'outside' if wanted else 'inside'} MULTI … EXEC",
            expected="use_multi" if wanted else "no use_multi",
            actual=[item.words[:2] for item in stream][:8],
        )


# --- completions ------------------------------------------------------------------------------


def _completions(scenario: Scenario, sent: list[_Sent]) -> None:
    """Every write of a result is followed by its notice and (reliable) its LREM, by the same worker."""
    for item in _by(sent, "worker", "HMSET"):
        fields = dict(zip(item.words[2::2], item.words[3::2], strict=True))
        if b"result" in fields and item.words[1].startswith(b"job::"):
            _completion(scenario, sent, item, fields)


def _completion(scenario: Scenario, sent: list[_Sent], write: _Sent, fields: dict[bytes, bytes]) -> None:
    job_id = write.words[1].removeprefix(b"job::")
    mine = [item for item in sent if item.event.connection == write.event.connection and item.at > write.at]
    # The process may have been killed, or its connection cut, right here: then there is nothing to judge.
    notice = next((item for item in mine if item.event.name == "PUBLISH" and item.words[2:] == (job_id,)), None)
    if notice is None:
        if not _was_broken(scenario):
            raise CaseFailed("a result without a notice", expected=["PUBLISH", "client::…", job_id], actual=write.words)
        return
    if scenario.instance.mode == "reliable":
        removal = next((item for item in mine if item.event.name == "LREM" and item.words[3:] == (job_id,)), None)
        if removal is None or removal.words[2] != b"1" or removal.words[1] != _processing(scenario, write):
            raise CaseFailed(
                "a result without LREM <processing> 1 <id>",
                expected=["LREM", _processing(scenario, write), "1", job_id],
                actual=removal.words if removal else [item.words[:2] for item in mine[:6]],
            )
        multi = scenario.instance.use_multi in {"worker", "both"} or scenario.case.worker.get("use_multi") is True
        if scenario.instance.worker_dialect != "0.001":
            _in_multi(sent, [write, notice, removal], wanted=multi, what="a completion")
    _completion_fields(scenario, fields)


def _was_broken(scenario: Scenario) -> bool:
    return any(isinstance(step, Fault) for step in scenario.case.steps)


def _processing(scenario: Scenario, write: _Sent) -> bytes:
    start = scenario.peer(write.event.role).start
    return scenario.names.queue(start.processing_queue or "processing")


def _completion_fields(scenario: Scenario, fields: dict[bytes, bytes]) -> None:
    dialect = scenario.instance.worker_dialect
    times = dialect in {"0.004", "master"}
    processed = fields.get(b"_processed")
    if times and (processed is None or _TIME.fullmatch(processed) is None):
        raise CaseFailed("_processed is not a time", expected="epoch seconds", actual=processed)
    if not times and processed is not None:
        raise CaseFailed(f"_processed in dialect {dialect}", expected="no such field", actual=processed)
    result = fields[b"result"]
    if dialect in {"0.003", "0.004", "master"} and result[:1] not in {b"T", b"J", b"E", b"V"}:
        raise CaseFailed("a result without a tag", expected="T… or J…", actual=result[:80])


# --- simple -----------------------------------------------------------------------------------


def _envelope(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _simple_submission(scenario: Scenario, sent: list[_Sent], job_id: bytes) -> None:
    for item in _by(sent, "client", "LPUSH"):
        envelope = _envelope(item.words[2]) if len(item.words) == 3 else None
        if envelope is not None and str(envelope.get("id")).encode() == job_id:
            break
    else:
        raise CaseFailed(
            "no envelope with the job's ID was pushed", expected=job_id, actual=_by(sent, "client", "LPUSH")
        )
    if str(envelope.get("_reply_to")).encode() not in _listening(sent, item.event.role):
        raise CaseFailed("_reply_to is not the client's ID", expected="the client's ID", actual=envelope)
    if not isinstance(envelope.get("data"), dict):
        raise CaseFailed("the envelope has no data", expected={"data": {}}, actual=envelope)
    _subscribed_before(scenario, sent, item)


def _simple_replies(sent: list[_Sent]) -> None:
    for item in _by(sent, "worker", "PUBLISH"):
        envelope = _envelope(item.words[2]) if len(item.words) == 3 else None
        if envelope is None or "id" not in envelope or not {"result", "error"} & envelope.keys():
            raise CaseFailed("a reply that is no envelope", expected={"id": "…", "result": "…"}, actual=item.words)
