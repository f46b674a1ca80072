"""Making a connection, against servers that are a few lines long and mostly ill-behaved."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import hiredis
import pytest

from jobwire.errors import AuthError, ClosedError, ConfigError, ConnectError, ConnectionLost, TransportError
from jobwire.testing.server import free_port
from jobwire.transport import open_transport

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def playing(play: Play) -> AsyncIterator[str]:
    """A server on loopback that does what ``play`` says; its URL, with a password in it."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await play(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"redis://myuser:hunter2@127.0.0.1:{port}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*answers: bytes, then_hang_up: bool = False) -> Play:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"".join(answers))
        await writer.drain()
        if not then_hang_up:
            await asyncio.sleep(30)

    return play


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


OK = b"+OK\r\n"
MASTER = b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
WELCOME = (OK, b":42\r\n", b"+PONG\r\n", MASTER)


async def refused(play: Play, kind: type[ConnectError], **options: float) -> str:
    """The message with which a connection to such a server fails; it never holds a credential."""
    async with playing(play) as url:
        transport = open_transport(url, **options)  # type: ignore[arg-type]  # floats
        lost: list[object] = []
        with pytest.raises(kind) as caught:
            await transport.connect(on_lost=lost.append)
        assert type(caught.value) is kind
        assert lost == []
        error: BaseException | None = caught.value
        while error is not None:
            assert "hunter2" not in str(error)
            assert "myuser" not in str(error)
            error = error.__cause__
        await asyncio.sleep(0)
        return str(caught.value)


async def test_welcome() -> None:
    async with playing(answering(*WELCOME)) as url:
        transport = open_transport(url)
        connection = await transport.connect()
        assert connection.client_id == 42
        assert not connection.closed
        await transport.close()
        assert connection.closed
        with pytest.raises(ClosedError):
            await transport.connect()


async def test_a_server_may_forbid_what_nobody_needs(caplog: pytest.LogCaptureFixture) -> None:
    no = b"-NOPERM this user has no permissions\r\n"
    with caplog.at_level(logging.DEBUG):
        async with playing(answering(OK, no, no, no, no)) as url:
            transport = open_transport(url)
            connection = await transport.connect(name="me")
            assert connection.client_id is None
            await transport.close()
    assert "NOPERM" in caplog.text
    assert "hunter2" not in caplog.text


async def test_no_server() -> None:
    port = free_port()
    with pytest.raises(ConnectError, match=f"cannot connect to redis://127.0.0.1:{port}: Connection refused"):
        await open_transport(f"redis://:hunter2@127.0.0.1:{port}").connect()
    with pytest.raises(ConnectError, match=r"No such file.*; is Redis running there\?"):
        await open_transport("unix://:hunter2@/nowhere/redis.sock").connect()


async def test_no_such_host() -> None:
    with pytest.raises(ConnectError, match="host name was not found"):
        await open_transport("redis://:hunter2@no-such-host.invalid").connect()


@pytest.mark.parametrize("play", [silent, answering(OK, b":42\r\n"), answering(b"+O")])
async def test_a_server_that_hangs(play: Play) -> None:
    begun = time.monotonic()
    message = await refused(play, ConnectError, connect_timeout=0.1)
    assert "no answer within 0.1 s" in message
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    ("answers", "kind", "expected"),
    [
        (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", AuthError, "did not accept"),
        (b"-ERR invalid password\r\n", AuthError, "did not accept"),
        (b"-ERR AUTH <password> called without any password configured\r\n", AuthError, "has no password configured"),
        (b"-ERR Client sent AUTH, but no password is set\r\n", AuthError, "has no password configured"),
        (
            b"-ERR unknown command 'AUTH', with args beginning with: 'myuser' 'hunter2' \r\n",
            AuthError,
            "refused to auth",
        ),
        (b"-hunter2\r\n", AuthError, "refused to authenticate"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", ConnectError, "LOADING"),
        (b"-ERR max number of clients reached\r\n", ConnectError, "ERR"),
        (OK + b"-NOAUTH Authentication required.\r\n", AuthError, "asks for a password"),
        (OK + b":1\r\n-LOADING Redis is loading\r\n", ConnectError, "LOADING Redis is loading"),
        (OK + b":1\r\n-BUSY Redis is busy running a script\r\n", ConnectError, "BUSY Redis is busy"),
        (OK + b":1\r\n-MASTERDOWN Link with MASTER is down\r\n", ConnectError, "MASTERDOWN"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ConnectError, "is not RESP2"),
        (b"".join(WELCOME) + b"+what\r\n", ConnectError, "nobody had asked for"),
        (b"", ConnectError, "the server closed it"),
        (OK, ConnectError, "the server closed it"),
    ],
)
async def test_refusals(answers: bytes, kind: type[ConnectError], expected: str) -> None:
    padded = answers + b"-ERR x\r\n" * (3 - answers.count(b"\r\n")) if answers.startswith(b"-") else answers
    message = await refused(answering(padded, then_hang_up=True), kind)
    assert expected in message


async def test_a_server_that_speaks_first() -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-DENIED Redis is running in protected mode\r\n")
        await writer.drain()

    assert "DENIED" in await refused(play, ConnectError)


async def test_the_database_is_selected_or_it_fails() -> None:
    async with playing(answering(OK, b"-ERR DB index is out of range\r\n", b":1\r\n+PONG\r\n", MASTER)) as url:
        with pytest.raises(ConnectError, match="DB index is out of range"):
            await open_transport(f"{url}/99").connect()


async def test_one_round_trip_however_much_there_is_to_say() -> None:
    seen: list[bytes] = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(65536))
        writer.write(OK + OK + OK + b":42\r\n+PONG\r\n" + MASTER)
        await asyncio.sleep(30)

    async with playing(play) as url:
        transport = open_transport(f"{url}/5")
        await transport.connect(name="my worker")
        await transport.close()
    (greeting,) = seen
    reader = hiredis.Reader()
    reader.feed(greeting)
    names = []
    while (command := reader.gets()) is not False:
        names.append(b" ".join(command))
    assert names == [
        b"AUTH myuser hunter2",
        b"SELECT 5",
        b"CLIENT SETNAME my-worker",
        b"CLIENT ID",
        b"PING",
        b"ROLE",
    ]


