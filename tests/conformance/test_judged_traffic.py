"""The traffic of a case, judged by what ``start`` said: what the linter knows more of than ``jobwire tap`` does."""

from __future__ import annotations

from typing import Any

import pytest

from ci.script_names import missing
from jobwire_conformance.cases.templates import Seconds, make_value, timed
from jobwire_conformance.driver.protocol import Start
from jobwire_conformance.record.resp import Decoder, pack
from jobwire_conformance.record.transcripts import make_event
from jobwire_conformance.rules.facts import DIALECTS, FACTS, misunderstanding, shown_dialect, traits_of
from jobwire_conformance.rules.told import Claim
from jobwire_conformance.run.traffic import Judge, told_by

JOB, OWNER, NOW = b"863cee08-5ff9-4617-bfff-a9d8d3397b66", b"0e24088a-9688-46f2-1631-8378456bfe18", b"1795434940.83741"
KEY, CHANNEL = b"job::" + JOB, b"client::" + OWNER
SUBSCRIBED = b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (len(CHANNEL), CHANNEL)
#: Connections by peer and number; the client has 1 and 2, the worker 3 and 4, a second client 5.
ROLES = {1: "client", 2: "client", 3: "worker", 4: "worker", 5: "client2"}


class Exchange:
    """One job between peers that were told what to do. ``steps`` may be changed before they are judged."""

    def __init__(self, *, mode: str = "reliable", use_multi: bool = False, dialect: str = "0.004") -> None:
        common: dict[str, Any] = {"redis": "redis://x", "mode": mode, "dialect": dialect, "use_multi": use_multi}
        self.judge = Judge(mode)
        for name, role in (("client", "client"), ("client2", "client"), ("worker", "worker")):
            start = Start(role=role, processing_queue="processing", **common)  # type: ignore[arg-type]
            self.judge.told[name] = told_by(name, start)
        self.judge.watch.claims = {JOB: Claim()}
        self.t = 0.0

    def sends(self, connection: int, *words: bytes, reply: bytes = b"+OK\r\n") -> None:
        for direction, raw in ((">", pack(words)), ("<", reply)):
            for frame in Decoder().feed(raw):
                self.t += 0.001
                event = make_event(
                    t=self.t, connection=connection, role=ROLES[connection], direction=direction,
                    value=frame.value, raw=frame.raw,
                )  # fmt: skip
                self.judge.event(event)

    def listens(self, connection: int = 2) -> None:
        self.sends(connection, b"SUBSCRIBE", CHANNEL, reply=SUBSCRIBED)

    def writes(self, connection: int = 1) -> None:
        self.sends(connection, b"HMSET", KEY, b"_reply_to", OWNER, b"_queued", NOW, b"text_a", b"x")

    def pushes(self, connection: int = 1) -> None:
        self.sends(connection, b"LPUSH", b"jobs::pending", JOB, reply=b":1\r\n")

    def takes(self, into: bytes = b"jobs::processing") -> None:
        reply = b"$%d\r\n%b\r\n" % (len(JOB), JOB)
        self.sends(4, b"BRPOPLPUSH", b"jobs::pending", into, b"3", reply=reply)
        self.sends(3, b"HMSET", KEY, b"_started", NOW)

    def completes(self) -> None:
        self.sends(3, b"HMSET", KEY, b"_processed", NOW, b"result", b"Tx")
        self.sends(3, b"PUBLISH", CHANNEL, JOB, reply=b":1\r\n")
        self.sends(3, b"LREM", b"jobs::processing", b"1", JOB, reply=b":1\r\n")

    def flags(self, forgiven: frozenset[str] = frozenset({"deletion"})) -> list[str]:
        self.judge.end(forgiven)
        return [flag.requirement for flag in self.judge.flags]


def test_nothing_wrong() -> None:
    exchange = Exchange()
    exchange.listens()
    exchange.writes()
    exchange.pushes()
    exchange.takes()
    exchange.completes()
    assert exchange.flags() == []


def test_a_command_of_another_mode() -> None:
    exchange = Exchange()
    exchange.listens()
    exchange.writes()
    exchange.pushes()
    exchange.sends(1, b"PUBLISH", b"somewhere", b"x", reply=b":0\r\n")
    exchange.sends(3, b"SADD", b"jobs::workers", b"w", reply=b":1\r\n")  # an extension, in its own keyspace
    exchange.sends(3, b"SADD", b"other::workers", b"w", reply=b":1\r\n")
    assert exchange.flags() == ["MODE", "MODE"]
    assert "the client sent PUBLISH, which is no part of mode reliable" in exchange.judge.flags[0].what


