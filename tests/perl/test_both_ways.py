"""Real Perl Job::Async processes and jobwire, both ways, through a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis as redis_py

import jobwire
from jobwire_conformance.peers.operations import run_operation

StartPerl = Callable[..., Awaitable[Any]]

LONG = "x" * 100_000
TEXTS = {
    "plain": "reverse me please",
    "empty": "",
    "utf8": "déjà vu ☺ 🐪",
    "latin1-bytes": b"d\xe9j\xe0",
    "binary": bytes(range(256)),
    "newlines": "a\r\nb\nc\n",
    "zero": "0",
    "long": LONG,
    "looks-like-sereal": b"=\xf3rl\x05\x00",
}
NUMBERS = {"int": (42, "42"), "negative": (-7, "-7"), "float": (0.1, "0.1"), "big": (2**64 - 1, str(2**64 - 1))}
NESTED = {
    "list": [1, 2, 3],
    "empty-list": [],
    "empty-dict": {},
    "dict": {"k": "v", "n": None, "d": {"x": [1.5, True, False]}},
    "utf8": ["☺", "é", "plain", {"☺": "é"}],
    "deep": [[[[[[[[[["end"]]]]]]]]]],
    "repeated-keys": [{"name": "a", "value": 1}, {"name": "b", "value": 2}, {"name": "c", "value": 3}],
}
# Sereal's booleans become Perl's native ones (5.36), and JSON on the way back makes 1 and "" of those.
FROM_PERL = {"dict": {"k": "v", "n": None, "d": {"x": [1.5, 1, ""]}}}


@asynccontextmanager
async def python_worker(url: str, **options: Any) -> AsyncIterator[jobwire.Worker]:
    worker = jobwire.Worker(url, **{"job_poll_interval": 1, "max_concurrent_jobs": 8, **options})

    @worker.handler
    async def operation(job: jobwire.Job) -> Any:
        if job.data.get("op", "echo") == "echo":
            return job.data.get("value")
        return await run_operation(job.data)

    async with worker:
        yield worker


def nothing_left(redis: redis_py.Redis) -> None:
    """Every job was collected: no hash, no queue entry."""
    assert redis.keys("*") == []


class TestPerlClientPythonWorker:
    """A Perl client's jobs are done by a Python worker."""

    @pytest.mark.parametrize("use_multi", [False, True], ids=["plain", "multi"])
    @pytest.mark.parametrize("dialect", ["0.003", "0.004", "master", "0.004+nar5"])
    async def test_every_value(
        self, perl: StartPerl, redis_url: str, redis: redis_py.Redis, dialect: str, use_multi: bool
    ) -> None:
        async with python_worker(redis_url, use_multi=use_multi) as worker:
            client = await perl("client", dialect=dialect, use_multi=use_multi)
            for value in TEXTS.values():
                assert await client.call({"op": "echo", "value": value}) == value
            for number, printed in NUMBERS.values():
                assert await client.call({"op": "echo", "value": number}) == printed
            for nested in NESTED.values():
                assert await client.call({"op": "echo", "value": nested}) == nested
            assert await client.call({"op": "nothing"}) == ""
            assert await client.call({"op": "add", "first": 2, "second": 40}) == "42"
            await client.stop()
        assert worker.counts["done"] == len(TEXTS) + len(NUMBERS) + len(NESTED) + 2
        nothing_left(redis)

    async def test_undef_inside_and_missing(self, perl: StartPerl, redis_url: str) -> None:
        async with python_worker(redis_url):
            client = await perl("client")
            assert await client.call({"op": "echo", "value": [None]}) == [None]
            assert await client.call({}) == ""

    @pytest.mark.parametrize("at_a_time", [1, 8, 64])
    async def test_a_thousand_jobs(
        self, perl: StartPerl, redis_url: str, redis: redis_py.Redis, at_a_time: int
    ) -> None:
        async with python_worker(redis_url, max_concurrent_jobs=at_a_time) as worker:
            client = await perl("client")
            jobs = [client.submit({"op": "add", "first": n, "second": 1}) for n in range(1000)]
            assert [await job.result(within=60) for job in jobs] == [str(n + 1) for n in range(1000)]
            await client.stop()
        assert worker.counts == {"done": 1000}
        nothing_left(redis)

    @pytest.mark.parametrize("prefix", ["jobs", "other", "", "0", "a::b"])
    async def test_prefixes(self, perl: StartPerl, redis_url: str, redis: redis_py.Redis, prefix: str) -> None:
        async with python_worker(redis_url, prefix=prefix):
            client = await perl("client", prefix=prefix)
            assert await client.call({"op": "reverse", "value": "abc"}) == "cba"
            await client.stop()
        nothing_left(redis)

    @pytest.mark.parametrize("own_list", [False, True], ids=["shared", "own"])
    async def test_a_failing_job_does_not_stop_the_worker(
        self, perl: StartPerl, redis_url: str, redis: redis_py.Redis, own_list: bool
    ) -> None:
        processing = None if own_list else "processing"
        async with python_worker(redis_url, max_concurrent_jobs=1, processing_queue=processing) as worker:
            client = await perl("client")
            failed = client.submit({"op": "fail", "message": "no luck"})
            assert await client.call({"op": "reverse", "value": "abc"}) == "cba"
            job_id = await failed.job_id()
            assert not failed.outcome.done()
        assert worker.counts == {"done": 1, "dead": 1}
        assert redis.lrange("jobs::dead", 0, -1) == [str(job_id).encode()]
        assert b"no luck" in redis.hget(f"job::{job_id}", "_error")

    async def test_reply_is_a_result_that_perl_can_test(self, perl: StartPerl, redis_url: str) -> None:
        async with python_worker(redis_url, on_failure="reply"):
            client = await perl("client")
            answer = await client.call({"op": "fail", "message": "no luck"})
            assert set(answer) == {"error"}
            assert set(answer["error"]) == {"type", "message"}

    async def test_compliance_sums(self, perl: StartPerl, redis_url: str, redis: redis_py.Redis) -> None:
        """What Job::Async::Test::Compliance submits: 506 sums, 1, 2, 4, 8, 50 at a time, after a first one."""
        async with python_worker(redis_url, max_concurrent_jobs=50) as worker:
            client = await perl("client")
            await run_compliance(lambda first, second: client.call({"op": "add", "first": first, "second": second}))
            await client.stop()
        assert worker.counts == {"done": 2531}
        nothing_left(redis)


