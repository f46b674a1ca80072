"""The traffic of each mode, as a grammar that every job of every case must follow.

Cases say what is particular to them; what holds for every job is checked here, on the recorded
commands: what a submission is made of and in which order, what a completion is, how a result is
collected, that no key is touched that does not belong to the exchange. What one command, hash or
result has to be like is asked of :mod:`jobwire_conformance.rules.forms`, as ``jobwire tap`` does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jobwire_conformance.cases.case import Fault
from jobwire_conformance.record.transcripts import Event
from jobwire_conformance.rules import forms as rules
from jobwire_conformance.rules.facts import FACTS
from jobwire_conformance.rules.forms import Breach
from jobwire_conformance.run.scenario import CaseFailed, Scenario

__all__ = ["check_grammar"]


@dataclass(slots=True, eq=False)
class _Sent:
    """A command with its place in the order of time; ``inside`` says whether it stands in a finished MULTI … EXEC."""

    at: int
    event: Event
    words: tuple[bytes, ...]
    name: str
    inside: bool = False

    @property
    def role(self) -> str:
        return "client" if self.event.role.startswith("client") else "worker"


class _Traffic:
    """All commands of a case, decoded once and found without a search: cases have thousands."""

    def __init__(self, events: list[Event]) -> None:
        self.sent: list[_Sent] = []
        self.named: dict[tuple[str, str], list[_Sent]] = defaultdict(list)
        self.of_connection: dict[int, list[_Sent]] = defaultdict(list)
        self.about: dict[tuple[str, bytes], list[_Sent]] = defaultdict(list)
        for number, event in enumerate(events):
            if event.kind != "command":
                continue
            words = rules.plainly(event.command)
            item = _Sent(number, event, words, words[0].decode("latin-1").upper() if words else "")
            self.sent.append(item)
            self.named[item.role, item.name].append(item)
            self.of_connection[event.connection].append(item)
            for word in {words[1], words[-1]} if len(words) > 1 else ():
                self.about[item.role, word].append(item)
        for items in self.of_connection.values():
            _mark_multi(items)

    def by(self, role: str, name: str) -> list[_Sent]:
        """The commands of that name, sent by that side."""
        return self.named[role, name]

    def of(self, role: str, name: str, word: bytes) -> list[_Sent]:
        """Those among them whose key, or last word, is ``word``."""
        return [item for item in self.about[role, word] if item.name == name]


def _mark_multi(items: list[_Sent]) -> None:
    opened: list[_Sent] | None = None
    for item in items:
        if item.name == "MULTI":
            opened = []
        elif item.name in {"EXEC", "DISCARD"}:
            for inside in opened or []:
                inside.inside = item.name == "EXEC"
            opened = None
        elif opened is not None:
            opened.append(item)


def check_grammar(scenario: Scenario) -> None:
    """Check all commands of all peers; raises :class:`CaseFailed` for the first that breaks the grammar."""
    traffic = _Traffic(scenario.recorder.events)
    _no_broken_frames(scenario)
    _only_known_commands(scenario, traffic.sent)
    _pops_stand_alone(traffic.sent)
    simple = scenario.instance.mode == "simple"
    envelopes = _envelopes(traffic) if simple else {}
    for run in scenario.runs:
        if run.id is None or run.refused is not None:
            continue
        if simple:
            _simple_submission(traffic, envelopes, run.id)
        else:
            _submission(scenario, traffic, run.id)
    if simple:
        _simple_replies(traffic)
    else:
        _completions(scenario, traffic)


def _no_broken_frames(scenario: Scenario) -> None:
    for event in scenario.recorder.events:
        if event.kind == "broken":
            raise CaseFailed(f"{event.role} sent bytes that are not RESP", expected="RESP", actual=event.raw[:200])


def _hold(breaches: Iterable[Breach]) -> None:
    """Raises :class:`CaseFailed` for the first of them."""
    for breach in breaches:
        actual = breach.seen if breach.actual is None else breach.actual
        raise CaseFailed(f"{breach.what} ({breach.requirement})", expected=breach.expected, actual=actual)


def _only_known_commands(scenario: Scenario, sent: list[_Sent]) -> None:
    for item in sent:
        role, name = item.role, item.name
        known = rules.allowed(role, scenario.instance.mode)
        if name in rules.SETUP or name in rules.LOOKING or name in known:
            continue
        start = scenario.peer(item.event.role).start
        prefix = start.prefix if "prefix" in FACTS[start.dialect] else ""
        if role == "worker" and rules.extends(name, item.words, prefix):
            continue
        raise CaseFailed(
            f"the {role} sent {name}, which is no part of mode {scenario.instance.mode}",
            expected=sorted(known),
            actual=item.words,
        )


def _pops_stand_alone(sent: list[_Sent]) -> None:
    """No blocking pop inside MULTI … EXEC (CON-7)."""
    for item in sent:
        if item.name in rules.POPS and item.inside:
            raise CaseFailed("a blocking pop inside MULTI", expected="outside", actual=item.words)


# --- submissions ------------------------------------------------------------------------------


def _submission(scenario: Scenario, traffic: _Traffic, job_id: bytes) -> None:
    key = b"job::" + job_id
    writes = [item for item in traffic.of("client", "HMSET", key) if item.words[1] == key]
    pushes = [item for item in traffic.of("client", "LPUSH", job_id) if item.words[2:] == (job_id,)]
    if len(writes) != 1 or len(pushes) != 1:
        found = [item.words[:3] for item in [*writes, *pushes]]
        raise CaseFailed(
            "a submission is one HMSET of job::<id> and one LPUSH of the ID",
            expected=["HMSET", key, "LPUSH", job_id],
            actual=found or [item.words[:3] for item in traffic.by("client", "HMSET")[:3]],
        )
    write, push = writes[0], pushes[0]
    if write.at > push.at or write.event.connection != push.event.connection:
        raise CaseFailed(
            "the ID was pushed before the hash was written", expected="HMSET, LPUSH", actual="LPUSH, HMSET"
        )
    _submission_fields(scenario, write, _listening(traffic, write.event.role))
    multi = scenario.instance.use_multi in {"client", "both"} or scenario.case.client.get("use_multi") is True
    _in_multi([write, push], wanted=multi, what="a submission")
    _subscribed_before(traffic, push)


def _listening(traffic: _Traffic, role: str) -> set[bytes]:
    """The client IDs that a peer listens as: a Perl program has one client for each queue."""
    return {
        channel.removeprefix(b"client::")
        for item in traffic.by("client", "SUBSCRIBE")
        if item.event.role == role
        for channel in item.words[1:]
    }


def _submission_fields(scenario: Scenario, write: _Sent, known: set[bytes]) -> None:
    fields = rules.fields_of(write.words[2:])
    _hold(rules.submission(fields, scenario.instance.client_dialect))
    if fields.get(b"_reply_to") not in known:
        raise CaseFailed("_reply_to is not the client's ID", expected=sorted(known), actual=fields.get(b"_reply_to"))


def _subscribed_before(traffic: _Traffic, push: _Sent) -> None:
    mine = [item for item in traffic.by("client", "SUBSCRIBE") if item.event.role == push.event.role]
    if not mine or mine[0].at > push.at:
        raise CaseFailed("the client pushed a job before it listened", expected="SUBSCRIBE client::…", actual="LPUSH")


def _in_multi(items: list[_Sent], *, wanted: bool, what: str) -> None:
    """Whether ``items`` stand together between MULTI and EXEC on their connection."""
    if any(item.inside is not wanted for item in items):
        where, said = ("outside", "true") if wanted else ("inside", "false")
        raise CaseFailed(
            f"{what} {where} MULTI … EXEC, though `start` said use_multi {said}",
            expected="between MULTI and EXEC on one connection" if wanted else "no MULTI",
            actual=[item.words[:2] for item in items],
        )


# --- completions ------------------------------------------------------------------------------


def _completions(scenario: Scenario, traffic: _Traffic) -> None:
    """Every write of a result is followed by its notice and (reliable) its LREM, by the same worker."""
    for item in traffic.by("worker", "HMSET"):
        fields = rules.fields_of(item.words[2:])
        if b"result" in fields and item.words[1].startswith(b"job::"):
            _completion(scenario, traffic, item, fields)


def _completion(scenario: Scenario, traffic: _Traffic, write: _Sent, fields: dict[bytes, bytes]) -> None:
    job_id = write.words[1].removeprefix(b"job::")

    def later(name: str) -> _Sent | None:
        found = traffic.of("worker", name, job_id)
        return next((i for i in found if i.event.connection == write.event.connection and i.at > write.at), None)

    # The process may have been killed, or its connection cut, right here: then there is nothing to judge.
    notice = later("PUBLISH")
    if notice is None:
        if not _was_broken(scenario):
            raise CaseFailed("a result without a notice", expected=["PUBLISH", "client::…", job_id], actual=write.words)
        return
    if scenario.instance.mode == "reliable":
        removal = later("LREM")
        processing = _processing(scenario, write)
        if removal is None:
            raise CaseFailed(
                "a result without LREM <processing> 1 <id> (CMP-2)",
                expected=["LREM", processing, "1", job_id],
                actual="no LREM",
            )
        _hold(rules.removal(removal.words, processing))
        multi = scenario.instance.use_multi in {"worker", "both"} or scenario.case.worker.get("use_multi") is True
        if scenario.instance.worker_dialect != "0.001":
            _in_multi([write, notice, removal], wanted=multi, what="a completion")
    _completion_fields(scenario, fields)


def _was_broken(scenario: Scenario) -> bool:
    return any(isinstance(step, Fault) for step in scenario.case.steps)


def _processing(scenario: Scenario, write: _Sent) -> bytes:
    start = scenario.peer(write.event.role).start
    return scenario.names.queue(start.processing_queue or "processing")


def _completion_fields(scenario: Scenario, fields: dict[bytes, bytes]) -> None:
    dialect = scenario.instance.worker_dialect
    _hold(rules.outcome(fields, dialect))
    _hold(rules.result(fields[b"result"], dialect))


# --- simple -----------------------------------------------------------------------------------


def _envelopes(traffic: _Traffic) -> dict[bytes, tuple[_Sent, dict[str, Any]]]:
    """Job ID -> the push of its envelope."""
    found = {}
    for item in traffic.by("client", "LPUSH"):
        envelope = rules.envelope_of(item.words[2]) if len(item.words) == 3 else None
        if envelope is not None:
            found[str(envelope.get("id")).encode()] = (item, envelope)
    return found


def _simple_submission(traffic: _Traffic, envelopes: dict[bytes, tuple[_Sent, dict[str, Any]]], job_id: bytes) -> None:
    if job_id not in envelopes:
        pushed = [item.words for item in traffic.by("client", "LPUSH")[:5]]
        raise CaseFailed("no envelope with the job's ID was pushed", expected=job_id, actual=pushed)
    item, envelope = envelopes[job_id]
    if str(envelope.get("_reply_to")).encode() not in _listening(traffic, item.event.role):
        raise CaseFailed("_reply_to is not the client's ID", expected="the client's ID", actual=envelope)
    _hold(rules.job_envelope(envelope))
    _subscribed_before(traffic, item)


def _simple_replies(traffic: _Traffic) -> None:
    for item in traffic.by("worker", "PUBLISH"):
        envelope = rules.envelope_of(item.words[2]) if len(item.words) == 3 else None
        if envelope is None:
            raise CaseFailed("a reply that is no envelope", expected={"id": "…", "result": "…"}, actual=item.words)
        _hold(rules.reply_envelope(envelope))
