"""One worker ID has one owner: claims, displacement, silence, restarts; and what is lost on the way to a client."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any, Self

import pytest
import redis

from jobwire import ConfigError, ConnectError, Job, Worker
from jobwire.testing.server import RedisServer
from jobwire.transport import Backoff, Connection, DirectTransport, open_transport
from jobwire.version import __version__
from jobwire.wire.workers import read_host
from jobwire_conformance.record.proxy import Proxy, Recorder, Rule, Upstream
from tests.support.faces import Faces, entries, eventually, faces_for, kill, nothing_left, raw_client, until, within
from tests.support.victims import BEAT, FAST, TTL, Victims, recovery_at


async def forever(job: Job) -> None:
    await asyncio.Event().wait()


# -- one owner


async def test_a_second_worker_of_the_same_id_is_refused(faces: Faces, raw: redis.Redis) -> None:
    await faces.worker(id="w", **FAST)
    nonce = raw.get("jobs::worker::w")
    with pytest.raises(ConfigError, match=r"worker ID 'w' is taken by another worker under this prefix.*within 1\.2 s"):
        await faces.worker(id="w", **FAST)
    assert raw.get("jobs::worker::w") == nonce
    assert raw.smembers("jobs::workers") == {b"w"}
    # Under another prefix it is another worker; and in a shared list nobody has an ID to lose.
    await faces.worker(id="w", prefix="other", **FAST)
    await faces.worker(id="w", processing_queue="processing")


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_a_worker_that_was_killed_comes_back_under_its_id(
    faces: Faces, raw: redis.Redis, victims: Victims, mode: str
) -> None:
    """Its supervisor starts it at once, while the sign of life of the one that was killed is still there."""
    client = await faces.client(timeout=30, mode=mode)
    first = await victims.worker("w", mode=mode, heartbeat_ttl=5.0)  # longer than a Python takes to start
    job = client.submit({"op": "sleep", "seconds": 0.5, "value": "x"})
    await eventually(lambda: len(victims.runs()) == 1)
    await first.kill()
    assert raw.exists("jobs::worker::w")
    second = await victims.worker("w", mode=mode, heartbeat_ttl=5.0)
    assert await within(job, 20) == "x"
    assert victims.runs() == [(job.id, "w")] * 2
    assert second.log.count("the worker ID 'w' is held, perhaps by a worker that was killed; waiting up to 5 s") == 1
    second.signal(signal.SIGTERM)
    assert await within(second.process.wait(), 10) == 0


async def test_an_id_is_taken_as_soon_as_it_is_free(
    faces: Faces, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    raw.set("jobs::worker::w", "another's nonce", px=700)
    began = time.monotonic()
    await faces.worker(id="w", heartbeat=3, heartbeat_ttl=10)
    assert 0.5 < time.monotonic() - began < 5
    assert raw.get("jobs::worker::w") != b"another's nonce"
    assert caplog.text.count("waiting up to 10 s") == 1


async def test_a_worker_that_is_told_to_stop_waits_for_its_id_no_longer(faces: Faces, raw: redis.Redis) -> None:
    raw.set("jobs::worker::w", "another's nonce")
    worker = faces.unstarted(id="w")
    starting = asyncio.ensure_future(worker.start())
    await eventually(lambda: any(c["name"] == "jobwire-heartbeat-w" for c in raw.client_list()))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(starting)
    await eventually(lambda: not [c for c in raw.client_list() if c["name"].startswith("jobwire")])
    assert raw.keys("*") == [b"jobs::worker::w"]


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_a_worker_that_cannot_begin_leaves_what_its_predecessor_had_to_others(
    faces: Faces, raw: redis.Redis, victims: Victims, mode: str
) -> None:
    """It had the ID, and then no connection on which to look after the jobs of the one that was killed."""
    client = await faces.client(timeout=30, mode=mode)
    victim = await victims.worker("w", mode=mode)
    job = client.submit({"op": "sleep", "seconds": 0.2, "value": "x"})
    await eventually(lambda: len(victims.runs()) == 1)
    await victim.kill()

    class Heartless(DirectTransport):
        async def connect(self, *, name: str = "", **options: Any) -> Connection:
            if not name.startswith("jobwire-heartbeat"):
                raise ConnectError("out of reach")
            return await super().connect(name=name, **options)

    transport = Heartless(open_transport(faces.url)._address)  # type: ignore[attr-defined]  # a DirectTransport
    with pytest.raises(ConnectError, match="out of reach"):
        await faces.worker(id="w", mode=mode, transport=transport, **FAST)
    assert raw.smembers("jobs::workers") == {b"w"}
    await victims.worker("other", mode=mode)
    assert await within(job, 20) == "x"


async def test_a_worker_that_stops_gives_its_id_back_at_once(faces: Faces, raw: redis.Redis) -> None:
    for _ in range(3):
        worker = await faces.worker(id="w", **FAST)
        assert len(raw.get("jobs::worker::w") or b"") == 32
        assert 0 < raw.pttl("jobs::worker::w") <= TTL * 1000
        await worker.stop()
        assert raw.keys("*") == []


async def test_every_start_has_a_nonce_of_its_own(faces: Faces, raw: redis.Redis) -> None:
    nonces = set()
    for _ in range(2):
        worker = await faces.worker(id="w", **FAST)
        nonces.add(raw.get("jobs::worker::w"))
        await worker.stop()
    assert len(nonces) == 2


async def test_the_heartbeat_is_renewed(faces: Faces, raw: redis.Redis) -> None:
    await faces.worker(id="w", **FAST)
    lowest = TTL * 1000
    for _ in range(40):
        lowest = min(lowest, raw.pttl("jobs::worker::w"))
        await asyncio.sleep(TTL / 30)
    assert lowest > (TTL - 2 * BEAT) * 1000 - 200


async def test_an_idle_worker_costs_little(faces: Faces, raw: redis.Redis) -> None:
    """Who is alone looks for dead workers once in a TTL: whoever comes later has a heartbeat for as long."""

    def calls() -> dict[str, int]:
        found = {name.removeprefix("cmdstat_"): facts["calls"] for name, facts in raw.info("commandstats").items()}
        return {name: count for name, count in found.items() if name not in ("info", "config|resetstat")}

    await faces.worker(id="w", heartbeat=0.25, heartbeat_ttl=2.5)
    await eventually(lambda: "sscan" in calls())
    raw.config_resetstat()
    await eventually(lambda: calls().get("sadd", 0) >= 12)
    asked = calls()
    beats = asked["sadd"]
    assert asked.get("sscan", 0) <= beats / 2
    assert asked.get("hdel", 0) == 0, "nobody has noted it as gone"
    own = sum(asked.get(name, 0) for name in ("eval", "get", "set", "sadd", "hset", "exists", "lrange"))
    assert own <= 9 * beats + 6
    # And as soon as there is another one, it is looked after again.
    raw.sadd("jobs::workers", "other")
    await eventually(lambda: raw.hexists("jobs::gone", "other"))


async def test_a_displaced_worker_stops_and_touches_nothing(
    faces: Faces, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    states: list[Any] = []
    worker = faces.unstarted(forever, id="w", on_state=lambda *state: states.append(state), **FAST)
    running = asyncio.ensure_future(worker.run())
    raw.hset("job::mine", "text_value", "x")
    raw.lpush("jobs::pending", "mine")
    await until(lambda: worker.running == 1)
    # Another one took the ID while this one was paused, and works on these:
    raw.set("jobs::worker::w", "another's nonce")
    raw.lpush("jobs::processing::w", "theirs")
    with pytest.raises(OSError, match="another worker has taken the ID 'w'"):
        await within(running)
    assert entries(raw, "jobs::processing::w") == [b"mine", b"theirs"]
    assert entries(raw, "jobs::pending") == []
    assert raw.get("jobs::worker::w") == b"another's nonce"
    assert raw.smembers("jobs::workers") == {b"w"}
    assert worker.running == 0
    assert states[-1][0] == "closed"
    assert "taken by another worker" in caplog.text
    await eventually(lambda: not [c for c in raw.client_list() if c["name"].startswith("jobwire")])


async def test_a_displaced_worker_that_nobody_runs_stops_as_well(faces: Faces, raw: redis.Redis) -> None:
    worker = await faces.worker(forever, id="w", **FAST)
    raw.set("jobs::worker::w", "another's nonce")
    await eventually(lambda: not [c for c in raw.client_list() if c["name"].startswith("jobwire")])
    assert worker.running == 0


async def test_a_predecessor_that_left_nothing_is_no_matter(faces: Faces, raw: redis.Redis) -> None:
    raw.sadd("jobs::workers", "w")
    raw.hset("jobs::gone", "w", 1)
    await faces.worker(id="w", **FAST)
    assert raw.hlen("jobs::gone") == 0


async def test_what_a_predecessor_left_is_counted_and_done(faces: Faces, raw: redis.Redis) -> None:
    raw.sadd("jobs::workers", "w")
    for name in ("a", "b"):
        raw.hset(f"job::{name}", mapping={"_reply_to": "c", "text_value": name})
        raw.lpush("jobs::processing::w", name)
    raw.hset("jobs::attempts", "a", 4)
    order: list[Any] = []
    await faces.worker(lambda job: order.append(job.id), id="w", max_concurrent_jobs=1, **FAST)
    await eventually(lambda: raw.hget("job::b", "result") == b"T")
    assert order == ["b"]
    assert entries(raw, "jobs::dead") == [b"a"]
    assert raw.hgetall("jobs::attempts") == {b"b": b"1"}


async def test_options_that_cannot_work_are_refused() -> None:
    for options in ({"heartbeat": 0}, {"heartbeat": 10, "heartbeat_ttl": 19}, {"max_losses": 0}):
        with pytest.raises(ConfigError):
            Worker(**options)


async def test_a_server_that_is_not_there_is_said_at_the_start() -> None:
    from jobwire.testing.server import free_port

    worker = Worker(f"redis://127.0.0.1:{free_port()}")
    worker.handler(forever)
    with pytest.raises(ConnectError):
        await within(worker.start())


async def test_a_heartbeat_that_may_not_be_written_is_said_at_the_start(faces: Faces, raw: redis.Redis) -> None:
    from jobwire import ServerError

    raw.acl_setuser("mute", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", "-eval"])
    worker = Worker(faces.url.replace("redis://", "redis://mute:x@"))
    worker.handler(forever)
    try:
        with pytest.raises(ServerError, match="NOPERM"):
            await within(worker.start())
    finally:
        raw.acl_deluser("mute")


# -- connections


async def test_a_heartbeat_that_is_cut_is_made_again(faces: Faces, raw: redis.Redis) -> None:
    await faces.worker(id="w", **FAST)
    async with recovery_at(faces.url) as recovery:
        for _ in range(6):
            kill(raw, "jobwire-heartbeat")
            await asyncio.sleep(TTL / 4)
            assert await recovery.run() == []
            assert raw.exists("jobs::worker::w")


async def test_a_heartbeat_that_went_to_another_server_comes_back_and_its_worker_is_not_taken_for_dead(
    redis_url: str, raw: redis.Redis
) -> None:
    """After a failover: the heartbeat is on what was the master once, where nobody looks for it."""

    class Split(DirectTransport):
        astray = False

        async def connect(self, *, name: str = "", **options: Any) -> Connection:
            if name.startswith("jobwire-heartbeat") and self.astray:
                return await other.connect(name=name, **options)
            return await super().connect(name=name, **options)

    with RedisServer() as once:
        address = open_transport(redis_url)._address  # type: ignore[attr-defined]  # a DirectTransport
        other, transport = open_transport(once.url), Split(address)
        async with faces_for(redis_url) as faces:
            handled: list[Any] = []

            async def handle(job: Job) -> str:
                handled.append(job.id)
                await asyncio.sleep(3 * TTL)
                return "done"

            worker = await faces.worker(handle, id="w", transport=transport, **FAST)
            client = await faces.client(timeout=30)
            job = client.submit({"value": "x"})
            await until(lambda: worker.running == 1)
            transport.astray = True
            kill(raw, "jobwire-heartbeat-w")
            with raw_client(once.url) as elsewhere:
                await eventually(lambda: elsewhere.get("jobs::worker::w"))
            await eventually(lambda: raw.get("jobs::worker::w") is None)
            transport.astray = False
            await eventually(lambda: raw.get("jobs::worker::w"))
            assert await within(job, 20) == "done"
            assert (len(handled), worker.counts) == (1, {"done": 1})
        await other.close()


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_a_worker_whose_heartbeat_was_cut_gives_its_id_back_all_the_same(
    faces: Faces, raw: redis.Redis, mode: str
) -> None:
    """The cut is noticed by the next beat only: a worker that stops before it must still leave nothing behind."""
    worker = await faces.worker(id="w", mode=mode, heartbeat=10, heartbeat_ttl=30)
    kill(raw, "jobwire-heartbeat")
    await worker.stop()
    assert raw.keys("*") == []


async def test_a_heartbeat_that_is_told_to_stop_waits_no_more_before_it_connects_again(
    faces: Faces, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loses its connection while it gives its ID back: what it was told then still counts."""
    monkeypatch.setattr("jobwire.worker.heartbeat.Backoff", lambda *_: Backoff(3600.0, 3600.0))
    worker = await faces.worker(id="w", heartbeat=10, heartbeat_ttl=30)
    kill(raw, "jobwire-heartbeat")
    async with asyncio.timeout(60):
        await worker.stop()
    assert raw.keys("*") == []


