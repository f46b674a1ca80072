"""``jobwire tap`` between real peers and a real Redis: everything passes as it is, and what passed is told."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis_py

import jobwire
from endurance.chaos.certificate import Certificate, make_certificate
from jobwire.testing.server import RedisServer
from jobwire_conformance.record.relay import Relay, Upstream
from jobwire_conformance.record.resp import Decoder, pack
from jobwire_conformance.record.transcripts import (
    Event,
    Header,
    Transcript,
    read_transcript,
    write_transcript,
)
from jobwire_conformance.rules.linter import Linter
from jobwire_conformance.rules.steps import Flag, Step
from jobwire_conformance.rules.watch import Watch
from jobwire_conformance.tap.follow import Follower
from jobwire_conformance.tap.relay import TapRelay
from tests.support.tap_traffic import flags_in


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(unix_socket=False) as launched:
        yield launched


class Tap:
    """A running tap: its steps, its flags, the events of its recording."""

    def __init__(self, upstream: Upstream, **told: Any) -> None:
        self.steps: list[Step] = []
        self.events: list[Event] = []
        self.unreachable: list[OSError] = []
        self.follower = Follower(Watch(**told), values=True)
        self.relay = TapRelay(
            upstream,
            self.follower,
            on_step=self.steps.append,
            on_event=self.events.append,
            on_unreachable=self.unreachable.append,
        )

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.relay.port}"

    @property
    def flags(self) -> list[Flag]:
        return [flag for step in self.steps for flag in step.flags]

    def commands(self) -> list[str]:
        return [step.command for step in self.steps if step.kind == "command"]

    def finish(self) -> list[tuple[str, str]]:
        """What was flagged in all, to the end."""
        self.steps += self.follower.end(self.relay.now())
        assert self.follower.faults == 0
        return [(flag.requirement, flag.what) for flag in self.flags]


@asynccontextmanager
async def tapped(upstream: Upstream, **told: Any) -> AsyncIterator[Tap]:
    tap = Tap(upstream, **told)
    await tap.relay.start()
    try:
        yield tap
    finally:
        await tap.relay.close()


async def ping(tap: Tap, **options: Any) -> object:
    async with redis_py.Redis(port=tap.relay.port, **options) as link:
        return await link.ping()


async def frame_from(reader: asyncio.StreamReader, decoder: Decoder) -> Any:
    while True:
        frames = decoder.feed(await asyncio.wait_for(reader.read(1 << 20), 10))
        if frames:
            return frames[0].value


# --- jobs -------------------------------------------------------------------------------------


@asynccontextmanager
async def pair(url: str, **options: Any) -> AsyncIterator[jobwire.Client]:
    shared = {name: options.pop(name) for name in ("mode", "dialect", "prefix", "use_multi") if name in options}
    worker = jobwire.Worker(url, job_poll_interval=0.5, **shared, **options)

    @worker.handler
    async def handle(job: jobwire.Job) -> object:
        if job.data.get("fail"):
            raise ValueError("as asked")
        return job.data.get("value")

    async with worker, jobwire.Client(url, timeout=20, **shared) as client:
        yield client


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "reliable"},
        {"mode": "reliable", "processing_queue": "processing"},
        {"mode": "reliable", "processing_queue": "processing", "use_multi": True},
        {"mode": "reliable", "prefix": "0"},
        {"mode": "reliable", "dialect": "0.003"},
        {"mode": "reliable", "dialect": "0.001", "processing_queue": "processing"},
        {"mode": "recoverable"},
        {"mode": "simple"},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
async def test_pairs_of_python_show_nothing_to_flag(server: RedisServer, options: dict[str, Any]) -> None:
    values: list[Any] = ["text", 42, [1, {"a": None}], "☺"]
    known = {name: options[name] for name in ("mode", "dialect", "prefix") if name in options}
    for told in ({}, known):
        async with tapped(Upstream(port=server.port), **told) as tap:
            async with pair(tap.url, **options) as client:
                results = await asyncio.gather(*(client.submit({"value": value}) for value in values))
                assert results[2] in ([1, {"a": None}], '[1,{"a":null}]')
                if options.get("dialect") != "0.001":
                    with pytest.raises(jobwire.JobFailed):
                        await client.submit({"fail": "yes"})
            assert tap.finish() == []
            said = tap.follower.summary(1.0)
            assert (said.jobs_submitted, said.jobs_taken) == (said.jobs_completed,) * 2
            assert said.jobs_completed >= len(values)
            assert said.open_jobs == 0
            assert {step.role for step in tap.steps if step.command in {"HMSET", "LPUSH", "PUBLISH", "HGETALL"}} <= {
                "client",
                "worker",
            }


async def test_what_is_told_of_a_job(server: RedisServer) -> None:
    async with tapped(Upstream(port=server.port)) as tap:
        async with pair(tap.url) as client:
            job = client.submit({"op": "echo", "value": [1, 2.5, "☺"]})
            assert await job == [1, 2.5, "☺"]
        mine = [step for step in tap.steps if step.job == str(job.id) and not step.plain]
        assert [(step.role, step.direction, step.command) for step in mine] == [
            ("client", ">", "HMSET"),
            ("client", ">", "LPUSH"),
            ("worker", "<", "BRPOPLPUSH"),
            ("worker", "<", "HGETALL"),
            ("worker", ">", "EVALSHA"),
            ("client", "<", "message"),
            ("client", "<", "HMGET"),
            ("client", ">", "DEL"),
        ]
        assert {field.name: field.value for field in mine[0].fields if field.type in ("text", "sereal")} == {
            "text_op": "echo",
            "sereal_value": [1, {"$float": "2.5"}, "☺"],
        }
        assert (mine[4].fields[0].name, mine[4].fields[0].tag) == ("result", "J")


async def test_a_recording_is_read_back_and_flagged_alike(server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    async with tapped(Upstream(port=server.port)) as tap:
        async with pair(tap.url) as client:
            assert await client.submit({"value": b"\xff\x00"}) == b"\xff\x00"
        link = redis_py.Redis.from_url(tap.url)
        await link.execute_command("HMSET", "job::x", "_reply_to", "c", "op", "x", "_queued", "1795434940")
        await link.aclose()
        assert [name for name, _ in tap.finish()] == ["FLD-13"]
    await asyncio.sleep(0)
    write_transcript(path, Transcript(header=Header(), events=tap.events))
    found = read_transcript(path)
    assert found.events == tap.events
    assert [flag.requirement for flag in flags_in(found.events)] == ["FLD-13"]


async def test_passwords_are_not_recorded(tmp_path: Path) -> None:
    with RedisServer(password="s3cret-word") as locked:
        async with tapped(Upstream(port=locked.port)) as tap:
            for protocol in (2, 3):
                link = redis_py.Redis(port=tap.relay.port, password="s3cret-word", protocol=protocol)
                assert await link.ping()
                await link.aclose()
            with pytest.raises(redis_py.AuthenticationError):
                await ping(tap, password="s3cret-typo")
            await asyncio.sleep(0.05)
            assert b"s3cret" not in repr((tap.steps, tap.events)).encode()
            assert any(event.command[:1] in [(b"AUTH",), (b"HELLO",)] for event in tap.events)


# --- everything passes ------------------------------------------------------------------------


@asynccontextmanager
async def mirror() -> AsyncIterator[tuple[Upstream, list[bytes]]]:
    """A server that keeps what it gets, and sends it back with its bits turned over."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at = len(got)
        got.append(b"")
        while chunk := await reader.read(1 << 16):
            got[at] += chunk
            writer.write(turned(chunk))
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield Upstream(port=listening.sockets[0].getsockname()[1]), got


