"""The recorder: what passes is what was sent, what is written down is what passed, faults do what they say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jobwire.testing.server import RedisServer
from jobwire_conformance.record.proxy import Proxy, Recorder, Rule, Upstream
from jobwire_conformance.record.redis_link import RedisLink, RedisReplyError
from jobwire_conformance.record.resp import Decoder, pack


@pytest.fixture(scope="module")
def port() -> object:
    with RedisServer() as server:
        yield server.port


@asynccontextmanager
async def recorded(port: int) -> AsyncIterator[tuple[Proxy, Recorder]]:
    recorder = Recorder()
    proxy = Proxy(Upstream(port=port), recorder, "client")
    await proxy.start()
    try:
        yield proxy, recorder
    finally:
        await proxy.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *words: bytes) -> object:
    writer.write(pack(list(words)))
    decoder = Decoder()
    while True:
        chunk = await asyncio.wait_for(reader.read(1 << 20), 5)
        if not chunk:
            return "closed"
        for frame in decoder.feed(chunk):
            return frame.value


async def test_commands_and_replies_are_written_down(port: int) -> None:
    async with recorded(port) as (proxy, recorder):
        link = RedisLink(Upstream(port=proxy.port))
        assert await link.call("SET", "k", b"\xff\r\n") == b"OK"
        assert await link.call("GET", "k") == b"\xff\r\n"
        await link.close()
        events = [event for event in recorder.events if event.kind in {"command", "reply"}]
        assert [event.direction for event in events] == [">", "<", ">", "<"]
        assert events[0].command == (b"SET", b"k", b"\xff\r\n")
        assert events[0].raw == pack([b"SET", b"k", b"\xff\r\n"])
        assert events[3].decoded() == b"\xff\r\n"
        assert {event.role for event in recorder.events} == {"client"}


async def test_ten_mib_pass(port: int) -> None:
    async with recorded(port) as (proxy, _):
        link = RedisLink(Upstream(port=proxy.port))
        value = bytes(range(256)) * 40960
        await link.call("SET", "big", value)
        assert await link.call("GET", "big") == value
        await link.close()


async def test_what_is_not_resp_passes_too(port: int) -> None:
    async with recorded(port) as (proxy, recorder):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"*2\r\n$3\r\nGET\r\n$\r\n\r\n")
        assert b"Protocol error" in await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert any(event.kind == "broken" and b"$\r\n" in event.raw for event in recorder.events)


@pytest.mark.parametrize(("action", "stored"), [("cut", None), ("cut-after", b"1")])
async def test_cuts_before_and_after_a_command(port: int, action: str, stored: bytes | None) -> None:
    link = RedisLink(Upstream(port=port))
    await link.call("DEL", "cut")
    async with recorded(port) as (proxy, _):
        proxy.rules.append(Rule(lambda event: event.name == "SET", action))  # type: ignore[arg-type]  # parametrized
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            assert await ask(reader, writer, b"SET", b"cut", b"1") in ("closed", b"OK")
            assert await ask(reader, writer, b"PING") == "closed"
        except ConnectionResetError:
            pass
        writer.close()
        assert await link.call("GET", "cut") == stored
        await link.close()


async def test_half_a_reply(port: int) -> None:
    async with recorded(port) as (proxy, _):
        proxy.rules.append(Rule(lambda event: event.kind == "reply", "half"))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(pack([b"ECHO", b"0123456789"]))
        got = b""
        try:
            while chunk := await asyncio.wait_for(reader.read(100), 5):
                got += chunk
        except ConnectionResetError:
            pass
        writer.close()
        assert got
        assert len(got) < len(b"$10\r\n0123456789\r\n")


async def test_a_push_that_comes_twice_and_one_that_comes_late(port: int) -> None:
    link = RedisLink(Upstream(port=port))
    async with recorded(port) as (proxy, _):
        proxy.rules += [
            Rule(lambda event: event.raw.endswith(b"twice\r\n"), "double"),
            Rule(lambda event: event.raw.endswith(b"late\r\n"), "late", seconds=0.3),
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await ask(reader, writer, b"SUBSCRIBE", b"c")
        for word in ("late", "twice", "last"):
            await link.call("PUBLISH", "c", word)
        decoder, words = Decoder(), []
        while len(words) < 4:
            frames = decoder.feed(await asyncio.wait_for(reader.read(1000), 5))
            words += [frame.value[2] for frame in frames if isinstance(frame.value, list)]
        assert words == [b"twice", b"twice", b"last", b"late"]
        writer.close()
        await link.close()


async def test_a_few_bytes_at_a_time_and_nothing_in_between(port: int) -> None:
    publisher = RedisLink(Upstream(port=port))
    async with recorded(port) as (proxy, _):
        proxy.rules.append(Rule(lambda event: event.raw.endswith(b"late\r\n"), "late", seconds=0.05))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await ask(reader, writer, b"SUBSCRIBE", b"c")
        proxy.trickle = 3
        await publisher.call("PUBLISH", "c", "late")
        await publisher.call("PUBLISH", "c", "x" * 300)
        decoder, words, chunks = Decoder(), [], 0
        while len(words) < 2:
            frames = decoder.feed(await asyncio.wait_for(reader.read(1000), 5))
            words += [frame.value[2] for frame in frames if isinstance(frame.value, list)]
            chunks += 1
        assert words == [b"x" * 300, b"late"]
        assert chunks > 10
        writer.close()
        await publisher.close()


async def test_a_trickle_that_ends_lets_the_rest_pass(port: int) -> None:
    async with recorded(port) as (proxy, _):
        link = RedisLink(Upstream(port=proxy.port))
        proxy.trickle = 1
        asking = asyncio.ensure_future(link.call("ECHO", bytes(100_000)))
        await asyncio.sleep(0.05)
        assert not asking.done()
        proxy.trickle = 0
        assert await asyncio.wait_for(asking, 5) == bytes(100_000)
        await link.close()


async def test_it_listens_at_a_unix_socket(port: int, tmp_path: Path) -> None:
    recorder = Recorder()
    proxy = Proxy(Upstream(port=port), recorder, "client")
    await proxy.start(unix_path=str(tmp_path / "proxy.sock"))
    link = RedisLink(Upstream(unix_path=str(tmp_path / "proxy.sock")))
    assert await link.call("PING") == b"PONG"
    assert recorder.events
    await link.close()
    await proxy.close()


async def test_a_dropped_push(port: int) -> None:
    link = RedisLink(Upstream(port=port))
    async with recorded(port) as (proxy, _):
        proxy.rules.append(Rule(lambda event: event.kind == "push", "drop"))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await ask(reader, writer, b"SUBSCRIBE", b"c")
        await link.call("PUBLISH", "c", "lost")
        await link.call("PUBLISH", "c", "seen")
        decoder = Decoder()
        frames = decoder.feed(await asyncio.wait_for(reader.read(1000), 5))
        assert [frame.value for frame in frames] == [[b"message", b"c", b"seen"]]
        writer.close()
    await link.close()


async def test_hold_refuse_and_cut(port: int) -> None:
    async with recorded(port) as (proxy, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await ask(reader, writer, b"PING") == b"PONG"
        proxy.hold(True)
        writer.write(pack([b"PING"]))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(10), 0.2)
        proxy.hold(False)
        assert await asyncio.wait_for(reader.read(10), 5) == b"+PONG\r\n"
        proxy.refusing = True
        proxy.cut()
        with pytest.raises((ConnectionResetError, AssertionError)):
            assert await reader.read(10)
        other, second = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises((ConnectionResetError, AssertionError)):
            assert await asyncio.wait_for(other.read(10), 5)
        for item in (writer, second):
            item.close()


async def test_the_runners_own_link(port: int) -> None:
    link = RedisLink(Upstream(port=port))
    with pytest.raises(RedisReplyError, match="NOSUCH"):
        await link.call("NOSUCH")
    assert await link.call("PING") == b"PONG", "an error reply is no end"
    await link.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
    assert await link.call("PING") == b"PONG", "it comes back by itself"
    await link.close()


async def test_nobody_there() -> None:
    link = RedisLink(Upstream(port=1))
    with pytest.raises(OSError, match="onnect"):
        await link.call("PING")
    with pytest.raises(TimeoutError):
        await link.wait_until_up(0.1)
