"""What cannot be read is kept, and whoever waits for it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from jobwire import Job, JobFailed, JobTimeout, Limits, ResultDecodeError
from jobwire.wire import Failure, Keyspace, Recoverable, Reliable, Taken
from jobwire.wire.dead_letters import decode_rejected, requeue_rejected
from jobwire.wire.modes.base import Told
from tests.support.faces import Faces, client_options, entries, eventually, hashes, within

UNREADABLE = {
    "no sereal": {"sereal_a": b"\x80"},
    "no json": {"json_a": b"{"},
    "json that is a scalar": {"json_a": b"1"},
    "an unknown type": {"yaml_a": b"1"},
    "two types": {"text_a": b"1", "json_a": b"[]"},
}


def push(raw: redis.Redis, client_id: Any, job_id: str, fields: dict[str, bytes], accept: str | None = "E,V") -> None:
    """As an incompatible peer submits it."""
    extensions: dict[str, Any] = {} if accept is None else {"_accept": accept}
    raw.hset(f"job::{job_id}", mapping={"_reply_to": client_id, **extensions, **fields})
    raw.lpush("jobs::pending", job_id)


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_a_client_that_reads_failures_is_told(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any], kind: str
) -> None:
    client = await faces.client(**client_options(kept_way))
    handle = client.attach("odd")
    push(raw, client.id, "odd", UNREADABLE[kind])
    await faces.worker(**kept_way)
    with pytest.raises(JobFailed, match=r"jobs::rejected.*_a") as caught:
        await within(handle)
    assert caught.value.type == "JobDecodeError"
    [record] = map(decode_rejected, entries(raw, "jobs::rejected"))
    assert record.raw == b"odd"
    assert raw.llen("jobs::processing") == 0
    # Set aside whole: its client has collected the news, and left the hash.
    await client.stop()
    kept: dict[bytes, bytes] = raw.hgetall("job::odd")  # type: ignore[assignment]  # typed for both kinds of client
    assert UNREADABLE[kind].items() <= {name.decode(): value for name, value in kept.items()}.items()


async def test_what_was_rejected_runs_once_it_is_mended(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    client = await faces.client(**client_options(kept_way))
    handle = client.attach("odd")
    push(raw, client.id, "odd", {"json_text": b"{"})
    await faces.worker(**kept_way)
    with pytest.raises(JobFailed):
        await within(handle)
    raw.hdel("job::odd", "json_text")
    raw.hset("job::odd", "text_text", "abc")
    [record] = entries(raw, "jobs::rejected")
    replies = [
        raw.execute_command(*command) for command in requeue_rejected(Keyspace(), record, b"odd", b"jobs::pending")
    ]
    assert replies == [1, 1]
    await eventually(lambda: raw.hget("job::odd", "result") == b"Tcba")


async def test_requeueing_keeps_a_real_result(raw: redis.Redis) -> None:
    raw.hset("job::j", mapping={"_reply_to": "c", "result": "Tabc"})
    raw.lpush("jobs::rejected", "record")
    for command in requeue_rejected(Keyspace(), b"record", b"j", b"jobs::pending"):
        raw.execute_command(*command)
    assert raw.hget("job::j", "result") == b"Tabc"


@pytest.mark.parametrize("accept", [None, "V"])
async def test_one_that_does_not_is_told_at_the_deadline(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any], accept: str | None
) -> None:
    client = await faces.client(**client_options(kept_way), timeout=0.5)
    handle = client.attach("odd")
    push(raw, client.id, "odd", {"json_a": b"{"}, accept)
    await faces.worker(**kept_way)
    with pytest.raises(JobTimeout, match=r"no worker could read it.*jobs::rejected.*json_a"):
        await within(handle)
    assert raw.hget("job::odd", "result") is None


@pytest.mark.parametrize(
    "odd", [{"data": []}, {}, {"data": {}, "_expires": "soon"}, {"data": {"a": [0] * 30}}], ids=str
)
async def test_in_simple_it_is_told_too(faces: Faces, raw: redis.Redis, odd: dict[str, Any]) -> None:
    client = await faces.client(mode="simple")
    handle = client.submit({"text": "x"})
    await within(handle.submitted())
    envelope = json.loads(raw.lpop("jobs::pending"))  # type: ignore[arg-type]  # typed for both kinds of client
    del envelope["data"]
    raw.lpush("jobs::pending", json.dumps(envelope | odd))
    await faces.worker(mode="simple", limits=Limits(max_items=20))
    with pytest.raises(JobFailed, match=r"jobs::rejected.*envelope") as caught:
        await within(handle)
    assert caught.value.type == "JobDecodeError"
    [record] = map(decode_rejected, entries(raw, "jobs::rejected"))
    assert json.loads(record.raw) == envelope | odd


def test_only_who_holds_the_entry_tells(raw: redis.Redis) -> None:
    raw.hset("job::j", mapping={"_reply_to": "c", "json_a": "{"})
    told = Told(b"j", b"c", Failure("JobDecodeError", "odd", rejected=True))
    mode = Reliable(Keyspace(), own_list=True, processing=b"own")
    [command] = mode.reject(Taken(b"jobs::pending", b"j"), b"{}", told)
    assert raw.execute_command(*command) == 0
    assert raw.hget("job::j", "result") is None
    assert raw.llen("jobs::rejected") == 0


def test_telling_neither_makes_a_ghost_nor_replaces_a_result(raw: redis.Redis) -> None:
    told = Told(b"j", b"c", Failure("JobDecodeError", "odd", rejected=True))
    for mode in (Recoverable(Keyspace()), Reliable(Keyspace(), own_list=True, processing=b"own")):
        for fields in ({}, {"result": "Tabc"}):
            raw.flushall()
            raw.lpush("own", "j")
            if fields:
                raw.hset("job::j", mapping=fields)  # type: ignore[arg-type]  # of str alone
            for command in mode.reject(Taken(b"jobs::pending", b"j"), b"{}", told):
                raw.execute_command(*command)
            assert raw.llen("jobs::rejected") == 1
            assert raw.hget("job::j", "result") == (b"Tabc" if fields else None)


async def test_a_result_beyond_the_limits_of_its_client_is_kept(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    async def handler(job: Job) -> str:
        return "x" * int(str(job.data["size"]))

    await faces.worker(handler, **kept_way)
    small = await faces.client(**client_options(kept_way), id="the same", limits=Limits(max_bytes=100))
    handle = small.submit({"size": 200})
    with pytest.raises(ResultDecodeError, match="the limit is 100"):
        await within(handle)
    assert len(hashes(raw)) == 1
    await small.stop()
    large = await faces.client(**client_options(kept_way), id="the same")
    assert await within(large.attach(handle.id)) == "x" * 200
    await eventually(lambda: not hashes(raw))