def turned(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


GARBAGE = {
    "commands": pack([b"HMSET", b"job::x", b"_reply_to", b"c"]) * 50,
    "half a frame": b"*3\r\n$5\r\nLPUSH\r\n$13\r\njobs::pe",
    "half a frame with a password": b"*2\r\n$4\r\nAUTH\r\n$9\r\ns3cre",
    "null without a length": b"*2\r\n$1\r\na\r\n$\r\n\r\n" + pack([b"PING"]),
    "no RESP": bytes(range(256)) * 20,
    "a line without end": b"x" * 200_000,
    "a count without end": b"*1000000000\r\n$1\r\na\r\n",
    "a size without end": b"*1\r\n$9999999999\r\nabc",
    "nested": b"*1\r\n" * 1000,
    "inline": b"PING\r\nSET a b\r\n\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_passes_byte_for_byte_both_ways(name: str) -> None:
    data = GARBAGE[name]
    draw = random.Random(name)
    async with mirror() as (upstream, got), tapped(upstream) as tap:
        reader, writer = await asyncio.open_connection("127.0.0.1", tap.relay.port)
        rest = data
        while rest:
            size = draw.randint(1, max(1, len(data) // 3))
            writer.write(rest[:size])
            await writer.drain()
            await asyncio.sleep(0)
            rest = rest[size:]
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(-1), 10) == turned(data)
        writer.close()
        await asyncio.sleep(0.05)
        assert got == [data]
        assert tap.follower.faults == 0
        assert tap.relay.connections == 0
        assert "s3cre" not in repr((tap.steps, tap.events))


async def test_large_strings_pipelines_transactions_and_subscriptions(server: RedisServer) -> None:
    big = os.urandom(10 * 1024 * 1024)
    async with tapped(Upstream(port=server.port)) as tap:
        for protocol in (2, 3):
            link = redis_py.Redis(port=tap.relay.port, protocol=protocol)
            await link.set("big", big)
            assert await link.get("big") == big
            async with link.pipeline(transaction=True) as pipe:
                for number in range(500):
                    pipe.rpush("numbers", number)
                pipe.lrange("numbers", 0, -1)
                replies = await pipe.execute()
            assert replies[-1] == [b"%d" % number for number in range(500)]
            await link.delete("numbers", "big")
            subscription = link.pubsub()
            await subscription.subscribe("one", "two")
            await subscription.psubscribe("th*")
            await link.publish("three", b"\xff")
            heard = [await subscription.get_message(timeout=5) for _ in range(4)]
            assert heard[-1] is not None
            assert (heard[-1]["type"], heard[-1]["data"]) == ("pmessage", b"\xff")
            await subscription.aclose()
            await link.aclose()
        assert tap.finish() == []
        assert "pmessage" in {step.command for step in tap.steps if step.kind == "push"}
        last = [step for step in tap.steps if step.command == "LRANGE" and step.direction == "<"]
        assert last, "the replies inside EXEC are matched to their commands"


async def test_a_defect_of_tap_does_not_touch_what_passes(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Linter, "command", fails)
    monkeypatch.setattr(Linter, "answer", fails)
    async with tapped(Upstream(port=server.port)) as tap:
        async with pair(tap.url) as client:
            assert await client.submit({"value": "still"}) == "still"
        assert tap.follower.faults > 10
        assert any("ZeroDivisionError" in step.about for step in tap.steps)


async def test_connections_that_are_cut(server: RedisServer) -> None:
    async with tapped(Upstream(port=server.port)) as tap:
        reader, writer = await asyncio.open_connection("127.0.0.1", tap.relay.port)
        writer.write(pack([b"CLIENT", b"ID"]))
        number = await frame_from(reader, Decoder())
        direct = redis_py.Redis(port=server.port)
        await direct.execute_command("CLIENT", "KILL", "ID", number)
        assert await asyncio.wait_for(reader.read(10), 5) == b"", "Redis hung up, and so does the tap"
        writer.close()
        _, other = await asyncio.open_connection("127.0.0.1", tap.relay.port)
        other.write(pack([b"BRPOP", b"jobs::nothing", b"0"]))
        await asyncio.sleep(0.1)
        other.transport.abort()
        for _ in range(50):
            await asyncio.sleep(0.05)
            if tap.relay.connections == 0:
                break
        assert tap.relay.connections == 0
        clients = await direct.client_list()
        assert [client for client in clients if client["cmd"] == "brpop"] == [], "Redis knows that the peer has gone"
        await direct.aclose()


async def test_a_reader_that_reads_nothing_fills_nothing(server: RedisServer) -> None:
    async with tapped(Upstream(port=server.port)) as tap:
        direct = redis_py.Redis(port=server.port)
        await direct.set("mega", b"x" * 1_000_000)
        _, writer = await asyncio.open_connection("127.0.0.1", tap.relay.port, limit=1024)
        for _ in range(200):
            writer.write(pack([b"GET", b"mega"]))
        await asyncio.sleep(1.0)
        (link,) = tap.relay.links
        assert link.peer.transport.get_write_buffer_size() < 2 * 1024 * 1024, "of 200 MB"
        held = sum(step.size for step in tap.steps if step.direction == "<")
        assert held < 30_000_000, "the rest has not been asked of Redis yet"
        writer.transport.abort()
        await direct.delete("mega")
        await direct.aclose()


async def test_redis_goes_away_and_comes_back() -> None:
    with RedisServer() as own:
        async with tapped(Upstream(port=own.port)) as tap:
            link = redis_py.Redis(port=tap.relay.port)
            assert await link.ping()
            await asyncio.to_thread(own.kill)
            with pytest.raises((redis_py.ConnectionError, ConnectionResetError)):
                await ping(tap)
            assert tap.unreachable
            await asyncio.to_thread(own.restart)
            assert await ping(tap)
            await link.aclose()


# --- TLS and unix sockets ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    try:
        return make_certificate(tmp_path_factory.mktemp("tls"))
    except OSError as error:
        pytest.skip(f"LEFT OUT: no certificate can be made: {error}")


class Terminator(Relay):
    """TLS in front of a Redis that may have been built without it."""

    def number(self) -> int:
        return 1

    def passage(self, link: object, direction: str) -> Any:
        del link, direction
        return lambda chunk: chunk


async def test_tls(server: RedisServer, certificate: Certificate) -> None:
    front = Terminator(Upstream(port=server.port))
    await front.start(tls=certificate.for_servers())
    trusting = certificate.for_clients()
    try:
        async with tapped(Upstream(host="localhost", port=front.port, tls=trusting)) as tap:
            async with pair(tap.url) as client:
                assert await client.submit({"value": "x" * 300_000}) == "x" * 300_000
            for _ in range(40):
                await asyncio.sleep(0.05)
                if tap.relay.connections == 0:
                    break
            assert tap.relay.connections == 0, "what a peer closes is closed beyond TLS too"
            assert tap.finish() == []
        async with tapped(Upstream(host="localhost", port=front.port, tls=ssl.create_default_context())) as wary:
            with pytest.raises((redis_py.ConnectionError, ConnectionResetError)):
                await ping(wary)
            assert isinstance(wary.unreachable[0], ssl.SSLError)
    finally:
        await front.close()


async def test_a_unix_socket() -> None:
    with RedisServer(unix_socket=True) as own:
        async with tapped(Upstream(unix_path=str(own.socket_path))) as tap:
            async with pair(tap.url) as client:
                assert await client.submit({"value": "by a socket"}) == "by a socket"
            assert tap.finish() == []
