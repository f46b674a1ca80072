"""The three modes: the commands of WIRE §2–§6, and what replies mean."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import example, given
from hypothesis import strategies as st

from jobwire.errors import ConfigError, DecodeError, EncodeError, JobDecodeError, MismatchError, ServerError
from jobwire.testing.server import RedisServer
from jobwire.wire import (
    DIALECTS,
    MODES,
    Command,
    Failure,
    HashMode,
    Job,
    Keyspace,
    Mode,
    Notice,
    Recoverable,
    Reliable,
    Simple,
    Submission,
    Success,
    Taken,
)
from jobwire.wire.codec import extensions as m
from jobwire.wire.commands import (
    EXEC,
    MULTI,
    expect_bytes,
    hash_pairs,
    list_move_back,
    scanned,
    transaction,
    transaction_replies,
)
from jobwire.wire.lifecycle import DEAD, DONE
from jobwire.wire.modes.base import Ending, popped, refuse_queues
from jobwire.wire.modes.cluster import SpreadReliable
from jobwire.wire.scripts import COMPLETE, COMPLETE_MANY, DELETE_GHOST, GIVE_BACK, TAKE_MANY
from jobwire.wire.states import JobState

pytestmark = pytest.mark.usefixtures("either_code")

JOBS = Keyspace("jobs")
SUBMISSION = Submission(id=b"j", data={"op": "echo", "n": 2}, reply_to=b"c", queued=1795434940.837412)
TAKEN = Taken(b"jobs::pending", b"j")
FIELDS = [b"_reply_to", b"c", b"_queued", b"1.5", b"text_op", b"echo"]
HMSET = (b"HMSET", b"job::j", b"_reply_to", b"c", b"_queued", b"1795434940.83741", b"text_op", b"echo", b"text_n", b"2")
LPUSH = (b"LPUSH", b"jobs::pending", b"j")


def job_of(mode: HashMode, fields: list[Any] | None = None) -> Job:
    job = mode.read(TAKEN, FIELDS if fields is None else fields)
    assert job is not None
    return job


# -- §2 submission


@pytest.mark.parametrize("kind", [Reliable, Recoverable])
def test_submission_is_hmset_and_lpush(kind: type[HashMode]) -> None:
    assert kind(JOBS).submit(SUBMISSION, b"jobs::pending") == (HMSET, LPUSH)
    assert kind(JOBS, use_multi=True).submit(SUBMISSION, b"jobs::pending") == (MULTI, HMSET, LPUSH, EXEC)


def test_submission_of_a_dialect_without_timing() -> None:
    mode = Reliable(JOBS, dialect=DIALECTS["0.003"])
    assert mode.submit(SUBMISSION, b"q")[0] == (
        b"HMSET",
        b"job::j",
        b"_reply_to",
        b"c",
        b"text_op",
        b"echo",
        b"text_n",
        b"2",
    )


def test_empty_data_still_says_who_wants_the_result() -> None:
    mode = Reliable(JOBS, dialect=DIALECTS["0.001"])
    submission = Submission(id=b"j", data={}, reply_to=b"c", queued=1.0)
    assert mode.submit(submission, b"pending")[0] == (b"HMSET", b"job::j", b"_reply_to", b"c")


def test_the_client_subscribes_to_its_channel() -> None:
    assert Reliable(JOBS).subscribe(b"c") == (b"SUBSCRIBE", b"client::c")


def test_submitted_is_the_length_of_the_queue() -> None:
    assert Reliable(JOBS).submitted([b"OK", 7]) == 7
    assert Reliable(JOBS, use_multi=True).submitted([b"OK", b"QUEUED", b"QUEUED", [b"OK", 8]]) == 8


@pytest.mark.parametrize(
    ("use_multi", "replies", "code"),
    [
        (False, [ServerError("WRONGTYPE x"), 1], "WRONGTYPE"),
        (False, [b"OK", ServerError("OOM x")], "OOM"),
        (True, [b"OK", b"QUEUED", b"QUEUED", [b"OK", ServerError("WRONGTYPE x")]], "WRONGTYPE"),
        (True, [b"OK", ServerError("OOM x"), b"QUEUED", ServerError("EXECABORT x")], "OOM"),
        (True, [b"OK", b"QUEUED", b"QUEUED", None], "EXECABORT"),
    ],
)
def test_every_reply_is_looked_at(use_multi: bool, replies: list[Any], code: str) -> None:
    for ask in (Reliable(JOBS, use_multi=use_multi).submitted, Reliable(JOBS, use_multi=use_multi).completed):
        with pytest.raises(ServerError) as caught:
            ask(replies)
        assert caught.value.code == code


# -- §3 taking


def test_reliable_takes_with_brpoplpush() -> None:
    mode = Reliable(JOBS)
    assert mode.take([b"jobs::pending"], 3) == (b"BRPOPLPUSH", b"jobs::pending", b"jobs::processing", b"3")
    assert mode.take([b"q"], 0)[-1] == b"0"
    assert mode.take([b"q"], 0.5)[-1] == b"0.5"
    assert mode.take_now(b"q") == (b"RPOPLPUSH", b"q", b"jobs::processing")
    assert mode.taken(b"j", [b"q"]) == Taken(b"q", b"j")
    assert mode.taken(None, [b"q"]) is None


@pytest.mark.parametrize("kind", [Recoverable, Simple])
def test_the_other_modes_take_with_brpop_in_order_of_priority(kind: type[Mode]) -> None:
    mode = kind(JOBS)
    assert mode.take([b"high", b"low"], 3) == (b"BRPOP", b"high", b"low", b"3")
    assert mode.take_now(b"low") == (b"RPOP", b"low")
    assert mode.taken([b"low", b"j"], [b"high", b"low"]) == Taken(b"low", b"j")
    assert mode.taken(b"j", [b"low"]) == Taken(b"low", b"j")
    assert mode.taken(None, [b"low"]) is None


@pytest.mark.parametrize("kind", MODES.values())
def test_what_a_pop_cannot_answer(kind: type[Mode]) -> None:
    for reply in (7, [], [b"a"], [b"a", 1], [b"a", b"b", b"c"]):
        with pytest.raises(DecodeError, match="is this a Redis server"):
            kind(JOBS).taken(reply, [b"q"])
    with pytest.raises(ServerError):
        kind(JOBS).taken(ServerError("ERR timeout is negative"), [b"q"])


def test_loading_and_starting() -> None:
    mode = Reliable(JOBS)
    assert mode.load(TAKEN) == (b"HGETALL", b"job::j")
    assert mode.start(job_of(mode), TAKEN, at=2.5) == ((b"HMSET", b"job::j", b"_started", b"2.5"),)
    old = Reliable(JOBS, dialect=DIALECTS["0.003"])
    assert old.start(job_of(old, [b"_reply_to", b"c"]), TAKEN, at=2.5) == ()


def test_recoverable_marks_the_hash_as_its_own() -> None:
    mode = Recoverable(JOBS, owner="w1")
    marks = (b"_worker", b"w1", b"_queue", b"jobs::pending")
    assert mode.start(job_of(mode), TAKEN, at=2.5) == ((b"HMSET", b"job::j", b"_started", b"2.5", *marks),)
    old = Recoverable(JOBS, owner="w1", dialect=DIALECTS["0.002"])
    assert old.start(job_of(old, [b"_reply_to", b"c"]), TAKEN, at=2.5) == ((b"HMSET", b"job::j", *marks),)


@pytest.mark.parametrize("kind", [Reliable, Recoverable])
@pytest.mark.parametrize(
    "marks", [(), (b"_started",), (b"_started", b"_worker", b"_queue"), (b"_error",), tuple(m.MARKS)]
)
def test_a_hash_that_is_gone_is_no_job(kind: type[HashMode], marks: tuple[bytes, ...]) -> None:
    assert kind(JOBS).read(TAKEN, [item for mark in marks for item in (mark, b"1")]) is None


@pytest.mark.parametrize("field", [b"_reply_to", b"text_a", b"result", b"_processed", b"_queued"])
def test_a_hash_with_anything_else_is_one(field: bytes) -> None:
    assert job_of(Reliable(JOBS), [field, b"1", b"_started", b"2"]).id == "j"


def test_reading_a_hash() -> None:
    job = job_of(Reliable(JOBS))
    assert (job.id, job.data, job.reply_to, job.queued) == ("j", {"op": "echo"}, "c", 1.5)
    with pytest.raises(JobDecodeError) as caught:
        Reliable(JOBS).read(TAKEN, [b"op", b"1"])
    assert caught.value.key == b"job::j"
    with pytest.raises(ServerError, match="WRONGTYPE"):
        Reliable(JOBS).read(TAKEN, ServerError("WRONGTYPE x"))
    for reply in (None, 1, [b"odd"]):
        with pytest.raises(DecodeError, match="not a hash"):
            Reliable(JOBS).read(TAKEN, reply)


@pytest.mark.parametrize(
    ("fields", "dialect", "raw"),
    [
        ([b"_reply_to", b"c", b"_queued", b"1", b"text_a", b"1"], "0.004", b"T1"),
        ([b"_reply_to", b"c", b"a", b"1"], "0.001", b"1"),
    ],
)
def test_the_dialect_auto_answers_as_the_job_was_written(fields: list[bytes], dialect: str, raw: bytes) -> None:
    mode = Reliable(JOBS, dialect=None)
    job = job_of(mode, fields)
    assert job.dialect.name == dialect
    hmset = mode.complete(job, TAKEN, Success(1), started=1.0, at=2.0)[0]
    assert hmset[-2:] == (b"result", raw)
    assert (b"_processed" in hmset) == job.dialect.timing_fields


# -- §4 completion


def test_reliable_completion_is_hmset_publish_lrem() -> None:
    commands = (
        (b"HMSET", b"job::j", b"_processed", b"2.5", b"result", b"Tdone"),
        (b"PUBLISH", b"client::c", b"j"),
        (b"LREM", b"jobs::processing", b"1", b"j"),
    )
    for use_multi, expected in ((False, commands), (True, (MULTI, *commands, EXEC))):
        mode = Reliable(JOBS, use_multi=use_multi)
        assert mode.complete(job_of(mode), TAKEN, Success("done"), started=1.0, at=2.5) == expected


def test_recoverable_completion_has_no_lrem() -> None:
    mode = Recoverable(JOBS)
    assert mode.complete(job_of(mode), TAKEN, Success([1]), started=1.0, at=2.5) == (
        (b"HMSET", b"job::j", b"_processed", b"2.5", b"result", b"J[1]"),
        (b"PUBLISH", b"client::c", b"j"),
    )
    assert mode.completed([b"OK", 1])


def test_a_job_without_submitter_is_completed_all_the_same() -> None:
    mode = Reliable(JOBS)
    job = job_of(mode, [b"text_a", b"1"])
    assert mode.complete(job, TAKEN, Success(1), started=1.0, at=2.5)[1] == (b"PUBLISH", b"client::", b"j")


def test_an_id_of_any_bytes() -> None:
    strange = b"\xff \r\n\0{"
    taken = Taken(b"jobs::pending", strange)
    mode = Reliable(JOBS)
    job = mode.read(taken, [b"_reply_to", b"\xfe"])
    assert job is not None
    hmset, publish, lrem = mode.complete(job, taken, Success(1), started=1.0, at=2.5)
    assert hmset[1] == b"job::" + strange
    assert publish == (b"PUBLISH", b"client::\xfe", strange)
    assert lrem == (b"LREM", b"jobs::processing", b"1", strange)


@pytest.mark.parametrize("kind", [Reliable, Recoverable])
def test_failures_go_out_only_where_they_are_read(kind: type[HashMode]) -> None:
    mode = kind(JOBS)
    failure = Failure("A", "b")
    asked = job_of(mode, [*FIELDS, b"_accept", b"E"])
    assert mode.complete(asked, TAKEN, failure, started=1.0, at=2.0)[0][-1] == b'E{"type":"A","message":"b"}'
    with pytest.raises(EncodeError):
        mode.complete(job_of(mode), TAKEN, failure, started=1.0, at=2.0)


def test_a_result_that_is_there_already_is_only_told() -> None:
    mode = Reliable(JOBS)
    assert mode.notify(job_of(mode), TAKEN) == (
        (b"PUBLISH", b"client::c", b"j"),
        (b"LREM", b"jobs::processing", b"1", b"j"),
    )


# -- own list


OWN = JOBS.own_list("w1")


def own() -> Reliable:
    return Reliable(JOBS, processing=OWN, own_list=True, owner="w1", use_multi=True)


def test_completion_from_an_own_list_is_one_script() -> None:
    mode = own()
    assert mode.prepare() == tuple((b"SCRIPT", b"LOAD", one.source) for one in (COMPLETE, COMPLETE_MANY, TAKE_MANY))
    assert Reliable(JOBS).prepare() == ()
    call = (b"EVALSHA", COMPLETE.sha, b"2", b"jobs::processing::w1", b"job::j", b"j", b"client::c")
    completion = mode.complete(job_of(mode), TAKEN, Success(1), started=1.0, at=2.5)
    assert completion == ((*call, b"T1", b"1", b"2.5"),)
    old = Reliable(JOBS, processing=OWN, own_list=True, dialect=DIALECTS["0.003"])
    assert old.complete(job_of(old), TAKEN, Success(1), started=1.0, at=2.5) == ((*call, b"T1"),)
    assert mode.completed([1]) is True
    assert mode.completed([0]) is False
    with pytest.raises(ServerError, match="NOSCRIPT"):
        mode.completed([ServerError("NOSCRIPT x")])


@pytest.mark.parametrize("kind", [Reliable, SpreadReliable])
def test_which_notices_of_an_own_list_are_said_again(kind: type[Reliable]) -> None:
    keyspace = Keyspace("{jobs}")
    mode = kind(keyspace, own_list=True, processing=keyspace.own_list("w1"))
    ending = Ending(DONE, Success("r"), started=1.0, at=2.0)
    taken = Taken(b"{jobs}::pending", b"j")
    job = job_of(mode)
    commands = mode.commands_for(taken, job, ending)
    said = (b"PUBLISH", b"client::" + str(job.reply_to).encode(), b"j")
    rest = [1] * (len(commands) - 1)
    assert mode.unheard(job, ending, commands, [1, *rest]) == said
    for code in (0, 2, 3):
        assert mode.unheard(job, ending, commands, [code, *rest]) is None
    looks = msgspec.structs.replace(job, meta={"_accept": "E,V"})
    assert mode.unheard(looks, ending, commands, [1, *rest]) is None
    buried = Ending(DEAD, reason="too often")
    assert mode.unheard(job, buried, mode.commands_for(taken, job, buried), [1, 1]) is None


def test_entries_go_back_in_order() -> None:
    assert list_move_back(OWN, b"jobs::pending") == (b"LMOVE", OWN, b"jobs::pending", b"LEFT", b"RIGHT")
    assert Reliable(JOBS).give_back(TAKEN)[0][2:] == (b"2", b"jobs::processing", b"jobs::pending", b"j")
    (marked,) = Recoverable(JOBS).give_back(TAKEN)
    assert marked[2:] == (b"2", b"job::j", b"jobs::pending", b"j", b"_worker", b"_started")
    assert Simple(JOBS).give_back(TAKEN) == ((b"RPUSH", b"jobs::pending", b"j"),)


# -- §5 the client on a notice


def test_a_notice_is_the_id_and_the_result_is_fetched_then_deleted() -> None:
    mode = Reliable(JOBS)
    assert mode.notice(b"\xffj") == Notice(b"\xffj", None)
    assert mode.collect(b"j") == (b"HMGET", b"job::j", b"result")
    assert mode.discard(b"j") == (b"DEL", b"job::j")
    assert mode.collected(b"j", [b"Tx"]) == Success("x")
    assert mode.collected(b"j", [b""]) == Success("")
    assert mode.collected(b"j", [None]) is None


def test_what_collecting_raises() -> None:
    mode = Reliable(JOBS)
    with pytest.raises(ServerError):
        mode.collected(b"j", ServerError("WRONGTYPE x"))
    with pytest.raises(MismatchError) as caught:
        mode.collected(b"j", [b"done"])
    assert caught.value.key == b"job::j"
    assert Reliable(JOBS, dialect=DIALECTS["0.002"]).collected(b"j", [b"done"]) == Success("done")


def test_a_sweep_tells_no_result_yet_from_no_hash_any_more() -> None:
    mode = Reliable(JOBS)
    assert mode.check(b"j") == ((b"HMGET", b"job::j", b"result"), (b"EXISTS", b"job::j"))
    assert mode.checked(b"j", [[None], 1]) == (None, True)
    assert mode.checked(b"j", [[None], 0]) == (None, False)
    assert mode.checked(b"j", [[b"T"], 1]) == (Success(""), True)
    with pytest.raises(ServerError):
        mode.checked(b"j", [[None], ServerError("ERR x")])


# -- §6 simple


def test_simple_submits_one_envelope() -> None:
    ((name, queue, envelope),) = Simple(JOBS).submit(SUBMISSION, b"jobs::pending")
    assert (name, queue) == (b"LPUSH", b"jobs::pending")
    assert json.loads(envelope) == {
        "id": "j",
        "_reply_to": "c",
        "_queued": 1795434940.83741,
        "data": {"op": "echo", "n": 2},
    }
    assert Simple(JOBS, use_multi=True).submit(SUBMISSION, b"q")[0] == MULTI


def test_simple_carries_expiry_and_trace_context_and_refuses_what_it_cannot_carry() -> None:
    def submit(meta: dict[Any, Any]) -> Job:
        submission = Submission(id=b"j", data={}, reply_to=b"c", queued=1.0, meta=meta)
        ((_, _, envelope),) = Simple(JOBS).submit(submission, b"q")
        job = Simple(JOBS).read(Taken(b"q", envelope), None)
        assert job is not None
        return job

    job = submit({"_expires": b"12.5", b"_traceparent": "00-1", "_accept": "E,V"})
    assert (job.expires, job.meta["_traceparent"], job.accept) == (12.5, "00-1", {"E"})
    for meta in ({"_mine": "x"}, {"_reply_to": "x"}, {"_traceparent": b"\xff"}):
        with pytest.raises(EncodeError):
            submit(meta)


def test_simple_publishes_the_reply_itself() -> None:
    mode = Simple(JOBS)
    assert mode.load(TAKEN) is None
    entry = b'{"id":"j","_reply_to":"c","data":{"op":"echo"}}'
    taken = Taken(b"jobs::pending", entry)
    job = mode.read(taken, None)
    assert (job.id, job.data, job.reply_to, job.queued) == ("j", {"op": "echo"}, "c", None)
    assert mode.start(job, taken, at=1.0) == ()
    assert mode.forget(taken) == ()
    ((name, channel, reply),) = mode.complete(job, taken, Success({"a": None}), started=1.0, at=2.0)
    assert (name, channel) == (b"PUBLISH", b"client::c")
    assert json.loads(reply) == {"id": "j", "result": {"a": None}, "_started": 1.0, "_processed": 2.0}
    assert mode.notice(reply) == Notice(b"j", Success({"a": None}))
    ((_, _, reply),) = mode.complete(job, taken, Failure("A", "b"), started=1.0, at=2.0)
    assert mode.notice(reply) == Notice(b"j", Failure("A", "b"))


# -- mismatches, queues


def test_an_envelope_where_an_id_should_be() -> None:
    entry = b'{"id":"j","data":{}}'
    for kind in (Reliable, Recoverable):
        with pytest.raises(MismatchError, match=f"mode 'simple' pushed it to a worker of mode '{kind.name}'") as caught:
            kind(JOBS).read(Taken(b"jobs::pending", entry), [])
        assert (caught.value.key, caught.value.raw) == (b"jobs::pending", entry)
    # An ID that looks strange but has a hash is an ID.
    assert Reliable(JOBS).read(Taken(b"jobs::pending", entry), FIELDS) is not None


def test_an_id_where_an_envelope_should_be() -> None:
    with pytest.raises(MismatchError):
        Simple(JOBS).read(TAKEN, None)
    with pytest.raises(MismatchError):
        Simple(JOBS).notice(b"j")


def test_the_modes_by_name() -> None:
    assert {name: mode.name for name, mode in MODES.items()} == {
        name: name for name in ("simple", "recoverable", "reliable")
    }
    facts = {name: (mode.many_queues, mode.keeps_jobs, mode.moves_jobs) for name, mode in MODES.items()}
    assert facts == {
        "simple": (True, False, False),
        "recoverable": (True, True, False),
        "reliable": (False, True, True),
    }


def test_several_queues_are_refused_with_perls_own_sentence() -> None:
    error = refuse_queues("reliable")
    assert isinstance(error, ConfigError)
    assert str(error) == "Only a single queue is supported in reliable mode"


# -- arbitrary input


@pytest.mark.parametrize("kind", MODES.values())
@given(
    entry=st.binary() | st.builds(lambda body: b'{"id":"a","data":{' + body, st.binary()),
    fields=st.dictionaries(
        st.binary() | st.sampled_from([b"text_a", b"sereal_a", b"json_a", b"_accept", b"result"]),
        st.binary(),
        max_size=4,
    ),
    dialect=st.sampled_from([None, *DIALECTS.values()]),
)
def test_any_entry_and_any_hash_raise_decode_error_and_nothing_else(
    kind: type[Mode], entry: bytes, fields: dict[bytes, bytes], dialect: Any
) -> None:
    mode = kind(JOBS, dialect=dialect)
    taken = Taken(b"jobs::pending", entry)
    with contextlib.suppress(DecodeError):
        job = mode.read(taken, [item for pair in fields.items() for item in pair])
        if job is not None:
            commands = mode.complete(job, taken, Success([1]), started=1.0, at=2.0)
            assert all(isinstance(word, bytes) for command in commands for word in command)


@pytest.mark.parametrize("kind", MODES.values())
@given(payload=st.binary() | st.builds(lambda body: b'{"id":"a","result":' + body, st.binary()))
@example(payload=b'{"id":"\xff","result":1}')
def test_any_notice_raises_decode_error_and_nothing_else(kind: type[Mode], payload: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert isinstance(kind(JOBS).notice(payload).job_id, bytes)


# -- command helpers


def test_transaction_replies() -> None:
    assert transaction([(b"PING",)]) == (MULTI, (b"PING",), EXEC)
    error = ServerError("ERR x")
    assert transaction_replies([b"OK", b"QUEUED", [error]]) == [error]


def test_small_helpers() -> None:
    assert hash_pairs([b"a", b"1"], key="k") == {b"a": b"1"}
    assert scanned([b"7", [b"a", b"b"]]) == (b"7", [b"a", b"b"])
    assert scanned(None) == (b"0", [])
    assert expect_bytes("é", field="f") == "é".encode()
    with pytest.raises(EncodeError, match="must not be empty"):
        expect_bytes("", field="f")
    assert popped([b"q", b"e"], [b"p"]) == Taken(b"q", b"e")


# -- the scripts, on a real server


@pytest.fixture(scope="module")
def server() -> Iterator[redis.Redis]:
    with RedisServer() as running, redis.Redis(port=running.port) as connection:
        yield connection


@pytest.fixture
def run(server: redis.Redis) -> Iterator[Any]:
    server.flushall()

    def run_commands(*commands: Command) -> list[Any]:
        return [server.execute_command(*command) for command in commands]

    yield run_commands
    server.flushall()


def test_fenced_completion_on_a_server(run: Any) -> None:
    mode = own()
    run(*mode.prepare(), (b"LPUSH", OWN, b"j"), (b"HSET", b"job::j", b"_reply_to", b"c"))
    complete = mode.complete(job_of(mode), TAKEN, Success([1]), started=1.0, at=2.5)
    assert mode.completed(run(*complete)) is True
    assert run((b"HGETALL", b"job::j"), (b"LLEN", OWN)) == [
        {b"_reply_to": b"c", b"_started": b"1", b"_processed": b"2.5", b"result": b"J[1]"},
        0,
    ]


def test_a_job_given_away_is_not_written(run: Any) -> None:
    mode = own()
    run(*mode.prepare(), (b"HSET", b"job::j", b"_reply_to", b"c"))
    complete = mode.complete(job_of(mode), TAKEN, Success([1]), started=1.0, at=2.5)
    assert mode.completed(run(*complete)) is False
    assert run((b"HGETALL", b"job::j")) == [{b"_reply_to": b"c"}]


def test_giving_back_on_a_server(run: Any) -> None:
    run((b"LPUSH", b"jobs::processing", b"j"), (b"LPUSH", b"jobs::pending", b"a"))
    (command,) = Reliable(JOBS).give_back(TAKEN)
    assert command[:2] == (b"EVAL", GIVE_BACK.source)
    assert run(command, command) == [1, 0]
    assert run((b"LRANGE", b"jobs::pending", b"0", b"-1")) == [[b"a", b"j"]]


def test_rejecting_and_burying_on_a_server(run: Any) -> None:
    mode = Reliable(JOBS)
    for command, where in ((mode.reject(TAKEN, b"why"), b"jobs::rejected"), (mode.bury(TAKEN, "no"), b"jobs::dead")):
        assert run(*command) == [0]
        assert run((b"EXISTS", where)) == [0]
        run((b"LPUSH", b"jobs::processing", b"j"))
        assert run(*command) == [1]
        assert run((b"LLEN", where), (b"LLEN", b"jobs::processing")) == [1, 0]
    assert run((b"HGETALL", b"job::j")) == [{b"_error": b"no"}]


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ([b"_started", b"1"], False),
        ([b"_started", b"1", b"_worker", b"w", b"_queue", b"q", b"_error", b"e"], False),
        ([b"_started", b"1", b"text_a", b"1"], True),
        ([b"_reply_to", b"c"], True),
    ],
)
def test_a_ghost_is_deleted_and_a_job_is_not(run: Any, fields: list[bytes], left: bool) -> None:
    run((b"HSET", b"job::j", *fields), (b"LPUSH", b"jobs::processing", b"j"))
    lrem, ghost = Reliable(JOBS).vanished(TAKEN)
    assert ghost[1] == DELETE_GHOST.source
    assert run(lrem, ghost) == [1, 0 if left else 1]
    assert run((b"EXISTS", b"job::j")) == [int(left)]


def test_withdrawing_on_a_server(run: Any) -> None:
    run((b"HSET", b"job::j", b"_reply_to", b"c"), (b"LPUSH", b"jobs::pending", b"j"))
    commands = Reliable(JOBS).withdraw(b"j", b"jobs::pending")
    assert run(*commands) == [1]
    assert run((b"EXISTS", b"job::j", b"jobs::pending")) == [0]
    assert run(*commands, (b"EXISTS", b"job::j")) == [0, 0], "no hash is made"
    run((b"HSET", b"job::j", b"_reply_to", b"c"))
    assert run(*commands, (b"HGET", b"job::j", b"_expires")) == [0, b"1"], "it is not begun any more"
    run((b"HDEL", b"job::j", b"_expires"), (b"HSET", b"job::j", b"result", b"Tx"))
    assert run(*commands, (b"HGET", b"job::j", b"_expires")) == [0, None]


@pytest.mark.parametrize(("before", "after", "reached"), [(999, 5000, True), (5000, 999, True), (3000, 3000, False)])
@pytest.mark.parametrize("mode", [Reliable(JOBS), SpreadReliable(JOBS)])
def test_withdrawing_looks_at_either_end_and_never_goes_through_the_queue(
    run: Any, mode: Mode, before: int, after: int, reached: bool
) -> None:
    run((b"HSET", b"job::j", b"_reply_to", b"c"))
    entries = [*(b"%d" % n for n in range(before)), b"j", *(b"a%d" % n for n in range(after))]
    run((b"LPUSH", b"jobs::pending", *entries))
    first, *_ = run(*mode.withdraw(b"j", b"jobs::pending"))
    assert first == int(reached)
    called_off = run((b"HGET", b"job::j", b"_expires"))
    assert called_off == [b"1" if not reached or mode.spread else None]
    assert run((b"LLEN", b"jobs::pending")) == [before + after + (not reached)]


def test_one_job_is_looked_for_at_either_end_of_long_lists(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobwire.wire.states.SEARCHED", 100)
    mode = Reliable(JOBS)
    pushed = [b"next", *(b"%d" % n for n in range(150)), b"inside", *(b"a%d" % n for n in range(150)), b"last"]
    for key, other in ((b"jobs::pending", b""), (b"jobs::processing", b"taken-"), (b"jobs::dead", b"dead-")):
        run((b"LPUSH", key, *(other + entry for entry in pushed)))
        for name in (b"next", b"last", b"inside"):
            run((b"HSET", b"job::" + other + name, b"_reply_to", b"c"))

    def place(job_id: bytes) -> tuple[str, int | None]:
        commands = mode.inspect(job_id, b"jobs::pending")
        assert all(command[-2:] == (b"MAXLEN", b"100") for command in commands if command[0] == b"LPOS")
        assert commands[-1][0] == b"HMGET", "a job that is taken meanwhile is not missing in both"
        state = mode.inspected(run(*commands))
        assert state.queue_length == len(pushed)
        return state.place, state.ahead

    assert [place(name) for name in (b"next", b"last", b"inside")] == [
        ("queued", 0),
        ("queued", 302),
        ("unknown", None),
    ]
    assert [place(b"taken-" + name)[0] for name in (b"next", b"last", b"inside")] == ["started", "started", "unknown"]
    assert [place(b"dead-" + name)[0] for name in (b"next", b"last", b"inside")] == ["dead", "dead", "unknown"]
    assert place(b"gone") == ("gone", None)
    forbidden = [
        ServerError("NOPERM no") if 3 <= at <= 6 else reply for at, reply in enumerate([303, *[None] * 6, 1, []])
    ]
    assert mode.inspected(forbidden).place == "unknown", "a client that may not see who is dead does without"
    with pytest.raises(ServerError):
        mode.inspected([ServerError("NOPERM no"), *forbidden[1:]])


def test_many_jobs_are_looked_for_without_going_through_the_lists(run: Any) -> None:
    mode = Reliable(JOBS)
    ids = [b"next", b"last", b"inside", b"dead", b"begun", b"done", b"gone", b"broken"]
    pushed = [b"next", *(b"%d" % n for n in range(600)), b"inside", *(b"a%d" % n for n in range(600)), b"last"]
    run((b"LPUSH", b"jobs::pending", *pushed), (b"LPUSH", b"jobs::dead", b"dead"))
    for name in (b"next", b"last", b"inside", b"dead", b"begun", b"done"):
        run((b"HSET", b"job::" + name, b"_reply_to", b"c"))
    run((b"HSET", b"job::begun", b"_started", b"1.5"), (b"HSET", b"job::done", b"result", b"T"))
    run((b"HSET", b"job::dead", b"_error", b"why"))
    commands = mode.look(ids, b"jobs::pending")
    assert all(b"MAXLEN" in command for command in commands if command[0] == b"LPOS")
    assert {command[0] for command in commands} == {b"LLEN", b"LPOS", b"HMGET"}
    replies = [*run(*commands)[:-1], ServerError("WRONGTYPE a string")]
    *states, broken = mode.looked(ids, replies)
    assert broken is replies[-1], "a key that is no hash is the trouble of its job alone"
    found = [state for state in states if isinstance(state, JobState)]
    assert [state.place for state in found] == ["queued", "queued", "unknown", "dead", "started", "processed", "gone"]
    assert [state.ahead for state in found[:3]] == [0, 1202, None]
    assert {state.queue_length for state in found} == {1203}
    assert found[3].error == "why"
    forbidden = [
        reply if number % 5 not in (3, 4) else ServerError("NOPERM no") for number, reply in enumerate(replies)
    ]
    assert isinstance(hidden := mode.looked(ids, forbidden)[3], JobState)
    assert hidden.place == "unknown", "a client that may not see who is dead does without"
