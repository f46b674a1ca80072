"""The scripted transport: what tests of clients and workers lean on."""

from __future__ import annotations

import asyncio

import pytest

from jobwire.errors import ClosedError, ConnectError, ConnectionLost, ServerError
from jobwire.testing.scripted import LOST, SILENT, Outcome, Script, ScriptedTransport
from jobwire.transport import Command, Connection, Transport

PING = (b"PING",)
GET = (b"GET", b"key")


def echo(command: Command) -> Outcome:
    return list(command)


def typed() -> tuple[Transport, type[Connection]]:
    """It satisfies the contract, says the type checker."""
    return ScriptedTransport(echo), Connection


async def test_a_handler_answers() -> None:
    transport = ScriptedTransport(echo)
    connection = await transport.connect(name="me", longest_silence=3)
    assert await connection.execute(GET) == [b"GET", b"key"]
    assert await connection.call(PING, GET) == [[b"PING"], [b"GET", b"key"]]
    (link,) = transport.links
    assert (link.name, link.longest_silence, connection.client_id) == ("me", 3, 1)
    assert link.commands == transport.commands == [GET, PING, GET]
    assert link.writes == [(GET,), (PING, GET)]
    transport.check()


@pytest.mark.parametrize("chunk", [None, 1, 3])
async def test_any_reply(chunk: int | None) -> None:
    replies: list[Outcome] = [None, 0, -5, b"", b"a\r\nb", [], [None, [b"x", 1]]]
    transport = ScriptedTransport([(GET, reply) for reply in replies], chunk=chunk)
    connection = await transport.connect()
    assert await connection.call(*[GET] * len(replies)) == replies
    transport.check()


async def test_errors() -> None:
    transport = ScriptedTransport(lambda _: [ServerError("ERR inner"), ServerError("ERR two\r\nlines")])
    reply = await (await transport.connect()).execute(GET)
    assert isinstance(reply, list)
    assert [str(item) for item in reply] == ["ERR inner", "ERR two  lines"]


async def test_a_script_is_kept_to() -> None:
    transport = ScriptedTransport([(PING, b"PONG"), (lambda command: command[0] == b"GET", b"x"), (PING, b"PONG")])
    connection = await transport.connect()
    assert await connection.call(PING, GET) == [b"PONG", b"x"]
    with pytest.raises(AssertionError, match="not at its end"):
        transport.check()
    with pytest.raises(ConnectionLost, match="the handler raised"):
        await connection.execute(GET)
    with pytest.raises(AssertionError, match=r"step 3 of the script expects .*PING"):
        transport.check()


async def test_a_script_ends() -> None:
    script = Script([(PING, b"PONG")])
    transport = ScriptedTransport(script)
    connection = await transport.connect()
    await connection.execute(PING)
    assert script.finished
    with pytest.raises(ConnectionLost):
        await connection.execute(PING)
    with pytest.raises(AssertionError, match="the script is over"):
        transport.check()


async def test_lost_at_a_chosen_point() -> None:
    lost: list[object] = []
    transport = ScriptedTransport([(PING, b"PONG"), (GET, LOST)])
    connection = await transport.connect(on_lost=lost.append)
    before, at, behind = connection.call(PING), connection.call(GET), connection.call(PING)
    assert await before == [b"PONG"]
    for future in (at, behind):
        with pytest.raises(ConnectionLost):
            await future
    assert len(lost) == 1
    assert connection.closed


async def test_lost_at_a_chosen_time() -> None:
    lost: list[object] = []
    transport = ScriptedTransport(echo)
    connection = await transport.connect(on_lost=lost.append)
    transport.links[0].lose(ConnectionResetError(104, "reset"))
    transport.links[0].lose()
    with pytest.raises(ConnectionLost, match="Connection reset by peer"):
        await connection.execute(PING)
    assert len(lost) == 1


async def test_silence_blocks_what_is_behind_it() -> None:
    def handler(command: Command) -> Outcome:
        return SILENT if command[0] == b"BRPOP" else b"x"

    transport = ScriptedTransport(handler)
    connection = await transport.connect()
    before, popping, behind = (connection.call(command) for command in (GET, (b"BRPOP", b"list", b"0"), GET))
    assert await before == [b"x"]
    await asyncio.sleep(0.01)
    assert not popping.done()
    assert not behind.done()
    transport.links[0].answer([b"list", b"id"])
    assert await popping == [[b"list", b"id"]]
    assert await behind == [b"x"]
    with pytest.raises(AssertionError, match="no command is waiting"):
        transport.links[0].answer(None)


async def test_subscriptions_acknowledge_themselves() -> None:
    pushed: list[object] = []
    transport = ScriptedTransport(lambda _: None)
    connection = await transport.connect(on_push=pushed.append)
    assert await connection.execute((b"SUBSCRIBE", b"a", b"b")) == [b"subscribe", b"b", 2]
    assert await connection.execute((b"PSUBSCRIBE", b"a*")) == [b"psubscribe", b"a*", 3]
    assert await connection.execute((b"PUNSUBSCRIBE", b"a*")) == [b"punsubscribe", b"a*", 2]
    assert await connection.execute((b"UNSUBSCRIBE", b"a")) == [b"unsubscribe", b"a", 1]
    assert await connection.execute(PING) is None
    pushed.clear()
    transport.links[0].push([b"message", b"b", b"payload"])
    await asyncio.sleep(0)
    assert pushed == [[b"message", b"b", b"payload"]]


async def test_connections_can_be_refused() -> None:
    transport = ScriptedTransport(echo)
    transport.refuse(2)
    transport.refuse(error=ConnectError("mine"))
    for message in ("refused by the test", "refused by the test", "mine"):
        with pytest.raises(ConnectError, match=message):
            await transport.connect()
    assert await (await transport.connect()).execute(PING) == [b"PING"]


async def test_back_pressure() -> None:
    transport = ScriptedTransport(echo)
    connection = await transport.connect()
    link = transport.links[0]
    link.pause_writing()
    waiting = asyncio.ensure_future(connection.drained())
    await asyncio.sleep(0)
    assert not waiting.done()
    link.resume_writing()
    await waiting


async def test_raw_bytes() -> None:
    transport = ScriptedTransport(lambda _: SILENT)
    connection = await transport.connect()
    asking = connection.call(PING)
    transport.links[0].say(b"!nonsense\r\n")
    with pytest.raises(ConnectionLost, match="not RESP2"):
        await asking


async def test_closing() -> None:
    transport = ScriptedTransport(echo)
    first, second = await transport.connect(), await transport.connect()
    await first.close()
    await transport.close()
    assert first.closed
    assert second.closed
    assert all(link.is_closing() for link in transport.links)
    with pytest.raises(ClosedError):
        await transport.connect()
    with pytest.raises(ConnectionLost):
        await second.execute(PING)
