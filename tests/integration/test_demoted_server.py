"""A server that was the master: READONLY, and what ROLE says, are news of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from jobwire import AuthError, Client, ConnectError, Job, ServerError, TransportError, Worker
from jobwire.errors import ConnectionLost
from jobwire.testing.server import RedisServer
from jobwire.transport import open_transport
from jobwire.wire.scripts import Script
from tests.support.faces import Faces, eventually, faces_for, nothing_left, raw_client, until, within

BEAT = {"heartbeat": 0.5, "heartbeat_ttl": 2.0}


class Endpoint:
    """A name that leads to whoever is the master: new connections go to ``port``, those that exist stay."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._forward, "127.0.0.1", 0) as server:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for writer in self._writers:
                writer.transport.abort()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers += [writer, there_writer]
        for source, target in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.ensure_future(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()


class Pair:
    """A master, its replica, and the endpoint in front of them."""

    def __init__(self, first: RedisServer, second: RedisServer, endpoint: Endpoint) -> None:
        self.first = first
        self.second = second
        self.endpoint = endpoint

    async def replicated(self) -> None:
        with raw_client(self.first.url) as raw:
            raw.set("mark", "1")  # WAIT waits for what its own connection wrote, and so for all before it
            assert await asyncio.to_thread(raw.wait, 1, 5000) == 1
            raw.delete("mark")

    def fail_over(self) -> None:
        with raw_client(self.second.url) as raw:
            raw.replicaof("NO", "ONE")
        self.endpoint.port = self.second.port
        with raw_client(self.first.url) as raw:
            raw.replicaof("127.0.0.1", self.second.port)


@pytest.fixture
def servers(server_binary: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    quick = ["repl-diskless-sync-delay 0"]
    with (
        RedisServer(binary=server_binary, config=quick) as first,
        RedisServer(binary=server_binary, config=[*quick, f"replicaof 127.0.0.1 {first.port}"]) as second,
    ):
        with raw_client(second.url) as raw:
            while raw.info("replication")["master_link_status"] != "up":
                pass
        yield first, second


@pytest.fixture
async def pair(servers: tuple[RedisServer, RedisServer]) -> AsyncIterator[tuple[Pair, Faces]]:
    endpoint = Endpoint(servers[0].port)
    async with endpoint.serve() as url, faces_for(url) as faces:
        yield Pair(*servers, endpoint), faces


async def test_client_and_busy_worker_go_where_the_master_is(
    pair: tuple[Pair, Faces], kept_way: dict[str, Any]
) -> None:
    """Nothing tells them but the refusals: the connections to the old master stay open."""
    there, faces = pair
    opened = asyncio.Event()
    runs: list[str] = []

    async def gated(job: Job) -> object:
        runs.append(job.data["value"])
        if job.data["value"].startswith("long"):
            await opened.wait()
        return job.data["value"]

    worker = await faces.worker(gated, max_concurrent_jobs=2, **{**kept_way, **BEAT})
    # A client that only waits sees no refusal: its health check finds out.
    client = await faces.client(mode=kept_way["mode"], timeout=30, health_check_interval=0.5)
    long = [client.submit({"value": f"long {number}"}) for number in range(2)]
    await until(lambda: worker.running == 2)
    await there.replicated()
    there.fail_over()
    opened.set()
    assert await within(asyncio.gather(*long), 20) == ["long 0", "long 1"]
    answers = await asyncio.gather(within(client.submit({"value": "at once"}), 20), return_exceptions=True)
    assert answers[0] == "at once" or getattr(answers[0], "code", answers[0]) == "READONLY"
    await asyncio.sleep(0.5)  # connected again, wherever it was
    assert await within(client.submit({"value": "after"}), 20) == "after"
    assert sorted(set(runs)) == sorted(runs)
    with raw_client(there.second.url) as raw:
        await eventually(lambda: nothing_left(raw))


async def test_in_mode_simple_too(pair: tuple[Pair, Faces]) -> None:
    there, faces = pair
    await faces.worker(lambda job: job.data["value"], mode="simple", job_poll_interval=0.2)
    client = await faces.client(mode="simple", timeout=30)
    assert await within(client.submit({"value": "before"})) == "before"
    there.fail_over()
    results: list[Any] = await within(
        asyncio.gather(*(client.submit({"value": str(n)}) for n in range(50)), return_exceptions=True)
    )
    # Told by name where it is certain that Redis has not got it.
    assert {getattr(result, "code", "lost") for result in results} <= {"READONLY", "lost"}
    assert "READONLY" in {getattr(result, "code", "lost") for result in results}

    await asyncio.sleep(0.5)  # connected again
    assert await within(client.submit({"value": "after"}), 20) == "after"


WRITE = Script.of("return redis.call('SET', KEYS[1], '1')")


@pytest.mark.parametrize(
    "commands",
    [
        ((b"SET", b"k", b"1"),),
        (WRITE.call_whole((b"k",)),),
        (WRITE.call((b"k",)),),
        ((b"GET", b"k"), (b"MULTI",), (b"SET", b"k", b"1"), (b"EXEC",)),
    ],
    ids=["a command", "a script", "a script by its SHA", "a transaction"],
)
async def test_a_refused_write_ends_the_connection(
    servers: tuple[RedisServer, RedisServer], commands: tuple[Any, ...]
) -> None:
    lost: asyncio.Future[TransportError] = asyncio.get_running_loop().create_future()
    transport = open_transport(servers[0].url)
    connection = await transport.connect(on_lost=lost.set_result)
    await connection.execute(WRITE.load())
    with raw_client(servers[0].url) as raw:
        raw.replicaof("127.0.0.1", servers[1].port)
    before = connection.call((b"PING",))
    refused = connection.call(*commands)
    with pytest.raises(ConnectionLost, match=r"takes no writes.*READONLY") as caught:
        await within(refused)
    assert await before == [b"PONG"]
    assert len(caught.value.replies) == len(commands)
    assert "READONLY" in str(await within(lost))
    assert connection.closed
    with pytest.raises(
        ConnectError, match=rf"not a master \(any more\): it is a replica of 127.0.0.1:{servers[1].port}"
    ):
        await transport.connect()
    await transport.close()


async def test_a_replica_is_refused_and_dialled_again_until_it_is_the_master(
    servers: tuple[RedisServer, RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = servers
    async with faces_for(first.url) as faces:
        worker = await faces.worker(lambda job: "done", **BEAT)
        client = await faces.client(timeout=30)
        with raw_client(first.url) as raw:
            raw.replicaof("127.0.0.1", servers[1].port)
            with pytest.raises(ServerError, match="READONLY"):
                await within(client.submit())
            handle = client.submit()
            await asyncio.sleep(2.0)  # dozens of attempts
            said = [record.getMessage() for record in caplog.records if "not a master" in record.getMessage()]
            assert 1 <= len(said) <= 3, said  # client, worker, heartbeat: each once
            raw.replicaof("NO", "ONE")
        assert await within(handle, 20) == "done"
        assert worker.counts["done"] == 1


@pytest.mark.parametrize("face", [Client, Worker])
async def test_a_first_connection_to_a_replica_is_an_error(
    servers: tuple[RedisServer, RedisServer], face: type[Client | Worker]
) -> None:
    made = face(servers[1].url)
    if isinstance(made, Worker):
        made.handler(lambda job: None)
    with pytest.raises(ConnectError, match="it is a replica of"):
        await made.start()


async def test_where_role_is_not_permitted_the_server_is_taken_as_it_is(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    with raw_client(servers[1].url) as raw:
        raw.execute_command("ACL", "SETUSER", "norole", "on", ">pw", "~*", "&*", "+@all", "-role")
    transport = open_transport(servers[1].url.replace("redis://", "redis://norole:pw@"))
    connection = await transport.connect()
    with pytest.raises(ConnectionLost, match="READONLY"):
        await connection.execute((b"SET", b"k", b"1"))
    await transport.close()


# -- Sentinel says what it says


@pytest.fixture
def sentinel(servers: tuple[RedisServer, RedisServer]) -> Iterator[RedisServer]:
    watch = [f"sentinel monitor mymaster 127.0.0.1 {servers[0].port} 1"]
    with RedisServer(sentinel=True, password="s3cr3t", config=watch) as made:
        yield made


@pytest.mark.parametrize(
    ("service", "password", "kind", "said"),
    [
        ("mymaster", "", AuthError, "NOAUTH"),
        ("mymaster", "?sentinel_password=wr0ng", AuthError, "WRONGPASS"),
        ("other", "?sentinel_password=s3cr3t", ConnectError, "watches no master of that name"),
    ],
)
async def test_the_answer_of_a_sentinel_reaches_the_user(
    sentinel: RedisServer, service: str, password: str, kind: type[ConnectError], said: str
) -> None:
    transport = open_transport(f"redis+sentinel://127.0.0.1:{sentinel.port}/{service}{password}")
    with pytest.raises(kind) as caught:
        await transport.connect()
    message = str(caught.value)
    assert type(caught.value) is kind
    assert said in message
    assert f"127.0.0.1:{sentinel.port}" in message
    assert "wr0ng" not in message
    assert "s3cr3t" not in message


async def test_redis_url_that_leads_to_a_sentinel(servers: tuple[RedisServer, RedisServer]) -> None:
    watch = [f"sentinel monitor mymaster 127.0.0.1 {servers[0].port} 1"]
    with (
        RedisServer(sentinel=True, config=watch) as made,
        pytest.raises(ConnectError, match=r"it is a Sentinel: write redis\+sentinel://"),
    ):
        await open_transport(f"redis://127.0.0.1:{made.port}").connect()


def test_scripts_that_redis_6_wraps_in_words_of_its_own() -> None:
    wrapped = (
        "ERR Error running script (call to f_a9b): @user_script:1: @user_script: 1: "
        "-READONLY You can't write against a read only replica. "
    )
    assert ServerError(wrapped).code == "READONLY"
    plain = "ERR Error running script (call to f_a): @user_script:3: WRONGTYPE Operation against a key"
    assert ServerError(plain).code == "WRONGTYPE"
    assert ServerError("ERR Error running script (call to f_a): @user_script:1: no such thing").code == "ERR"
    assert ServerError("READONLY You can't write against a read only replica.").code == "READONLY"
    assert ServerError("ERR unknown command 'READONLY'").code == "ERR"