async def test_a_heartbeat_that_hears_nothing_is_made_again(redis_url: str, raw: redis.Redis) -> None:
    """A path that swallows everything: without a limit of time the worker would look dead, and work on."""
    port = int(redis_url.rpartition(":")[2].partition("/")[0])
    recorder = Recorder()
    proxy = Proxy(Upstream(port=port), recorder, "worker")
    await proxy.start()
    try:
        async with faces_for(f"redis://127.0.0.1:{proxy.port}") as faces:
            await faces.worker(id="w", heartbeat=0.5, heartbeat_ttl=4)
            beats = [Rule(lambda event: event.direction == ">" and b"EVAL" in event.raw, "drop")]
            proxy.rules += beats
            await eventually(lambda: beats[0].hits == 1)
            before = raw.pttl("jobs::worker::w")
            await eventually(lambda: raw.pttl("jobs::worker::w") > before)
            assert raw.exists("jobs::worker::w")
    finally:
        await proxy.close()


async def test_after_a_restart_no_live_work_is_swept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Redis is away for longer than the TTL, and comes back from its append-only file: all heartbeats are gone."""
    with RedisServer(appendonly=True, config=["appendfsync always"]) as server:
        async with faces_for(server.url) as faces, Victims(server.url, tmp_path) as victims:
            busy = [await victims.worker(f"w{n}", max_concurrent_jobs=2) for n in range(2)]
            here = await faces.worker(id="here", pending_queues=["nothing"], **FAST)
            client = await faces.client(timeout=30)
            handles = [client.submit({"op": "sleep", "seconds": 3, "value": n}) for n in range(4)]
            await eventually(lambda: len(victims.runs()) == 4)
            server.kill()
            await asyncio.sleep(TTL + 0.2)
            server.restart()
            results = await within(asyncio.gather(*handles), 15)
            assert len(results) == 4
            await asyncio.sleep(2.5 * BEAT)
            runs = victims.runs()
            assert len(runs) == len(set(runs)) == len({job for job, _ in runs})
            with raw_client(server.url) as raw:
                assert raw.hlen("jobs::attempts") == 0
                await eventually(lambda: nothing_left(raw))
            assert all("given to another worker" not in worker.log for worker in busy)
            assert here.counts["given_away"] == 0


# -- what is lost on the way


class Wire:
    """A proxy in front of the server, whose rules lose what they are told to."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2].partition("/")[0])
        self.proxy = Proxy(Upstream(port=self._port), Recorder(), "peer")

    async def __aenter__(self) -> Self:
        await self.proxy.start()
        self.url = f"redis://127.0.0.1:{self.proxy.port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.proxy.close()

    def rule(self, direction: str, words: bytes, action: Any, times: int = 1) -> Rule:
        made = Rule(lambda event: event.direction == direction and words in event.raw, action, times)
        self.proxy.rules.append(made)
        return made


