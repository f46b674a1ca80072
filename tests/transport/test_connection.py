"""One connection over a byte stream that is a list."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobwire.errors import ConnectionLost, ServerError
from jobwire.testing.scripted import encode_reply
from jobwire.transport import connection as connection_module
from jobwire.transport.connection import RedisConnection

pytestmark = pytest.mark.usefixtures("either_code")

if TYPE_CHECKING:
    from conftest import Complaints, FakeSocket

PING = (b"PING",)
GET = (b"GET", b"key")


def resp(*command: bytes) -> bytes:
    return encode_reply(list(command))


def plain(reply: object) -> object:
    """Errors compare by identity; their text is what matters."""
    if isinstance(reply, ServerError):
        return ("error", str(reply))
    if isinstance(reply, list):
        return [plain(item) for item in reply]
    return reply


async def turn() -> None:
    await asyncio.sleep(0)


async def test_all_that_is_sent_in_one_turn_leaves_in_one_write(connection: RedisConnection, wire: FakeSocket) -> None:
    connection.send([PING])
    connection.send([GET, PING], lambda _: None)
    connection.call(GET).cancel()
    assert wire.written == []
    await turn()
    assert wire.written == [resp(*PING) + resp(*GET) + resp(*PING) + resp(*GET)]
    connection.send([PING])
    await turn()
    assert wire.written[1:] == [resp(*PING)]
    await turn()
    assert len(wire.written) == 2


async def test_what_callbacks_send_leaves_together(connection: RedisConnection, wire: FakeSocket) -> None:
    for _ in range(10):
        connection.send([GET], lambda _: connection.send([PING]))
    await turn()
    connection.data_received(b":1\r\n" * 10)
    await turn()
    assert wire.written[1:] == [resp(*PING) * 10]


async def test_replies_come_as_a_list_for_each_send(connection: RedisConnection) -> None:
    seen: list[object] = []
    connection.send([PING, GET], seen.append)
    connection.send([PING])
    connection.send([GET], seen.append)
    connection.data_received(b"+PONG\r\n")
    assert seen == []
    connection.data_received(b"$1\r\nx\r\n+PONG\r\n*2\r\n:1\r\n*-1\r\n")
    assert seen == [[b"PONG", b"x"], [[1, None]]]
    assert connection.outstanding == 0


async def test_errors_are_values(connection: RedisConnection) -> None:
    seen: list[object] = []
    connection.send([GET, PING, GET], lambda replies: seen.extend(plain(reply) for reply in replies))  # type: ignore[union-attr]  # a list here
    connection.data_received(b"-WRONGTYPE not that kind\r\n+PONG\r\n*2\r\n-ERR inner\r\n:7\r\n")
    assert seen == [("error", "WRONGTYPE not that kind"), b"PONG", [("error", "ERR inner"), 7]]


async def test_execute_raises_them(connection: RedisConnection) -> None:
    asking = asyncio.ensure_future(connection.execute(GET))
    await turn()
    connection.data_received(b"-WRONGTYPE not that kind\r\n")
    with pytest.raises(ServerError, match="not that kind") as caught:
        await asking
    assert caught.value.code == "WRONGTYPE"


async def test_one_byte_at_a_time(connection: RedisConnection) -> None:
    seen: list[object] = []
    connection.send([GET, GET], seen.append)
    connection.send([GET], seen.append)
    for byte in b"$5\r\nab\r\nc\r\n*2\r\n:-3\r\n$0\r\n\r\n+OK\r\n":
        connection.data_received(bytes([byte]))
    assert seen == [[b"ab\r\nc", [-3, b""]], [b"OK"]]


replies_strategy = st.recursive(
    st.none() | st.binary(max_size=50) | st.integers(-(2**63), 2**63 - 1) | st.just("error"),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None)  # it makes an event loop each time
@given(st.lists(st.lists(replies_strategy, min_size=1, max_size=4), max_size=6), st.data())
def test_any_replies_in_any_pieces_reach_their_owner(groups: list[list[object]], data: st.DataObject) -> None:
    def real(reply: object) -> object:
        if isinstance(reply, list):
            return [real(item) for item in reply]
        return ServerError("ERR oops") if reply == "error" else reply

    raw = b"".join(encode_reply(real(reply)) for group in groups for reply in group)  # type: ignore[arg-type]  # made above
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    loop = asyncio.new_event_loop()
    try:
        connection = RedisConnection(loop)
        seen: list[tuple[int, object]] = []
        for number, group in enumerate(groups):
            connection.send([PING] * len(group), lambda replies, number=number: seen.append((number, plain(replies))))  # type: ignore[misc]  # default argument
        for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            connection.data_received(raw[start:end])
        assert seen == [(number, plain(real(group))) for number, group in enumerate(groups)]
        assert connection.outstanding == 0
        assert not connection.closed
    finally:
        loop.close()


@settings(deadline=None)  # it makes an event loop each time
@given(st.lists(st.lists(st.binary(max_size=60), min_size=1, max_size=5).map(tuple), min_size=1, max_size=8))
def test_commands_are_read_back_as_they_were_sent(commands: list[tuple[bytes, ...]]) -> None:
    written: list[bytes] = []

    class Sink(asyncio.Transport):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            written.append(bytes(data))

        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
            pass

    async def run() -> None:
        connection = RedisConnection(asyncio.get_running_loop())
        connection.connection_made(Sink())
        connection.send(commands)
        await turn()

    asyncio.run(run())
    reader = hiredis.Reader()
    reader.feed(b"".join(written))
    assert [tuple(reader.gets()) for _ in commands] == commands
    assert reader.gets() is False
    assert len(written) == 1


async def test_a_callback_that_raises_harms_nobody_else(connection: RedisConnection, complaints: Complaints) -> None:
    seen: list[object] = []

    def broken(_: object) -> None:
        raise LookupError("mine")

    connection.send([PING, PING], broken)
    connection.send([GET], seen.append)
    connection.data_received(b"+PONG\r\n+PONG\r\n:5\r\n")
    assert seen == [[5]]
    assert not connection.closed
    (complaint,) = complaints
    assert isinstance(complaint["exception"], LookupError)
    assert "redis://test" in str(complaint["message"])


async def test_a_lost_connection_tells_everybody_once(
    connection: RedisConnection, wire: FakeSocket, complaints: Complaints
) -> None:
    order: list[str] = []
    errors: list[object] = []

    def first(outcome: object) -> None:
        order.append("first")
        errors.append(outcome)
        raise LookupError("mine")

    connection.on_lost = lambda error: order.append(f"lost: {error}")
    connection.send([PING, PING], first)
    connection.send([PING])
    future = connection.call(GET)
    connection.data_received(b"+PONG\r\n")
    wire.end(ConnectionResetError(104, "whatever"))
    await turn()
    order.append("looked")
    with pytest.raises(ConnectionLost, match="redis://test lost: Connection reset"):
        await future
    assert order == ["first", "lost: connection to redis://test lost: Connection reset by peer", "looked"]
    assert isinstance(errors[0], ConnectionLost)
    assert errors[0] is not future.exception()
    assert connection.closed
    assert len(complaints) == 1
    await connection.close()
    connection.abort()
    await turn()
    assert len(order) == 3


async def test_after_the_end_nothing_is_sent(connection: RedisConnection, wire: FakeSocket) -> None:
    connection.send([PING])
    connection.abort()
    assert connection.closed
    seen: list[object] = []
    connection.send([PING], seen.append)
    connection.send([PING])
    assert seen == []
    with pytest.raises(ConnectionLost, match="aborted on this side"):
        await connection.execute(PING)
    assert [type(item) for item in seen] == [ConnectionLost]
    with pytest.raises(ConnectionLost):
        await connection.drained()
    assert wire.written == []


async def test_sends_from_the_last_callbacks_are_answered_too(connection: RedisConnection, wire: FakeSocket) -> None:
    seen: list[str] = []

    def again(outcome: object) -> None:
        seen.append(type(outcome).__name__)
        if len(seen) < 3:
            connection.send([PING], again)

    connection.send([PING], again)
    wire.end(None)
    for _ in range(5):
        await turn()
    assert seen == ["ConnectionLost"] * 3


async def test_on_lost_that_raises_is_reported(
    connection: RedisConnection, wire: FakeSocket, complaints: Complaints
) -> None:
    def broken(_: object) -> None:
        raise LookupError("mine")

    connection.on_lost = broken
    wire.end(None)
    await turn()
    assert [type(complaint["exception"]) for complaint in complaints] == [LookupError]


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_an_end_of_our_own_is_no_loss(connection: RedisConnection, how: str) -> None:
    lost: list[object] = []
    connection.on_lost = lost.append
    future = connection.call(PING)
    if how == "close":
        await connection.close()
    else:
        connection.abort()
    with pytest.raises(ConnectionLost, match="on this side"):
        await future
    await turn()
    assert lost == []


async def test_close_writes_out_what_is_queued(connection: RedisConnection, wire: FakeSocket) -> None:
    connection.send([PING])
    await connection.close()
    assert wire.written == [resp(*PING)]
    await connection.close()


async def test_close_does_not_wait_for_ever(
    connection: RedisConnection, wire: FakeSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "CLOSE_TIMEOUT", 0.02)
    wire.slow_close = True
    async with asyncio.timeout(2):
        await connection.close()
    assert wire.closing


async def test_nothing_to_send(connection: RedisConnection, wire: FakeSocket) -> None:
    seen: list[object] = []
    connection.send([], seen.append)
    connection.send([])
    assert seen == []
    await turn()
    assert seen == [[]]
    assert wire.written == []


async def test_a_command_that_cannot_be_packed_leaves_no_trace(connection: RedisConnection, wire: FakeSocket) -> None:
    first = connection.call(PING)
    with pytest.raises(TypeError):
        connection.send([GET, (b"SET", None)])  # type: ignore[list-item]  # the error is the point
    second = connection.call(GET)
    await turn()
    assert wire.written == [resp(*PING) + resp(*GET)]
    connection.data_received(b"+PONG\r\n$1\r\nx\r\n")
    assert (await first, await second) == ([b"PONG"], [b"x"])


async def test_a_cancelled_call_keeps_its_place(connection: RedisConnection) -> None:
    first, second = connection.call(PING), connection.call(GET)
    first.cancel()
    connection.data_received(b"+PONG\r\n:2\r\n")
    assert await second == [2]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not RESP2"),
        (b"+PONG\r\n+PONG\r\n", "nobody had asked for"),
        (b"+PONG\r\n-ERR max number of clients reached\r\n", "the server said 'ERR'"),
    ],
)
async def test_a_server_that_talks_nonsense_is_left(connection: RedisConnection, raw: bytes, reason: str) -> None:
    lost: list[object] = []
    connection.on_lost = lost.append
    connection.send([PING])
    connection.data_received(raw)
    assert connection.closed
    await turn()
    assert reason in str(lost[0])


async def test_replies_before_nonsense_count(connection: RedisConnection) -> None:
    seen: list[object] = []
    connection.send([GET], seen.append)
    connection.send([GET], seen.append)
    connection.data_received(b":1\r\n!what\r\n")
    await turn()
    assert seen[0] == [1]
    assert isinstance(seen[1], ConnectionLost)
    assert len(seen) == 2


async def test_drained_waits_for_the_buffer(connection: RedisConnection) -> None:
    await connection.drained()
    connection.pause_writing()
    connection.pause_writing()
    waiting = [asyncio.ensure_future(connection.drained()) for _ in range(3)]
    await turn()
    waiting[0].cancel()
    await turn()
    assert [task.done() for task in waiting] == [True, False, False]
    connection.resume_writing()
    await asyncio.gather(*waiting[1:])


async def test_drained_fails_with_the_connection(connection: RedisConnection, wire: FakeSocket) -> None:
    connection.pause_writing()
    waiting = asyncio.ensure_future(connection.drained())
    await turn()
    wire.end(None)
    with pytest.raises(ConnectionLost):
        await waiting


async def test_many_commands_are_written_before_the_turn_is_over(connection: RedisConnection, wire: FakeSocket) -> None:
    for _ in range(connection_module.EARLY_WRITE):
        assert wire.written == []
        connection.send([PING])
    assert len(wire.written) == 1
    connection.send([PING] * 2 * connection_module.EARLY_WRITE)
    assert len(wire.written) == 2, "what is sent together leaves together"
    await turn()
    assert len(wire.written) == 2


async def test_repr(connection: RedisConnection) -> None:
    connection.send([PING])
    assert repr(connection) == "<RedisConnection redis://test (1 outstanding)>"
    connection.abort()
    assert repr(connection) == "<RedisConnection redis://test (closed)>"
