"""Options against what piles up, and against connections that are only half there."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import redis

from jobwire import Client, ConfigError, Worker
from jobwire.wire.dead_letters import decode_rejected
from tests.support.faces import Faces, eventually, until, within
from tests.support.victims import FAST

WAYS = [{}, {"processing_queue": "processing"}, {"mode": "recoverable"}]


def put(raw: redis.Redis, name: str, **fields: str) -> None:
    raw.hset(f"job::{name}", mapping={"_reply_to": "c", "text_x": "y", **fields})
    raw.lpush("jobs::pending", name)


# -- expire_results


@pytest.mark.parametrize("way", WAYS)
async def test_results_that_nobody_listens_for_go_in_time(faces: Faces, raw: redis.Redis, way: dict[str, Any]) -> None:
    await faces.worker(lambda job: "r", expire_results=100, **way)
    put(raw, "a")
    await eventually(lambda: raw.ttl("job::a") > 90)
    assert raw.hget("job::a", "result") == b"Tr"


async def test_results_go(faces: Faces, raw: redis.Redis) -> None:
    await faces.worker(lambda job: "r", expire_results=0.2)
    put(raw, "a")
    await eventually(lambda: raw.hget("job::a", "result") == b"Tr")
    await eventually(lambda: not raw.exists("job::a"))


@pytest.mark.parametrize("way", WAYS)
async def test_results_that_somebody_listens_for_stay(faces: Faces, raw: redis.Redis, way: dict[str, Any]) -> None:
    """As a Perl client does: it may be as slow as it likes."""
    listening = raw.pubsub()
    listening.subscribe("client::c")
    worker = await faces.worker(lambda job: "r", expire_results=0.1, **way)
    put(raw, "a")
    await until(lambda: worker.counts["done"] == 1)
    await asyncio.sleep(0.4)
    assert raw.ttl("job::a") == -1
    listening.close()


async def test_a_client_that_comes_back_in_time_finds_its_result(faces: Faces, raw: redis.Redis) -> None:
    client = Client(faces.url, id="me")
    await client.start()
    handle = client.submit({"text": "abc"})
    await eventually(lambda: raw.llen("jobs::pending") == 1)
    await client.stop()
    await faces.worker(expire_results=60)
    await eventually(lambda: raw.ttl(f"job::{handle.id}") > 50)
    again = await faces.client(id="me")
    assert await within(again.attach(handle.id)) == "cba"
    await eventually(lambda: not raw.exists(f"job::{handle.id}"))


async def test_without_the_option_nothing_ever_expires(faces: Faces, raw: redis.Redis) -> None:
    worker = await faces.worker(lambda job: "r")
    put(raw, "a")
    await until(lambda: worker.counts["done"] == 1)
    assert raw.ttl("job::a") == -1


async def test_a_hash_without_a_result_never_expires(faces: Faces, raw: redis.Redis) -> None:
    def fail(job: object) -> None:
        raise ValueError("no")

    worker = await faces.worker(fail, expire_results=0.1)
    put(raw, "a")
    await until(lambda: worker.counts["dead"] == 1)
    await asyncio.sleep(0.3)
    assert raw.hget("job::a", "_error").startswith(b"ValueError: no")  # type: ignore[union-attr]  # it is there
    assert raw.ttl("job::a") == -1


# -- max_rejected


async def test_many_rejected_entries_are_an_alarm_and_none_is_dropped(
    faces: Faces, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    worker = await faces.worker(max_rejected=5)

    def alarms() -> list[str]:
        return [record.getMessage() for record in caplog.records if "max_rejected" in record.getMessage()]

    for n in range(4):
        put(raw, f"a{n}", json_bad="{")
    await until(lambda: worker.counts["rejected"] == 4)
    assert alarms() == []
    for n in range(30):
        put(raw, f"b{n}", json_bad="{")
    await until(lambda: worker.counts["rejected"] == 34)
    await eventually(alarms)
    # Once at five, and again whenever it has doubled: not once an entry.
    assert 1 <= len(alarms()) <= 4
    assert raw.llen("jobs::rejected") == 34
    assert {decode_rejected(entry).raw for entry in raw.lrange("jobs::rejected", 0, -1)} == {
        *(b"a%d" % n for n in range(4)),
        *(b"b%d" % n for n in range(30)),
    }


# -- connections


async def test_the_options_reach_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    from jobwire.client import client
    from jobwire.transport import open_transport
    from jobwire.worker import worker

    def record(url: str, **options: Any) -> Any:
        told.append(options)
        return open_transport(url, **options)

    monkeypatch.setattr(client, "open_transport", record)
    monkeypatch.setattr(worker, "open_transport", record)
    tls: Any = {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    Client("rediss://127.0.0.1", health_check_interval=7, tls=tls)
    Worker("rediss://127.0.0.1", health_check_interval=8, tls=tls)
    Client()
    assert told == [{"health_check_interval": n, **tls} for n in (7, 8)] + [{"health_check_interval": 30.0}]


async def test_a_server_that_falls_silent_is_noticed(faces: Faces, raw: redis.Redis) -> None:
    from jobwire.testing.server import RedisServer

    with RedisServer() as server:
        states: list[str] = []
        client = Client(
            server.url, health_check_interval=0.2, reconnect_delay=0.05, on_state=lambda state, _: states.append(state)
        )
        await client.start()
        server.pause()
        await until(lambda: "down" in states)
        server.resume()
        await until(lambda: states[-1] == "up")
        await client.stop()


@pytest.mark.parametrize(
    "options",
    [{"expire_results": 0}, {"max_rejected": 0}, {"health_check_interval": -1}, {"tls": {"ssl_nonsense": 1}}],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises((ConfigError, TypeError)):
        Worker("rediss://127.0.0.1", **options)


async def test_states_are_told_to_hooks(faces: Faces, raw: redis.Redis) -> None:
    from tests.support.faces import kill

    states: list[str] = []
    await faces.worker(on_state=lambda state, _: states.append(state), **FAST)
    await faces.client(on_state=lambda state, _: states.append("client " + state))
    kill(raw, "jobwire-")
    await until(lambda: {"down", "client down"} <= set(states))
    await until(lambda: states.count("up") == 2 and states.count("client up") == 2)
