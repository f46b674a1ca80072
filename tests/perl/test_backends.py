"""The Perl backends for the modes that Perl documents and never got: real processes, with each other and with 0.004."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import pytest
import redis as redis_py
from redis.client import PubSub

from tests.support.perl_peer import PEER, PerlJobFailed, PerlPeer, PerlPeerError, environment

StartPerl = Callable[..., Coroutine[Any, Any, PerlPeer]]
Mode = Literal["simple", "recoverable"]
MODES: tuple[Mode, ...] = ("simple", "recoverable")
STACKS = ("0.004", "master", "0.004+nar5")
QUEUES = ["high", "pending", "low"]


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("use_multi", [False, True])
@pytest.mark.parametrize("mode", MODES)
async def test_a_thousand_jobs_in_three_queues(
    perl: StartPerl, redis: redis_py.Redis, mode: Mode, use_multi: bool, stack: str
) -> None:
    # A transaction of Net::Async::Redis 5 costs some milliseconds.
    count = 1000 if not (use_multi and stack.endswith("nar5")) else 100
    common = {"dialect": stack, "mode": mode, "use_multi": use_multi}
    worker = await perl("worker", queues=QUEUES, max_concurrent_jobs=8, job_poll_interval=1, **common)
    client = await perl("client", **common)
    calls = [client.call({"op": "add", "first": n, "second": 1}, queue=QUEUES[n % 3]) for n in range(count)]
    results = await asyncio.gather(*calls)
    assert [str(result) for result in results] == [str(n + 1) for n in range(count)]
    await client.stop()
    assert (await worker.stop()).jobs == count
    assert redis.keys("*") == []


@pytest.mark.parametrize("mode", MODES)
async def test_queues_are_taken_in_order_of_priority(perl: StartPerl, redis: redis_py.Redis, mode: Mode) -> None:
    client = await perl("client", mode=mode)
    submissions = [
        client.submit({"op": "echo", "value": f"{queue} {n}"}, queue=queue)
        for queue in reversed(QUEUES)
        for n in (1, 2)
    ]
    for submission in submissions:
        await submission.job_id()
    assert [redis.llen(f"jobs::{queue}") for queue in QUEUES] == [2, 2, 2]
    worker = await perl("worker", mode=mode, queues=QUEUES)
    await worker.taken(6)
    assert [job.data["value"] for job in worker.jobs] == [f"{queue} {n}" for queue in QUEUES for n in (1, 2)]


@pytest.mark.parametrize(
    ("prefix", "key"), [("own", "own::pending"), ("", "pending"), ("0", "0::pending"), ("jobs", "jobs::pending")]
)
@pytest.mark.parametrize("mode", MODES)
async def test_prefix(perl: StartPerl, redis: redis_py.Redis, mode: Mode, prefix: str, key: str) -> None:
    client = await perl("client", mode=mode, prefix=prefix)
    submission = client.submit({"op": "echo", "value": "x"})
    await submission.job_id()
    assert redis.llen(key) == 1
    await perl("worker", mode=mode, prefix=prefix)
    assert await submission.result() == "x"


# --- simple: the wire ----------------------------------------------------------------------------


async def test_simple_submission_is_one_json_object(perl: StartPerl, redis: redis_py.Redis) -> None:
    client = await perl("client", mode="simple", id="the client")
    before = time.time()
    data = {"op": "echo", "value": {"text": "☺", "list": [1, "1", 0.5, True, False, None]}}
    await client.submit(data, id="the job").job_id()
    assert redis.keys("*") == [b"jobs::pending"]
    entries = redis.lrange("jobs::pending", 0, -1)
    assert isinstance(entries, list)
    envelope = json.loads(entries[0])
    queued = envelope.pop("_queued")
    assert envelope == {"id": "the job", "_reply_to": "the client", "data": data}
    assert before - 1 < queued < time.time() + 1


async def test_simple_answers_are_one_json_object(perl: StartPerl, redis: redis_py.Redis) -> None:
    worker = await perl("worker", mode="simple", max_concurrent_jobs=4)
    listening = PubSub(redis.connection_pool, ignore_subscribe_messages=True)
    listening.subscribe("client::me")
    assert listening.get_message(timeout=1) is None

    def answer_to(data: dict[str, Any]) -> dict[str, Any]:
        redis.lpush("jobs::pending", json.dumps({"id": "☺", "_reply_to": "me", "data": data}))
        message = listening.get_message(timeout=5)
        assert message is not None
        answer: dict[str, Any] = json.loads(message["data"])
        assert answer.pop("id") == "☺"
        assert 0 <= answer.pop("_processed") - answer.pop("_started") < 5
        return answer

    loop = asyncio.get_running_loop()
    expected: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (
            {"op": "echo", "value": {"a": [1, "1", 0.5, True, None, "é"]}},
            {"result": {"a": [1, "1", 0.5, True, None, "é"]}},
        ),
        ({"op": "echo", "value": None}, {"result": None}),
        ({"op": "nothing"}, {"result": None}),
        ({"op": "several"}, {"result": "one"}),
        ({"op": "true"}, {"result": True}),
        ({"op": "wide"}, {"result": "☺"}),
        ({"op": "keys", "b": 1, "a": 2}, {"result": ["a", "b"]}),
        ({"op": "fail", "message": "é"}, {"error": {"type": "fail", "message": "é"}}),
        ({"op": "die", "message": "ouch"}, {"error": {"type": "die", "message": "ouch"}}),
        (
            {"op": "object"},
            {"error": {"type": "result", "message": "JSON cannot hold an object of class Jobwire::Peer::Thing"}},
        ),
        (
            {"op": "latin1"},
            {
                "error": {
                    "type": "result",
                    "message": "JSON holds text, and this string is not valid UTF-8: mode reliable carries bytes",
                }
            },
        ),
    ]
    for data, answer in expected:
        assert await loop.run_in_executor(None, answer_to, data) == answer, data
    listening.close()
    assert len(await worker.taken(len(expected))) == len(expected)
    assert redis.keys("*") == []


async def test_simple_failures_reach_the_client_and_free_the_slot(perl: StartPerl) -> None:
    await perl("worker", mode="simple", timeout=0.3)
    client = await perl("client", mode="simple")
    for op, kind, error in [
        ("fail", "fail", "no"),
        ("die", "die", "no"),
        ("sleep", "timeout", "not done within 0.3 s"),
    ]:
        with pytest.raises(PerlJobFailed) as raised:
            await client.call({"op": op, "message": "no", "seconds": 5})
        assert raised.value.answer.kind == kind  # type: ignore[union-attr]  # Failed, not Timeout
        assert raised.value.answer.error == error
    assert await client.call({"op": "echo", "value": "x"}) == "x"


async def test_simple_refuses_what_json_cannot_hold(perl: StartPerl, redis: redis_py.Redis) -> None:
    client = await perl("client", mode="simple")
    with pytest.raises(PerlJobFailed, match="not valid UTF-8") as raised:
        await client.call({"op": "echo", "value": b"\xff"})
    assert raised.value.answer.kind == "submission"  # type: ignore[union-attr]  # Failed, not Timeout
    assert redis.keys("*") == []


# --- recoverable: the wire -----------------------------------------------------------------------


async def test_recoverable_leaves_a_hash_as_reliable_does_with_its_mark(perl: StartPerl, redis: redis_py.Redis) -> None:
    client = await perl("client", mode="recoverable", id="me")
    submission = client.submit({"op": "echo", "value": ["x"]}, id="job 1")
    await submission.job_id()
    fields = redis.hgetall("job::job 1")
    assert isinstance(fields, dict)
    assert set(fields) == {b"_reply_to", b"_queued", b"text_op", b"sereal_value"}
    assert fields[b"_reply_to"] == b"me"
    assert fields[b"text_op"] == b"echo"
    assert redis.lrange("jobs::pending", 0, -1) == [b"job 1"]
    client.process.kill()
    worker = await perl("worker", mode="recoverable")
    await worker.taken(1)
    await worker.stop()
    fields = redis.hgetall("job::job 1")
    assert isinstance(fields, dict)
    assert set(fields) == {
        b"_reply_to", b"_queued", b"text_op", b"sereal_value", b"_started", b"_processed", b"result",
        b"_worker", b"_queue",
    }  # fmt: skip
    assert fields[b"_queue"] == b"jobs::pending"
    assert fields[b"result"] == b'J["x"]'
    assert redis.keys("*") == [b"job::job 1"]


@pytest.mark.parametrize("pair", [("reliable", "recoverable"), ("recoverable", "reliable")])
@pytest.mark.parametrize("stack", STACKS)
async def test_recoverable_and_perls_own_classes(
    perl: StartPerl, redis: redis_py.Redis, stack: str, pair: tuple[str, str]
) -> None:
    worker = await perl("worker", dialect=stack, mode=pair[1], max_concurrent_jobs=4, job_poll_interval=1)
    client = await perl("client", dialect=stack, mode=pair[0])
    assert await client.call({"op": "echo", "value": b"\xff"}) == b"\xff"
    assert await client.call({"op": "echo", "value": {"a": [1, None]}}) == {"a": [1, None]}
    sums = await asyncio.gather(*(client.call({"op": "add", "first": n, "second": 1}) for n in range(200)))
    assert sums == [str(n + 1) for n in range(200)]
    await client.stop()
    await worker.stop()
    assert redis.keys("*") == []


async def test_recoverable_failures_publish_nothing_and_free_the_slot(perl: StartPerl, redis: redis_py.Redis) -> None:
    worker = await perl("worker", mode="recoverable", timeout=0.3, job_poll_interval=1)
    client = await perl("client", mode="recoverable")
    failing = [client.submit({"op": op, "message": "no", "seconds": 5}) for op in ("fail", "die", "sleep", "object")]
    assert await client.call({"op": "echo", "value": "x"}) == "x"
    ids = [str(await submission.job_id()).encode() for submission in failing]
    assert not any(submission.outcome.done() for submission in failing)
    assert redis.lrange("jobs::dead", 0, -1) == ids[::-1]
    errors = [redis.hget(b"job::" + job_id, "_error") for job_id in ids]
    assert errors[:3] == [b"no", b"die: no", b"timeout: not done within 0.3 s"]
    assert isinstance(errors[3], bytes)
    assert errors[3].startswith(b"result: encountered object")
    assert all(redis.hget(b"job::" + job_id, "result") is None for job_id in ids)
    await worker.stop()


async def test_a_timeout_of_the_client(perl: StartPerl, redis: redis_py.Redis) -> None:
    client = await perl("client", mode="recoverable", timeout=0.4)
    with pytest.raises(PerlJobFailed, match=r"no result within 0\.4 s"):
        await client.call({"op": "echo", "value": "late"})
    worker = await perl("worker", mode="recoverable", job_poll_interval=1)
    await worker.taken(1)
    await worker.stop()
    # The late result is cleaned up, and the client goes on.
    await client.stop()
    assert redis.keys("*") == []


async def test_a_client_deletes_no_hash_of_others(perl: StartPerl, redis: redis_py.Redis) -> None:
    client = await perl("client", mode="recoverable", id="me")
    redis.hset("job::foreign", "text_x", "1")
    redis.publish("client::me", "foreign")
    await client.stop()
    assert redis.exists("job::foreign") == 1


async def test_a_hash_that_is_gone_or_done_is_not_run(perl: StartPerl, redis: redis_py.Redis) -> None:
    redis.hset("job::done", mapping={"_reply_to": "me", "text_op": "echo", "result": "Tx"})
    redis.lpush("jobs::pending", "gone", "done")
    listening = PubSub(redis.connection_pool)
    listening.subscribe("client::me")
    worker = await perl("worker", mode="recoverable", job_poll_interval=1)
    client = await perl("client", mode="recoverable")
    assert await client.call({"op": "echo", "value": "x"}) == "x"
    messages = [listening.get_message(timeout=1) for _ in range(2)]
    listening.close()
    assert messages[1] is not None
    assert messages[1]["data"] == b"done"
    assert len(worker.jobs) == 1
    assert redis.exists("job::gone") == 0


# --- what cannot be read -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "entry", "reason"),
    [
        ("simple", b"0a1b2c3d-0000-4000-0000-000000000000", "an entry that is no envelope"),
        ("simple", b'{"id":', "not a job envelope"),
        ("simple", b"{}", "not a job envelope: no id"),
        ("simple", b'{"id":"x","data":[]}', "not a job envelope: data is not an object"),
        ("recoverable", b'{"id":"x","data":{}}', "an envelope where a job ID should be"),
        ("recoverable", b"unreadable", "invalid format for unknown_type"),
    ],
)
async def test_unreadable_entries_are_set_aside(
    perl: StartPerl, redis: redis_py.Redis, mode: Mode, entry: bytes, reason: str
) -> None:
    redis.hset("job::unreadable", "unknown_type", "1")
    redis.lpush("jobs::pending", entry)
    worker = await perl("worker", mode=mode)
    client = await perl("client", mode=mode)
    assert await client.call({"op": "echo", "value": "x"}) == "x"
    records = redis.lrange("jobs::rejected", 0, -1)
    assert isinstance(records, list)
    (record,) = (json.loads(record) for record in records)
    assert base64.b64decode(record["entry"]["$bytes"]) == entry
    assert record["reason"].startswith(reason)
    assert record["queue"] == "jobs::pending"
    assert record["worker"] == worker.ready.worker_id
    assert abs(record["at"] - time.time()) < 30
    assert redis.hgetall("job::unreadable") == {b"unknown_type": b"1"}


async def test_a_message_of_another_mode_is_named(perl: StartPerl, redis: redis_py.Redis) -> None:
    client = await perl("client", mode="simple", id="me")
    redis.publish("client::me", "0a1b2c3d")
    await perl("worker", mode="simple")
    assert await client.call({"op": "echo", "value": "x"}) == "x"
    assert "A message that is no envelope: 0a1b2c3d" in client.stderr


# --- stopping, and Redis going away --------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_stop_waits_for_the_pop_and_the_jobs(perl: StartPerl, redis: redis_py.Redis, mode: Mode) -> None:
    worker = await perl("worker", mode=mode, max_concurrent_jobs=2, job_poll_interval=1)
    client = await perl("client", mode=mode)
    slow = client.submit({"op": "sleep", "seconds": 1.5})
    await worker.taken(1)
    started = time.monotonic()
    await worker.stop()
    assert 0.5 < time.monotonic() - started < 4
    assert await slow.result() == "slept"
    await client.submit({"op": "echo"}).job_id()
    assert redis.llen("jobs::pending") == 1


@pytest.mark.parametrize("mode", MODES)
async def test_both_come_back_when_their_connections_were_cut(
    perl: StartPerl, redis: redis_py.Redis, mode: Mode
) -> None:
    common: dict[str, Any] = {"mode": mode, "options": {"reconnect_delay": 0.2}, "env": {"JOBWIRE_PEER_LOG": "warn"}}
    worker = await perl("worker", **common)
    client = await perl("client", **common)
    assert await client.call({"op": "echo", "value": "x"}) == "x"
    await asyncio.sleep(0.3)  # until a pop is in flight again
    redis.client_kill_filter(_type="normal", skipme=True)
    redis.client_kill_filter(_type="pubsub")
    await asyncio.sleep(1)
    assert await client.call({"op": "echo", "value": "again"}) == "again"
    assert "has lost its subscription, subscribing again in 0.2 s" in client.stderr
    assert "cannot pop, trying again every 0.2 s" in worker.stderr


async def test_recoverable_sweeps_what_ended_while_it_was_away(perl: StartPerl, redis: redis_py.Redis) -> None:
    client = await perl("client", mode="recoverable", options={"reconnect_delay": 0.5})
    submission = client.submit({"op": "echo", "value": "x"}, id="one")
    await submission.job_id()
    redis.client_kill_filter(_type="pubsub")
    redis.hset("job::one", "result", "Tmeanwhile")
    assert await submission.result() == "meanwhile"


async def test_the_wrong_mode_is_refused(perl: StartPerl) -> None:
    with pytest.raises(PerlPeerError, match="this is a worker of mode simple, not reliable"):
        await perl("worker", mode="simple", options={"mode": "reliable"})


def test_prove(require_perl: Callable[[str], None]) -> None:
    """The backends' own tests, Job::Async's compliance test among them, in Perl."""
    require_perl("0.004")
    prove = shutil.which("prove")
    assert prove is not None, "prove belongs to Perl"
    folder = PEER.parents[1] / "t"
    done = subprocess.run(
        [prove, str(folder)], env=environment("0.004"), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Result: PASS" in done.stdout
