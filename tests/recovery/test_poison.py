"""Every class of malformed entry, hash, field, document and notice, on a real server: set aside whole, on it goes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import redis

from jobwire import Job, JobFailed, Limits, ResultDecodeError
from jobwire.sereal import dumps
from jobwire.wire.dead_letters import decode_rejected
from tests.support.faces import Faces, entries, eventually, hashes, until, within
from tests.support.victims import FAST, Victims

SMALL = Limits(max_bytes=10_000, max_inflated=20_000, max_depth=20, max_items=1000, max_fields=50)
BOMB = dumps({"x": "a" * 50_000}, compression="zlib")
DEEP = b"[" * 200 + b"]" * 200

HASHES: dict[str, dict[bytes, bytes]] = {
    "unknown type of field": {b"xml_a": b"1"},
    "no type of field": {b"a": b"1"},
    "newline in a name": {b"text_a\nb": b"1"},
    "bad JSON": {b"json_a": b"{"},
    "scalar JSON": {b"json_a": b"5"},
    "duplicate keys in JSON": {b"json_a": b'{"a":1,"a":2}'},
    "bytes that are no JSON": {b"json_a": b"\xff\xfe"},
    "deep JSON": {b"json_a": DEEP},
    "empty Sereal": {b"sereal_a": b""},
    "no Sereal": {b"sereal_a": b"hello"},
    "cut-off Sereal": {b"sereal_a": dumps({"a": [1, 2, 3]})[:-2]},
    "Sereal of a version to come": {b"sereal_a": b"=\xf3rl\x09\x00\x28\x2a\x01"},
    "Sereal that refers to itself": {b"sereal_a": b"=\xf3rl\x03\x00\x29\x01"},
    "a bomb": {b"sereal_a": BOMB},
    "an oversize field": {b"text_a": b"x" * 20_000},
    "too many fields": {b"text_%d" % n: b"" for n in range(200)},
}
ENTRIES: dict[str, bytes] = {
    "empty": b"",
    "an envelope": b'{"id":"x","_reply_to":"c","_queued":1.5,"data":{"a":1}}',
    "half an envelope": b'{"id":"x","data":{"a',
}


@pytest.fixture(
    params=[{}, {"processing_queue": "processing"}, {"mode": "recoverable"}], ids=["own", "shared", "marks"]
)
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**request.param, "limits": SMALL, **FAST}


def good(raw: redis.Redis) -> None:
    raw.hset("job::good", mapping={"_reply_to": "c", "text_value": "v"})
    raw.lpush("jobs::pending", "good")


async def value(job: Job) -> Any:
    return job.data.get("value", "none")


async def test_every_hash_that_cannot_be_read(faces: Faces, raw: redis.Redis, way: dict[str, Any]) -> None:
    worker = await faces.worker(value, **way)
    for number, fields in enumerate(HASHES.values()):
        raw.hset(f"job::{number}", mapping={b"_reply_to": b"c", **fields})
        raw.lpush("jobs::pending", number)
    before = {key: raw.hgetall(key) for key in hashes(raw)}
    await eventually(lambda: worker.counts["rejected"] == len(HASHES))
    good(raw)
    await eventually(lambda: raw.hget("job::good", "result") == b"Tv")
    records = [decode_rejected(entry) for entry in entries(raw, "jobs::rejected")]
    assert sorted(int(record.raw) for record in records) == list(range(len(HASHES)))
    assert all(record.reason.isprintable() and len(record.reason) < 1000 for record in records)
    assert {record.queue for record in records} == {"jobs::pending"}
    # Whole: not one byte of them was changed.
    assert {key: raw.hgetall(key) for key in before} == before
    await until(lambda: worker.running == 0)


async def test_every_entry_that_is_none(faces: Faces, raw: redis.Redis, way: dict[str, Any]) -> None:
    worker = await faces.worker(value, **way)
    for entry in ENTRIES.values():
        raw.lpush("jobs::pending", entry)
    await eventually(lambda: worker.counts["rejected"] + worker.counts["vanished"] == len(ENTRIES))
    good(raw)
    await eventually(lambda: raw.hget("job::good", "result") == b"Tv")
    set_aside = {decode_rejected(entry).raw for entry in entries(raw, "jobs::rejected")}
    assert ENTRIES["an envelope"] in set_aside
    assert hashes(raw) == [b"job::good"]


async def test_a_second_look_sets_aside_again_and_loses_nothing(faces: Faces, raw: redis.Redis) -> None:
    worker = await faces.worker(value, **FAST)
    raw.hset("job::a", mapping={b"_reply_to": b"c", b"json_a": b"{"})
    for times in (1, 2, 3):
        raw.lpush("jobs::pending", "a")
        await until(lambda times=times: worker.counts["rejected"] == times)
    assert [decode_rejected(entry).raw for entry in entries(raw, "jobs::rejected")] == [b"a"] * 3
    # Mended, it runs.
    raw.hset("job::a", mapping={"json_a": "{}", "text_value": "now"})
    raw.lpush("jobs::pending", "a")
    await eventually(lambda: raw.hget("job::a", "result") == b"Tnow")


@pytest.mark.parametrize("kind", ["string", "list", "set"])
async def test_a_job_key_of_another_type(faces: Faces, raw: redis.Redis, way: dict[str, Any], kind: str) -> None:
    make: dict[str, Any] = {"string": raw.set, "list": raw.lpush, "set": raw.sadd}
    make[kind]("job::a", "x")
    raw.lpush("jobs::pending", "a")
    worker = await faces.worker(value, **way)
    await until(lambda: worker.counts["rejected"] == 1)
    assert raw.type("job::a") == kind.encode()
    (record,) = map(decode_rejected, entries(raw, "jobs::rejected"))
    assert record.raw == b"a"
    assert "holds no hash" in record.reason


async def test_what_cannot_be_set_aside_stays_where_it_is(faces: Faces, raw: redis.Redis) -> None:
    """The list for it is none: the entry must not vanish between the two."""
    raw.set("jobs::rejected", "no list")
    raw.hset("job::a", mapping={b"_reply_to": b"c", b"json_a": b"{"})
    raw.lpush("jobs::pending", "a")
    await faces.worker(value, id="w", **FAST)
    await asyncio.sleep(0.3)
    assert entries(raw, "jobs::processing::w") + entries(raw, "jobs::pending") == [b"a"]
    raw.delete("jobs::rejected")
    await eventually(lambda: raw.llen("jobs::rejected") == 1)


async def test_what_cannot_be_buried_keeps_its_mark(faces: Faces, raw: redis.Redis, victims: Victims) -> None:
    """Mode recoverable, several queues: a job that stands in no list is found by its mark alone."""

    def fail(job: Job) -> None:
        raise ValueError("no")

    raw.set("jobs::dead", "no list")
    raw.hset("job::a", mapping={b"_reply_to": b"c"})
    raw.lpush("jobs::pending", "a")
    worker = await faces.worker(fail, id="w", mode="recoverable", pending_queues=["pending", "low"], **FAST)
    await until(lambda: worker.counts["dead"] == 1)
    await worker.stop()
    assert raw.hget("job::a", "_worker") == b"w"
    await faces.worker(value, id="other", mode="recoverable", **FAST)
    await eventually(lambda: raw.hget("job::a", "result") == b"Tnone")


async def test_what_cannot_be_buried_or_given_back_stays_where_it_is(faces: Faces, raw: redis.Redis) -> None:
    def fail(job: Job) -> None:
        raise ValueError("no")

    raw.set("jobs::dead", "no list")
    raw.hset("job::a", mapping={b"_reply_to": b"c"})
    raw.lpush("jobs::pending", "a")
    worker = await faces.worker(fail, id="w", max_concurrent_jobs=1, **FAST)
    await eventually(lambda: (raw.hget("job::a", "_error") or b"").startswith(b"ValueError: no"))
    await asyncio.sleep(0.1)
    assert entries(raw, "jobs::processing::w") + entries(raw, "jobs::pending") == [b"a"]
    raw.delete("jobs::dead")
    await eventually(lambda: entries(raw, "jobs::dead") == [b"a"])
    await worker.stop()


@pytest.mark.parametrize("mode", ["reliable", "recoverable", "simple"])
async def test_a_document_that_would_grow_without_bound_fails_and_the_worker_goes_on(
    faces: Faces, raw: redis.Redis, mode: str
) -> None:
    """A few hundred bytes of Sereal, in which every array stands twice in the next one; echoed as JSON."""

    async def echo(job: Job) -> Any:
        value: Any = job.data["value"]
        for _ in range(60 if mode == "simple" else 0):  # JSON cannot share, so there it is the handler that does
            value = [value, value]
        return value

    value: Any = ["lol"]
    for _ in range(0 if mode == "simple" else 60):
        value = [value, value]
    worker = await faces.worker(echo, mode=mode, limits=Limits(max_items=100_000), **FAST)
    client = await faces.client(mode=mode)
    with pytest.raises(JobFailed, match=r"cannot be sent: more than 4000000 items \(max_items\)") as caught:
        await within(client.submit({"value": value}))
    assert caught.value.type == "EncodeError"
    if mode != "simple":
        assert await within(client.submit({"value": [["lol"]]})) == [["lol"]]
    assert worker.counts["failed"] == 1
    await eventually(lambda: hashes(raw) == [])


@pytest.mark.parametrize("job_id", [b"a\r\nDEL x", b"\x00\x01", b"\xff\xfe", b"a b", b"x" * 5000, b"0", "ü☺".encode()])
async def test_ids_of_any_bytes(faces: Faces, raw: redis.Redis, way: dict[str, Any], job_id: bytes) -> None:
    await faces.worker(value, **way)
    raw.hset(b"job::" + job_id, mapping={"_reply_to": "c", "text_value": "v"})
    raw.lpush("jobs::pending", job_id)
    await eventually(lambda: raw.hget(b"job::" + job_id, "result") == b"Tv")


@pytest.mark.parametrize("reply_to", [b"", b"*", b"x\r\nPUBLISH", b"\xff\x00", b"y" * 20_000])
async def test_a_forged_reply_to_reaches_nobody_else(faces: Faces, raw: redis.Redis, reply_to: bytes) -> None:
    client = await faces.client()
    await faces.worker(value, **FAST)
    raw.hset("job::a", mapping={b"_reply_to": reply_to, b"text_value": b"v"})
    raw.lpush("jobs::pending", "a")
    await eventually(lambda: raw.hget("job::a", "result") == b"Tv" or raw.llen("jobs::rejected") == 1)
    assert client.outstanding == 0
    assert await within(client.submit({"value": "mine"})) == "mine"


# -- the client's side


async def test_a_flood_of_notices_deletes_nothing_and_delays_little(faces: Faces, raw: redis.Redis) -> None:
    client = await faces.client(id="me")
    gate = asyncio.Event()

    async def wait(job: Job) -> str:
        await gate.wait()
        return "done"

    await faces.worker(wait, **FAST)
    handle = client.submit({}, id="mine")
    await eventually(lambda: raw.hexists("job::mine", "_started"))
    raw.hset("job::foreign", "result", "Tx")
    pipe = raw.pipeline(transaction=False)
    for n in range(20_000):
        pipe.publish("client::me", ("foreign", "mine", f"unknown {n}", b"\xff\r\n")[n % 4])
    pipe.execute()
    gate.set()
    assert await within(handle) == "done"
    assert raw.exists("job::foreign")


@pytest.mark.parametrize("result", [b"J{", b"J" + DEEP, b"J", b"E{", b"Vnope", b"J\xff"])
async def test_a_result_that_cannot_be_read_is_an_error_of_that_job_alone(
    faces: Faces, raw: redis.Redis, result: bytes
) -> None:
    client = await faces.client(id="me", limits=SMALL)
    bad, fine = client.submit({}, id="bad"), client.submit({}, id="fine")
    await eventually(lambda: raw.llen("jobs::pending") == 2)
    raw.hset("job::bad", "result", result)
    raw.hset("job::fine", "result", "Tyes")
    raw.publish("client::me", "bad")
    raw.publish("client::me", "fine")
    assert await within(fine) == "yes"
    with pytest.raises(ResultDecodeError):
        await within(bad)
    assert raw.hget("job::bad", "result") == result


# -- simple


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"an ID",
        b"{",
        b"[]",
        b"{}",
        b'{"id":5}',
        b'{"id":"x","_reply_to":"c","data":[]}',
        b"\xff",
        DEEP,
        b"9" * 20_000,
    ],
)
async def test_envelopes_that_cannot_be_read(faces: Faces, raw: redis.Redis, entry: bytes) -> None:
    worker = await faces.worker(value, mode="simple", limits=SMALL)
    client = await faces.client(mode="simple")
    raw.lpush("jobs::pending", entry)
    await until(lambda: worker.counts["rejected"] == 1)
    assert [decode_rejected(record).raw for record in entries(raw, "jobs::rejected")] == [entry]
    assert await within(client.submit({"value": "on"})) == "on"


@pytest.mark.parametrize("notice", [b"", b"{", b"an ID", b"[]", b'{"id":5}', b'{"id":"x"}', DEEP, b"\xff"])
async def test_replies_that_cannot_be_read(faces: Faces, raw: redis.Redis, notice: bytes) -> None:
    client = await faces.client(mode="simple", id="me")
    await faces.worker(value, mode="simple")
    await eventually(lambda: raw.publish("client::me", notice) == 1)
    assert await within(client.submit({"value": "on"})) == "on"


# -- the log


async def test_nothing_from_the_wire_forges_a_log_line(
    faces: Faces, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    forged = "\r\n2026-01-01 CRITICAL forged \x1b[31m\u2028\u202e"

    def fail(job: Job) -> None:
        raise ValueError(forged)

    worker = await faces.worker(fail, **FAST)
    client = await faces.client(id="me")
    for name, fields in {
        forged: {"text_a": "1"},
        f"{forged}2": {f"xml{forged}": "1"},
        f"{forged}3": {"json_a": f"{{{forged}"},
        f"{forged}4": {"_worker": forged},
    }.items():
        raw.hset(f"job::{name}", mapping={"_reply_to": forged, **fields})
        raw.lpush("jobs::pending", name)
    raw.lpush("jobs::pending", f'{{"id": "{forged}", "data": {{}}}}', f"{forged} vanished")
    raw.publish("client::me", forged)
    await eventually(lambda: worker.counts["dead"] + worker.counts["rejected"] + worker.counts["vanished"] == 6)
    assert await within(client.state(forged)) is not None
    assert "forged" in caplog.text
    for record in caplog.records:
        message = record.getMessage()
        assert message.isprintable(), repr(message)