class TestPythonClientPerlWorker:
    """A Python client's jobs are done by a Perl worker."""

    @pytest.mark.parametrize("dialect", ["0.003", "0.004", "0.004+nar5"])
    @pytest.mark.parametrize("use_multi", [False, True], ids=["plain", "multi"])
    async def test_every_value(
        self, perl: StartPerl, redis_url: str, redis: redis_py.Redis, dialect: str, use_multi: bool
    ) -> None:
        # 0.003 has no poll interval: it waits for ever.
        polling = {} if dialect == "0.003" else {"job_poll_interval": 1}
        worker = await perl("worker", dialect=dialect, use_multi=use_multi, **polling)
        async with jobwire.Client(
            redis_url, dialect=dialect.partition("+")[0], use_multi=use_multi, timeout=30
        ) as client:
            for value in TEXTS.values():
                assert await client.submit({"op": "echo", "value": value}) == value
            for number, printed in NUMBERS.values():
                assert await client.submit({"op": "echo", "value": number}) == printed
            for name, nested in NESTED.items():
                assert await client.submit({"op": "echo", "value": nested}) == FROM_PERL.get(name, nested)
            assert await client.submit({"op": "nothing"}) == ""
            assert await client.submit({"op": "add", "first": 2, "second": 40}, result_type=int) == 42
        await worker.stop()
        nothing_left(redis)

    async def test_master_worker(self, perl: StartPerl, redis_url: str, redis: redis_py.Redis) -> None:
        await perl("worker", dialect="master")
        async with jobwire.Client(redis_url, dialect="master", timeout=30) as client:
            assert await client.submit({"op": "echo", "value": {"a": [1, "☺"]}}) == {"a": [1, "☺"]}
        nothing_left(redis)

    async def test_what_perl_sees(self, perl: StartPerl, redis_url: str) -> None:
        """None and booleans reach a Perl handler as undef, true, false; bytes as they are; text as UTF-8 bytes."""
        worker = await perl("worker")
        async with jobwire.Client(redis_url, timeout=30) as client:
            await client.submit({"op": "nothing", "a": None, "b": True, "c": False, "d": b"\xff", "e": "é", "f": 0.1})
            seen = (await worker.taken(1))[0].data
        assert seen == {"op": "nothing", "a": None, "b": True, "c": False, "d": b"\xff", "e": "é", "f": "0.1"}

    @pytest.mark.parametrize("nested", ["sereal", "json"])
    @pytest.mark.parametrize("dialect", ["0.002", "0.003", "0.004", "master", "0.004+nar5"])
    async def test_floats_reach_perl_with_all_their_digits(
        self, perl: StartPerl, redis_url: str, dialect: str, nested: Any
    ) -> None:
        """As Sereal scalars (NUM-10): numbers to calculate with, which Perl prints with 15 digits."""
        values = [0.1 + 0.2, 1 / 3, 1700000000.1234567, -52.520008123456789, 1e15 + 0.3]
        worker = await perl("worker", dialect=dialect)
        async with jobwire.Client(redis_url, dialect=dialect.partition("+")[0], nested=nested, timeout=30) as client:
            for value in values:
                assert await client.submit({"op": "echo", "value": value}) == f"{value:.15g}"
            assert await client.submit({"op": "add", "first": 1 / 3, "second": 0.5}) == f"{1 / 3 + 0.5:.15g}"
            seen = [job.data["value"] for job in (await worker.taken(len(values) + 1))[: len(values)]]
        assert seen == values

    async def test_floats_reach_perl_without_field_types(self, perl: StartPerl, redis_url: str) -> None:
        worker = await perl("worker", dialect="0.001")
        async with jobwire.Client(redis_url, dialect="0.001", timeout=30) as client:
            # Perl loses what is the same in 15 digits, and nothing else.
            assert (
                await client.submit({"op": "add", "first": 1 / 3, "second": -0.333333333333333})
                == f"{1 / 3 - 0.333333333333333:.15g}"
            )
        assert (await worker.taken(1))[0].data["first"] == repr(1 / 3)

    async def test_json_parameters(self, perl: StartPerl, redis_url: str) -> None:
        await perl("worker")
        async with jobwire.Client(redis_url, nested="json", timeout=30) as client:
            assert await client.submit({"op": "echo", "value": {"a": [1, "é"]}}) == {"a": [1, "é"]}

    @pytest.mark.parametrize("at_a_time", [1, 8, 64])
    async def test_a_thousand_jobs(
        self, perl: StartPerl, redis_url: str, redis: redis_py.Redis, at_a_time: int
    ) -> None:
        worker = await perl("worker", max_concurrent_jobs=at_a_time, job_poll_interval=1)
        async with jobwire.Client(redis_url, timeout=60) as client:
            handles = await client.submit_many({"op": "add", "first": n, "second": 1} for n in range(1000))
            assert await asyncio.gather(*handles) == [str(n + 1) for n in range(1000)]
        await worker.stop()
        nothing_left(redis)

    @pytest.mark.parametrize("prefix", ["other", "", "0"])
    async def test_prefixes(self, perl: StartPerl, redis_url: str, prefix: str) -> None:
        await perl("worker", prefix=prefix)
        async with jobwire.Client(redis_url, prefix=prefix, timeout=30) as client:
            assert await client.submit({"op": "reverse", "value": "abc"}) == "cba"

    async def test_a_job_that_perl_fails_ends_in_a_deadline_that_says_where_it_is(
        self, perl: StartPerl, redis_url: str
    ) -> None:
        await perl("worker", max_concurrent_jobs=2)
        async with jobwire.Client(redis_url, timeout=1) as client:
            with pytest.raises(jobwire.JobTimeout, match="it was taken, and there is no result yet"):
                await client.submit({"op": "fail", "message": "no luck"})
            assert await client.submit({"op": "reverse", "value": "abc"}) == "cba"

    async def test_compliance_sums(self, perl: StartPerl, redis_url: str, redis: redis_py.Redis) -> None:
        worker = await perl("worker", max_concurrent_jobs=50, job_poll_interval=1)
        async with jobwire.Client(redis_url, timeout=60) as client:

            async def add(first: int, second: int) -> Any:
                return await client.submit({"op": "add", "first": first, "second": second})

            await run_compliance(add)
        await worker.stop()
        nothing_left(redis)


async def run_compliance(add: Callable[[int, int], Awaitable[Any]]) -> None:
    """The sums of Job::Async::Test::Compliance (Job::Async 0.004): 1 + 5 × 506 jobs."""
    sums = [(0, 1), (1, 1), (1, 0), (1, 1), (0, 0), (10, 11)]
    sums += [(first, second) for first in (0, 2, 4, 5, 7) for second in range(1, 101)]
    assert await add(8, 2) == "10"
    for at_a_time in (1, 2, 4, 8, 50):
        slots = asyncio.Semaphore(at_a_time)

        async def one(first: int, second: int, slots: asyncio.Semaphore = slots) -> None:
            async with slots:
                assert await add(first, second) == str(first + second)

        await asyncio.gather(*(one(first, second) for first, second in sums))
