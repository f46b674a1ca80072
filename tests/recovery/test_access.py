"""The access rules of SECURITY.md, as they stand there, on a real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jobwire import Job, JobTimeout, ServerError
from tests.support.faces import entries, eventually, faces_for, nothing_left, within
from tests.support.victims import FAST, leave_behind, mark

RULES = {
    match[1]: match[2].split()
    for match in re.finditer(
        r"^    user (\S+) on >… (.*)$", (Path(__file__).parents[2] / "SECURITY.md").read_text(), re.MULTILINE
    )
}


@pytest.fixture(params=["all", "nothing dangerous"])
def urls(raw: redis.Redis, redis_url: str, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    assert set(RULES) == {"job-client", "job-client-that-explains", "job-worker"}
    for user, rules in RULES.items():
        strict = ["-@dangerous"] if request.param == "nothing dangerous" else []
        raw.execute_command("ACL", "SETUSER", user, "reset", "on", ">pw", *rules, *strict)
    yield {user: redis_url.replace("redis://", f"redis://{user}:pw@") for user in RULES}
    for user in RULES:
        raw.acl_deluser(user)


async def value(job: Job) -> Any:
    if job.data.get("fail"):
        raise ValueError("no")
    await asyncio.sleep(float(job.data.get("seconds", 0)))
    return job.data.get("value", "none")


@pytest.mark.parametrize(
    ("mode", "multi"), [("reliable", False), ("reliable", True), ("recoverable", False), ("simple", False)]
)
async def test_client_and_worker_do_all_they_do(
    urls: dict[str, str], raw: redis.Redis, mode: str, multi: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with faces_for(urls["job-client"]) as clients, faces_for(urls["job-worker"]) as workers:
        worker = await workers.worker(value, mode=mode, use_multi=multi, on_failure="retry", retry_delay=0, **FAST)
        client = await clients.client(mode=mode, use_multi=multi)
        assert await within(client.submit({"value": "v"})) == "v"
        with pytest.raises(JobTimeout):
            await within(client.submit({"seconds": "0.5"}, timeout=0.1))
        client.submit({"seconds": "0.1"}).cancel()
        if mode != "simple":
            assert (await client.state("nothing")).place == "gone"
            raw.hset("job::bad", mapping={"_reply_to": "c", "json_a": "{"})
            raw.hset("job::fails", mapping={"_reply_to": "c", "text_fail": "1"})
            raw.lpush("jobs::pending", "bad", "fails", "vanished")
            await eventually(
                lambda: worker.counts["rejected"] == worker.counts["dead"] == worker.counts["vanished"] == 1
            )
            assert worker.counts["retried"] == 2
        await eventually(lambda: worker.running == 0)
        await worker.stop()
    assert "NOPERM" not in "".join(r.getMessage() for r in caplog.records if r.levelname in ("WARNING", "ERROR"))


async def test_recovery_works_as_well(urls: dict[str, str], raw: redis.Redis) -> None:
    leave_behind(raw, "dead", "a")
    mark(raw, "gone", "b")
    async with faces_for(urls["job-worker"]) as workers:
        await workers.worker(value, expire_results=50, **FAST)
        await eventually(lambda: {raw.hget(f"job::{name}", "result") for name in ("a", "b")} == {b"Ta", b"Tnone"})
        await eventually(lambda: raw.ttl("job::a") > 0)
        await eventually(lambda: raw.hkeys("jobs::gone") == [b"dead"] and not raw.sismember("jobs::workers", "gone"))


async def test_nothing_else_is_permitted(urls: dict[str, str], raw: redis.Redis) -> None:
    from tests.support.victims import connected

    for url in urls.values():
        async with connected(url) as connection:
            for command in (
                (b"GET", b"else"),
                (b"LPUSH", b"other::pending", b"x"),
                (b"FLUSHDB",),
                (b"KEYS", b"*"),
                (b"CONFIG", b"GET", b"*"),
                (b"PUBLISH", b"elsewhere", b"x"),
                (b"EVAL", b"return redis.call('GET', 'else')", b"0"),
            ):
                with pytest.raises(ServerError):
                    await connection.execute(command)
    assert nothing_left(raw)
    assert entries(raw, "jobs::pending") == []
