"""Failures, expiry, cancellation, deadlines: what becomes of a job that does not simply succeed."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import msgspec
import pytest
import redis

from jobwire import DecodeError, Job, JobCancelled, JobFailed, JobLost, JobTimeout, TraceEvent, current_job
from jobwire.wire.dead_letters import decode_rejected
from jobwire.wire.lifecycle import after, events_from
from tests.support.faces import (
    KEPT,
    MODES,
    WAYS,
    Faces,
    client_options,
    entries,
    eventually,
    hashes,
    nothing_left,
    within,
)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class Base(BaseException):
    """Not an Exception, as pytest's and trio's own are."""


RAISES: dict[str, tuple[Any, str]] = {
    "exception": (lambda: ValueError("wrong"), "ValueError: wrong"),
    "exit": (lambda: SystemExit(3), "SystemExit: 3"),
    "base": (lambda: Base("odd"), "Base: odd"),
    "cancelled": (asyncio.CancelledError, "CancelledError: "),
    "stop": (lambda: StopIteration(1), "RuntimeError: .*StopIteration"),
    "unspeakable": (Unspeakable, "Unspeakable: .*ValueError"),
    "surrogate": (lambda: OSError("\udcff\n'"), r"OSError: \\udcff"),
    "group": (lambda: BaseExceptionGroup("several", [Base("a")]), "BaseExceptionGroup: several"),
    "interrupt": (KeyboardInterrupt, "KeyboardInterrupt: "),
    "generator": (GeneratorExit, "GeneratorExit: "),
}


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
@pytest.mark.parametrize("name", RAISES)
async def test_whatever_a_handler_raises_is_the_jobs_failure(
    faces: Faces, way: dict[str, Any], name: str, threaded: bool
) -> None:
    make, words = RAISES[name]

    def work(job: Job) -> str:
        if job.data["ok"] == "1":
            return "fine"
        raise make()

    async def work_in_loop(job: Job) -> str:
        return work(job)

    worker = await faces.worker(work if threaded else work_in_loop, **way, max_concurrent_jobs=1)
    client = await faces.client(**client_options(way))
    bad, good = client.submit({"ok": "0"}), client.submit({"ok": "1"})
    with pytest.raises(JobFailed, match=words) as caught:
        await within(bad)
    assert caught.value.job_id == bad.id
    assert await within(good) == "fine"
    await eventually(lambda: worker.counts == Counter(failed=1, done=1) and worker.running == 0)


@pytest.mark.parametrize("policy", ["leave", "retry", "reply"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_reads_failures_is_told_under_every_policy(faces: Faces, mode: str, policy: Any) -> None:
    attempts = 0

    async def work(job: Job) -> None:
        nonlocal attempts
        attempts += 1
        raise ValueError("wrong")

    await faces.worker(work, mode=mode, on_failure=policy, max_attempts=3, retry_delay=0.001)
    client = await faces.client(mode=mode)
    with pytest.raises(JobFailed, match="ValueError: wrong"):
        await client.submit({})
    assert attempts == (3 if policy == "retry" and mode != "simple" else 1)


@pytest.mark.parametrize("dialect", ["0.002", "0.004"])
async def test_simple_always_tells(faces: Faces, dialect: str) -> None:
    def work(job: Job) -> None:
        raise ValueError("wrong")

    await faces.worker(work, mode="simple", dialect=dialect, max_concurrent_jobs=1)
    client = await faces.client(mode="simple", dialect=dialect, accept="")
    for _ in range(2):
        with pytest.raises(JobFailed, match="wrong"):
            await client.submit({})
    with pytest.raises(JobFailed, match="Expired"):
        await client.submit({}, expires_in=-1)


async def test_leave_sets_the_job_aside_whole(faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]) -> None:
    def work(job: Job) -> None:
        raise ValueError("wrong")

    worker = await faces.worker(work, **kept_way, max_concurrent_jobs=1)
    client = await faces.client(**client_options(kept_way), accept="")
    first, second = client.submit({"text": "a"}, id="a", timeout=0.3), client.submit({}, id="b")
    await eventually(lambda: entries(raw, "jobs::dead") == [b"a", b"b"])
    assert raw.hget("job::a", "text_text") == b"a"
    assert (raw.hget("job::a", "_error") or b"").partition(b"\n-- traceback\n")[0] == b"ValueError: wrong"
    assert raw.hget("job::a", "result") is None
    assert (await client.state("a")).place == "dead"
    await eventually(lambda: worker.counts == Counter(dead=2))
    assert entries(raw, "jobs::processing") == []
    with pytest.raises(JobTimeout, match=r"set aside as dead: .*ValueError: wrong"):
        await first
    second.cancel()


@pytest.mark.parametrize("dialect", ["0.001", "0.002", "0.004"])
async def test_leave_works_in_every_dialect(faces: Faces, raw: redis.Redis, dialect: str) -> None:
    def work(job: Job) -> None:
        raise ValueError("wrong")

    prefix = "" if dialect == "0.001" else "jobs"
    await faces.worker(work, dialect=dialect, max_concurrent_jobs=1, prefix=prefix)
    client = await faces.client(dialect=dialect)
    raw.hset("job::theirs", mapping={"_reply_to": "x", "_accept": "E,V"})
    raw.lpush("pending" if dialect == "0.001" else "jobs::pending", "theirs")
    client.submit({}, id="b")
    told = [b"b"] if dialect != "0.004" else []
    dead = "dead" if dialect == "0.001" else "jobs::dead"
    if told:
        await eventually(lambda: entries(raw, dead) == [b"theirs", b"b"])
    else:
        await eventually(lambda: raw.hget("job::theirs", "result") is not None)


async def test_reply_is_an_ordinary_result(faces: Faces, kept_way: dict[str, Any]) -> None:
    def work(job: Job) -> None:
        raise OSError("no \udcff file")

    await faces.worker(work, **kept_way, on_failure="reply")
    client = await faces.client(**client_options(kept_way), accept="")
    assert await client.submit({}) == {"error": {"type": "OSError", "message": "no \\udcff file"}}


async def test_retry_until_it_works(faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]) -> None:
    attempts: list[Any] = []

    def work(job: Job) -> int:
        attempts.append(job.meta.get("_error"))
        if len(attempts) < 3:
            raise ValueError(f"attempt {len(attempts)}")
        return len(attempts)

    worker = await faces.worker(work, **kept_way, on_failure="retry", max_attempts=3, retry_delay=0.001)
    client = await faces.client(**client_options(kept_way))
    assert await client.submit({}) == 3
    assert attempts == [None, "ValueError: attempt 1", "ValueError: attempt 2"]
    await eventually(lambda: worker.counts == Counter(retried=2, done=1))
    # The count of its attempts is gone with it.
    await eventually(lambda: nothing_left(raw))


async def test_retry_comes_to_an_end(faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]) -> None:
    def work(job: Job) -> None:
        raise ValueError("wrong")

    worker = await faces.worker(work, **kept_way, on_failure="retry", max_attempts=3, retry_delay=0.001)
    client = await faces.client(**client_options(kept_way), accept="")
    client.submit({}, id="a")
    await eventually(lambda: entries(raw, "jobs::dead") == [b"a"])
    await eventually(lambda: worker.counts == Counter(retried=2, dead=1))
    assert raw.exists("jobs::attempts") == 0


async def test_a_job_that_waits_for_its_retry_does_not_hold_a_stop(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    def work(job: Job) -> None:
        raise ValueError("wrong")

    worker = await faces.worker(work, **kept_way, on_failure="retry", retry_delay=100)
    client = await faces.client(**client_options(kept_way))
    client.submit({}, id="a")
    await eventually(lambda: raw.hget("job::a", "_attempts") == b"1")
    await within(worker.stop(30), 3)
    assert entries(raw, "jobs::pending") == [b"a"]
    assert entries(raw, "jobs::processing") == []


async def test_a_result_that_cannot_be_sent_is_a_failure(faces: Faces, way: dict[str, Any]) -> None:
    async def work(job: Job) -> Any:
        return {"handle": object()} if way["mode"] != "simple" else b"\xff"

    await faces.worker(work, **way)
    client = await faces.client(**client_options(way))
    with pytest.raises(JobFailed, match="EncodeError: the handler's result cannot be sent"):
        await client.submit({})


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_a_handler_that_takes_too_long(faces: Faces, way: dict[str, Any], threaded: bool) -> None:
    async def slow(job: Job) -> str:
        await asyncio.sleep(100 if job.data["slow"] == "1" else 0)
        return "quick"

    def slow_in_thread(job: Job) -> str:
        time.sleep(0.3 if job.data["slow"] == "1" else 0)
        return "quick"

    await faces.worker(slow_in_thread if threaded else slow, **way, timeout=0.05, max_concurrent_jobs=2)
    client = await faces.client(**client_options(way))
    with pytest.raises(JobFailed, match=r"TimeoutError: the handler took longer than 0\.05 s"):
        await client.submit({"slow": "1"})
    assert await client.submit({"slow": "0"}) == "quick"


async def test_an_expired_job_is_not_run(faces: Faces, raw: redis.Redis, way: dict[str, Any]) -> None:
    ran: list[Any] = []

    async def work(job: Job) -> None:
        ran.append(job.id)

    client = await faces.client(**client_options(way))
    silent = await faces.client(**client_options(way), accept="")
    late, in_time = client.submit({}, expires_in=-0.1), client.submit({}, expires_in=60)
    quiet = silent.submit({}, expires_in=0, timeout=0.5, id="quiet")
    await asyncio.sleep(0.002)
    worker = await faces.worker(work, **way)
    with pytest.raises(JobFailed, match="Expired: the job was not begun"):
        await within(late)
    await within(in_time)
    if way["mode"] == "simple":
        with pytest.raises(JobFailed, match="Expired"):
            await quiet
    else:
        await eventually(lambda: entries(raw, "jobs::dead") == [b"quiet"])
        quiet.cancel()
    assert ran == [in_time.id]
    await eventually(lambda: worker.counts["expired"] >= 1)


async def test_a_queued_job_that_is_cancelled_is_withdrawn(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    client = await faces.client(**client_options(kept_way))
    handles = [client.submit({"n": n}, id=f"j{n}") for n in range(3)]
    await eventually(lambda: raw.llen("jobs::pending") == 3)
    assert handles[1].cancel()
    with pytest.raises(JobCancelled, match="cancelled by its submitter"):
        await handles[1]
    await eventually(lambda: entries(raw, "jobs::pending") == [b"j0", b"j2"])
    assert hashes(raw) == [b"job::j0", b"job::j2"]


async def test_the_late_result_of_a_running_job_is_deleted(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def work(job: Job) -> str:
        begun.set()
        await gate.wait()
        return "late"

    worker = await faces.worker(work, **kept_way)
    client = await faces.client(**client_options(kept_way))
    cancelled = client.submit({})
    late = client.submit({}, timeout=0.05)
    await within(begun.wait())
    cancelled.cancel()
    with pytest.raises(JobTimeout, match="taken"):
        await late
    assert len(hashes(raw)) == 2
    gate.set()
    await eventually(lambda: nothing_left(raw))
    await eventually(lambda: worker.counts == Counter(done=2))


@pytest.mark.parametrize("mode", KEPT)
async def test_a_client_that_was_away(faces: Faces, raw: redis.Redis, mode: str) -> None:
    before = await faces.client(mode=mode, id="me")
    done = before.submit({"text": "abc"}, id="done")
    waiting = before.submit({"text": "xyz"}, id="waiting", queue="other")
    await before.state("done")
    await before.stop()
    for handle in (done, waiting):
        with pytest.raises(Exception, match="attach"):
            await handle
    worker = await faces.worker(mode=mode)
    await eventually(lambda: worker.counts["done"] == 1)

    client = await faces.client(mode=mode, id="me")
    assert (await client.state("done")).place == "processed"
    state = await client.state("waiting", queue="other")
    assert (state.place, state.ahead, state.queue_length) == ("queued", 0, 1)
    assert (await client.state("never")).place == "gone"
    assert await client.attach("done") == "cba"
    attached = client.attach("waiting", queue="other")
    twice = client.attach("waiting")
    await faces.worker(mode=mode, pending_queues=["other"])
    assert await within(attached) == await within(twice) == "zyx"
    with pytest.raises(JobLost, match="'done' is gone"):
        await client.attach("done")
    await eventually(lambda: nothing_left(raw))


async def test_simple_keeps_nothing_to_attach_to(faces: Faces) -> None:
    client = await faces.client(mode="simple")
    with pytest.raises(ValueError, match="simple keeps nothing"):
        client.attach("x")
    with pytest.raises(ValueError, match="simple keeps nothing"):
        await client.state("x")


async def test_a_hash_that_was_deleted_is_a_lost_job(faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]) -> None:
    client = await faces.client(**client_options(kept_way))
    handle = client.submit({"text": "abc"}, id="j", timeout=0.2)
    await client.state("j")
    raw.delete("job::j")
    with pytest.raises(JobLost, match="deleted, evicted, or collected"):
        await handle
    worker = await faces.worker(**kept_way)
    await eventually(lambda: worker.counts == Counter(vanished=1))
    assert nothing_left(raw)


@pytest.mark.parametrize(
    "ghost", [{}, {"_started": "1"}, {"_started": "1", "_worker": "w", "_queue": "jobs::pending"}, {"_error": "x"}]
)
async def test_a_job_without_hash_is_not_run(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any], ghost: dict[str, str]
) -> None:
    if ghost:
        raw.hset("job::ghost", mapping=ghost)
    raw.lpush("jobs::pending", "ghost")
    ran: list[Any] = []

    async def work(job: Job) -> None:
        ran.append(job)

    worker = await faces.worker(work, **kept_way)
    await eventually(lambda: worker.counts["vanished"] == 1)
    await eventually(lambda: nothing_left(raw), "an empty database")
    assert ran == []


async def test_a_job_with_result_is_not_run_again(faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]) -> None:
    ran: list[Any] = []

    async def work(job: Job) -> None:
        ran.append(job)

    client = await faces.client(**client_options(kept_way), id="me")
    handle = client.submit({}, id="j")
    await client.state("j")
    raw.hset("job::j", "result", "Tearlier")
    worker = await faces.worker(work, **kept_way)
    assert await within(handle) == "earlier"
    assert ran == []
    await eventually(lambda: worker.counts["notified_again"] == 1)
    await eventually(lambda: nothing_left(raw))


async def test_the_same_id_twice_in_the_queue(faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]) -> None:
    begun, gate, ran = asyncio.Event(), asyncio.Event(), []

    async def work(job: Job) -> str:
        ran.append(job.id)
        begun.set()
        await gate.wait()
        return "once"

    client = await faces.client(**client_options(kept_way))
    handle = client.submit({}, id="j")
    await client.state("j")
    raw.lpush("jobs::pending", "j")
    worker = await faces.worker(work, **kept_way)
    await eventually(lambda: worker.counts["duplicate"] == 1)
    gate.set()
    assert await within(handle) == "once"
    raw.lpush("jobs::pending", "j")
    await eventually(lambda: worker.counts["vanished"] == 1)
    assert ran == ["j"]
    await eventually(lambda: nothing_left(raw))


MALFORMED: dict[str, dict[Any, Any]] = {
    "unknown type": {"_reply_to": "x", "yaml_a": "1"},
    "no type": {"_reply_to": "x", "plain": "1"},
    "bad json": {"_reply_to": "x", "json_a": "{"},
    "scalar json": {"_reply_to": "x", "json_a": "1"},
    "bad sereal": {"_reply_to": "x", "sereal_a": b"=\xf3rl\x05\x00\xff\xff"},
    "deep json": {"_reply_to": "x", "json_a": "[" * 5000 + "]" * 5000},
    "newline": {"_reply_to": "x", "text_a\nb": "1"},
}


@pytest.mark.parametrize("kind", MALFORMED)
async def test_what_cannot_be_read_is_set_aside_whole(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any], kind: str
) -> None:
    raw.hset("job::bad", mapping=MALFORMED[kind])
    before = raw.hgetall("job::bad")
    raw.lpush("jobs::pending", "bad")
    worker = await faces.worker(**kept_way, max_concurrent_jobs=1)
    client = await faces.client(**client_options(kept_way))
    assert await client.submit({"text": "abc"}) == "cba"
    await eventually(lambda: worker.counts == Counter(rejected=1, done=1))
    assert raw.hgetall("job::bad") == before
    (record,) = [decode_rejected(record) for record in entries(raw, "jobs::rejected")]
    assert record.raw == b"bad"
    assert record.queue == "jobs::pending"
    assert record.worker == worker.id
    assert "job::bad" in record.reason
    assert entries(raw, "jobs::processing") == []
    assert "credential" not in record.reason


async def test_a_job_key_of_the_wrong_type(faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]) -> None:
    raw.set("job::bad", "a string")
    raw.lpush("jobs::pending", "bad")
    worker = await faces.worker(**kept_way, max_concurrent_jobs=1)
    client = await faces.client(**client_options(kept_way))
    assert await client.submit({"text": "abc"}) == "cba"
    await eventually(lambda: worker.counts["rejected"] == 1)
    assert raw.get("job::bad") == b"a string"
    assert "holds no hash" in decode_rejected(entries(raw, "jobs::rejected")[0]).reason


@pytest.mark.parametrize("entry", [b"[]", b"{}", b"", b'{"id":"x"}', b'{"id":"x","data":[]}', b"\xff", b"{" * 5000])
async def test_entries_that_are_no_envelopes(faces: Faces, raw: redis.Redis, entry: bytes) -> None:
    raw.lpush("jobs::pending", entry)
    await faces.worker(mode="simple", max_concurrent_jobs=1)
    client = await faces.client(mode="simple")
    assert await client.submit({"text": "abc"}) == "cba"
    (record,) = [decode_rejected(record) for record in entries(raw, "jobs::rejected")]
    assert record.raw == entry
    assert json.loads(entries(raw, "jobs::rejected")[0])["reason"]


async def test_a_queue_of_the_wrong_type(
    faces: Faces, raw: redis.Redis, way: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    raw.set("jobs::pending", "a string")
    await faces.worker(**way)
    client = await faces.client(**client_options(way))
    await eventually(lambda: any("cannot take jobs" in line and "WRONGTYPE" in line for line in caplog.messages))
    with pytest.raises(Exception, match="WRONGTYPE"):
        await client.submit({"text": "abc"})
    await eventually(lambda: hashes(raw) == [])
    assert len([line for line in caplog.messages if "cannot take jobs" in line]) < 20
    raw.delete("jobs::pending")
    assert await client.submit({"text": "abc"}) == "cba"


async def test_forged_notices_delete_nothing(faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]) -> None:
    client = await faces.client(**client_options(kept_way), id="me")
    raw.hset("job::foreign", mapping={"_reply_to": "you", "result": "Tyours"})
    handle = client.submit({"text": "abc"}, id="j")
    for forged in ("foreign", "j", "", "\xff"):
        assert raw.publish("client::me", forged) == 1
    await client.state("j")
    await asyncio.sleep(0.05)
    assert hashes(raw) == [b"job::foreign", b"job::j"]
    assert not handle.done()
    await faces.worker(**kept_way)
    assert await within(handle) == "cba"
    await eventually(lambda: hashes(raw) == [b"job::foreign"])


@pytest.mark.parametrize("way_name", WAYS)
async def test_the_trace_follows_the_life_cycle(faces: Faces, raw: redis.Redis, way_name: str) -> None:
    way = WAYS[way_name]
    mode = way["mode"]
    events: list[TraceEvent] = []
    tried: set[Any] = set()

    async def work(job: Job) -> str:
        if job.data["do"] == "retry" and job.id not in tried:
            tried.add(job.id)
            raise ValueError("again")
        if job.data["do"] == "fail":
            raise ValueError("wrong")
        return "done"

    worker = await faces.worker(work, **way, trace=events.append, on_failure="retry", max_attempts=2, retry_delay=0.001)
    client = await faces.client(mode=mode, trace=events.append, accept="")
    good, again = client.submit({"do": "well"}, id="well"), client.submit({"do": "retry"}, id="retry")
    bad = client.submit({"do": "fail"}, id="fail")
    assert await within(good) == "done"
    if mode == "simple":
        for failing in (again, bad):
            with pytest.raises(JobFailed):
                await within(failing)
    else:
        assert await within(again) == "done"
        await eventually(lambda: entries(raw, "jobs::dead") == [b"fail"])
        client.submit({"do": "x"}, id="odd", expires_in=-1)
        raw.hset("job::bad", mapping={"yaml_a": "1"})
        raw.lpush("jobs::pending", "bad", "gone")
        await eventually(lambda: sum(worker.counts[name] for name in ("rejected", "vanished", "expired")) == 3)
        await eventually(lambda: {event.event for event in events} >= {"bury", "reject", "forget", "return"})
    ends = {}
    for job_id in {event.job_id for event in events}:
        state: Any = "new" if job_id not in ("bad", "gone") else "queued"
        # Client and worker are two: what each tells is in order, and both together are once sorted by the table.
        waiting = [event.event for event in events if event.job_id == job_id]
        waiting = [event for event in waiting if event not in ("fail", "expire", "timeout", "cancel")]
        while waiting:
            possible = [event for event in waiting if event in events_from(state, mode=mode)]
            assert possible, (job_id, state, waiting)
            state = after(state, possible[0], mode=mode)  # type: ignore[arg-type]  # filtered above
            waiting.remove(possible[0])
        ends[job_id] = state
    if mode != "simple":
        assert ends == {
            "well": "collected",
            "retry": "collected",
            "fail": "dead",
            "odd": "dead",
            "bad": "rejected",
            "gone": "collected",
        }
    else:
        assert ends == {"well": "collected", "retry": "notified", "fail": "notified"}


class Typed(msgspec.Struct):
    count: int
    flag: bool = False
    blob: bytes = b""
    tags: list[str] = []


async def test_typed_results(faces: Faces, way: dict[str, Any]) -> None:
    async def work(args: Typed) -> dict[str, Any]:
        return {"count": str(args.count + 1), "tags": [*args.tags, "x"], "id": current_job().id}

    await faces.worker(work, **way)
    client = await faces.client(**client_options(way))
    assert (await client.submit({"count": "41", "tags": ["a"]}, result_type=Typed)) == Typed(42, tags=["a", "x"])
    with pytest.raises(JobFailed, match=r"JobDecodeError: .*do not fit Typed: .*\$\.count"):
        await client.submit({"count": "x"})
    with pytest.raises(DecodeError, match="not a"):
        await client.submit({"count": "41"}, result_type=list[int])
