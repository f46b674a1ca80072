"""A server that refuses for a while: out of memory, read-only, another password; and clocks that disagree."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from jobwire import AuthError, Client, Job, ServerError, Worker
from jobwire.testing.server import RedisServer, free_port
from tests.support.faces import Faces, entries, eventually, faces_for, nothing_left, raw_client, until, within

BEAT = {"heartbeat": 0.3, "heartbeat_ttl": 1.5}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(appendonly=True) as made:
        yield made


class Gate:
    """A handler that waits until it is told to go on."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.runs: list[Any] = []

    async def __call__(self, job: Job) -> Any:
        self.runs.append(job.id)
        await self.opened.wait()
        return job.data["value"]


def refuse(server: RedisServer, how: str) -> None:
    with raw_client(server.url) as raw:
        if how == "out of memory":
            raw.config_set("maxmemory", "1")
        else:
            raw.replicaof("127.0.0.1", free_port())


def permit(server: RedisServer, how: str) -> None:
    with raw_client(server.url) as raw:
        if how == "out of memory":
            raw.config_set("maxmemory", "0")
        else:
            raw.replicaof("NO", "ONE")


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
@pytest.mark.parametrize(("how", "word"), [("out of memory", "OOM"), ("read-only", "READONLY")])
async def test_a_server_that_refuses_writes_loses_nothing(server: RedisServer, how: str, word: str, mode: str) -> None:
    """Submissions are refused with its words; what was begun and what waits is done once it takes writes again."""
    gate = Gate()
    async with faces_for(server.url) as faces:
        await faces.worker(gate, mode=mode, max_concurrent_jobs=2, **BEAT)
        client = await faces.client(mode=mode, timeout=60)
        before = [client.submit({"value": str(number)}) for number in range(6)]
        await eventually(lambda: len(gate.runs) == 2)
        refuse(server, how)
        with pytest.raises(ServerError, match=word):
            await within(client.submit({"value": "refused"}))
        gate.opened.set()
        await asyncio.sleep(1.0)
        permit(server, how)
        assert await within(asyncio.gather(*before), 30) == [str(number) for number in range(6)]
        assert await within(client.submit({"value": "taken"})) == "taken"
        with raw_client(server.url) as raw:
            await eventually(lambda: nothing_left(raw))


async def test_a_password_that_is_changed_and_changed_back(server: RedisServer) -> None:
    states: list[Any] = []
    async with faces_for(server.url) as faces:
        await faces.worker(lambda job: job.data["value"], **BEAT)
        client = await faces.client(timeout=60, on_state=lambda *state: states.append(state))
        assert await within(client.submit({"value": "1"})) == "1"
        with raw_client(server.url) as raw:
            raw.config_set("requirepass", "other")
            raw.auth("other")
            for connection in raw.client_list():
                raw.client_kill_filter(_id=connection["id"], skipme=True)
            handle = client.submit({"value": "2"})
            await eventually(lambda: states and states[-1][0] == "down")
            await asyncio.sleep(0.3)
            assert not handle.done()
            raw.config_set("requirepass", "")
        assert await within(handle, 20) == "2"
        assert [state for state, _ in states][-1] == "up"


@pytest.mark.parametrize("face", ["client", "worker"])
async def test_refused_for_good_is_said_and_ends_it(server: RedisServer, face: str) -> None:
    """With ``max_reconnects``: a definite error, for those who wait too."""
    gate = Gate()
    options: dict[str, Any] = {"reconnect_delay": 0.01, "max_reconnects": 3}
    worker = Worker(server.url, **(options if face == "worker" else {"reconnect_delay": 0.01}), **BEAT)
    worker.handler(gate)
    client = Client(server.url, timeout=60, **options)
    running = asyncio.ensure_future(worker.run(grace=0))
    await client.start()
    handle = client.submit({"value": "x"})
    await until(lambda: gate.runs)
    with raw_client(server.url) as raw:
        raw.config_set("requirepass", "other")
        raw.auth("other")
        for connection in raw.client_list():
            raw.client_kill_filter(_id=connection["id"], skipme=True)
    if face == "client":
        with pytest.raises(AuthError):
            await within(handle, 20)
        running.cancel()
    else:
        with pytest.raises(AuthError):
            await within(running, 30)
    await asyncio.gather(running, return_exceptions=True)
    await client.stop()


@pytest.mark.parametrize("hours", [1000, -1000])
@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_clocks_that_disagree_sweep_nobody(
    faces: Faces, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch, hours: float, mode: str
) -> None:
    """Who is dead is for the server's clock to say."""
    gate = Gate()
    client = await faces.client(mode=mode, timeout=60)
    first = await faces.worker(gate, mode=mode, max_concurrent_jobs=1, **BEAT)
    handle = client.submit({"value": "x"})
    await until(lambda: first.running == 1)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 3600 * hours)
    other = await faces.worker(gate, mode=mode, max_concurrent_jobs=1, **BEAT)
    await asyncio.sleep(4)
    assert entries(raw, "jobs::pending") == []
    assert other.running == 0
    gate.opened.set()
    assert await within(handle) == "x"
    assert len(gate.runs) == 1
    assert first.counts == {"done": 1}
