"""``Recovery`` itself, against what dead workers leave: no worker runs here, so every step is seen."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest
import redis

from jobwire.errors import ServerError
from jobwire.worker.rescuer import Recovered, Recovery
from tests.support.faces import entries, eventually, raw_client
from tests.support.victims import connected, leave_behind, mark, mode_of, recovery_at


def alive(raw: redis.Redis, worker: str, prefix: str = "jobs::") -> None:
    raw.sadd(f"{prefix}workers", worker)
    raw.set(f"{prefix}worker::{worker}", "nonce")


async def run(url: str, **options: Any) -> list[Recovered]:
    async with recovery_at(url, **options) as recovery:
        return await recovery.run()


# -- own lists


async def test_lists_go_back_in_the_order_in_which_they_were_taken(each_url: str) -> None:
    with raw_client(each_url) as raw:
        leave_behind(raw, "w", "a", "b", "c")
        raw.lpush("jobs::pending", "d")
        found = await run(each_url)
        assert entries(raw, "jobs::pending") == [b"a", b"b", b"c", b"d"]
        assert [(done.job_id, done.worker, done.queue, done.outcome) for done in found] == [
            (job, "w", "jobs::pending", "returned") for job in ("c", "b", "a")
        ]
        assert not raw.exists("jobs::processing::w")


async def test_a_dead_worker_is_remembered_and_then_forgotten(each_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_client(each_url) as raw:
        leave_behind(raw, "w", "a")
        await run(each_url)
        assert raw.sismember("jobs::workers", "w")
        assert raw.hexists("jobs::gone", "w")
        # A pop that it had waiting brings one more.
        raw.lmove("jobs::pending", "jobs::processing::w", "RIGHT", "LEFT")
        assert len(await run(each_url)) == 1
        monkeypatch.setattr("jobwire.worker.rescuer.REMEMBERED", 0.0)
        assert await run(each_url) == []
        assert set(raw.keys("jobs::*")) == {b"jobs::pending", b"jobs::attempts"}


async def test_one_look_for_the_whole_fleet(each_url: str) -> None:
    """Each judges the moment of the last look by its own rhythm; what stands there may be anything."""
    with raw_client(each_url) as raw:
        async with recovery_at(each_url) as one, recovery_at(each_url) as other:
            assert [await one.may_look(5.0), await other.may_look(5.0), await one.may_look(5.0)] == [True, False, False]
            assert 5000 < raw.pttl("jobs::looked") <= 10_000
            assert await other.may_look(0.0)
            seconds, microseconds = raw.time()
            for moment in (seconds * 1000 + microseconds // 1000 - 6000, seconds * 1000 + 100_000, "no number"):
                raw.set("jobs::looked", moment)
                assert await one.may_look(5.0), moment
            raw.delete("jobs::looked")
            raw.hset("jobs::looked", "a", "hash")
            assert await one.may_look(5.0)


async def test_a_look_that_lasts_is_still_the_only_one(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        mark(raw, "r", "marked")
        with raw.pipeline(transaction=False) as pipeline:
            for number in range(30_000):
                pipeline.hset(f"job::{number}", "_reply_to", "c")
            pipeline.execute()
        async with recovery_at(redis_url) as one, recovery_at(redis_url) as other:
            assert await one.may_look(0.1)
            look = asyncio.ensure_future(one.run())
            turns = 0
            while not look.done():
                turns += await other.may_look(0.1)
                await asyncio.sleep(0.01)
            assert [done.job_id for done in await look] == ["marked"]
            assert turns == 0
            await asyncio.sleep(0.25)
            assert await other.may_look(0.1)


async def test_many_workers_are_looked_after_in_steps(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The living cost a hundredth of a command each, the dead that are known a few, and none holds the server."""

    def counts() -> dict[str, int]:
        return {name: facts["calls"] for name, facts in raw.info("commandstats").items()}

    with raw_client(redis_url) as raw, raw.pipeline(transaction=False) as pipeline:
        for number in range(1000):
            pipeline.sadd("jobs::workers", f"alive{number}", f"dead{number}")
            pipeline.set(f"jobs::worker::alive{number}", "n")
            pipeline.hset("jobs::queues", f"dead{number}", "jobs::pending")
        pipeline.lpush("jobs::processing::dead7", "a")
        pipeline.execute()
        async with recovery_at(redis_url) as recovery:
            assert len(await recovery.dead_workers()) == 1000
            found = await recovery.run()
            assert [(done.job_id, done.worker) for done in found] == [("a", "dead7")]
            assert raw.hlen("jobs::gone") == 1000
            raw.config_resetstat()
            assert await recovery.run() == []
            asked = counts()
            assert "cmdstat_eval" not in asked, "nobody is due to be forgotten"
            assert sum(asked.values()) < 200
            assert await recovery.dead_workers(hung_after=0.0) == [], "a server that hung says nothing of the workers"
            monkeypatch.setattr("jobwire.worker.rescuer.REMEMBERED", 0.0)
            await recovery.run()
        assert raw.smembers("jobs::workers") == {b"alive%d" % number for number in range(1000)}
        assert not raw.exists("jobs::queues", "jobs::gone")


