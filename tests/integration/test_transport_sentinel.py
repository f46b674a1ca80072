"""Sentinel, for real: a master, a replica, a Sentinel, a failover."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import redis

from jobwire.errors import ConnectError, ConnectionLost, TransportError
from jobwire.testing.server import RedisServer, free_port
from jobwire.transport import Backoff, SentinelAddress, SentinelTransport, open_transport

WHO = (b"CONFIG", b"GET", b"port")


@dataclass
class Fleet:
    master: RedisServer
    replica: RedisServer
    sentinel: RedisServer

    @property
    def url(self) -> str:
        return f"redis+sentinel://:s3cr3t-pw@127.0.0.1:{self.sentinel.port}/mymaster?sentinel_password=s3cr3t-sentinel"


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with ExitStack() as stack:
        secured = ["masterauth s3cr3t-pw", "repl-diskless-sync-delay 0"]
        master = stack.enter_context(RedisServer(password="s3cr3t-pw", config=secured))
        follow = f"replicaof 127.0.0.1 {master.port}"
        replica = stack.enter_context(RedisServer(password="s3cr3t-pw", config=[*secured, follow]))
        watch = [
            f"sentinel monitor mymaster 127.0.0.1 {master.port} 1",
            "sentinel auth-pass mymaster s3cr3t-pw",
            "sentinel down-after-milliseconds mymaster 1000",
            "sentinel failover-timeout mymaster 5000",
        ]
        sentinel = stack.enter_context(RedisServer(sentinel=True, password="s3cr3t-sentinel", config=watch))
        with redis.Redis(port=sentinel.port, password="s3cr3t-sentinel", protocol=2) as asking:
            end = time.monotonic() + 30
            while not asking.sentinel_slaves("mymaster"):
                assert time.monotonic() < end, sentinel.log
                time.sleep(0.05)
        yield Fleet(master, replica, sentinel)


async def test_the_master_is_found(fleet: Fleet) -> None:
    transport = open_transport(f"{fleet.url}&db=2")
    assert transport.description == f"redis+sentinel://127.0.0.1:{fleet.sentinel.port}/mymaster/2"
    connection = await transport.connect(name="me")
    assert await connection.execute(WHO) == [b"port", b"%d" % fleet.master.port]
    await transport.close()


async def test_a_sentinel_that_is_down_is_passed_over(fleet: Fleet) -> None:
    address = SentinelAddress(
        sentinels=(("127.0.0.1", free_port()), ("127.0.0.1", fleet.sentinel.port)),
        service="mymaster",
        server=open_transport("redis://:s3cr3t-pw@h")._address,  # type: ignore[attr-defined]  # a DirectTransport
        password="s3cr3t-sentinel",
    )
    transport = SentinelTransport(address)
    assert await transport.discover() == ("127.0.0.1", fleet.master.port)
    await (await transport.connect()).execute((b"PING",))
    await transport.close()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("/mymaster", "/othermaster", "names a master of 'othermaster'"),
        ("s3cr3t-sentinel", "s3cr3t-wrong", "names a master of 'mymaster'"),
        (":s3cr3t-pw@", ":s3cr3t-wrong@", "did not accept the user name and password"),
    ],
)
async def test_nothing_found(fleet: Fleet, before: str, after: str, message: str) -> None:
    with pytest.raises(ConnectError, match=message) as caught:
        await open_transport(fleet.url.replace(before, after)).connect()
    assert "s3cr3t" not in str(caught.value)


async def test_no_sentinel_there() -> None:
    port = free_port()
    with pytest.raises(ConnectError, match=rf"none of the Sentinels asked \(127.0.0.1:{port}\)"):
        await open_transport(f"redis+sentinel://127.0.0.1:{port}/mymaster").connect()


async def test_a_sentinel_that_hangs(fleet: Fleet) -> None:
    fleet.sentinel.pause()
    try:
        begun = time.monotonic()
        with pytest.raises(ConnectError):
            await open_transport(fleet.url, connect_timeout=0.4).connect()
        assert time.monotonic() - begun < 3
    finally:
        fleet.sentinel.resume()
        await asyncio.sleep(0.1)


async def test_a_master_that_is_none_any_more(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of Sentinel may be an instant old."""
    transport = open_transport(fleet.url)
    assert isinstance(transport, SentinelTransport)

    async def stale() -> tuple[str, int]:
        return "127.0.0.1", fleet.replica.port

    monkeypatch.setattr(transport, "discover", stale)
    with pytest.raises(ConnectError, match=f"{fleet.replica.port} is not a master"):
        await transport.connect()


async def test_after_a_failover_the_new_master_is_found(fleet: Fleet) -> None:
    lost: asyncio.Future[TransportError] = asyncio.get_running_loop().create_future()
    transport = open_transport(fleet.url, health_check_interval=1)
    connection = await transport.connect(on_lost=lost.set_result)
    assert await connection.execute((b"SET", b"kept", b"1")) == b"OK"
    assert await connection.execute((b"WAIT", b"1", b"5000")) == 1
    fleet.master.kill()
    assert isinstance(await asyncio.wait_for(lost, 5), ConnectionLost)
    backoff, seen = Backoff(0.05, 0.5), [repr(transport)]
    async with asyncio.timeout(45):
        while True:
            try:
                again = await transport.connect()
            except ConnectError as error:
                seen.append(str(error))
                await asyncio.sleep(backoff.next())
            else:
                break
    assert await again.execute(WHO) == [b"port", b"%d" % fleet.replica.port]
    assert await again.execute((b"GET", b"kept")) == b"1"
    assert "s3cr3t" not in " ".join(seen)
    await transport.close()
