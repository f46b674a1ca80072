"""Each command against a real server, in this process."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

import jobwire
from jobwire import cli, fast, sereal, sync
from jobwire.cli import common
from jobwire.cli.doctor import cluster, eviction, perl_stack, version
from jobwire.limits import DEFAULT_LIMITS
from jobwire.options import build_mode
from jobwire.wire import Keyspace, encode_job, encode_result, scripts
from jobwire.wire import workers as fleet
from jobwire.wire.dead_letters import drop_dead, encode_rejected
from jobwire.wire.probe import client_commands, script_commands, worker_commands
from jobwire.wire.scripts import Script

Run = Callable[..., Any]


@pytest.fixture
def worker(redis_url: str) -> Iterator[sync.Worker]:
    worker = sync.Worker(redis_url, job_poll_interval=0.2, processing_queue="processing")

    @worker.handler
    def work(job: jobwire.Job) -> object:
        if "fail" in job.data:
            raise ValueError("as asked")
        if "value" in job.data:
            return job.data["value"]
        return str(job.data.get("text", ""))[::-1]

    with worker:
        yield worker


def put_job(redis: redis_py.Redis, job_id: str, queue: str | None = "jobs::pending", **fields: bytes) -> None:
    encoded = encode_job({"text": "abc", "list": [1, "é"]}, reply_to="me", queued=time.time())
    redis.hset(f"job::{job_id}", mapping={**encoded, **{name.encode(): value for name, value in fields.items()}})
    if queue is not None:
        redis.lpush(queue, job_id)


# -- submit


def test_submit_prints_text_as_it_is(run: Run, worker: sync.Worker) -> None:
    assert run("submit", "text=é and more") == (0, "erom dna é\n", "")


def test_submit_prints_other_values_as_json(run: Run, worker: sync.Worker) -> None:
    outcome = run("submit", "--json", '{"value": {"a": [1, null, "é"]}}')
    assert outcome == (0, '{"a": [1, null, "é"]}\n', "")


def test_submit_mixes_pairs_and_json(run: Run, worker: sync.Worker) -> None:
    assert run("submit", "text=ab", "--json", '{"other": 1}').out == "ba\n"


def test_submit_says_that_the_job_failed(run: Run, worker: sync.Worker) -> None:
    assert run("submit", "fail=1") == (1, "", "jobwire submit: ValueError: as asked\n")


def test_submit_says_why_nobody_answered(run: Run) -> None:
    outcome = run("submit", "--timeout", "0.1", "text=a")
    assert outcome.code == 1
    assert "within 0.1 s" in outcome.err
    assert outcome.err.count("\n") == 1


def test_submit_without_waiting(run: Run, redis: redis_py.Redis) -> None:
    outcome = run("submit", "--no-wait", "--queue", "other", "text=abc")
    assert (outcome.code, outcome.err) == (0, "")
    assert redis.lrange("jobs::other", 0, -1) == [outcome.out.strip().encode()]
    assert redis.hget(f"job::{outcome.out.strip()}", "text_text") == b"abc"


@pytest.mark.parametrize("mode", ["recoverable", "simple"])
def test_submit_in_other_modes(run: Run, redis: redis_py.Redis, mode: str) -> None:
    assert run("submit", "--no-wait", "--mode", mode, "text=abc").code == 0
    assert redis.llen("jobs::pending") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pair"], "not KEY=VALUE"),
        (["=x"], "not KEY=VALUE"),
        (["a=1", "a=2"], "given twice"),
        (["--json", "{"], "no JSON"),
        (["--json", "[1]"], "must be an object"),
        (["_reply_to=x"], "reserved"),
        (["--timeout", "0"], "timeout"),
        (["--url", "http://x"], "redis://"),
    ],
)
def test_submit_asked_for_wrongly(run: Run, arguments: list[str], words: str) -> None:
    outcome = run("submit", *arguments)
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.count("\n") == 1


def test_no_server(run: Run, unused_tcp_port: int) -> None:
    url = f"redis://user:hidden@127.0.0.1:{unused_tcp_port}"
    for command in (["submit", "a=b"], ["top", "--once"], ["job", "x"], ["doctor"], ["dead", "list"]):
        outcome = run(*command, "--url", url)
        assert outcome.code == 3
        assert "hidden" not in outcome.err
        assert outcome.err.count("\n") == 1


# -- top


def test_top_on_an_empty_server(run: Run) -> None:
    assert run("top", "--once") == (0, "no queues, no workers\n", "")
    assert json.loads(run("top", "--once", "--json").out)["prefixes"] == []


@pytest.fixture
def populated(redis: redis_py.Redis) -> None:
    redis.lpush("jobs::pending", "1", "2", "3")
    redis.lpush("jobs::high", "4")
    redis.lpush("jobs::processing", "5")
    redis.lpush("jobs::processing::alive", "6", "7")
    redis.lpush("jobs::processing::gone", "8")
    redis.sadd("jobs::workers", "alive", "idle", "gone")
    redis.set("jobs::worker::alive", "nonce", px=30_000)
    redis.set("jobs::worker::idle", "nonce", px=30_000)
    redis.lpush("jobs::dead", "9")
    redis.lpush("jobs::rejected", "{}", "{}")
    redis.hset("jobs::attempts", "9", 2)
    redis.lpush("jobs::sub::pending", "10")
    redis.lpush("pending", "11", "12")
    redis.lpush("somebody else's list", "x")


def test_top_as_json(run: Run, populated: None) -> None:
    prefixes = {state["prefix"]: state for state in json.loads(run("top", "--once", "--json").out)["prefixes"]}
    assert prefixes.keys() == {"", "jobs", "jobs::sub"}
    jobs = prefixes["jobs"]
    assert jobs["queues"] == [{"name": "high", "length": 1}, {"name": "pending", "length": 3}]
    assert jobs["processing"] == 1
    assert jobs["own"] == [{"worker": "alive", "length": 2}, {"worker": "gone", "length": 1}]
    beats = {worker["id"]: worker["heartbeat"] for worker in jobs["workers"]}
    assert 25 < beats["alive"] <= 30
    assert 25 < beats["idle"] <= 30
    assert beats["gone"] is None
    assert (jobs["dead"], jobs["rejected"], jobs["attempts"]) == (1, 2, 1)
    assert prefixes["jobs::sub"]["queues"] == [{"name": "pending", "length": 1}]
    assert prefixes[""]["queues"] == [{"name": "pending", "length": 2}]


def test_top_as_text(run: Run, populated: None) -> None:
    text = run("top", "--once").out
    assert "(no prefix)" in text
    assert "worker gone: no sign of life" in text
    assert "worker alive: alive, 30 s left" in text or "worker alive: alive, 29 s left" in text
    assert "2  rejected" in text
    assert "\x1b" not in text


def test_top_takes_no_foreign_key_for_ours(run: Run, redis: redis_py.Redis) -> None:
    redis.sadd("workers", "somebody")
    redis.lpush("dead", "x")
    redis.lpush("a::b::c", "x")
    assert run("top", "--once").out == "no queues, no workers\n"
    redis.lpush("processing::w", "1")
    assert json.loads(run("top", "--once", "--json").out)["prefixes"][0]["own"] == [{"worker": "w", "length": 1}]


def test_top_of_chosen_prefixes(run: Run, populated: None) -> None:
    chosen = json.loads(run("top", "--once", "--json", "--prefix", "jobs::sub", "--prefix", "none").out)["prefixes"]
    assert [(state["prefix"], len(state["queues"])) for state in chosen] == [("jobs::sub", 1), ("none", 0)]


def test_top_goes_on(run: Run, populated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    async def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "sleep", sleep)
    outcome = run("top", "--json", "--interval", "0.5")
    assert looks == [0.5] * 3
    assert len(outcome.out.splitlines()) == 3
    assert outcome.code == 130


def test_a_hostile_name_cannot_forge_a_line(run: Run, redis: redis_py.Redis) -> None:
    redis.lpush(b"jobs\n\x1b[31mfake::pending", "1")
    text = run("top", "--once").out
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3


# -- job


def test_job_that_waits(run: Run, redis: redis_py.Redis) -> None:
    put_job(redis, "one")
    put_job(redis, "two")
    text = run("job", "two").out
    assert "two  queued, 1 ahead of it, 2 in the queue" in text
    assert "data       text = 'abc'" in text
    assert "reply to   me" in text


def test_job_as_json(run: Run, redis: redis_py.Redis) -> None:
    put_job(redis, "one", None, result=encode_result({"a": 1}), _worker=b"w", _processed=b"1500000000.5")
    report = json.loads(run("job", "one", "--json").out)
    assert report["state"]["place"] == "processed"
    assert report["result"] == {"a": 1}
    assert report["job"]["data"] == {"text": "abc", "list": [1, "é"]}
    assert report["job"]["processed"] == 1500000000.5


def test_job_that_failed(run: Run, redis: redis_py.Redis) -> None:
    put_job(redis, "one", "jobs::dead", result=b'E{"type":"ValueError","message":"x"}', _error=b"ValueError: x")
    text = run("job", "one").out
    assert "failure    'ValueError: x'" in text
    assert "error      'ValueError: x'" in text


def test_job_in_a_worker_s_own_list(run: Run, redis: redis_py.Redis) -> None:
    put_job(redis, "one", "jobs::processing::w", _worker=b"w")
    text = run("job", "one").out
    assert text.startswith("one  started")
    assert "worker     w" in text


def test_job_that_cannot_be_read(run: Run, redis: redis_py.Redis) -> None:
    redis.hset("job::bad", mapping={"_reply_to": "me", "_queued": "1", "sereal_x": b"junk\x00\x1b"})
    text = run("job", "bad").out
    assert "unreadable" in text
    assert "sereal_x" in text
    assert "\x1b" not in text
    assert json.loads(run("job", "bad", "--json").out)["fields"]["b'sereal_x'"] == {"$bytes": "anVuawAb"}


def test_job_that_would_be_too_large_on_the_screen(run: Run, redis: redis_py.Redis) -> None:
    value: object = ["lol"]
    for _ in range(60):
        value = [value, value]
    redis.hset("job::one", mapping={b"_reply_to": b"c", b"sereal_value": sereal.dumps(value)})
    assert "max_items" in run("job", "one").out
    assert "max_items" in json.loads(run("job", "one", "--json").out)["unreadable"]


def test_job_that_is_not_there(run: Run) -> None:
    outcome = run("job", "nope")
    assert outcome.code == 1
    assert "there is no job 'nope'" in outcome.err


def test_job_that_is_no_hash(run: Run, redis: redis_py.Redis) -> None:
    redis.set("job::odd", "x")
    assert run("job", "odd").code == 3


def test_the_beginning_of_an_id_is_enough(run: Run, redis: redis_py.Redis) -> None:
    ids = [f"0123456{digit}-aaaa-4000-8000-00000000000{digit}" for digit in "789"]
    for job_id in ids:
        put_job(redis, job_id)
    put_job(redis, "*odd[x]^-")
    assert run("job", "01234568").out.startswith(ids[1])
    assert run("job", "*odd").out.startswith("'*odd[x]^-'") or run("job", "*odd").out.startswith("*odd")
    several = run("job", "012345")
    assert several.code == 2
    assert "several jobs begin so" in several.err
    assert run("job", "0123456?").code == 1


def test_a_dead_job_shows_its_traceback(run: Run, redis: redis_py.Redis) -> None:
    story = b"ValueError: x\n-- traceback\nTraceback (most recent call last):\n  File \x1b[31m\n"
    put_job(redis, "one", "jobs::dead", _error=story)
    text = run("job", "one").out
    assert "error      'ValueError: x'" in text
    assert "Traceback (most recent call last):" in text
    assert "\x1b" not in text
    assert "Traceback" not in run("dead", "list").out


def test_text_is_shown_as_text(run: Run, redis: redis_py.Redis) -> None:
    fields = encode_job({"名前": "日本\u202e語", "odd": b"\xff"}, reply_to="é", queued=1.0)
    redis.hset("job::one", mapping=fields)
    redis.lpush("jobs::日本", "one")
    redis.lpush("jobs::pending", "two")
    text = run("job", "one", "--queue", "日本").out
    assert "名前 = '日本\\u202e語'" in text
    assert "reply to   é" in text
    assert "\u202e" not in text
    assert "日本" in run("top", "--once").out


def test_a_job_is_aborted(run: Run, redis: redis_py.Redis) -> None:
    put_job(redis, "waits")
    put_job(redis, "runs", "jobs::processing", _started=b"1")
    assert run("job", "waits", "--abort").code == 2
    assert "deleted" in run("job", "waits", "--abort", "--yes").out
    assert not redis.exists("job::waits")
    assert "asked to cancel" in run("job", "runs", "--abort", "--yes").out
    assert redis.smembers("jobs::aborts") == {b"runs"}
    assert redis.ttl("jobs::aborts") > 3000
    assert run("job", "none", "--abort", "--yes").code == 1


# -- jobs


def test_jobs_of_every_kind(run: Run, redis: redis_py.Redis) -> None:
    for number in range(30):
        put_job(redis, f"waiting{number:02}")
    put_job(redis, "own", "jobs::processing::w", _worker=b"w", _started=b"%.3f" % (time.time() - 7500))
    put_job(redis, "shared", "jobs::processing")
    put_job(redis, "bad", "jobs::dead", _error=b"ValueError: x\n-- traceback\nstory", _attempts=b"2")
    redis.sadd("jobs::workers", "w", "idle")
    redis.hset("jobs::hosts", "w", '{"host": "web1", "pid": 7}')
    text = run("jobs").out
    assert "running: 2" in text
    assert re.search(r"own +2h05m +by web1:7 +text=abc list=\[1, 'é'\]".replace("text=abc", "text='abc'"), text)
    assert re.search(r"shared +0.\ds ", text)
    assert "waiting: 30" in text
    assert text.index("waiting00") < text.index("waiting01")
    assert "waiting20" not in text
    assert "… 10 more of 30 (--limit)" in text
    assert re.search(r"bad +0.\ds +attempt 3 +'ValueError: x'", text)
    assert "story" not in text
    only = run("jobs", "--waiting", "--limit", "2").out.splitlines()
    assert len(only) == 4
    listed = json.loads(run("jobs", "--dead", "--json").out)
    assert (listed[0]["total"], listed[0]["jobs"][0]["error"]) == (1, "ValueError: x")


def test_jobs_that_cannot_be_shown_are_listed(run: Run, redis: redis_py.Redis) -> None:
    redis.lpush("jobs::pending", "gone")
    redis.set("job::text", "x")
    redis.lpush("jobs::pending", "text")
    redis.hset("job::junk", mapping={"_reply_to": "me", "sereal_x": b"junk\x1b[2J"})
    redis.lpush("jobs::pending", "junk")
    redis.hset("job::wide", mapping={"_reply_to": "me", **{f"text_{number}": "x" for number in range(2000)}})
    redis.lpush("jobs::pending", "wide", b"\xff\x1b")
    text = run("jobs", "--waiting").out
    assert "its hash is gone" in text
    assert "2001 fields" in text
    assert "\x1b" not in text
    assert len(text.splitlines()) == 6


def test_no_jobs(run: Run) -> None:
    assert run("jobs").out.splitlines() == ["running: 0", "waiting: 0", "dead: 0"]


# -- rejected


@pytest.fixture
def rejected(redis: redis_py.Redis) -> None:
    for entry in (b"\xff\x00first", b"second"):
        record = encode_rejected(entry, queue=b"jobs::pending", worker="w", reason="it is\nodd", at=1.5e9)
        redis.lpush("jobs::rejected", record)


def test_rejected_list(run: Run, rejected: None) -> None:
    lines = run("rejected", "list").out.splitlines()
    assert len(lines) == 2
    assert "second" in lines[0]
    assert r"it is\nodd" in lines[0]
    assert "2017-07-14T02:40:00Z" in lines[0]
    listed = json.loads(run("rejected", "list", "--json", "--limit", "1").out)
    assert [one["entry"] for one in listed] == [{"$bytes": "c2Vjb25k"}]


def test_rejected_show(run: Run, rejected: None) -> None:
    assert r"entry   b'\xff\x00first'" in run("rejected", "show", "1").out
    assert json.loads(run("rejected", "show", "1", "--json").out)["reason"] == "it is\nodd"
    assert run("rejected", "show", "2").code == 1
    assert run("rejected", "show", "-1").code in (1, 2)


def test_rejected_requeue(run: Run, redis: redis_py.Redis, rejected: None) -> None:
    assert run("rejected", "requeue", "1").code == 0
    assert redis.lrange("jobs::pending", 0, -1) == [b"\xff\x00first"]
    assert run("rejected", "requeue", "0", "--to", "other").code == 0
    assert redis.lrange("jobs::other", 0, -1) == [b"second"]
    assert redis.llen("jobs::rejected") == 0
    assert run("rejected", "requeue", "0").code == 1


def test_a_record_that_is_none_of_ours(run: Run, redis: redis_py.Redis) -> None:
    redis.lpush("jobs::rejected", b"\x1bjunk")
    assert "no record of ours" in run("rejected", "list").out
    assert "junk" in run("rejected", "show", "0").out
    assert "unreadable" in json.loads(run("rejected", "show", "0", "--json").out)
    assert run("rejected", "requeue", "0").code == 1
    assert redis.llen("jobs::rejected") == 1


def test_all_rejected_entries_go_back_but_for_those_that_cannot(run: Run, redis: redis_py.Redis) -> None:
    for number in range(250):
        queue = b"jobs::attempts" if number in (0, 120, 249) else b"jobs::high" if number % 2 else b"jobs::pending"
        record = encode_rejected(b"%d" % number, queue=queue, worker="w", reason="no", at=1.5e9)
        redis.lpush("jobs::rejected", record)
    redis.lpush("jobs::rejected", b"\x1bjunk")
    redis.hset("jobs::attempts", "x", "1")
    done = run("rejected", "requeue", "--all")
    assert done.code == 1
    assert "4 could not be put back" in done.err
    assert re.search("'120' is left where it is: .*WRONGTYPE", done.out)
    assert "no record of ours" in done.out
    assert redis.llen("jobs::rejected") == 4
    odd = [b"%d" % number for number in range(250) if number % 2 and number != 249]
    assert redis.lrange("jobs::high", 0, -1) == odd[::-1], "the oldest is taken next"
    assert redis.llen("jobs::pending") == 123
    assert run("rejected", "requeue", "--all", "--to", "other").code == 1
    assert redis.llen("jobs::rejected") == 1
    assert run("rejected", "requeue").code == run("rejected", "requeue", "0", "--all").code == 2


# -- dead


@pytest.fixture
def dead(redis: redis_py.Redis) -> None:
    put_job(redis, "one", "jobs::dead", _error=b"ValueError: x")
    put_job(redis, "two", "jobs::dead", _error=b"y", _queue=b"jobs::high", _worker=b"w", _started=b"1")
    redis.hset("jobs::attempts", "one", 3)


def test_dead_list(run: Run, dead: None) -> None:
    assert run("dead", "list").out == "two  'y'\none  'ValueError: x'\n"
    assert json.loads(run("dead", "list", "--json").out)[0] == {"id": "two", "error": "y", "queue": "jobs::high"}


def test_dead_requeue(run: Run, redis: redis_py.Redis, dead: None) -> None:
    assert run("dead", "requeue", "--all") == (0, "one: back in jobs::pending\ntwo: back in jobs::high\n", "")
    assert redis.lrange("jobs::pending", 0, -1) == [b"one"]
    assert redis.lrange("jobs::high", 0, -1) == [b"two"]
    assert not redis.exists("jobs::dead", "jobs::attempts")
    assert not {b"_worker", b"_started", b"_error"} & set(redis.hkeys("job::two"))
    assert run("dead", "requeue", "one") == (1, "one: not among the dead\n", "")


@pytest.mark.parametrize("action", ["requeue", "drop"])
def test_all_dead_jobs_in_steps_but_for_those_that_cannot(run: Run, redis: redis_py.Redis, action: str) -> None:
    """What cannot be done for one is told, and does not stop the others."""
    ids = [f"j{number:04}" for number in range(1200)]
    for name in ids:
        put_job(redis, name, "jobs::dead", _error=b"x")
    redis.hset("jobs::attempts", mapping={"j0001": "1", "another": "2"})
    redis.hset("job::j0500", "_queue", "jobs::attempts")
    redis.delete("job::j0000", "job::j0700")
    done = run("dead", action, "--all", *(["--yes"] if action == "drop" else []))
    assert len(done.out.splitlines()) == 1200
    if action == "drop":
        assert done.code == 0
        assert redis.keys("job*") == [b"jobs::attempts"]
        return
    assert done.code == 1
    assert "j0000: its hash is gone, there is nothing to run; drop it\n" in done.out
    assert re.search("j0500: left where it is: .*WRONGTYPE", done.out)
    assert redis.lrange("jobs::dead", 0, -1) == [b"j0700", b"j0500", b"j0000"], "in their order"
    back = [name.encode() for name in ids if name not in ("j0000", "j0500", "j0700")]
    assert redis.lrange("jobs::pending", 0, -1) == back[::-1]


@pytest.fixture
def full(redis: redis_py.Redis) -> Iterator[None]:
    """A server without memory for anything more."""
    redis.config_set("maxmemory", "1")
    yield
    redis.config_set("maxmemory", "0")


def unwritable(redis: redis_py.Redis, why: str, request: pytest.FixtureRequest) -> None:
    if why == "no list":
        redis.set("jobs::elsewhere", "no list")
    else:
        request.getfixturevalue("full")


@pytest.mark.parametrize("why", ["no list", "out of memory"])
def test_what_cannot_be_written_into_its_queue_stays_where_it_is(
    run: Run, redis: redis_py.Redis, why: str, request: pytest.FixtureRequest
) -> None:
    put_job(redis, "one", "jobs::dead", _error=b"ValueError: x", _queue=b"jobs::elsewhere")
    redis.hset("jobs::attempts", "one", 3)
    record = encode_rejected(b"e", queue=b"jobs::elsewhere", worker="w", reason="no", at=1.0)
    redis.lpush("jobs::rejected", record)
    unwritable(redis, why, request)
    assert run("dead", "requeue", "one").code != 0
    assert run("rejected", "requeue", "0").code != 0
    assert redis.lrange("jobs::dead", 0, -1) == [b"one"]
    assert redis.hget("job::one", "_error") == b"ValueError: x"
    assert redis.hget("jobs::attempts", "one") == b"3"
    assert redis.lrange("jobs::rejected", 0, -1) == [record]


def test_an_attempts_key_that_is_no_hash_does_not_keep_a_dead_job_from_its_queue(
    run: Run, redis: redis_py.Redis, dead: None
) -> None:
    redis.set("jobs::attempts", "no hash")
    assert run("dead", "requeue", "one").code == 0
    assert redis.lrange("jobs::pending", 0, -1) == [b"one"]
    assert redis.lrange("jobs::dead", 0, -1) == [b"two"]


def test_a_drop_that_was_broken_off_can_be_done_again(run: Run, redis: redis_py.Redis, dead: None) -> None:
    for command in drop_dead(Keyspace("jobs"), b"one")[:-1]:
        redis.execute_command(*command)
    assert redis.lrange("jobs::dead", 0, -1) == [b"two", b"one"]
    assert run("dead", "drop", "--yes", "one").code == 0
    assert redis.lrange("jobs::dead", 0, -1) == [b"two"]


def test_a_dead_job_is_run_again(run: Run, redis: redis_py.Redis, dead: None, worker: sync.Worker) -> None:
    run("dead", "requeue", "one")
    deadline = time.monotonic() + 10
    while not (result := redis.hget("job::one", "result")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert result == b"Tcba"


def test_dead_drop(run: Run, redis: redis_py.Redis, dead: None) -> None:
    assert run("dead", "drop", "--yes", "one", "three").code == 1
    assert not redis.exists("job::one", "jobs::attempts")
    assert redis.lrange("jobs::dead", 0, -1) == [b"two"]
    assert run("dead", "drop", "--yes", "--all").code == 0
    assert not redis.exists("job::two", "jobs::dead")


def test_dead_without_a_hash(run: Run, redis: redis_py.Redis) -> None:
    redis.lpush("jobs::dead", "ghost")
    assert "(no reason given)" in run("dead", "list").out
    assert "hash is gone" in run("dead", "requeue", "ghost").out
    assert redis.llen("jobs::dead") == 1


def test_what_deletes_asks_and_lists_say_what_they_leave_out(run: Run, redis: redis_py.Redis) -> None:
    for number in range(5):
        put_job(redis, f"j{number}", "jobs::dead", _error=b"x")
        redis.lpush("jobs::rejected", b"odd")
    asked = run("dead", "drop", "--all")
    assert asked.code == 2
    assert "say --yes" in asked.err
    assert redis.llen("jobs::dead") == 5
    for name in ("dead", "rejected"):
        assert run(name, "list", "--limit", "3").out.splitlines()[3:] == ["… 2 more of 5 (--limit)"]
        assert len(run(name, "list").out.splitlines()) == 5


@pytest.mark.parametrize("arguments", [["requeue"], ["drop"], ["drop", "--all", "x"], ["drop", "0"], []])
def test_dead_asked_for_wrongly(run: Run, arguments: list[str]) -> None:
    assert run("dead", *arguments).code == 2


# -- doctor


def test_doctor(run: Run) -> None:
    outcome = run("doctor")
    assert outcome.code == 0, outcome
    checks = {line.split()[1]: line.split()[0] for line in outcome.out.splitlines()}
    server = {"server", "persistence", "eviction", "cluster", "permissions"}
    assert checks.keys() == server | {"compiled", "loop", "perl"}
    assert checks["compiled"] == ("warn" if any(map(fast.missing, fast.PARTS)) else "ok")
    assert checks["server"] == checks["eviction"] == checks["cluster"] == "ok"
    assert checks["persistence"] == "warn"


def test_doctor_says_why_there_is_no_compiled_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "_no_wire", "JOBWIRE_WIRE_PURE is set")
    outcome = run("doctor")
    assert outcome.code == 0
    assert "plain Python is in use (JOBWIRE_WIRE_PURE is set); install a wheel" in outcome.out


@pytest.mark.parametrize("mode", ["simple", "recoverable", "reliable"])
def test_doctor_finds_missing_permissions(run: Run, redis: redis_py.Redis, redis_url: str, mode: str) -> None:
    if int(str(redis.info()["redis_version"]).split(".")[0]) < 7:
        pytest.skip("LEFT OUT: this server has no ACL DRYRUN")
    redis.execute_command("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "&*", "+@all", "-publish", "-lpush")
    redis.execute_command("ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all", "-info", "-acl", "-config")
    redis.execute_command("ACL", "SETUSER", "walled", "on", ">pw", "~jobs::*", "&*", "+@all")
    try:
        narrow = run("doctor", "--mode", mode, "--url", redis_url.replace("://", "://narrow:pw@"))
        assert narrow.code == 1
        assert "lacks +lpush +publish" in narrow.out
        blind = run("doctor", "--mode", mode, "--url", redis_url.replace("://", "://blind:pw@"))
        assert blind.code == 0
        assert "cannot be checked" in blind.out
        assert "INFO is refused" in blind.out
        walled = run("doctor", "--mode", mode, "--url", redis_url.replace("://", "://walled:pw@"))
        assert walled.code == (0 if mode == "simple" else 1)
    finally:
        redis.execute_command("ACL", "DELUSER", "narrow", "blind", "walled")


def test_the_permissions_cover_what_the_scripts_call(redis: redis_py.Redis) -> None:
    found = [value for module in (scripts, fleet) for value in vars(module).values() if isinstance(value, Script)]
    called = {name.upper() for script in found for name in re.findall(rb"redis\.call\('(\w+)'", script.source)}
    samples = script_commands(Keyspace(), b"jobs::pending")
    assert len(found) > 8
    assert called <= {sample[0] for sample in samples}
    for sample in samples:  # and they are commands as the server takes them
        redis.execute_command(*sample)


@pytest.mark.parametrize("name", ["simple", "recoverable", "reliable"])
def test_the_samples_are_commands_that_the_server_takes(redis_url: str, name: str) -> None:
    mode = build_mode(name, dialect="0.004", prefix="jobs", use_multi=False, strings="auto", limits=DEFAULT_LIMITS)

    async def send() -> list[object]:
        async with common.connection_to(redis_url) as connection:
            commands = (*client_commands(mode, b"jobs::pending"), *worker_commands(mode, b"jobs::pending"))
            return list(await connection.call(*(command for command in commands if command[0] != b"SUBSCRIBE")))

    replies = asyncio.run(send())
    assert not [reply for reply in replies if isinstance(reply, Exception)]


def test_doctor_as_json(run: Run) -> None:
    assert {finding["check"] for finding in json.loads(run("doctor", "--json").out)} >= {"server", "perl"}


@pytest.mark.parametrize(
    ("info", "level", "word"),
    [
        ({"redis_version": "6.0.16"}, "fail", "too old"),
        ({"redis_version": "8.0.1"}, "ok", "Redis 8.0.1"),
        ({"server_name": "valkey", "redis_version": "7.2.4", "valkey_version": "9.0.0"}, "ok", "Valkey 9.0.0"),
        ({"redis_version": "7.2.4", "redict_version": "7.3.6", "redict_mode": "standalone"}, "ok", "redict 7.3.6"),
        ({}, "fail", "unknown"),
    ],
)
def test_versions(info: dict[str, str], level: str, word: str) -> None:
    finding = version(info)
    assert finding.level == level
    assert word in finding.message


@pytest.mark.parametrize(
    ("policy", "maxmemory", "level"),
    [
        ("noeviction", "100", "ok"),
        ("allkeys-lru", "100", "fail"),
        ("allkeys-lru", "0", "warn"),
        ("volatile-ttl", "100", "warn"),
    ],
)
def test_eviction(policy: str, maxmemory: str, level: str) -> None:
    assert eviction({"maxmemory_policy": policy, "maxmemory": maxmemory}).level == level


def test_eviction_unknown() -> None:
    assert eviction({}).level == "warn"


@pytest.mark.parametrize(
    ("info", "prefix", "level", "word"),
    [
        ({"cluster_enabled": "1"}, "jobs", "warn", "braces"),
        ({"cluster_enabled": "1"}, "{jobs}", "warn", "cannot follow"),
        ({"role": "slave"}, "jobs", "fail", "master"),
    ],
)
def test_cluster_and_role(info: dict[str, str], prefix: str, level: str, word: str) -> None:
    mode = build_mode(
        "reliable", dialect="0.004", prefix=prefix, use_multi=False, strings="auto", limits=DEFAULT_LIMITS
    )
    finding = cluster(info, mode)
    assert finding.level == level
    assert word in finding.message


async def test_perl(tmp_path: Path) -> None:
    assert (await perl_stack("no-such-perl")).level == "ok"
    fake = tmp_path / "perl"
    fake.write_text("#!/bin/sh\necho 'Job::Async 0.004'\n")
    fake.chmod(0o755)
    finding = await perl_stack(str(fake))
    assert finding.level == "warn"
    assert "Job::Async::Redis, Net::Async::Redis" in finding.message


@pytest.mark.parametrize(
    ("sereal", "level"),
    [("5.003", "ok"), ("5.011", "ok"), ("6.001", "warn"), ("7", "warn"), ("7.000_001", "warn"), ("12.1", "warn")],
)
async def test_perl_with_a_newer_sereal(tmp_path: Path, sereal: str, level: str) -> None:
    fake = tmp_path / "perl"
    known = ("Job::Async::Redis", "Job::Async", "Net::Async::Redis", "JSON::MaybeUTF8")
    lines = "".join(f"echo '{module} 1.0'\n" for module in known)
    fake.write_text(f"#!/bin/sh\n{lines}echo 'Sereal {sereal}'\n")
    fake.chmod(0o755)
    finding = await perl_stack(str(fake))
    assert finding.level == level
    assert f"Sereal {sereal}" in finding.message
    assert ("stay below 6, or load Jobwire::SerealProtocol first" in finding.message) == (level == "warn")


# -- the rest


def test_every_command_explains_itself(run: Run) -> None:
    overview = run("--help")
    assert overview.code == 0
    for name in cli.COMMANDS:
        assert re.search(rf"\n    {name}\s", overview.out)
        explained = run(name, "--help")
        assert explained.code == 0
        assert len(explained.out) > 300


def test_no_command(run: Run) -> None:
    assert run().code == 2
    assert run("nope").code == 2


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"jobwire {jobwire.__version__}\n", "")


# -- completion


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(run: Run, shell: str) -> None:
    script = run("completion", shell)
    assert script.code == 0
    for word in ("worker", "--processes", "rejected", "requeue"):
        assert word in script.out


def test_the_script_for_bash_completes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(run("completion", "bash").out)
    program = """
        source "$1"; COMP_WORDS=(jobwire wor); COMP_CWORD=1; COMP_LINE="jobwire wor"; COMP_POINT=11
        $(complete -p jobwire | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", program, "bash", str(tmp_path / "script")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["worker"]
