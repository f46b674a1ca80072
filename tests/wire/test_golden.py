"""Replays of recorded Perl: every transcript of ``conformance/golden``, read and written again by ``jobwire.wire``.

Each file is raw traffic between a real Perl client, a real Redis and a real Perl worker (its first line says which
releases). What Perl wrote must decode to what was submitted and answered, and jobwire must write the same commands,
but for the order of hash fields; times are handed over, so that even their printed form is compared.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import hiredis
import pytest

from jobwire import sereal
from jobwire.wire import (
    DIALECTS,
    Command,
    Dialect,
    Job,
    Reliable,
    Submission,
    Success,
    Taken,
    decode_job,
    decode_result,
)
from jobwire.wire.commands import EXEC, MULTI, hash_pairs
from jobwire.wire.text import parse_epoch, perl_number, readable, wire_bytes

GOLDEN = sorted((Path(__file__).parents[2] / "conformance" / "golden").glob("*.jsonl"))
NOTHING = b"\0nothing"

ARRAY = [1, "two", None, 3.5, "☺", "é", {"k": "v"}]
HASH = {"a": 1, "b": [1, 2], "é": "☺"}


class Event(NamedTuple):
    connection: str
    sent: bool
    value: Any

    @property
    def by_client(self) -> bool:
        return self.connection.startswith("client")


class Transcript(NamedTuple):
    case: str
    dialect: Dialect
    use_multi: bool
    submitted: list[dict[str, Any]]
    events: list[Event]
    broken: list[str]

    @property
    def mode(self) -> Reliable:
        return Reliable(self.dialect.keyspace("jobs"), dialect=self.dialect, use_multi=self.use_multi)

    @property
    def pending(self) -> bytes:
        return self.mode.keyspace.queue("pending")

    def commands(self, *, by_client: bool) -> list[Command]:
        return [tuple(event.value) for event in self.events if event.sent and event.by_client == by_client]

    def submissions(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Job ID and hash fields of every submission that left the client whole."""
        return [
            (words[1].removeprefix(b"job::"), hash_pairs(list(words[2:]), key=words[1]))
            for words in self.commands(by_client=True)
            if words[0] == b"HMSET"
        ]

    def exchanges(self, name: bytes) -> Iterator[tuple[Command, Any]]:
        """Every command of this name with its reply, where one came (outside of transactions)."""
        waiting: dict[str, list[Command]] = defaultdict(list)
        for event in self.events:
            if event.sent:
                waiting[event.connection].append(tuple(event.value))
            elif waiting[event.connection]:
                command = waiting[event.connection].pop(0)
                if command[0] == name:
                    yield command, event.value


@cache
def transcript(path: Path) -> Transcript:
    header, *lines = map(json.loads, path.read_text().splitlines())
    readers: dict[tuple[str, str], Any] = defaultdict(lambda: hiredis.Reader(notEnoughData=NOTHING))
    events: list[Event] = []
    broken: list[str] = []
    for line in lines:
        connection, direction = line["conn"], line["dir"]
        if not line["hex"] or connection in broken:
            continue
        reader = readers[connection, direction]
        reader.feed(bytes.fromhex(line["hex"]))
        try:
            while (value := reader.gets()) is not NOTHING:
                events.append(Event(connection, direction == ">", value))
        except hiredis.ProtocolError:
            broken.append(connection)
    assert all(not reader.has_data() for key, reader in readers.items() if key[0] not in broken), "a frame is cut off"
    return Transcript(
        header["case"], DIALECTS[header["dialect"]], header["use_multi"], header["submitted"], events, broken
    )


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def recorded(request: pytest.FixtureRequest) -> Transcript:
    return transcript(request.param)


# -- what was meant


def as_perl_had_it(recorded: Transcript, value: Any) -> Any:
    """A submitted string with the bytes that Perl had in it: Latin-1 in that case, else UTF-8."""
    if isinstance(value, str):
        return readable(value.encode("latin-1" if recorded.case == "latin1" else "utf-8"))
    return value


def parameters(recorded: Transcript, data: dict[str, Any]) -> dict[Any, Any]:
    """What one would submit with jobwire to say the same."""
    return {as_perl_had_it(recorded, key): as_perl_had_it(recorded, value) for key, value in data.items()}


def as_read(recorded: Transcript, data: dict[Any, Any]) -> dict[Any, Any]:
    """What a worker of that dialect gets to see of ``data``."""
    references = any(isinstance(value, list | dict) for value in data.values())
    return {
        key: value
        if isinstance(value, list | dict)
        else key
        if references and recorded.dialect.drops_plain_beside_references
        else perl_number(value)
        if isinstance(value, int | float)
        else value
        for key, value in data.items()
    }


def with_json_read(recorded: Transcript, data: dict[Any, Any], meant: dict[Any, Any]) -> dict[Any, Any]:
    """``data`` with the JSON text of the untyped dialect decoded where a reference was meant."""
    if recorded.dialect.typed_fields:
        return data
    return {key: json.loads(value) if isinstance(meant.get(key), list | dict) else value for key, value in data.items()}


