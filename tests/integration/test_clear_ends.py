"""Wrong input has a clear end: one message that says what happened and what to do, and holds no credentials."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest
import redis

from jobwire import AuthError, Client, ConfigError, ConnectError, Job, JobFailed, JobTimeout, Worker
from jobwire.testing.server import RedisServer, free_port
from jobwire.wire.dead_letters import decode_rejected
from tests.support.faces import KEPT, MODES, Faces, client_options, entries, eventually, within

SECRET = "s3cr3t-pass"


def face(kind: str, url: str, **options: Any) -> Any:
    if kind == "client":
        return Client(url, **options)
    worker = Worker(url, **options)
    worker.handler(lambda job: None)
    return worker


@pytest.mark.parametrize("kind", ["client", "worker"])
@pytest.mark.parametrize("mode", MODES)
async def test_no_server_at_the_url(kind: str, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    port = free_port()
    made = face(kind, f"redis://me:{SECRET}@127.0.0.1:{port}/3", mode=mode)
    begun = time.monotonic()
    with pytest.raises(
        ConnectError, match=rf"cannot connect to redis://127\.0\.0\.1:{port}/3: .*refused.*; is Redis running there\?"
    ) as caught:
        await within(made.start())
    assert time.monotonic() - begun < 2
    assert SECRET not in str(caught.value) + repr(caught.value) + repr(made) + caplog.text
    await made.stop()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


@pytest.fixture(scope="module")
def guarded() -> Any:
    with RedisServer(password="right") as server:
        yield server


@pytest.mark.parametrize("kind", ["client", "worker"])
@pytest.mark.parametrize("credentials", [f":{SECRET}@", f"me:{SECRET}@", ""])
async def test_a_wrong_password(
    guarded: RedisServer, kind: str, credentials: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = face(kind, f"redis://{credentials}127.0.0.1:{guarded.port}")
    with pytest.raises(AuthError, match=r"password") as caught:
        await within(made.start())
    message = str(caught.value)
    assert f"127.0.0.1:{guarded.port}" in message
    assert "\n" not in message
    assert SECRET not in message + repr(caught.value) + caplog.text
    await made.stop()


async def test_a_password_in_no_log_line(guarded: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Client(guarded.url, id="me", reconnect_delay=0.001) as client:
        worker = Worker(guarded.url)
        worker.handler(lambda job: 1 / 0)
        async with worker:
            with pytest.raises(JobFailed):
                await client.submit({})
            with redis.Redis.from_url(guarded.url, protocol=2) as raw:
                raw.client_kill_filter(_type="normal", skipme=True)
            with pytest.raises(JobFailed):
                await client.submit({})
    assert ":right@" not in caplog.text
    assert "lost" in caplog.text


@pytest.mark.parametrize("mode", MODES)
async def test_a_prefix_of_another_party(faces: Faces, raw: redis.Redis, mode: str) -> None:
    raw.lpush("theirs::pending", "a", "b")
    await faces.worker(mode=mode, prefix="workers")
    client = await faces.client(mode=mode, prefix="clients")
    with pytest.raises(JobTimeout) as caught:
        await client.submit({"text": "abc"}, id="j", timeout=0.1)
    message = str(caught.value)
    assert "job 'j' within 0.1 s" in message
    assert "'clients::pending'" in message
    assert "no jobwire worker is known under this prefix" in message
    assert "'theirs::pending'" in message
    assert "same prefix and queue?" in message
    if mode != "simple":
        assert "0 jobs ahead of it, 1 in the queue" in message
        assert "prefixes that have jobwire workers: 'workers'" in message


async def test_a_deadline_says_that_there_are_workers(faces: Faces, way: dict[str, Any]) -> None:
    async def slow(job: Job) -> None:
        await asyncio.sleep(100)

    worker = await faces.worker(slow, **way, max_concurrent_jobs=1)
    client = await faces.client(**client_options(way))
    first = client.submit({}, timeout=0.3)
    await eventually(lambda: worker.running == 1)
    with pytest.raises(JobTimeout) as caught:
        await client.submit({}, timeout=0.05)
    message = str(caught.value)
    if way["mode"] == "simple":
        assert "holds 1 jobs" in message
    elif way.get("processing_queue") == "processing":
        assert "0 jobs ahead of it" in message
    else:
        assert "1 jobwire workers are known under this prefix" in message
    with pytest.raises(JobTimeout, match="holds" if way["mode"] == "simple" else "taken"):
        await first


@pytest.mark.parametrize("mode", KEPT)
async def test_an_unreadable_hash_is_one_log_line(
    faces: Faces, raw: redis.Redis, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    raw.hset("job::bad", mapping={"_reply_to": "x", "yaml_a": "1\nforged log line"})
    raw.lpush("jobs::pending", "bad")
    await faces.worker(mode=mode, max_concurrent_jobs=1)
    client = await faces.client(mode=mode)
    assert await client.submit({"text": "abc"}) == "cba"
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "jobs::rejected" in errors[0].getMessage()
    assert "job::bad" in errors[0].getMessage()
    assert "yaml_a" in errors[0].getMessage()
    assert "\n" not in errors[0].getMessage()
    assert decode_rejected(entries(raw, "jobs::rejected")[0]).raw == b"bad"


async def test_a_handler_that_raises_is_one_log_line(
    faces: Faces, way: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def work(job: Job) -> None:
        if job.data["bad"] == "1":
            raise ValueError("wrong\nforged log line")

    await faces.worker(work, **way, max_concurrent_jobs=1)
    client = await faces.client(**client_options(way))
    bad, good = client.submit({"bad": "1"}), client.submit({"bad": "0"})
    with pytest.raises(JobFailed, match="ValueError: wrong"):
        await bad
    assert await good in ("", None)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "failed: ValueError: 'wrong\\nforged log line'" in lines[0]


def test_handlers_that_cannot_work() -> None:
    worker = Worker("redis://127.0.0.1")

    class Plain:
        pass

    def two(a: Job, b: Job) -> None: ...
    def none() -> None: ...
    def keyword(*, job: Job) -> None: ...
    def odd(job: Plain) -> None: ...
    def unknown(job: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - wrong on purpose

    for wrong, words in [
        (two, "exactly one argument"),
        (none, "exactly one argument"),
        (keyword, "exactly one argument"),
        (unknown, "cannot be resolved"),
        ("text", "a handler is a function"),
    ]:
        with pytest.raises(ConfigError, match=words):
            worker.handler(wrong)  # type: ignore[type-var]  # wrong on purpose
    worker.handler(lambda job: None)
    with pytest.raises(ConfigError, match="has a handler already"):
        worker.handler(lambda job: None)
    worker.route("a")(lambda job: None)
    with pytest.raises(ConfigError, match="has a handler already"):
        worker.route("a")(lambda job: None)
    with pytest.raises(ConfigError, match="routes by 'name'"):
        worker.route("b", field="op")(lambda job: None)


async def test_a_worker_needs_a_handler(faces: Faces) -> None:
    with pytest.raises(ConfigError, match="a worker needs a handler"):
        await faces.unstarted(None).start()
