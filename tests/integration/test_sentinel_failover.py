"""Failover under load: a master, a replica, three Sentinels, and clients and workers that never stop submitting."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from jobwire import Client, Job, JobError, Worker
from jobwire.testing.server import RedisServer
from tests.support.faces import raw_client, within

RATE = 100
#: Seconds until the Sentinels have agreed and promoted the replica, and have told a master that lives (after 8 s) that
#: it is none any more; and room for a busy machine.
FAILED_OVER = 25.0
DEADLINE = 30.0


@dataclass
class Watched:
    """``servers``: the first master, and its replica."""

    servers: list[RedisServer]
    sentinels: list[RedisServer]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/jobs-master"

    def master_port(self) -> int:
        with redis.Redis(port=self.sentinels[0].port, protocol=2) as asking:
            return int(asking.sentinel_get_master_addr_by_name("jobs-master")[1])

    def master(self) -> RedisServer:
        port = self.master_port()
        return next(server for server in self.servers if server.port == port)

    def ask(self, *words: str) -> Any:
        with redis.Redis(port=self.sentinels[0].port, protocol=2) as asking:
            return asking.execute_command(*words)


@pytest.fixture
def watched() -> Iterator[Watched]:
    with ExitStack() as stack:
        quick = ["repl-diskless-sync-delay 0"]
        master = stack.enter_context(RedisServer(appendonly=True, config=quick))
        replica = stack.enter_context(
            RedisServer(appendonly=True, config=[*quick, f"replicaof 127.0.0.1 {master.port}"])
        )
        watch = [
            f"sentinel monitor jobs-master 127.0.0.1 {master.port} 2",
            "sentinel down-after-milliseconds jobs-master 1000",
            "sentinel failover-timeout jobs-master 4000",
        ]
        sentinels = [stack.enter_context(RedisServer(sentinel=True, config=watch)) for _ in range(3)]
        found = Watched([master, replica], sentinels)
        end = time.monotonic() + 30
        for sentinel in sentinels:
            with redis.Redis(port=sentinel.port, protocol=2) as asking:
                while not (
                    any("slave" in one["flags"] for one in asking.sentinel_slaves("jobs-master"))
                    and len(asking.sentinel_sentinels("jobs-master")) == 2
                ):
                    assert time.monotonic() < end, sentinel.log
                    time.sleep(0.05)
        yield found


class Traffic:
    """Submits for ever, and knows what became of every job."""

    def __init__(self, client: Client) -> None:
        self.ends: Counter[str] = Counter()
        self.results: list[float] = []
        self.lost: list[str] = []
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()
        self._submitting = asyncio.ensure_future(self._submit())

    async def _submit(self) -> None:
        number = 0
        while True:
            number += 1
            self.put({"value": str(number)})
            await asyncio.sleep(1 / RATE)

    def put(self, data: dict[str, str]) -> None:
        task = asyncio.ensure_future(self._collect(data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _collect(self, data: dict[str, str]) -> None:
        try:
            value = await self._client.submit(data)
        except JobError as error:
            self.ends[type(error).__name__] += 1
            self.lost.append(str(error))
        else:
            assert value == data["value"]
            self.ends["result"] += 1
            self.results.append(time.monotonic())

    async def goes_on(self, seconds: float) -> None:
        """Wait until results of jobs come in again, for longer than an instant."""
        end = time.monotonic() + seconds
        begun = time.monotonic()
        while sum(at > begun for at in self.results) < RATE:
            assert time.monotonic() < end, f"no results: {self.ends}"
            await asyncio.sleep(0.05)

    async def finish(self) -> None:
        self._submitting.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DEADLINE + 5)
        assert not self._tasks, "a job hangs"


async def value(job: Job) -> Any:
    await asyncio.sleep(float(str(job.data.get("seconds", 0))))
    return job.data["value"]


@pytest.mark.parametrize("how", ["killed", "hangs", pytest.param("by command", marks=pytest.mark.long)])
async def test_a_failover_under_load(watched: Watched, how: str) -> None:
    """All that was acknowledged and replicated is done; what replication had not carried over is said to be lost."""
    states: list[str] = []
    options: dict[str, Any] = {"reconnect_delay": 0.05, "health_check_interval": 1.0}
    client = Client(watched.url, timeout=DEADLINE, on_state=lambda state, _: states.append(state), **options)
    worker = Worker(watched.url, max_concurrent_jobs=64, heartbeat=0.5, heartbeat_ttl=2.5, **options)
    worker.handler(value)
    first = watched.master()
    async with client, worker:
        traffic = Traffic(client)
        await traffic.goes_on(10)
        # These run, and wait in the queue, while the master goes away; they are on the replica before it does.
        long = [client.submit({"seconds": "3", "value": f"long {number}"}) for number in range(100)]
        await within(asyncio.gather(*(handle.submitted() for handle in long)), 8)
        with raw_client(first.url) as raw:
            raw.set("mark", "1", px=1)  # WAIT waits for what its own connection wrote, and so for all before it
            assert raw.wait(1, 5000) == 1
        if how == "killed":
            first.kill()
        elif how == "by command":
            assert watched.ask("SENTINEL", "FAILOVER", "jobs-master") in (b"OK", True)
        else:
            first.pause()
        end = time.monotonic() + FAILED_OVER
        while watched.master_port() == first.port:
            assert time.monotonic() < end, watched.sentinels[0].log
            await asyncio.sleep(0.05)
        while len(states) < 3:
            assert time.monotonic() < end, states
            await asyncio.sleep(0.05)
        await traffic.goes_on(FAILED_OVER)
        if how == "killed":
            first.restart()  # it believes that it is the master, until the Sentinels tell it otherwise
        elif how == "hangs":
            first.resume()
        await traffic.goes_on(FAILED_OVER)
        await traffic.finish()
        assert await asyncio.gather(*long) == [f"long {number}" for number in range(100)]
    ends = traffic.ends
    assert set(ends) <= {"result", "JobLost"}, (ends, traffic.lost)
    assert ends["result"] > 3 * RATE
    # What was written in the last moments may be lost, and is told; a second of it would be too much.
    assert ends["JobLost"] <= RATE, ends
    assert states[0] == "up"
    assert states[-2:] == ["down", "up"]