def expected_submissions(recorded: Transcript) -> list[dict[str, Any]]:
    """The submissions that can have left a Perl client in one piece."""
    if recorded.case == "wide":
        return recorded.submitted[:1]
    return [data for data in recorded.submitted if None not in data.values()]


def answer(job: Job) -> Any:
    """What the recorded worker's handler returned."""
    data = job.data
    match data.get("op"):
        case "slow":
            return f"slept {data['s']}"
        case "reverse":
            return readable(wire_bytes(data["text"])[::-1])  # type: ignore[arg-type]  # text, as submitted
        case "add":
            return perl_number(int(data["first"]) + int(data["second"]))  # type: ignore[call-overload]  # text again
        case "aref":
            return ARRAY
        case "href":
            return HASH
        case _:
            # "echo"; in release 0.001 beside a reference "op", its own name; and a job without any parameter.
            return data.get("value", "")


def comparable(command: Command) -> Any:
    """A command with its hash fields in no order, Sereal and JSON decoded."""
    if command[0] != b"HMSET":
        return command
    fields = hash_pairs(list(command[2:]), key=command[1])
    return command[:2], {field: _decoded(field, value) for field, value in fields.items()}


def _decoded(field: bytes, value: bytes) -> Any:
    if field.startswith(b"sereal_"):
        return sereal.loads(value)
    if field == b"result" and value[:1] == b"J":
        return json.loads(value[1:])
    return value


# -- the tests


def test_all_sixty_are_here() -> None:
    names = {path.stem for path in GOLDEN}
    cases = ("basic", "latin1", "nested", "undef", "utf8bytes", "wide")
    assert names == {f"{name}-multi{multi}-{case}" for name in DIALECTS for multi in (0, 1) for case in cases}


def test_only_undef_breaks_a_frame(recorded: Transcript) -> None:
    assert len(recorded.broken) == (recorded.case == "undef")


def test_the_client_subscribes_first(recorded: Transcript) -> None:
    first = recorded.commands(by_client=True)[0]
    client_id = recorded.submissions()[0][1][b"_reply_to"]
    assert first == recorded.mode.subscribe(client_id)


def test_what_the_client_wrote_decodes_to_what_was_submitted(recorded: Transcript) -> None:
    decoded = [decode_job(job_id, fields, dialect=recorded.dialect) for job_id, fields in recorded.submissions()]
    meant = [parameters(recorded, data) for data in expected_submissions(recorded)]
    # After a broken frame some releases go on with a new connection, some do not.
    assert len(decoded) in ((1, len(meant)) if recorded.case == "undef" else (len(meant),))
    for job, data in zip(decoded, meant, strict=False):
        assert with_json_read(recorded, job.data, data) == as_read(recorded, data)
        assert (job.queued is not None) == recorded.dialect.timing_fields
        assert job.meta == {}


def test_the_dialect_shows_where_it_can(recorded: Transcript) -> None:
    for job_id, fields in recorded.submissions():
        shown = decode_job(job_id, fields, dialect=None).dialect
        if recorded.dialect.timing_fields or (not recorded.dialect.typed_fields and len(fields) > 1):
            assert shown.typed_fields == recorded.dialect.typed_fields
            assert shown.timing_fields == recorded.dialect.timing_fields


def test_jobwire_submits_the_same(recorded: Transcript) -> None:
    meant = [parameters(recorded, data) for data in expected_submissions(recorded)]
    written = recorded.commands(by_client=True)
    for (job_id, fields), data in zip(recorded.submissions(), meant, strict=False):
        submission = Submission(
            id=job_id,
            data=data,
            reply_to=fields[b"_reply_to"],
            queued=parse_epoch(fields.get(b"_queued")) or 0.0,
        )
        commands = recorded.mode.submit(submission, recorded.pending)
        hmset, push = (command for command in commands if command not in (MULTI, EXEC))
        assert push in written
        theirs = next(command for command in written if command[:2] == hmset[:2])
        assert len(hmset) == len(theirs)
        if recorded.dialect.drops_plain_beside_references and any(isinstance(v, list | dict) for v in data.values()):
            _same_but_for_the_defect(hmset, theirs)
        else:
            assert comparable(hmset) == comparable(theirs)
        if recorded.use_multi:
            assert commands[0] == MULTI
            start = written.index(theirs) - 1
            assert [words[:2] for words in written[start : start + 4]] == [words[:2] for words in commands]


def _same_but_for_the_defect(ours: Command, theirs: Command) -> None:
    """Release 0.001 replaces plain values by their keys beside a reference; jobwire writes the values."""
    mine, perls = (hash_pairs(list(command[2:]), key=command[1]) for command in (ours, theirs))
    assert mine.keys() == perls.keys()
    assert json.loads(mine.pop(b"value")) == json.loads(perls.pop(b"value"))
    assert mine.pop(b"op") == b"echo"
    assert perls.pop(b"op") == b"op"
    assert mine == perls


