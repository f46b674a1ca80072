"""The linter of ``jobwire tap``: what it flags, what it leaves alone, and that nothing can upset it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.requirements import load_document
from jobwire.wire.scripts import COMPLETE, COMPLETE_MANY, TAKE_MANY
from jobwire_conformance.cases.places import GOLDEN
from jobwire_conformance.record.resp import Frame, Map, Push, RespError, pack
from jobwire_conformance.record.transcripts import read_transcript
from jobwire_conformance.rules.jobs import JobTable
from jobwire_conformance.rules.linter import Linter
from tests.support.tap_traffic import (
    CLIENT,
    JOB,
    LISTENING,
    NOW,
    OWNER,
    POPPING,
    WORKER,
    Traffic,
    array,
    bulk,
    flags_in,
)

RECORDINGS = sorted(GOLDEN.rglob("*.jsonl"))
#: What real Perl processes did wrong while they were recorded (docs/TAP.md says what each means).
DEFECTS = {
    "0.001 basic": ["DIA-8"] * 2,
    "0.001 nested": ["DIA-4"] * 6,
    "0.002 basic": ["DIA-8"] * 2,
    "0.002 nested": ["DIA-8"] * 6,
}
#: The client died of a wide character before it had deleted a hash.
DIED = {"0.001-multi0-wide", "0.003-multi0-wide", "0.004-multi0-wide"}


def defects_of(path: Path) -> list[str]:
    if path.parent != GOLDEN:
        return []
    dialect, _, kind = path.stem.split("-")
    if kind == "undef":
        return ["NUM-7"]
    return ["NOT-3"] if path.stem in DIED else DEFECTS.get(f"{dialect} {kind}", [])


def test_recordings_of_real_perl_show_its_defects_and_nothing_else() -> None:
    assert len(RECORDINGS) > 250
    told, untold, wanted = {}, {}, {}
    for path in RECORDINGS:
        transcript = read_transcript(path)
        name = str(path.relative_to(GOLDEN))
        told[name] = [flag.requirement for flag in flags_in(transcript.events, dialect=transcript.header.dialect)]
        untold[name] = [flag.requirement for flag in flags_in(transcript.events)]
        wanted[name] = defects_of(path)
    assert told == wanted
    assert untold == wanted


# --- one exchange, and what can be wrong with it ----------------------------------------------


def test_an_exchange_with_nothing_wrong() -> None:
    traffic = Traffic()
    traffic.submit()
    traffic.take()
    traffic.finish()
    traffic.announce()
    traffic.remove()
    traffic.collect()
    traffic.wait(60)
    assert traffic.end() == []
    assert len(traffic.follower.watch.jobs) == 0, "a job that is done is forgotten"
    assert [traffic.follower.links[number].role for number in (1, 2, 3, 4, 5)] == [
        "client", "worker", "worker", "client", "client",
    ]  # fmt: skip
    said = traffic.follower.summary(1.0)
    assert (said.jobs_submitted, said.jobs_taken, said.jobs_completed, said.jobs_collected) == (1, 1, 1, 1)


def test_a_flag_says_where_and_what() -> None:
    traffic = Traffic()
    traffic.submit(b"sereal_value", b"=\xf3rl\x05\x00(")
    (flag,) = traffic.flags
    assert (flag.requirement, flag.key, flag.field, flag.job) == (
        "SER-18", "job::" + JOB.decode(), "sereal_value", JOB.decode(),
    )  # fmt: skip
    assert (flag.connection, flag.role, flag.expected) == (CLIENT, "client", "a document")
    assert "offset" in flag.seen


@pytest.mark.parametrize(
    ("fields", "requirements"),
    [
        ([b"text_op", b"x", b"op", b"x"], ["FLD-13"]),
        ([b"Text_op", b"x"], ["FLD-13"]),
        ([b"text_a", b"1", b"sereal_a", b"=\xf3rl\x05\x00\x01"], ["FLD-4"]),
        ([b"text_a\nb", b"1"], ["FLD-7"]),
        ([b"json_a", b"{]"], ["JSN-5"]),
        ([b"json_a", b"1"], ["JSN-4"]),
        ([b"json_a", b'{"a":1,"a":2}'], ["JSN-6"]),
        ([b"json_a", b'["\xff"]'], ["JSN-1"]),
        ([b"json_a", b"[NaN]"], ["NUM-9"]),
        ([b"sereal_a", b"nonsense"], ["SER-18"]),
        ([b"text_a", b"=\xf3rl\x05\x00\x01"], ["FLD-2"]),
        ([b"text_a", b"\xff", b"json_b", b"[]", b"sereal_c", b"=\xf3rl\x05\x00\x01", b"_x", b""], []),
    ],
)
def test_fields(fields: list[bytes], requirements: list[str]) -> None:
    traffic = Traffic()
    traffic.submit(*fields)
    assert traffic.flagged == requirements


@pytest.mark.parametrize(
    ("result", "requirements"),
    [
        (b"T", []),
        (b"Tx", []),
        (b"J[]", []),
        (b"", ["RES-1"]),
        (b"Sx", ["RES-1"]),
        (b"plain", ["RES-1"]),
        (b'J"x"', ["RES-7"]),
        (b"J[", ["RES-2"]),
        (b'J{"a":1,"a":1}', ["JSN-6"]),
        (b'E{"type":"a","message":"b"}', ["EXT-4"]),
        (b"V1", ["EXT-4"]),
    ],
)
def test_results(result: bytes, requirements: list[str]) -> None:
    traffic = Traffic()
    traffic.submit()
    traffic.take()
    traffic.finish(result)
    assert traffic.flagged == requirements


def test_an_expired_job_is_not_started() -> None:
    for fields, requirements in (((b"_accept", b"E", b"_expires", b"1"), []), ((b"_accept", b"E"), ["TAK-3"])):
        traffic = Traffic(dialect="0.004")
        traffic.submit(*fields)
        traffic.send(POPPING, b"BRPOPLPUSH", b"jobs::pending", b"jobs::processing", b"3", reply=bulk(JOB))
        traffic.finish(b'E{"type":"JobExpired","message":"too late"}')
        assert traffic.flagged == requirements


def test_an_envelope_that_was_pushed_before_anybody_looked() -> None:
    envelope = b' {"id":"j1","_reply_to":"c1","data":{},"_queued":1795434940.1}'
    for channel, requirements in ((b"client::c1", []), (b"client::c2", ["SIM-8"])):
        traffic = Traffic(mode="simple")
        traffic.send(POPPING, b"BRPOP", b"jobs::pending", b"3", reply=array([b"jobs::pending", envelope]))
        traffic.send(WORKER, b"PUBLISH", channel, b'{"id":"j1","result":"x"}')
        assert traffic.flagged == requirements
    unknown = Traffic(mode="simple")
    unknown.send(WORKER, b"PUBLISH", b"client::c1", b'{"id":"j1","result":"x"}')
    assert unknown.flagged == ["SIM-8"]


def test_results_that_the_client_reads() -> None:
    for result, requirements in ((b'E{"type":"a","message":"b"}', []), (b"E{}", ["EXT-5"]), (b"V[1", ["EXT-6"])):
        traffic = Traffic()
        traffic.submit(b"_accept", b"E,V")
        traffic.take(b"_accept", b"E,V")
        traffic.finish(result)
        assert traffic.flagged == requirements


def test_what_is_missing_from_a_submission() -> None:
    traffic = Traffic()
    traffic.listen()
    traffic.send(CLIENT, b"HMSET", b"job::" + JOB, b"_queued", b"1795434940837", b"text_op", b"x")
    assert traffic.flagged == ["SUB-2", "FLD-14"]
    told = Traffic(dialect="0.004")
    told.listen()
    told.send(CLIENT, b"HMSET", b"job::" + JOB, b"_reply_to", OWNER, b"text_op", b"x")
    assert told.flagged == ["SUB-3"]
    older = Traffic(dialect="0.002")
    older.listen()
    older.write(b"text_op", b"x")
    older.take()
    older.finish()
    assert older.flagged == ["SUB-4", "TAK-4", "TAK-4"], "a worker of 0.004 would answer Tcba to this client"


def test_a_client_of_0_004_and_a_worker_of_0_002() -> None:
    traffic = Traffic()
    traffic.submit()
    traffic.send(POPPING, b"BRPOPLPUSH", b"jobs::pending", b"jobs::processing", b"0", reply=bulk(JOB))
    traffic.send(WORKER, b"HMSET", b"job::" + JOB, b"result", b"cba")
    assert traffic.flagged == ["CMP-3", "RES-1", "TAK-3"], "its client will cut the first byte off"


def test_pushed_before_it_was_written() -> None:
    traffic = Traffic()
    traffic.listen()
    traffic.push()
    traffic.write(b"text_op", b"x")
    assert traffic.flagged == ["SUB-1"]


def test_pushed_and_never_written() -> None:
    traffic = Traffic()
    traffic.listen()
    traffic.push()
    traffic.wait(4)
    assert traffic.flagged == []
    traffic.wait(2)
    assert traffic.flagged == ["SUB-1"]


def test_pushed_twice_elsewhere_and_at_the_wrong_end() -> None:
    traffic = Traffic(prefix="jobs")
    traffic.submit()
    traffic.push()
    assert traffic.flagged == ["SUB-7"]
    other = Traffic(prefix="mine")
    other.submit()
    assert other.flagged == ["KEY-3"]
    right = Traffic()
    right.listen()
    right.write(b"text_op", b"x")
    right.send(CLIENT, b"RPUSH", b"jobs::pending", JOB, reply=b":1\r\n")
    assert right.flagged == ["QUE-2"]


def test_a_push_that_was_refused_may_be_tried_again() -> None:
    traffic = Traffic()
    traffic.listen()
    traffic.write(b"text_op", b"x")
    traffic.send(CLIENT, b"LPUSH", b"jobs::pending", JOB, reply=b"-OOM command not allowed\r\n")
    traffic.push()
    assert traffic.flagged == ["SUB-12"]
    assert traffic.flags[0].seen == "OOM command not allowed"


def test_a_client_that_does_not_listen() -> None:
    traffic = Traffic()
    traffic.write(b"text_op", b"x")
    traffic.push()
    assert traffic.flagged == ["SUB-8"]


def test_a_prefix_on_the_key_of_a_job() -> None:
    traffic = Traffic()
    traffic.send(CLIENT, b"HMSET", b"jobs::job::" + JOB, b"_reply_to", OWNER)
    assert traffic.flagged == ["KEY-2"]


def test_a_time_to_live_and_a_job_key_of_another_type() -> None:
    traffic = Traffic()
    traffic.submit()
    traffic.send(CLIENT, b"EXPIRE", b"job::" + JOB, b"60", reply=b":1\r\n")
    traffic.send(CLIENT, b"SET", b"job::" + JOB, b"x")
    traffic.send(CLIENT, b"EXPIRE", b"session::1", b"60", reply=b":1\r\n")
    assert traffic.flagged == ["KEY-9", "KEY-1"]


@pytest.mark.parametrize(
    ("pieces", "requirements"),
    [
        (["announce", "finish", "announce", "remove"], ["CMP-1"]),
        (["finish", "announce"], ["CMP-2"]),
        (["finish", "remove"], ["CMP-7"]),
        (["remove", "finish", "announce"], ["CMP-2"]),
    ],
)
def test_the_order_of_a_completion(pieces: list[str], requirements: list[str]) -> None:
    traffic = Traffic()
    traffic.submit()
    traffic.take()
    for piece in pieces:
        getattr(traffic, piece)()
    traffic.wait(10)
    assert traffic.flagged == requirements


def test_removals_that_are_none() -> None:
    for words in ((b"LREM", b"jobs::pending", b"1", JOB), (b"LREM", b"jobs::processing", b"0", JOB)):
        traffic = Traffic()
        traffic.submit()
        traffic.take()
        traffic.finish()
        traffic.announce()
        traffic.remove(*words)
        traffic.wait(10)
        assert traffic.flagged == ["CMP-2"]


def test_notices_that_go_astray() -> None:
    for channel, payload, requirement in (
        (b"client::somebody", JOB, "CMP-7"),
        (OWNER, JOB, "KEY-7"),
        (b"client::" + OWNER, b"job::" + JOB, "NOT-1"),
        (b"client::" + OWNER, b"never-seen", "NOT-1"),
    ):
        traffic = Traffic()
        traffic.submit()
        traffic.take()
        traffic.finish()
        traffic.send(WORKER, b"PUBLISH", channel, payload, reply=b":0\r\n")
        assert traffic.flagged == [requirement]


def test_what_must_not_be_run() -> None:
    vanished = Traffic()
    vanished.send(POPPING, b"BRPOPLPUSH", b"jobs::pending", b"jobs::processing", b"3", reply=bulk(JOB))
    vanished.send(WORKER, b"HGETALL", b"job::" + JOB, reply=b"*0\r\n")
    vanished.send(WORKER, b"HMSET", b"job::" + JOB, b"_started", NOW)
    assert vanished.flagged == ["TAK-9"]
    done = Traffic()
    done.submit()
    done.take(b"result", b"Tdone")
    assert done.flagged == ["TAK-12"]


def test_deletions() -> None:
    by_worker = Traffic()
    by_worker.submit()
    by_worker.take()
    by_worker.send(WORKER, b"DEL", b"job::" + JOB, reply=b":1\r\n")
    assert by_worker.flagged == ["CMP-8"]
    unread = Traffic()
    unread.submit()
    unread.send(LISTENING + 5, b"DEL", b"job::" + JOB, reply=b":1\r\n")
    assert unread.flagged == ["NOT-4"]
    withdrawn = Traffic()
    withdrawn.submit()
    withdrawn.send(CLIENT, b"DEL", b"job::" + JOB, reply=b":1\r\n")
    assert withdrawn.flagged == [], "its own job"


def test_a_result_that_is_read_and_left_and_one_that_cannot_be_read() -> None:
    left = Traffic()
    left.submit()
    left.take()
    left.finish()
    left.announce()
    left.remove()
    left.send(5, b"HMGET", b"job::" + JOB, b"result", reply=array([b"Tdone"]))
    left.wait(6)
    assert left.flagged == ["NOT-3"]
    unreadable = Traffic()
    unreadable.submit()
    unreadable.collect(b"Zwhat")
    assert unreadable.flagged == ["RES-1", "RES-11"]


def test_how_jobs_are_taken() -> None:
    traffic = Traffic()
    traffic.submit()
    traffic.sent(POPPING, b"BLMOVE", b"jobs::pending", b"jobs::processing", b"LEFT", b"LEFT", b"3")
    assert traffic.flagged == ["QUE-3"]
    inside = Traffic()
    inside.send(POPPING, b"MULTI")
    inside.send(POPPING, b"BRPOP", b"jobs::pending", b"3", reply=b"+QUEUED\r\n")
    assert inside.flagged == ["CON-7"]


def test_connections_that_carry_more_than_they_should() -> None:
    traffic = Traffic()
    traffic.listen()
    traffic.sent(LISTENING, b"LLEN", b"jobs::pending")
    traffic.send(POPPING, b"BRPOPLPUSH", b"jobs::pending", b"jobs::processing", b"3", reply=b"$-1\r\n")
    traffic.sent(POPPING, b"HGETALL", b"job::" + JOB)
    assert traffic.flagged == ["CON-1", "CON-2"]


# --- mode simple, and modes mixed -------------------------------------------------------------

ENVELOPE = b'{"id":"%b","_reply_to":"%b","_queued":1795434940.83741,"data":{"op":"echo"}}' % (JOB, OWNER)
REPLY = b'{"id":"%b","result":1,"_started":1795434940.9,"_processed":1795434941}' % JOB


def test_simple() -> None:
    traffic = Traffic()
    traffic.listen()
    traffic.send(CLIENT, b"LPUSH", b"jobs::pending", ENVELOPE, reply=b":1\r\n")
    traffic.send(POPPING, b"BRPOP", b"jobs::pending", b"3", reply=array([b"jobs::pending", ENVELOPE]))
    traffic.send(WORKER, b"PUBLISH", b"client::" + OWNER, REPLY, reply=b":1\r\n")
    traffic.wait(60)
    assert traffic.end() == []
    assert len(traffic.follower.watch.jobs) == 0


@pytest.mark.parametrize(
    ("reply", "requirement"),
    [
        (REPLY.replace(b'"result":1', b'"nothing":1').replace(b'"nothing":1', b'"result":1,"error":{}'), "SIM-8"),
        (REPLY.replace(b'"result":1', b'"error":"no"'), "SIM-10"),
        (REPLY.replace(b"1795434941", b'"1795434941"'), "SIM-4"),
        (JOB, "SIM-8"),
    ],
)
def test_replies_that_are_none(reply: bytes, requirement: str) -> None:
    traffic = Traffic()
    traffic.listen()
    traffic.send(CLIENT, b"LPUSH", b"jobs::pending", ENVELOPE, reply=b":1\r\n")
    traffic.send(WORKER, b"PUBLISH", b"client::" + OWNER, reply, reply=b":1\r\n")
    assert traffic.flagged == [requirement]


def test_modes_mixed() -> None:
    envelope_among_ids = Traffic()
    envelope_among_ids.submit()
    envelope_among_ids.send(CLIENT, b"LPUSH", b"jobs::pending", ENVELOPE, reply=b":2\r\n")
    assert envelope_among_ids.flagged == ["QUE-6"]
    id_among_envelopes = Traffic()
    id_among_envelopes.listen()
    id_among_envelopes.send(CLIENT, b"LPUSH", b"jobs::pending", ENVELOPE, reply=b":1\r\n")
    id_among_envelopes.send(CLIENT, b"LPUSH", b"jobs::pending", OWNER, reply=b":2\r\n")
    assert id_among_envelopes.flagged == ["SIM-1"]
    taken = Traffic()
    taken.listen()
    taken.send(CLIENT, b"LPUSH", b"jobs::pending", ENVELOPE, reply=b":1\r\n")
    taken.send(POPPING, b"BRPOPLPUSH", b"jobs::pending", b"jobs::processing", b"3", reply=bulk(ENVELOPE))
    taken.send(WORKER, b"HGETALL", b"job::" + ENVELOPE, reply=b"*0\r\n")
    assert taken.flagged == ["QUE-6", "QUE-6"]
    told = Traffic(mode="simple")
    told.submit()
    assert told.flagged == ["SIM-6", "SIM-1"]


# --- errors, extensions, others ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "words", "error", "requirement"),
    [
        (WORKER, (b"HGETALL", b"job::" + JOB), b"WRONGTYPE Operation", "ERR-10"),
        (POPPING, (b"BRPOPLPUSH", b"jobs::pending", b"jobs::processing", b"3"), b"WRONGTYPE Operation", "QUE-1"),
        (CLIENT, (b"HMSET", b"job::x", b"_reply_to", OWNER), b"NOPERM no", "SUB-12"),
        (WORKER, (b"PUBLISH", b"client::" + OWNER, JOB), b"NOPERM no", "CON-5"),
    ],
)
def test_errors(connection: int, words: tuple[bytes, ...], error: bytes, requirement: str) -> None:
    traffic = Traffic()
    traffic.submit()
    traffic.take()
    traffic.finish()
    traffic.announce()
    traffic.remove()
    traffic.send(connection, *words, reply=b"-" + error + b"\r\n")
    assert traffic.flagged[-1:] == [requirement]


def test_null_without_a_length_and_what_is_not_resp() -> None:
    traffic = Traffic()
    follower = traffic.follower
    (step,) = follower.broken(1.0, CLIENT, ">", "not a number: b''", b"*2\r\n$1\r\na\r\n$\r\n\r\n")
    assert [flag.requirement for flag in step.flags] == ["NUM-7"]
    (step,) = follower.broken(1.0, WORKER, "<", "not a number: b'x'", b"*x\r\n")
    assert [flag.requirement for flag in step.flags] == ["RESP"]


def test_the_script_that_completes_is_known() -> None:
    traffic = Traffic()
    traffic.submit()
    own = b"jobs::processing::w1"
    traffic.send(POPPING, b"BRPOPLPUSH", b"jobs::pending", own, b"3", reply=bulk(JOB))
    keys, args = (own, b"job::" + JOB), (JOB, b"client::" + OWNER, b"Tdone", NOW, NOW)
    steps = traffic.send(WORKER, *COMPLETE.call(keys, *args), reply=b":1\r\n")
    assert steps[0].about == "script COMPLETE"
    assert steps[0].job == JOB.decode()
    assert [field.name for field in steps[0].fields] == ["result", "_processed", "_started"]
    traffic.collect()
    traffic.wait(60)
    assert traffic.end() == []
    wrong = Traffic()
    wrong.submit()
    wrong.send(WORKER, *COMPLETE.call(keys, JOB, b"client::x", b"Sdone", NOW, NOW), reply=b":1\r\n")
    assert wrong.flagged == ["RES-1", "CMP-7"]


def test_joined_forms_are_known() -> None:
    traffic = Traffic()
    traffic.listen()
    names = [b"job-%d" % number for number in range(70)]
    for name in names:
        traffic.send(CLIENT, b"HMSET", b"job::" + name, b"_reply_to", OWNER, b"_queued", NOW, b"text_op", b"echo")
    traffic.send(CLIENT, b"LPUSH", b"jobs::pending", *names, reply=b":70\r\n")
    own = b"jobs::processing::w1"
    taken = traffic.send(POPPING, *TAKE_MANY.call((b"jobs::pending", own), b"70"), reply=array(names))
    assert taken[-1].about == "70 entries"
    assert traffic.follower.watch.jobs.taken == 70
    completion = (b"client::" + OWNER, b"Tdone", NOW, NOW)
    call = COMPLETE_MANY.call((own, *(b"job::" + name for name in names)), *completion * 70)
    codes = b"*70\r\n" + b":2\r\n" * 68 + b":0\r\n" + b"-WRONGTYPE x\r\n"
    steps = traffic.send(WORKER, *call, reply=codes)
    assert steps[0].about == "script COMPLETE_MANY, 70 jobs"
    assert (steps[1].job, steps[1].about) == ("job-68", "nothing written: the job was given away")
    assert traffic.follower.watch.jobs.completed == 68
    for name in names[:68]:
        traffic.send(5, b"HMGET", b"job::" + name, b"result", reply=array([b"Tdone"]))
        traffic.send(5, b"DEL", b"job::" + name, reply=b":1\r\n")
    traffic.wait(60)
    assert traffic.end() == []
    assert len(traffic.follower.watch.jobs) == 2
    wrong = Traffic()
    wrong.submit()
    keys = (own, b"job::" + JOB, b"job::b")
    wrong.send(
        WORKER, *COMPLETE_MANY.call(keys, b"client::x", b"Sdone", NOW, NOW, *completion), reply=b"*2\r\n:1\r\n:1\r\n"
    )
    assert wrong.flagged == ["RES-1", "CMP-7"]


def test_other_programs_are_left_alone() -> None:
    traffic = Traffic()
    for words in (
        (b"SET", b"a", b"1"), (b"LPUSH", b"tasks", b"x"), (b"HSET", b"user:1", b"name", b"x"), (b"DEL", b"a"),
        (b"PUBLISH", b"news", b"x"), (b"EVAL", b"return 1", b"0"), (b"HMSET", b"h", b"result", b"x"), (b"GET",),
    ):  # fmt: skip
        traffic.send(9, *words, reply=b"-ERR something of theirs\r\n")
    assert traffic.end() == []
    assert traffic.follower.links[9].role == "other"


def test_every_requirement_that_can_be_flagged_is_one() -> None:
    """Whatever the code names stands in PROTOCOL.md."""
    import re

    known = {requirement.id for requirement in load_document().requirements} | {"RESP"}
    folder = Path(Linter.__init__.__code__.co_filename).parent
    named: set[str] = set()
    for path in (*folder.glob("*.py"), *folder.with_name("tap").glob("*.py")):
        named |= set(re.findall(r'"([A-Z]{2,3}-\d+)"', path.read_text()))
    assert len(named) > 50
    assert named <= known


# --- values, passwords, memory ----------------------------------------------------------------


def test_values_are_hidden_unless_asked_for() -> None:
    def texts(values: bool) -> str:
        traffic = Traffic(values=values)
        traffic.submit(b"text_op", b"s3cret-text", b"json_a", b'["s3cret-json"', b"_x", b"s3cret-meta")
        traffic.take()
        traffic.finish(b'J"s3cret-result"')
        traffic.send(5, b"HMGET", b"job::" + JOB, b"result", reply=array([b"Ts3cret-result"]))
        traffic.send(9, b"LPUSH", b"else::where", b"s3cret-entry")
        return repr(traffic.steps)

    assert "s3cret" not in texts(False)
    assert {"s3cret-text", "s3cret-meta", "s3cret-result"} <= set(__import__("re").findall(r"s3cret-\w+", texts(True)))


@pytest.mark.parametrize(
    "words",
    [
        (b"AUTH", b"hunter2"), (b"auth", b"me", b"hunter2"), (b"HELLO", b"3", b"AUTH", b"me", b"hunter2"),
        (b"CONFIG", b"SET", b"requirepass", b"hunter2"), (b"ACL", b"SETUSER", b"me", b">hunter2"),
        (b"AUTHX", b"hunter2"), (b"hunter2-PASSWORD",),
    ],
)  # fmt: skip
def test_passwords_are_never_shown(words: tuple[bytes, ...]) -> None:
    traffic = Traffic(values=True)
    error = b"-ERR unknown command 'AUTHX', with args beginning with: 'hunter2' \r\n"
    traffic.send(1, *words, reply=error)
    assert "hunter2" not in repr(traffic.steps)


def test_memory_is_bounded() -> None:
    table = JobTable(max_jobs=100, max_finished=50, patience=5)
    traffic = Traffic(jobs=table)
    for number in range(5000):
        job_id = b"job-%d" % number
        traffic.sent(CLIENT, b"HMSET", b"job::" + job_id, b"_reply_to", OWNER, b"_queued", NOW)
        traffic.sent(CLIENT, b"LPUSH", b"jobs::pending-%d" % number, job_id)
        traffic.sent(WORKER, b"HMSET", b"job::" + job_id, b"result", b"Tx", b"_processed", NOW)
        traffic.heard(CLIENT, b"+OK\r\n:1\r\n")
    assert len(table) <= 100
    assert table.forgotten > 0
    assert len(table._due) <= 400
    assert len(table._finished) <= 50
    before = len(traffic.flags)
    traffic.send(WORKER, b"PUBLISH", b"client::" + OWNER, b"job-1", reply=b":0\r\n")
    assert len(traffic.flags) == before, "what was forgotten is not judged"


def test_replies_that_nobody_waits_for_and_commands_that_nobody_answers() -> None:
    traffic = Traffic()
    for _ in range(100_010):
        traffic.sent(1, b"PING")
    assert traffic.follower.links[1].lost
    assert len(traffic.follower.links[1].waiting) == 0


# --- whatever passes --------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        JOB, OWNER, b"job::" + JOB, b"job::", b"client::" + OWNER, b"client::", b"jobs::pending", b"pending", b"",
        b"jobs::processing", b"jobs::processing::w", b"_reply_to", b"_queued", b"_started", b"_processed", b"_accept",
        b"result", b"text_a", b"sereal_a", b"json_a", NOW, b"0", b"1", b"-1", b"Tx", b"J[]", b"Jx", ENVELOPE, REPLY,
        b'{"id":1,"_reply_to":[],"data":5}', b'{"id":"\\ud800","result":1}', b"\xff\xfe", b"LEFT", COMPLETE.sha, b"2",
        b"99", b"REPLY", b"OFF", b"=\xf3rl\x05\x00\x01", b"=\xf3rl\x05\x00" + b"\x28" * 40,
    ]
)  # fmt: skip
NAMES = st.sampled_from(
    b"HMSET HSET LPUSH RPUSH PUBLISH LREM DEL UNLINK EVAL EVALSHA BRPOPLPUSH BRPOP BLMOVE RPOP HGETALL HMGET HGET "
    b"SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE MULTI EXEC DISCARD RESET CLIENT MONITOR AUTH EXPIRE SET LRANGE SCAN X".split()
)
COMMANDS = st.builds(lambda name, words: [name, *words], NAMES, st.lists(WORDS, max_size=9))
SCALARS = st.one_of(
    WORDS, st.none(), st.integers(), st.booleans(), st.floats(), st.just(b"QUEUED"), st.just(b"OK"),
    st.builds(RespError, st.sampled_from([b"WRONGTYPE x", b"NOSCRIPT", b"", b"ERR \xff"])),
)  # fmt: skip
REPLIES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(Push),
        st.lists(st.tuples(inner, inner), max_size=3).map(Map),
        st.tuples(st.sampled_from([b"message", b"subscribe", b"unsubscribe"]), inner, inner).map(list),
    ),
    max_leaves=12,
)
FRAMES = st.one_of(
    st.tuples(st.just(">"), COMMANDS),
    st.tuples(st.just(">"), REPLIES),
    st.tuples(st.just("<"), REPLIES),
    st.tuples(st.just("wait"), st.floats(0, 20)),
    st.tuples(st.sampled_from(["close", "broken"]), st.sampled_from(["<", ">"])),
)


@given(st.lists(st.tuples(st.integers(1, 4), FRAMES), max_size=40), st.booleans())
@settings(max_examples=250)
def test_whatever_passes_is_no_trouble(events: list[tuple[int, tuple[str, Any]]], values: bool) -> None:
    traffic = Traffic(values=values)
    follower, t = traffic.follower, 0.0
    for connection, (kind, value) in events:
        t += 0.1
        if kind == "wait":
            t += value
            follower.tick(t)
        elif kind == "close":
            follower.closed(t, connection, value)
        elif kind == "broken":
            follower.broken(t, connection, value, "why", b"$\r\n")
        else:
            raw = pack([word for word in value if isinstance(word, bytes)]) if isinstance(value, list) else b""
            follower.frame(t, connection, kind, Frame(value, raw))  # type: ignore[arg-type]  # drawn
    follower.end(t)
    follower.summary(t)
    assert follower.faults == 0
