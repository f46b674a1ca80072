"""Client and worker through a real server: every mode, every way of taking jobs, every kind of name."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
import redis

from jobwire import ConfigError, EncodeError, Job, MismatchError, TooManyJobs
from jobwire.errors import ClosedError
from tests.support.faces import (
    KEPT,
    MODES,
    PATIENCE,
    Faces,
    client_options,
    entries,
    eventually,
    hashes,
    nothing_left,
    within,
)


@pytest.mark.parametrize("multi", [False, True], ids=["single", "multi"])
async def test_a_job_there_and_back(faces: Faces, raw: redis.Redis, way: dict[str, Any], multi: bool) -> None:
    await faces.worker(**way, use_multi=multi)
    client = await faces.client(**client_options(way), use_multi=multi)
    assert await client.submit({"text": "reverse me please"}) == "esaelp em esrever"
    assert await client.submit({"text": "žluť"}) == "ťulž"
    assert await client.submit({"text": ""}) == ""
    await eventually(lambda: nothing_left(raw), "an empty database")


@pytest.mark.parametrize("concurrent", [1, 8, 64])
async def test_a_thousand_jobs(faces: Faces, raw: redis.Redis, way: dict[str, Any], concurrent: int) -> None:
    running = most = 0
    seen: Counter[str] = Counter()

    async def add(job: Job) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        seen[str(job.id)] += 1
        await asyncio.sleep(0)
        running -= 1
        return int(str(job.data["a"])) + int(str(job.data["b"]))

    worker = await faces.worker(add, **way, max_concurrent_jobs=concurrent)
    client = await faces.client(**client_options(way))
    handles = await client.submit_many({"a": n, "b": 2 * n} for n in range(300))
    handles += [client.submit({"a": n, "b": 2 * n}) for n in range(300, 1000)]
    answers = await within(asyncio.gather(*handles), 30)
    assert [int(answer) for answer in answers] == [3 * n for n in range(1000)]
    assert most <= concurrent
    assert most > concurrent // 2
    assert len(seen) == 1000
    assert set(seen.values()) == {1}
    await eventually(lambda: worker.counts == Counter(done=1000) and worker.running == 0, "1000 done")
    assert client.outstanding == 0
    await eventually(lambda: nothing_left(raw), "an empty database")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("jobs", b"jobs::pending"),
        ("mine", b"mine::pending"),
        ("", b"pending"),
        ("0", b"0::pending"),
        (b"\xff\x00 x", b"\xff\x00 x::pending"),
        ("ž", "ž::pending".encode()),
    ],
)
async def test_prefixes(faces: Faces, raw: redis.Redis, mode: str, prefix: Any, key: bytes) -> None:
    client = await faces.client(mode=mode, prefix=prefix)
    handle = client.submit({"text": "abc"})
    await eventually(lambda: raw.llen(key) == 1)
    await faces.worker(mode=mode, prefix=prefix)
    assert await handle == "cba"


@pytest.mark.parametrize("mode", ["simple", "recoverable"])
async def test_queues_in_order_of_priority(faces: Faces, mode: str) -> None:
    client = await faces.client(mode=mode, route=lambda data: "high" if data["n"] % 2 else "low")
    order: list[int] = []

    async def note(job: Job) -> None:
        order.append(int(str(job.data["n"])))

    handles = [client.submit({"n": n}) for n in range(10)]
    handles.append(client.submit({"n": 100}, queue="middle"))
    await client.state(handles[0].id, queue="low") if mode == "recoverable" else await asyncio.sleep(0.05)
    await faces.worker(note, mode=mode, pending_queues=["high", "middle", "low"], max_concurrent_jobs=1)
    await within(asyncio.gather(*handles))
    assert order == [1, 3, 5, 7, 9, 100, 0, 2, 4, 6, 8]


async def test_reliable_has_one_queue(faces: Faces) -> None:
    with pytest.raises(ConfigError, match="Only a single queue is supported in reliable mode"):
        faces.unstarted(pending_queues=["a", "b"])
    for wrong in ([], [""], "pending"):
        with pytest.raises(ConfigError, match="pending_queues"):
            faces.unstarted(pending_queues=wrong)


async def test_first_in_first_out(faces: Faces, way: dict[str, Any]) -> None:
    client = await faces.client(**client_options(way))
    order: list[int] = []

    async def note(job: Job) -> None:
        order.append(int(str(job.data["n"])))
        await asyncio.sleep(0)

    handles = [client.submit({"n": n}) for n in range(100)]
    await faces.worker(note, **way, max_concurrent_jobs=5)
    await within(asyncio.gather(*handles))
    assert order == list(range(100))


async def test_workers_share_fairly(faces: Faces, way: dict[str, Any]) -> None:
    done: Counter[str] = Counter()

    def counting(name: str) -> Any:
        async def count(job: Job) -> None:
            done[name] += 1
            await asyncio.sleep(0.002)

        return count

    for name in "abc":
        await faces.worker(counting(name), **way, max_concurrent_jobs=4)
    client = await faces.client(**client_options(way))
    await within(asyncio.gather(*[client.submit({"n": n}) for n in range(300)]))
    assert sum(done.values()) == 300
    assert min(done.values()) >= 40, done


async def test_two_clients_and_many_tasks(faces: Faces, way: dict[str, Any]) -> None:
    await faces.worker(**way, max_concurrent_jobs=16)
    clients = [await faces.client(**client_options(way)) for _ in range(2)]

    async def user(number: int) -> None:
        client = clients[number % 2]
        for turn in range(5):
            text = f"{number}-{turn}"
            assert await client.submit({"text": text}) == text[::-1]

    await within(asyncio.gather(*[user(number) for number in range(60)]), 20)


@pytest.mark.parametrize("mode", MODES)
async def test_outstanding_jobs_are_bounded(faces: Faces, mode: str) -> None:
    client = await faces.client(mode=mode, max_outstanding=10)
    first = [client.submit({"text": "x"}) for _ in range(10)]
    with pytest.raises(TooManyJobs, match="10 jobs are outstanding"):
        client.submit({"text": "x"})
    most = 0

    async def note(job: Job) -> str:
        nonlocal most
        most = max(most, client.outstanding)
        return "y"

    waiting = [asyncio.create_task(client.room()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    await faces.worker(note, mode=mode)
    await within(asyncio.gather(*waiting))
    both = await within(asyncio.gather(*[client.submit_many({"text": n} for n in range(200)) for _ in range(2)]), 20)
    assert set(await within(asyncio.gather(*first, *both[0], *both[1]))) == {"y"}
    assert most == 10


@pytest.mark.parametrize("mode", MODES)
async def test_results_as_they_complete(faces: Faces, mode: str) -> None:
    gate = asyncio.Event()

    async def work(job: Job) -> str:
        if job.data["n"] in ("0", 0):
            await gate.wait()
        if job.data["n"] in ("2", 2):
            raise ValueError("two")
        gate.set() if job.data["n"] in ("3", 3) else None
        return f"done {job.data['n']}"

    await faces.worker(work, mode=mode)
    client = await faces.client(mode=mode)
    handles = [client.submit({"n": n}) for n in range(4)]
    found = [(handles.index(handle), value) async for handle, value in client.results(handles)]
    assert {number for number, _ in found} == {0, 1, 2, 3}
    assert [number for number, _ in found].index(0) > [number for number, _ in found].index(1)
    assert str(dict(found)[2]) == "ValueError: two"


async def test_queue_length(faces: Faces, way: dict[str, Any]) -> None:
    client = await faces.client(**client_options(way))
    told: list[int] = []
    client.on_queue_length(told.append)
    assert client.queue_length is None
    handles = [client.submit({"text": "abc"}) for _ in range(3)]
    await eventually(lambda: len(told) == 3)
    assert told == [1, 2, 3]
    assert client.queue_length == 3
    await faces.worker(**way)
    await within(asyncio.gather(*handles))


@pytest.mark.parametrize("mode", KEPT)
@pytest.mark.parametrize("job_id", [b"\xff\x00\r\n id", "ž š", "x" * 5000, b"text", "00"])
async def test_ids_of_any_shape(faces: Faces, mode: str, job_id: Any) -> None:
    await faces.worker(mode=mode)
    client = await faces.client(mode=mode, id=b"\xfe client\r\n")
    handle = client.submit({"text": "abc"}, id=job_id)
    assert await handle == "cba"
    assert handle.id == (job_id if job_id != b"text" else "text")


async def test_ids_that_perl_takes_for_false(faces: Faces) -> None:
    client = await faces.client()
    for wrong in ("", "0", b"0"):
        with pytest.raises(EncodeError, match="Perl"):
            client.submit({}, id=wrong)
        with pytest.raises(EncodeError, match="Perl"):
            faces.unstarted(id=wrong)
    assert client.outstanding == 0


@pytest.mark.parametrize("mode", MODES)
async def test_the_same_id_twice_at_a_time_is_refused(faces: Faces, raw: redis.Redis, mode: str) -> None:
    client = await faces.client(mode=mode, timeout=PATIENCE)
    handle = client.submit({"text": "abc"}, id="twin")
    with pytest.raises(ConfigError, match="'twin' is outstanding"):
        client.submit({"text": "abc"}, id="twin")
    await faces.worker(mode=mode)
    assert await handle == "cba"
    # Once it is done, the ID is free again.
    assert await client.submit({"text": "xyz"}, id="twin") == "zyx"
    await eventually(lambda: nothing_left(raw))


async def test_nothing_is_sent_where_submit_raises(faces: Faces, raw: redis.Redis) -> None:
    client = await faces.client()
    for data in ({"_reply_to": 1}, {"a": "\udcff"}, {"x\ny": 1}, {"o": object()}, 5, [1]):
        with pytest.raises(EncodeError):
            client.submit(data)
    for timeout in (0, -1, float("nan")):
        with pytest.raises(ConfigError, match="timeout"):
            client.submit({}, timeout=timeout)
    with pytest.raises(ConfigError, match="queue"):
        client.submit({}, queue="")
    with pytest.raises(ConfigError, match="_queued"):
        client.submit({}, meta={"_queued": "1"})
    await client.state("nothing")
    assert raw.keys("*") == []
    assert client.outstanding == 0


async def test_a_client_that_is_not_started_or_stopped(faces: Faces, redis_url: str) -> None:
    from jobwire import Client

    client = Client(redis_url)
    with pytest.raises(ClosedError, match="not started"):
        client.submit({})
    await client.start()
    with pytest.raises(ClosedError, match="once"):
        await client.start()
    handle = client.submit({})
    await client.stop()
    await client.stop()
    with pytest.raises(ClosedError, match="attach"):
        await handle
    with pytest.raises(ClosedError, match="stopped"):
        client.submit({})
    with pytest.raises(ClosedError):
        client.attach("x")


@pytest.mark.parametrize(("writer", "reader"), [("simple", "reliable"), ("simple", "recoverable")])
async def test_an_envelope_in_an_id_queue(faces: Faces, raw: redis.Redis, writer: str, reader: str) -> None:
    client = await faces.client(mode=writer)
    client.submit({"text": "abc"}, id="lost")
    await eventually(lambda: raw.llen("jobs::pending") == 1)
    entry = raw.lindex("jobs::pending", 0)
    worker = await faces.worker(mode=reader)
    await eventually(lambda: raw.llen("jobs::rejected") == 1)
    assert worker.counts == Counter(rejected=1)
    from jobwire.wire.dead_letters import decode_rejected

    record = decode_rejected(raw.lindex("jobs::rejected", 0))
    assert record.raw == entry
    assert "mode 'simple'" in record.reason
    assert f"mode '{reader}'" in record.reason
    other = await faces.client(mode=reader)
    assert await other.submit({"text": "abc"}) == "cba"
    assert entries(raw, "jobs::processing") == []


@pytest.mark.parametrize("writer", KEPT)
async def test_an_id_in_an_envelope_queue(faces: Faces, raw: redis.Redis, writer: str) -> None:
    client = await faces.client(mode=writer)
    client.submit({"text": "abc"}, id="astray")
    await eventually(lambda: raw.llen("jobs::pending") == 1)
    await faces.worker(mode="simple")
    await eventually(lambda: raw.llen("jobs::rejected") == 1)
    from jobwire.wire.dead_letters import decode_rejected

    record = decode_rejected(raw.lindex("jobs::rejected", 0))
    assert record.raw == b"astray"
    assert "'reliable' or 'recoverable'" in record.reason
    # The hash is nobody's to delete.
    assert hashes(raw) == [b"job::astray"]


async def test_a_result_of_another_dialect(faces: Faces) -> None:
    await faces.worker(dialect="0.002")
    client = await faces.client(dialect="0.004")
    with pytest.raises(MismatchError, match=r"unknown tag 'c'.*0\.002"):
        await client.submit({"text": "abc"})


DIALECTS = ("0.001", "0.002", "0.003", "0.004", "master")
TYPED = DIALECTS[2:]


@pytest.mark.parametrize("writer", DIALECTS)
@pytest.mark.parametrize("reader", [*DIALECTS, "auto"])
async def test_dialects_meet(faces: Faces, raw: redis.Redis, writer: str, reader: str) -> None:
    client = await faces.client(dialect=writer, timeout=0.3)
    prefix = "" if writer == "0.001" else "jobs"
    received: list[Job] = []

    async def keep(job: Job) -> Any:
        received.append(job)
        return str(job.data.get("text", "?"))[::-1]

    await faces.worker(keep, dialect=reader, prefix=prefix)
    handle = client.submit({"text": "abc"})
    if writer == reader or (writer in TYPED and reader in (*TYPED, "auto")) or (writer, reader) == ("0.001", "auto"):
        assert await handle == "cba"
        # 0.003 cannot be told from 0.002, so "auto" takes it for the default.
        timed = reader in ("0.004", "master") or (reader == "auto" and writer != "0.001")
        assert received[0].dialect.timing_fields is timed
        return
    if writer == "0.002" and reader in ("0.003", "0.004", "master", "auto"):
        # It reads the tag as part of the text, as Perl does.
        assert await handle == "Tcba"
    elif writer in TYPED and reader == "0.002":
        with pytest.raises(MismatchError, match="unknown tag"):
            await handle
    else:
        # 0.001 meets the others in queues without prefix alone, and its fields are not theirs.
        assert "0.001" in (writer, reader)
        from jobwire.errors import JobwireError

        with pytest.raises(JobwireError):
            await handle