async def test_a_worker_that_is_alone_asks_for_no_heartbeat(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        raw.sadd("jobs::workers", "me")
        async with recovery_at(redis_url, own=b"me") as recovery:
            assert not recovery.alone
            raw.config_resetstat()
            assert await recovery.dead_workers() == []
            assert recovery.alone
            assert raw.info("commandstats").keys() <= {"cmdstat_sscan", "cmdstat_config|resetstat", "cmdstat_info"}
            leave_behind(raw, "w", "a")
            assert await recovery.dead_workers() == [b"w"]
            assert not recovery.alone
            raw.srem("jobs::workers", "w")
            assert await recovery.dead_workers(hung_after=0.0) == []
            assert not recovery.alone, "a server that hung has told nothing"


async def test_live_workers_are_never_touched(each_url: str) -> None:
    with raw_client(each_url) as raw:
        leave_behind(raw, "w", "a")
        mark(raw, "r", "b")
        alive(raw, "w")
        alive(raw, "r")
        before = {key: raw.dump(key) for key in raw.keys("*")}
        for mode in ("reliable", "recoverable"):
            async with recovery_at(each_url, mode=mode) as recovery:
                assert await recovery.run() == []
                assert await recovery.run(dry_run=True) == []
        assert {key: raw.dump(key) for key in raw.keys("*")} == before


async def test_the_heartbeat_is_looked_at_again_in_every_step(each_url: str) -> None:
    """A worker that beats again between the look at the fleet and the return keeps what it has."""
    with raw_client(each_url) as raw:
        leave_behind(raw, "w", "a", "b")
        mark(raw, "r", "c")
        async with recovery_at(each_url) as recovery:
            dead = await recovery.dead_workers()
            assert sorted(dead) == [b"r", b"w"]
            alive(raw, "w")
            alive(raw, "r")

            async def still() -> list[bytes]:
                return dead

            recovery.dead_workers = still
            assert await recovery.run() == []
        assert entries(raw, "jobs::processing::w") == [b"a", b"b"]
        assert raw.hget("job::c", "_worker") == b"r"
        assert raw.hlen("jobs::gone") == 0


async def test_several_recoveries_at_once_return_each_job_once(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        jobs = [f"j{n:03}" for n in range(200)]
        leave_behind(raw, "w", *jobs[:100])
        mark(raw, "r", *jobs[100:])
        found = await asyncio.gather(*[run(redis_url) for _ in range(5)])
        assert sorted(done.job_id for share in found for done in share) == jobs
        back = entries(raw, "jobs::pending")
        assert sorted(back) == [job.encode() for job in jobs]
        assert [job for job in back if job < b"j100"] == [job.encode() for job in jobs[:100]]
        assert set(raw.hvals("jobs::attempts")) == {b"1"}


@pytest.mark.parametrize("prefix", ["jobs", "", "0", "a::b"])
async def test_every_prefix_has_names_of_its_own(redis_url: str, prefix: str) -> None:
    pre = f"{prefix}::" if prefix else ""
    with raw_client(redis_url) as raw:
        leave_behind(raw, "w", "a", prefix=prefix)
        mark(raw, "r", "b", prefix=prefix)
        leave_behind(raw, "w", "other", prefix="elsewhere")
        mark(raw, "r", "another", prefix="elsewhere")
        found = await run(redis_url, prefix=prefix)
        assert sorted(done.job_id for done in found) == ["a", "b"]
        assert sorted(entries(raw, f"{pre}pending")) == [b"a", b"b"]
        assert entries(raw, "elsewhere::processing::w") == [b"other"]
        assert raw.hget("job::another", "_worker") == b"r"
        assert not raw.exists("elsewhere::pending")


async def test_an_interrupted_recovery_is_taken_up_by_the_next(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        leave_behind(raw, "w", *(f"j{n}" for n in range(50)))
        async with connected(redis_url) as connection:
            task = asyncio.create_task(Recovery(connection, mode_of()).run())
            await eventually(lambda: raw.llen("jobs::pending") >= 5, every=0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert 0 < raw.llen("jobs::processing::w") < 50
        await run(redis_url)
        assert entries(raw, "jobs::pending") == [b"j%d" % n for n in range(50)]


async def test_the_queue_is_the_one_that_the_worker_had(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        leave_behind(raw, "w", "a", queue="low")
        leave_behind(raw, "unknown", "b")
        raw.hdel("jobs::queues", "unknown")
        await run(redis_url)
        assert entries(raw, "jobs::low") == [b"a"]
        assert entries(raw, "jobs::pending") == [b"b"]


async def test_a_dry_run_changes_nothing(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        leave_behind(raw, "w", "a", "b")
        mark(raw, "r", "c")
        before = {key: raw.dump(key) for key in raw.keys("*")}
        async with recovery_at(redis_url) as recovery:
            found = await recovery.run(dry_run=True)
        assert sorted(done.job_id for done in found) == ["a", "b", "c"]
        assert {done.outcome for done in found} == {"would return"}
        assert {key: raw.dump(key) for key in raw.keys("*")} == before


# -- losses


@pytest.mark.parametrize("kind", ["list", "mark"])
async def test_the_last_loss_makes_a_job_dead_and_changes_only_why(each_url: str, kind: str) -> None:
    with raw_client(each_url) as raw:
        raw.hset("job::a", mapping={"text_value": b"\xff\x00", "sereal_x": b"=srl"})
        if kind == "list":
            leave_behind(raw, "w", "a")
        else:
            mark(raw, "w", "a")
        raw.hset("jobs::attempts", "a", 4)
        before = raw.hgetall("job::a")
        (found,) = await run(each_url)
        assert found.outcome == "dead"
        after = raw.hgetall("job::a")
        assert after.pop(b"_error") == b"lost its worker too often"
        for name in (b"_worker", b"_started"):
            before.pop(name, None)
        assert after == before
        assert entries(raw, "jobs::dead") == [b"a"]
        assert not raw.exists("jobs::pending", "jobs::attempts")
        assert await run(each_url) == []


@pytest.mark.parametrize("held", ["string", "nothing"])
async def test_a_job_without_a_hash_is_moved_and_nothing_is_made_up(redis_url: str, held: str) -> None:
    with raw_client(redis_url) as raw:
        leave_behind(raw, "w", "a")
        raw.delete("job::a")
        if held == "string":
            raw.set("job::a", "x")
        raw.hset("jobs::attempts", "a", 9)
        (found,) = await run(redis_url)
        assert found.outcome == "dead"
        assert raw.get("job::a") == (b"x" if held == "string" else None)
        assert entries(raw, "jobs::dead") == [b"a"]


@pytest.mark.parametrize("entry", [b"", b"0", b"a b", b"\r\n\x00\xff", b'{"id": "x", "data": {}}', b"x" * 100_000])
async def test_any_entry_goes_back_as_it_is(redis_url: str, entry: bytes) -> None:
    with raw_client(redis_url) as raw:
        leave_behind(raw, "w")
        raw.lpush("jobs::processing::w", entry)
        (found,) = await run(redis_url)
        assert found.outcome == "returned"
        assert entries(raw, "jobs::pending") == [entry]


async def test_counts_that_are_no_numbers_begin_anew(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        leave_behind(raw, "w", "a")
        mark(raw, "r", "b")
        raw.hset("jobs::attempts", mapping={"a": "many", "b": "1.5"})
        assert len(await run(redis_url)) == 2
        assert raw.hgetall("jobs::attempts") == {b"a": b"1", b"b": b"1"}


async def test_attempts_of_jobs_that_are_gone_are_forgotten_in_bounded_steps(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        for n in range(2000):
            raw.hset("jobs::attempts", f"gone{n}", 1)
        raw.hset("jobs::attempts", "there", 2)
        raw.hset("job::there", "text_value", "x")
        async with recovery_at(redis_url) as recovery:
            await recovery.run()
            assert 1001 < raw.hlen("jobs::attempts") < 2001
            for _ in range(60):
                await recovery.run()
        assert raw.hgetall("jobs::attempts") == {b"there": b"2"}


# -- marks


async def test_marks_are_only_followed_into_queues_that_the_worker_had(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        mark(raw, "r", "ours")
        # The same worker ID under other prefixes, whose queues look like ours from afar.
        mark(raw, "r", "theirs", prefix="jobs::eu")
        mark(raw, "r", "bare", prefix="")
        raw.set("jobs::eu::worker::r", "alive")
        raw.set("worker::r", "alive")
        found = await run(redis_url, mode="recoverable")
        assert [done.job_id for done in found] == ["ours"]
        assert [done.job_id for done in await run(redis_url, mode="recoverable", prefix="")] == []
        assert entries(raw, "jobs::pending") == [b"ours"]


async def test_what_is_not_marked_as_left_by_the_dead_stays(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        mark(raw, "r", "done", "unmarked", "half", "of another")
        raw.hset("job::done", "result", "Tx")
        raw.hdel("job::unmarked", "_worker", "_queue")
        raw.hdel("job::half", "_queue")
        raw.hset("job::of another", "_worker", "somebody")
        raw.set("job::string", "x")
        before = {key: raw.dump(key) for key in raw.keys("job::*")}
        assert await run(redis_url, mode="recoverable") == []
        assert {key: raw.dump(key) for key in raw.keys("job::*")} == before


async def test_what_was_returned_bears_no_mark_any_more(each_url: str) -> None:
    with raw_client(each_url) as raw:
        mark(raw, "r", "a")
        await run(each_url, mode="recoverable")
        assert raw.hgetall("job::a") == {b"_reply_to": b"c", b"_queued": b"1", b"_queue": b"jobs::pending"}
        assert await run(each_url, mode="recoverable") == []
        assert entries(raw, "jobs::pending") == [b"a"]


async def test_thousands_of_hashes_are_walked_through_in_steps(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        pipe = raw.pipeline(transaction=False)
        for n in range(5000):
            pipe.hset(f"job::x{n}", "text_value", "x")
        pipe.execute()
        mark(raw, "r", *(f"m{n}" for n in range(20)))
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        assert len(await run(redis_url, mode="recoverable")) == 20
        counting.cancel()
        assert turns > 10


# -- what is broken


@pytest.mark.parametrize("broken", ["jobs::queues", "jobs::workers", "jobs::attempts"])
async def test_a_key_of_another_type_is_told_and_left_alone(redis_url: str, broken: str) -> None:
    with raw_client(redis_url) as raw:
        leave_behind(raw, "a", "one")
        raw.delete(broken)
        raw.set(broken, "no hash")
        with pytest.raises(ServerError, match="WRONGTYPE"):
            await run(redis_url)
        assert raw.get(broken) == b"no hash"
        assert entries(raw, "jobs::pending") + entries(raw, "jobs::processing::a") == [b"one"]


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
@pytest.mark.parametrize("broken", ["jobs::pending", "jobs::dead"])
async def test_a_place_that_cannot_be_written_to_costs_no_job_and_counts_no_loss(
    redis_url: str, broken: str, mode: str
) -> None:
    losses = {"jobs::pending": 0, "jobs::dead": 4}[broken]
    with raw_client(redis_url) as raw:
        if mode == "reliable":
            leave_behind(raw, "a", "one")
        else:
            mark(raw, "a", "one")
        if losses:
            raw.hset("jobs::attempts", "one", losses)
        raw.set(broken, "no list")
        for _ in range(10):
            with contextlib.suppress(ServerError):
                await run(redis_url, mode=mode)
        assert int(raw.hget("jobs::attempts", "one") or 0) == losses  # type: ignore[arg-type]  # no awaitable
        assert raw.hget("job::one", "_error") is None
        if mode == "reliable":
            assert entries(raw, "jobs::processing::a") == [b"one"]
        else:
            assert raw.hget("job::one", "_worker") == b"a"
        raw.delete(broken)
        await run(redis_url, mode=mode)
        assert entries(raw, broken) == [b"one"]


async def test_counts_that_cannot_be_kept_do_not_keep_jobs_from_their_queue(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        leave_behind(raw, "a", "one", "two")
        raw.set("jobs::attempts", "no hash")
        with pytest.raises(ServerError, match="WRONGTYPE"):  # said, once the jobs are back
            await run(redis_url)
        assert sorted(entries(raw, "jobs::pending")) == [b"one", b"two"]


async def test_one_list_that_is_none_keeps_the_others_from_nothing(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with raw_client(redis_url) as raw:
        leave_behind(raw, "a")
        leave_behind(raw, "b", "two")
        raw.set("jobs::processing::a", "no list")
        assert len(await run(redis_url)) == 1
        assert raw.get("jobs::processing::a") == b"no list"
    assert "cannot return what worker 'a' had in hand" in caplog.text


async def test_names_from_the_wire_forge_no_log_line(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with raw_client(redis_url) as raw:
        leave_behind(raw, "w\nERROR forged", "a\r\nERROR forged")
        await run(redis_url)
    assert all("\n" not in record.getMessage() and "\r" not in record.getMessage() for record in caplog.records)
    assert "forged" in caplog.text


# -- Perl's shared list


async def test_the_shared_list_is_only_touched_from_the_age_that_is_said(each_url: str) -> None:
    now = time.time()
    with raw_client(each_url) as raw:
        for name, age in (("old", 7200), ("older", 9000), ("young", 60)):
            raw.hset(
                f"job::{name}", mapping={"_reply_to": "c", "_queued": str(now - 10_000), "_started": str(now - age)}
            )
        raw.hset("job::ageless", "text_value", "0.003 says no times")
        raw.hset("job::odd", mapping={"_started": "yesterday"})
        raw.lpush("jobs::processing", "older", "old", "young", "ageless", "vanished", "odd")
        raw.lpush("jobs::pending", "next")
        async with recovery_at(each_url) as recovery:
            assert await recovery.run() == []
            dry = await recovery.shared(older_than=3600)
            assert [(done.job_id, done.outcome) for done in dry] == [("old", "would return"), ("older", "would return")]
            assert raw.llen("jobs::processing") == 6
            await recovery.shared(older_than=3600, dry_run=False)
            assert entries(raw, "jobs::pending") == [b"older", b"old", b"next"]
            assert entries(raw, "jobs::processing") == [b"young", b"ageless", b"vanished", b"odd"]
            await recovery.shared(older_than=3600, dry_run=False, unknown_age=True)
            assert entries(raw, "jobs::processing") == [b"young"]


async def test_a_job_that_left_the_shared_list_meanwhile_is_not_pushed(redis_url: str) -> None:
    with raw_client(redis_url) as raw:
        raw.hset("job::a", "_started", "1")
        raw.lpush("jobs::processing", "a")
        async with recovery_at(redis_url) as recovery:
            connection = recovery._connection
            execute = connection.execute

            async def slow(command: Any) -> Any:
                if command[0] == b"EVAL":
                    raw.lrem("jobs::processing", 1, "a")
                return await execute(command)

            connection.execute = slow
            assert await recovery.shared(older_than=1, dry_run=False) == []
        assert not raw.exists("jobs::pending")


# -- unmarked


async def test_unmarked_jobs_are_those_that_nothing_and_nobody_holds(each_url: str) -> None:
    with raw_client(each_url) as raw:
        for name in ("lost", "waiting", "taken", "foreign", "dead", "young", "done", "marked", "ageless"):
            raw.hset(f"job::{name}", mapping={"_reply_to": "c", "_queued": "1"})
        raw.lpush("jobs::low", "waiting")
        raw.lpush("jobs::processing::w", "taken")
        raw.lpush("elsewhere::processing", "foreign")
        raw.lpush("jobs::dead", "dead")
        raw.hset("job::young", "_started", str(time.time()))
        raw.hset("job::done", "result", "T")
        raw.hset("job::marked", "_worker", "w")
        raw.hdel("job::ageless", "_queued")
        async with recovery_at(each_url, mode="recoverable") as recovery:
            assert [done.job_id for done in await recovery.unmarked(older_than=60)] == ["lost"]
            assert not raw.exists("jobs::pending")
            (done,) = await recovery.unmarked(older_than=60, dry_run=False)
            assert done.outcome == "returned"
            assert entries(raw, "jobs::pending") == [b"lost"]
            assert await recovery.unmarked(older_than=60, dry_run=False) == []


@pytest.mark.parametrize("change", [{"_worker": "w"}, {"_started": "9"}, {"result": "T"}])
async def test_a_job_that_is_begun_meanwhile_is_not_adopted(redis_url: str, change: dict[str, str]) -> None:
    with raw_client(redis_url) as raw:
        raw.hset("job::a", mapping={"_reply_to": "c", "_queued": "1"})
        async with recovery_at(redis_url, mode="recoverable") as recovery:
            listed = recovery._listed

            async def meanwhile() -> set[bytes]:
                found = await listed()
                if looks:
                    raw.hset("job::a", mapping=change)
                looks.append(1)
                return found

            looks: list[int] = []
            recovery._listed = meanwhile
            assert await recovery.unmarked(older_than=60, dry_run=False) == []
        assert not raw.exists("jobs::pending")