def test_jobwire_takes_and_loads_the_same(recorded: Transcript) -> None:
    mode = recorded.mode
    take = mode.take([recorded.pending], 0 if recorded.dialect.poll_forever else 3)
    popped = list(recorded.exchanges(b"BRPOPLPUSH"))
    loaded = list(recorded.exchanges(b"HGETALL"))
    assert popped
    assert {command for command, _ in popped} == {take}
    taken = [entry for _, reply in popped if (entry := mode.taken(reply, [recorded.pending])) is not None]
    assert [command for command, _ in loaded] == [mode.load(entry) for entry in taken]


def jobs(recorded: Transcript) -> dict[bytes, Job]:
    """Every job that the worker loaded, by ID, read from the reply that Redis gave to Perl."""
    found: dict[bytes, Job] = {}
    for command, reply in recorded.exchanges(b"HGETALL"):
        job_id = command[1].removeprefix(b"job::")
        job = recorded.mode.read(Taken(recorded.pending, job_id), reply)
        assert job is not None
        found[job_id] = job
    return found


def completions(recorded: Transcript) -> dict[bytes, dict[bytes, bytes]]:
    """The fields that the worker wrote with each result, by job ID."""
    return {
        words[1].removeprefix(b"job::"): hash_pairs(list(words[2:]), key=words[1])
        for words in recorded.commands(by_client=False)
        if words[0] == b"HMSET" and b"result" in words[2::2]
    }


def test_what_the_worker_answered_decodes_to_the_result(recorded: Transcript) -> None:
    known = jobs(recorded)
    answered = completions(recorded)
    assert answered
    for job_id, fields in answered.items():
        result = decode_result(fields[b"result"], dialect=recorded.dialect)
        assert isinstance(result, Success)
        value = answer(known[job_id])
        if not recorded.dialect.tagged_results and isinstance(value, list | dict):
            # These releases print a reference as Perl prints it: the value is lost.
            assert str(result.value).startswith("ARRAY(0x" if isinstance(value, list) else "HASH(0x")
        else:
            assert result == Success(value)


def test_jobwire_starts_and_completes_the_same(recorded: Transcript) -> None:
    mode = recorded.mode
    written = recorded.commands(by_client=False)
    for job_id, fields in completions(recorded).items():
        job = jobs(recorded)[job_id]
        taken = Taken(recorded.pending, job_id)
        theirs = [words for words in written if job_id in words[1:] or b"job::" + job_id in words[1:2]]
        started = next((parse_epoch(words[3]) for words in theirs if words[2:3] == (b"_started",)), None)
        at = parse_epoch(fields.get(b"_processed")) or 0.0
        value = answer(job)
        ours = [
            mode.load(taken),
            *mode.start(job, taken, at=started or 0.0),
            *(
                command
                for command in mode.complete(job, taken, Success(value), started=0.0, at=at)
                if command not in (MULTI, EXEC)
            ),
        ]
        if not recorded.dialect.tagged_results and isinstance(value, list | dict):
            assert ours[-3][:3] == theirs[-3][:3]
            assert json.loads(ours[-3][3]) == value
            ours[-3] = theirs[-3]
        assert [comparable(command) for command in ours] == [comparable(command) for command in theirs]


def test_the_workers_transactions(recorded: Transcript) -> None:
    """0.001 completes inside MULTI … EXEC whatever ``use_multi`` says; the others when it says so."""
    names = [words[0] for words in recorded.commands(by_client=False) if words[0] != b"BRPOPLPUSH"]
    in_multi = recorded.use_multi or not recorded.dialect.typed_fields
    assert (b"MULTI" in names) == in_multi
    if in_multi:
        first = names.index(b"MULTI")
        assert names[first : first + 5] == [b"MULTI", b"HMSET", b"PUBLISH", b"LREM", b"EXEC"]


def test_jobwire_hears_and_collects_the_same(recorded: Transcript) -> None:
    mode = recorded.mode
    answered = completions(recorded)
    pushes = [
        event.value for event in recorded.events if event.by_client and not event.sent and _is_message(event.value)
    ]
    collected = list(recorded.exchanges(b"HMGET"))
    assert pushes
    assert collected
    noticed = [mode.notice(payload).job_id for _, _, payload in pushes]
    assert set(noticed) <= set(answered)
    assert [command for command, _ in collected] == [mode.collect(job_id) for job_id in noticed]
    for job_id, (_, reply) in zip(noticed, collected, strict=True):
        assert reply == [answered[job_id][b"result"]]
        assert mode.collected(job_id, reply) == decode_result(answered[job_id][b"result"], dialect=recorded.dialect)
    deleted = [command for command in recorded.commands(by_client=True) if command[0] == b"DEL"]
    assert set(deleted) <= {mode.discard(job_id) for job_id in noticed}
    assert len(deleted) == len(noticed) or recorded.case == "wide"


def _is_message(value: Any) -> bool:
    return isinstance(value, list) and value[:1] == [b"message"]