@pytest.mark.parametrize(
    ("role", "said"),
    [
        (
            b"*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:0\r\n",
            "it is a replica of 10.0.0.1:6379",
        ),
        (b"*5\r\n$5\r\nslave\r\n$3\r\na\nb\r\n:1\r\n$9\r\nconnected\r\n:0\r\n", r"a replica of a\nb:1"),
        (b"*2\r\n$8\r\nsentinel\r\n*0\r\n", "it is a Sentinel: write redis+sentinel://"),
        (b"*0\r\n", "makes no sense"),
    ],
)
async def test_only_a_master_will_do(role: bytes, said: str) -> None:
    message = await refused(answering(OK, b":42\r\n+PONG\r\n", role), ConnectError)
    assert "is not a master (any more)" in message
    assert said in message


@pytest.mark.parametrize(
    "answer", [b"-NOPERM this user has no permissions\r\n", b"-ERR unknown command 'ROLE', with args\r\n"]
)
async def test_a_server_that_does_not_say_its_role_is_taken_for_a_master(answer: bytes) -> None:
    async with playing(answering(OK, b":42\r\n+PONG\r\n", answer)) as url:
        transport = open_transport(url)
        assert not (await transport.connect()).closed
        await transport.close()


async def test_cancelled_on_the_way() -> None:
    ended = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        assert await reader.read() == b""
        ended.set()

    async with playing(play) as url:
        connecting = asyncio.ensure_future(open_transport(url).connect())
        await asyncio.sleep(0.05)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        async with asyncio.timeout(5):
            await ended.wait()


async def test_lost_in_the_middle_of_a_reply() -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"".join(WELCOME))
        await reader.read(65536)
        writer.write(b"$5\r\nhello\r\n$5\r\nwor")
        await writer.drain()

    async with playing(play) as url:
        lost: asyncio.Future[TransportError] = asyncio.get_running_loop().create_future()
        connection = await open_transport(url).connect(on_lost=lost.set_result)
        first, second = connection.call((b"GET", b"a")), connection.call((b"GET", b"b"))
        assert await first == [b"hello"]
        with pytest.raises(ConnectionLost, match="the server closed it"):
            await second
        error = await lost
        assert isinstance(error, ConnectionLost)
        assert "hunter2" not in str(error)
        assert connection.closed


async def test_a_half_open_connection_is_found_out() -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"".join(WELCOME))
        while await reader.read(65536):
            pass

    async with playing(play) as url:
        transport = open_transport(url, health_check_interval=0.05)
        connection = await transport.connect()
        patient = await transport.connect(longest_silence=30)
        popping = patient.call((b"BRPOP", b"list", b"30"))
        with pytest.raises(ConnectionLost, match="nothing was heard"):
            async with asyncio.timeout(5):
                await connection.execute((b"GET", b"a"))
        assert not popping.done()
        await transport.close()
        with pytest.raises(ConnectionLost):
            await popping


async def test_closed_while_connecting() -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        await asyncio.sleep(0.05)
        writer.write(b"".join(WELCOME))
        await asyncio.sleep(30)

    async with playing(play) as url:
        transport = open_transport(url)
        connecting = asyncio.ensure_future(transport.connect())
        await asyncio.sleep(0.02)
        await transport.close()
        with pytest.raises(ClosedError):
            await connecting


@pytest.mark.parametrize("options", [{"connect_timeout": 0}, {"connect_timeout": -1}, {"health_check_interval": -1}])
def test_options_that_cannot_work(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        open_transport("redis://h", **options)  # type: ignore[arg-type]  # floats


@pytest.mark.parametrize(("query", "kept"), [("", True), ("?socket_keepalive=false", False)])
async def test_tcp_keepalive_is_on_unless_said_otherwise(query: str, kept: bool) -> None:
    async with playing(answering(*WELCOME)) as url:
        transport = open_transport(url + query)
        connection = await transport.connect()
        sock = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # what no face shows
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is kept
        if kept:  # minutes, not the two hours that systems wait by default
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 300
        await transport.close()
