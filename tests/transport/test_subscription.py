"""Pushes told from replies."""

from __future__ import annotations

import asyncio

import pytest

from jobwire.errors import ConnectionLost, EncodeError, ServerError
from jobwire.testing.scripted import encode_reply
from jobwire.transport.subscription import SubscribingConnection

PING = (b"PING",)


@pytest.fixture
async def pushed() -> list[object]:
    return []


@pytest.fixture
async def connection(pushed: list[object]) -> SubscribingConnection:
    return SubscribingConnection(asyncio.get_running_loop(), on_push=pushed.append)


async def test_a_message_is_no_reply(connection: SubscribingConnection, pushed: list[object]) -> None:
    seen: list[object] = []
    connection.send([(b"subscribe", b"c"), PING], seen.append)
    acknowledgement, message = [b"subscribe", b"c", 1], [b"message", b"c", b"subscribe"]
    for raw in (acknowledgement, message, [b"pong", b""], message):
        for byte in encode_reply(raw):  # type: ignore[arg-type]  # lists of replies
            connection.data_received(bytes([byte]))
    assert seen == [[acknowledgement, [b"pong", b""]]]
    assert pushed == [acknowledgement, message, message]
    assert connection.outstanding == 0


async def test_many_channels_are_one_command(connection: SubscribingConnection, pushed: list[object]) -> None:
    subscribing, ping = connection.call((b"SUBSCRIBE", b"a", b"b", b"c")), connection.call(PING)
    for number, channel in enumerate([b"a", b"b", b"c"], 1):
        assert not subscribing.done()
        connection.data_received(encode_reply([b"subscribe", channel, number]))
    assert await subscribing == [[b"subscribe", b"c", 3]]
    connection.data_received(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")
    assert await ping == [[b"pong", b""]]
    assert len(pushed) == 3


async def test_a_refusal_answers_the_whole_command(connection: SubscribingConnection) -> None:
    refused, ping = connection.call((b"SUBSCRIBE", b"a", b"b")), connection.call(PING)
    connection.data_received(b"-NOPERM no\r\n+PONG\r\n")
    (reply,) = await refused
    assert isinstance(reply, ServerError)
    assert await ping == [b"PONG"]


async def test_unsubscribed_by_the_server(connection: SubscribingConnection, pushed: list[object]) -> None:
    subscribing = connection.call((b"SUBSCRIBE", b"a"))
    connection.data_received(encode_reply([b"subscribe", b"a", 1]))
    await subscribing
    ping = connection.call(PING)
    connection.data_received(encode_reply([b"unsubscribe", b"a", 0]) + b"+PONG\r\n")
    assert await ping == [b"PONG"]
    assert pushed[-1] == [b"unsubscribe", b"a", 0]


async def test_before_it_subscribes_an_array_is_an_array(
    connection: SubscribingConnection, pushed: list[object]
) -> None:
    asking = connection.call((b"LRANGE", b"l", b"0", b"-1"))
    connection.data_received(encode_reply([b"message", b"c", b"x"]))
    assert await asking == [[b"message", b"c", b"x"]]
    assert pushed == []


async def test_an_unsubscribe_must_name_its_channels(connection: SubscribingConnection) -> None:
    with pytest.raises(EncodeError, match="name the channels"):
        connection.send([PING, (b"UNSUBSCRIBE",)])
    assert connection.outstanding == 0


async def test_on_push_that_raises_is_reported() -> None:
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context["exception"]))

    def broken(_: object) -> None:
        raise LookupError("mine")

    connection = SubscribingConnection(loop, on_push=broken)
    subscribing = connection.call((b"SUBSCRIBE", b"a"))
    connection.data_received(encode_reply([b"subscribe", b"a", 1]) + encode_reply([b"message", b"a", b"x"]))
    assert await subscribing == [[b"subscribe", b"a", 1]]
    assert [type(complaint) for complaint in complaints] == [LookupError, LookupError]


async def test_a_stray_reply_ends_it(connection: SubscribingConnection) -> None:
    connection.data_received(b":1\r\n")
    assert connection.closed
    with pytest.raises(ConnectionLost, match="nobody had asked for"):
        await connection.execute(PING)