@pytest.mark.parametrize(
    ("mode", "queues", "completion"),
    [
        ("reliable", ["pending"], b"EVALSHA"),
        ("recoverable", ["pending"], b"EVALSHA"),
        ("recoverable", ["pending", "low"], b"PUBLISH"),
    ],
)
@pytest.mark.parametrize("action", ["cut", "cut-after", "half"])
async def test_a_connection_cut_around_the_completion_runs_nothing_twice(
    redis_url: str, raw: redis.Redis, mode: str, queues: list[str], completion: bytes, action: str
) -> None:
    runs = 0

    async def work(job: Job) -> str:
        nonlocal runs
        runs += 1
        return "done"

    async with Wire(redis_url) as wire, faces_for(wire.url) as behind, faces_for(redis_url) as faces:
        worker = await behind.worker(work, mode=mode, pending_queues=queues, **FAST)
        rule = wire.rule(">", completion, action)
        client = await faces.client(mode=mode)
        assert await within(client.submit({})) == "done"
        assert rule.hits == 1
        assert runs == 1
        await until(lambda: worker.counts["done"] == 1)
        await eventually(lambda: nothing_left(raw))


async def test_a_completion_that_was_written_and_not_answered_is_told_again(redis_url: str, raw: redis.Redis) -> None:
    async with Wire(redis_url) as wire, faces_for(wire.url) as behind:
        worker = await behind.worker(lambda job: "done", id="w", **FAST)
        raw.hset("job::a", mapping={"_reply_to": "c", "text_x": "y"})
        wire.rule(">", b"EVALSHA", "cut-after")
        listening = raw.pubsub()
        listening.subscribe("client::c")
        raw.lpush("jobs::pending", "a")
        await until(lambda: worker.counts["done"] == 1)
        heard = [message["data"] for message in drain(listening) if message["type"] == "message"]
        assert heard in ([b"a"], [b"a", b"a"])
        assert raw.hget("job::a", "result") == b"Tdone"
        assert entries(raw, "jobs::processing::w") == []


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_a_notice_that_is_lost_is_made_up_for_by_the_sweep(
    redis_url: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobwire.client.outstanding._SWEEP_EVERY", 0.3)
    async with Wire(redis_url) as wire, faces_for(wire.url) as behind, faces_for(redis_url) as faces:
        await faces.worker(mode=mode, **FAST)
        client = await behind.client(mode=mode)
        lost = wire.rule("<", b"message", "drop")
        assert await within(client.submit({"text": "abc"})) == "cba"
        assert lost.hits == 1


async def test_pops_in_flight_when_their_connection_dies_lose_nothing(redis_url: str, raw: redis.Redis) -> None:
    async with faces_for(redis_url) as faces:
        done: list[Any] = []
        worker = await faces.worker(lambda job: done.append(job.id), max_concurrent_jobs=16, **FAST)
        client = await faces.client(timeout=20)
        handles = []
        for round_ in range(15):
            handles += [client.submit({}, id=f"{round_}-{n}") for n in range(10)]
            await asyncio.sleep(0.01)
            assert kill(raw, "jobwire-popping") >= 0
        await within(asyncio.gather(*handles), 20)
        assert sorted(done) == sorted(f"{round_}-{n}" for round_ in range(15) for n in range(10))
        assert worker.counts["done"] + worker.counts["vanished"] == 150
        await eventually(lambda: nothing_left(raw))


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_ghosts_and_vanished_hashes_are_dropped_without_a_run(faces: Faces, raw: redis.Redis, mode: str) -> None:
    worker = await faces.worker(forever, mode=mode, **FAST)
    raw.hset("job::ghost", mapping={"_started": "1", "_worker": "somebody", "_queue": "jobs::pending"})
    raw.lpush("jobs::pending", "vanished", "ghost")
    await until(lambda: worker.counts["vanished"] == 2)
    await eventually(lambda: nothing_left(raw))
    assert worker.running == 0


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_a_result_that_is_there_is_told_and_not_made_again(faces: Faces, raw: redis.Redis, mode: str) -> None:
    worker = await faces.worker(forever, mode=mode, **FAST)
    raw.hset("job::a", mapping={"_reply_to": "c", "_processed": "1", "result": "Tthere"})
    listening = raw.pubsub()
    listening.subscribe("client::c")
    raw.lpush("jobs::pending", "a")
    await until(lambda: worker.counts["notified_again"] == 1)
    assert [message["data"] for message in drain(listening) if message["type"] == "message"] == [b"a"]
    assert raw.hget("job::a", "result") == b"Tthere"
    assert entries(raw, "jobs::pending") == []


@pytest.mark.parametrize("policy", ["leave", "retry"])
async def test_a_job_of_mode_recoverable_that_was_put_aside_is_not_brought_back_by_its_worker_s_death(
    faces: Faces, raw: redis.Redis, policy: str
) -> None:
    """Its mark must go when the worker gives it up."""

    def fail(job: Job) -> None:
        raise ValueError("no")

    options: dict[str, Any] = {"on_failure": policy, "retry_delay": 0, "max_attempts": 3}
    worker = await faces.worker(fail, mode="recoverable", id="w", **options, **FAST)
    raw.hset("job::a", mapping={"_reply_to": "c", "_queued": "1"})
    raw.lpush("jobs::pending", "a")
    await until(lambda: worker.counts["dead"] == 1)
    assert not raw.hexists("job::a", "_worker")
    await worker.stop()
    raw.sadd("jobs::workers", "w")
    raw.hset("jobs::queues", "w", "\0jobs::pending")
    async with recovery_at(faces.url, mode="recoverable") as recovery:
        assert await recovery.run() == []
    assert entries(raw, "jobs::dead") == [b"a"]


async def test_a_job_that_is_given_back_bears_no_mark(faces: Faces, raw: redis.Redis) -> None:
    worker = await faces.worker(forever, mode="recoverable", id="w", **FAST)
    raw.hset("job::a", mapping={"_reply_to": "c", "_queued": "1"})
    raw.lpush("jobs::pending", "a")
    await eventually(lambda: raw.hget("job::a", "_worker") == b"w")
    await worker.stop(grace=0)
    assert not raw.hexists("job::a", "_worker")
    assert entries(raw, "jobs::pending") == [b"a"]


async def test_the_care_outlives_whatever_is_found(faces: Faces, raw: redis.Redis, caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    raw.set("jobs::attempts", "no hash")
    await faces.worker(forever, pending_queues=["nothing"], **FAST)
    await eventually(lambda: "cannot look after dead workers" in caplog.text)
    raw.delete("jobs::attempts")
    raw.sadd("jobs::workers", "dead")
    raw.hset("job::a", "text_x", "y")
    raw.lpush("jobs::processing::dead", "a")
    await eventually(lambda: raw.hexists("job::a", "_started"))


def drain(listening: Any) -> list[dict[str, Any]]:
    found = []
    while (message := listening.get_message(timeout=0.3)) is not None:
        found.append(message)
    return found


async def test_a_server_that_hung_for_longer_than_the_ttl_sweeps_nobody(tmp_path: Path) -> None:
    """All heartbeats run out while the server cannot hear them; then everybody asks at once."""
    with RedisServer() as server:
        async with faces_for(server.url) as faces, Victims(server.url, tmp_path) as victims:
            for n in range(3):
                await victims.worker(f"w{n}", max_concurrent_jobs=2)
            client = await faces.client(timeout=30)
            handles = [client.submit({"op": "sleep", "seconds": 5, "value": n}) for n in range(6)]
            await eventually(lambda: len(victims.runs()) == 6)
            await asyncio.sleep(3)  # everybody is long enough there to look after the others
            server.pause()
            await asyncio.sleep(TTL + 0.4)
            server.resume()
            assert await within(asyncio.gather(*handles), 15) == [str(n) for n in range(6)]
            assert len(victims.runs()) == 6
            with raw_client(server.url) as raw:
                assert raw.hlen("jobs::attempts") == 0


async def test_what_was_not_begun_when_the_connection_broke_is_looked_for_in_the_list(
    redis_url: str, raw: redis.Redis
) -> None:
    """A worker that reads a job while it is given away must not begin it when it is back."""
    begun: list[Any] = []
    async with Wire(redis_url) as wire, faces_for(wire.url) as behind:
        worker = await behind.worker(lambda job: begun.append(job.id), id="w", reconnect_delay=0.3, **FAST)
        raw.hset("job::a", mapping={"_reply_to": "c", "text_x": "y"})
        wire.rule(">", b"HGETALL", "cut")
        raw.lpush("jobs::pending", "a")
        await eventually(lambda: entries(raw, "jobs::processing::w") == [b"a"])
        assert raw.lmove("jobs::processing::w", "elsewhere", "LEFT", "RIGHT") == b"a"
        await eventually(lambda: any(c["name"].startswith("jobwire-popping") for c in raw.client_list()))
        await asyncio.sleep(0.5)
        assert begun == []
        assert worker.running == 0
        raw.lmove("elsewhere", "jobs::pending", "LEFT", "RIGHT")
        await until(lambda: begun == ["a"])


async def test_a_worker_says_where_it_runs_and_takes_it_back(faces: Faces, raw: redis.Redis) -> None:
    worker = await faces.worker(id="w")
    said = read_host(raw.hget("jobs::hosts", "w"))
    assert said is not None
    assert (said.host, said.pid, said.version) == (socket.gethostname(), os.getpid(), __version__)
    assert abs(said.started - time.time()) < 60
    await worker.stop()
    assert not raw.exists("jobs::hosts")


@pytest.mark.parametrize("odd", [b"", b"{}", b"\xff", b"[1]", b'{"host": 1, "pid": 1}', b"[" * 10_000])
def test_a_host_that_cannot_be_read_is_none(odd: bytes) -> None:
    assert read_host(odd) is None