@pytest.mark.parametrize("use_multi", [False, True])
def test_use_multi_as_start_said(use_multi: bool) -> None:
    for inside in (False, True):
        exchange = Exchange(use_multi=use_multi)
        exchange.listens()
        for connection, steps in ((1, (exchange.writes, exchange.pushes)), (3, (exchange.completes,))):
            if connection == 3:
                exchange.takes()
            if inside:
                exchange.sends(connection, b"MULTI")
            for step in steps:
                step()
            if inside:
                exchange.sends(connection, b"EXEC", reply=b"*0\r\n")
        wanted = [] if inside is use_multi else ["SUB-9"] * 2 + ["CMP-4"] * 3
        assert [name for name in exchange.flags() if name in {"SUB-9", "CMP-4"}] == wanted


def test_0_001_completes_in_multi_whatever_it_was_told() -> None:
    for use_multi in (False, True):
        start = Start(role="worker", redis="redis://x", dialect="0.001", use_multi=use_multi, processing_queue="p")
        told = told_by("worker", start)
        assert (told.use_multi, told.prefix, told.processing) == (None, b"", b"p")


def test_a_submission_that_is_claimed_and_not_made() -> None:
    nothing = Exchange()
    assert nothing.flags() == ["SUB-1"]
    written = Exchange()
    written.listens()
    written.writes()
    assert written.flags() == ["SUB-1"]
    twice = Exchange()
    twice.listens()
    twice.writes()
    twice.writes()
    twice.pushes()
    assert twice.flags() == ["SUB-1"]
    simple = Exchange(mode="simple")
    assert simple.flags() == ["SIM-1"]


def test_hash_and_id_on_two_connections() -> None:
    exchange = Exchange()
    exchange.listens(5)
    exchange.writes(1)
    exchange.pushes(2)
    assert exchange.flags() == ["SUB-1"]


def test_a_client_that_another_listens_for() -> None:
    exchange = Exchange()
    exchange.listens(5)
    exchange.writes()
    exchange.pushes()
    assert exchange.flags() == ["SUB-8"]


def test_a_job_moved_to_another_list() -> None:
    exchange = Exchange()
    exchange.listens()
    exchange.writes()
    exchange.pushes()
    exchange.takes(b"jobs::elsewhere")
    exchange.completes()
    assert exchange.flags()[0] == "CMP-2"


def test_steps_that_may_be_missing() -> None:
    def broken_off() -> Exchange:
        exchange = Exchange()
        exchange.listens()
        exchange.writes()
        exchange.pushes()
        exchange.takes()
        exchange.sends(3, b"HMSET", KEY, b"_processed", NOW, b"result", b"Tx")
        return exchange

    assert broken_off().flags() == ["CMP-7"]
    assert broken_off().flags(frozenset({"deletion", "notice"})) == []


def test_replies_are_not_judged() -> None:
    """The runner writes what it likes, also a job that no client would write."""
    exchange = Exchange()
    exchange.judge.watch.claims = {}
    exchange.sends(4, b"BRPOPLPUSH", b"jobs::pending", b"jobs::processing", b"3", reply=b"$2\r\nj1\r\n")
    exchange.sends(3, b"HGETALL", b"job::j1", reply=b"*2\r\n$3\r\nbad\r\n$1\r\nx\r\n")
    assert exchange.flags() == []


# --- tables -----------------------------------------------------------------------------------


def test_every_script_of_jobwire_is_known_by_name() -> None:
    assert missing() == {}, "python -m ci.script_names --write"


def test_traits_of_dialects() -> None:
    assert DIALECTS == ("0.001", "0.002", "0.003", "0.004", "master")
    assert FACTS["0.001"] == {"bare-queues", "untagged", "no-times"}
    assert FACTS["0.003"] == {"prefix", "typed-fields", "sereal", "tagged", "no-times"}
    assert FACTS["master"] - FACTS["0.004"] == {"reconnect"}
    assert traits_of("auto") == traits_of(None)
    assert traits_of(None).facts() == frozenset()
    assert (shown_dialect(), shown_dialect(untyped=True), shown_dialect(times=True)) == (None, "0.001", "0.004")


@pytest.mark.parametrize(
    ("client", "worker", "why"),
    [
        ("0.004", "master", None),
        ("0.001", "0.001", None),
        ("0.003", "0.001", "0.001 has queues without prefix"),
        ("0.003", "0.002", "0.002 writes results without a tag"),
        ("0.002", "0.003", "a 0.002 client does not know the tag"),
    ],
)
def test_who_understands_whom(client: str, worker: str, why: str | None) -> None:
    found = misunderstanding(client, worker)
    assert (found is None) is (why is None)
    assert found is None or found.startswith(why or "")


def test_jobs_last_longer_where_time_outs_do() -> None:
    data = make_value({"op": "sleep", "seconds": {"$seconds": 1.5}, "more": [{"$seconds": 1}], "value": 2})
    assert data["seconds"] == Seconds(1.5)
    assert timed(data, 3) == {"op": "sleep", "seconds": 4.5, "more": [3], "value": 2}
