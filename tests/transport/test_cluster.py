"""Sends to a cluster: slots, order, redirections. The nodes are played; tests/integration has real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.crc import key_slot

from jobwire.errors import ConfigError, ConnectError, ConnectionLost, DecodeError, ServerError, TransportError
from jobwire.testing.scripted import LOST, SILENT, ScriptedTransport
from jobwire.transport import ClusterTransport, cluster_batch, open_transport
from jobwire.transport.cluster_connection import ClusterConnection
from jobwire.transport.protocols import OnLost
from jobwire.wire.cluster_slots import (
    Node,
    Topology,
    hash_tag,
    plan,
    read_topology,
    redirection,
    slot_of,
    slot_of_command,
)
from jobwire.wire.commands import MULTI, Command, Reply

A, B, C = ("a", 1), ("b", 2), ("c", 3)
#: One key of each third of the slots.
KEY_A, KEY_B, KEY_C = (
    next(b"k%d" % n for n in range(999) if slot_of(b"k%d" % n) // 5462 == third) for third in range(3)
)


# -- slots


@pytest.mark.parametrize(
    "key", [b"", b"123456789", b"{jobs}::pending", b"a{}b", b"{", b"}{x}", b"a{b}{c}", b"{{x}}", "é".encode()]
)
def test_slots_are_those_of_redis(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)


def test_the_hash_tag() -> None:
    assert slot_of(b"123456789") == 0x31C3 % 16384  # the specification's own example
    assert slot_of(b"{jobs}::pending") == slot_of(b"{jobs}::processing::w") == slot_of(b"jobs")
    assert [hash_tag(key) for key in (b"jobs::x", b"{}x", b"a{b}c", b"{b")] == [b"", b"", b"b", b""]


def test_the_slot_of_a_command() -> None:
    assert slot_of_command((b"LLEN", b"k")) == slot_of(b"k")
    assert slot_of_command((b"EVAL", b"return 1", b"1", b"k", b"x")) == slot_of(b"k")
    assert slot_of_command((b"EVALSHA", b"0" * 40, b"0")) is None
    assert [slot_of_command(command) for command in ((b"PUBLISH", b"k", b"x"), (b"PING",), (b"DBSIZE",))] == [None] * 3


def test_a_plan() -> None:
    """A write waits for what stands before it; reads of any keys go together; so does what is in one slot."""
    read_a, read_b, write_a, write_b = (b"HGETALL", KEY_A), (b"EXISTS", KEY_B), (b"HSET", KEY_A), (b"LPUSH", KEY_B)

    def steps(*commands: Command) -> list[tuple[int, bool]]:
        return [(len(step.commands), step.independent) for step in plan(commands)]

    assert steps() == []
    assert steps(write_a, write_b) == [(1, False), (1, False)]
    assert steps(write_a, read_a, write_a) == [(3, False)]
    assert steps(read_a, read_b, (b"DEL", KEY_C), write_a) == [(3, True), (1, False)]
    assert steps(read_a, write_a, read_b) == [(2, False), (1, True)]
    assert steps((b"PUBLISH", b"c", b"x"), (b"PUBLISH", b"d", b"x"), write_a) == [(2, False), (1, False)]


def test_redirections() -> None:
    moved = redirection(ServerError("MOVED 7 10.0.0.1:6380"), host="h")
    assert moved is not None
    assert (moved.slot, moved.node, moved.asking) == (7, ("10.0.0.1", 6380), False)
    asked = redirection(ServerError("ASK 7 ::1:6380"), host="h")
    assert asked is not None
    assert (asked.node, asked.asking) == (("::1", 6380), True)
    here = redirection(ServerError("MOVED 7 :6380"), host="h")
    assert here is not None
    assert here.node == ("h", 6380)
    later = redirection(ServerError("TRYAGAIN Multiple keys request during rehashing of slot"), host="h")
    assert later is not None
    assert later.node is None
    for reply in (b"MOVED 7 a:1", None, ServerError("ERR no"), ServerError("MOVED"), ServerError("MOVED x y")):
        assert redirection(reply, host="h") is None


def test_who_serves_what() -> None:
    reply: Reply = [[0, 99, [b"a", 1, b"id", []], [b"replica", 9, b"id"]], [100, 16383, [b"", 2, b"id"]]]
    topology = read_topology(reply, host="here")
    assert (topology.slots[99], topology.slots[100]) == (A, ("here", 2))
    assert topology.masters == (A, ("here", 2))
    assert read_topology([], host="here").masters == ()
    with pytest.raises(ServerError):
        read_topology(ServerError("ERR This instance has cluster support disabled"), host="here")
    for strange in (b"OK", [[0, 20000, [b"a", 1]]], [[5, 1, [b"a", 1]]], [b"x"], [[0, 1]]):
        with pytest.raises(DecodeError):
            read_topology(strange, host="here")


# -- sends


class Turns(list[Any]):
    """Answers, one after the other."""


class Played:
    """Three nodes, each a function from a command to its answer."""

    def __init__(self) -> None:
        self.answers: dict[tuple[Node, bytes], Any] = {}
        self.log: list[tuple[str, Command]] = []
        self.nodes = {node: ScriptedTransport(self._player(node)) for node in (A, B, C)}
        self.topology = Topology([(A, B, C)[slot // 5462] for slot in range(16384)], (A, B, C))
        self.home = 0
        self.description = "redis+cluster://played"
        self.lost: list[TransportError] = []

    def _player(self, node: Node) -> Callable[[Command], Any]:
        def play(command: Command) -> Any:
            self.log.append((node[0], command))
            answers = self.answers.get((node, command[0]), b"OK")
            return answers.pop(0) if isinstance(answers, Turns) else answers

        return play

    async def dial(self, node: Node, on_lost: OnLost) -> Any:
        return await self.nodes[node].connect(on_lost=on_lost)

    async def connect(self) -> ClusterConnection:
        loop = asyncio.get_running_loop()
        connection = ClusterConnection(loop, self, self.dial, A, self.lost.append)
        connection.opened(await self.dial(A, connection.lost))
        return connection

    def sent(self, name: bytes) -> list[str]:
        return [node for node, command in self.log if command[0] == name]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    monkeypatch.setattr(cluster_batch, "PAUSE", 0.001)
    return Played()


async def test_each_command_goes_where_its_key_is_in_order(played: Played) -> None:
    connection = await played.connect()
    commands = [(b"HSET", KEY_C), (b"LPUSH", KEY_A), (b"PUBLISH", b"c", b"x"), (b"LPUSH", KEY_B)]
    assert await connection.call(*commands) == [b"OK"] * 4
    assert [node for node, _ in played.log] == ["c", "a", "a", "b"]
    assert [command for _, command in played.log] == commands
    assert not connection.closed
    assert connection.client_id == 1
    assert "played (3)" in repr(connection)
    await connection.drained()
    await connection.close()
    assert played.lost == []
    with pytest.raises(ConnectionLost, match="closed on this side"):
        await connection.execute((b"PING",))
    with pytest.raises(ConnectionLost):
        await connection.drained()
    assert await_nothing(connection)


def await_nothing(connection: ClusterConnection) -> bool:
    connection.send([])
    return connection.closed


async def test_a_send_of_nothing_is_answered(played: Played) -> None:
    connection = await played.connect()
    assert await connection.call() == []
    connection.abort()


async def test_what_is_refused_stops_what_relies_on_it(played: Played) -> None:
    connection = await played.connect()
    played.answers[C, b"HSET"] = ServerError("OOM command not allowed")
    replies = await connection.call((b"HSET", KEY_C), (b"LPUSH", KEY_A))
    assert [reply.code for reply in replies if isinstance(reply, ServerError)] == ["OOM", "ABORTED"]
    assert played.sent(b"LPUSH") == []
    with pytest.raises(ServerError, match="OOM"):
        await connection.execute((b"HSET", KEY_C))
    connection.abort()


async def test_moved_is_followed_and_learnt(played: Played) -> None:
    connection = await played.connect()
    slot = slot_of(KEY_A)
    played.answers[A, b"LLEN"] = ServerError(f"MOVED {slot} b:2")
    played.answers[B, b"LLEN"] = 5
    assert await connection.execute((b"LLEN", KEY_A)) == 5
    assert await connection.execute((b"LLEN", KEY_A)) == 5
    assert played.sent(b"LLEN") == ["a", "b", "b"]
    assert played.sent(b"CLUSTER") == ["b"]
    connection.abort()


async def test_the_map_is_read_again_after_moved(played: Played) -> None:
    connection = await played.connect()
    played.answers[A, b"LLEN"] = ServerError(f"MOVED {slot_of(KEY_A)} b:2")
    played.answers[B, b"CLUSTER"] = [[0, 16383, [b"c", 3]]]
    await connection.execute((b"LLEN", KEY_A))
    await connection.execute((b"HGETALL", KEY_B))
    assert played.topology.masters == (C,)
    assert played.sent(b"HGETALL") == ["c"]
    connection.abort()


async def test_ask_is_followed_once(played: Played) -> None:
    connection = await played.connect()
    played.answers[A, b"LLEN"] = ServerError(f"ASK {slot_of(KEY_A)} c:3")
    played.answers[C, b"LLEN"] = 7
    assert await connection.execute((b"LLEN", KEY_A)) == 7
    assert played.log[-2:] == [("c", (b"ASKING",)), ("c", (b"LLEN", KEY_A))]
    await connection.execute((b"LLEN", KEY_A))
    assert played.sent(b"LLEN") == ["a", "c", "a", "c"]
    connection.abort()


async def test_later_means_later_but_not_for_ever(played: Played) -> None:
    connection = await played.connect()
    trouble = ServerError("TRYAGAIN Multiple keys request during rehashing of slot")
    played.answers[A, b"EVAL"] = Turns([trouble, trouble, 1])
    assert await connection.execute((b"EVAL", b"x", b"1", KEY_A)) == 1
    played.answers[A, b"EVAL"] = trouble
    with pytest.raises(ServerError, match="TRYAGAIN"):
        await connection.execute((b"EVAL", b"x", b"1", KEY_A))
    assert not connection.closed
    assert len(played.sent(b"EVAL")) == 3 + cluster_batch.TRIES + 1
    connection.abort()


@pytest.mark.parametrize("words", ["CLUSTERDOWN The cluster is down", f"MOVED {slot_of(KEY_A)} a:1"])
async def test_a_cluster_that_stays_down_is_a_lost_connection(played: Played, words: str) -> None:
    connection = await played.connect()
    played.answers[A, b"LLEN"] = ServerError(words)
    other = connection.call((b"LLEN", KEY_A))
    with pytest.raises(ConnectionLost, match="not whole"):
        await connection.execute((b"LLEN", KEY_A))
    with pytest.raises(ConnectionLost):
        await other
    assert connection.closed
    assert len(played.lost) == 1


async def test_one_lost_node_ends_it_all(played: Played) -> None:
    connection = await played.connect()
    played.answers[A, b"BRPOP"] = SILENT
    waiting = connection.call((b"BRPOP", KEY_A, b"0"))
    parked = connection.call((b"EVAL", b"x", b"1", KEY_C))
    played.answers[C, b"EVAL"] = ServerError("TRYAGAIN later")
    played.answers[B, b"LLEN"] = LOST
    with pytest.raises(ConnectionLost):
        await connection.execute((b"LLEN", KEY_B))
    for outstanding in (waiting, parked):
        with pytest.raises(ConnectionLost):
            await outstanding
    assert connection.closed
    assert len(played.lost) == 1


async def test_a_node_that_cannot_be_reached_is_a_lost_connection(played: Played) -> None:
    connection = await played.connect()
    played.nodes[B].refuse(error=ConnectError("cannot connect to b"))
    with pytest.raises(ConnectionLost, match="cannot connect to b"):
        await connection.execute((b"LLEN", KEY_B))
    assert [str(error) for error in played.lost] == ["cannot connect to b"]


async def test_an_end_while_a_node_is_being_reached(played: Played) -> None:
    connection = await played.connect()
    outcomes: list[Any] = []
    connection.send([(b"LLEN", KEY_B)], outcomes.append)
    connection.abort()
    await asyncio.sleep(0.01)
    assert [type(outcome) for outcome in outcomes] == [ConnectionLost]
    assert played.lost == []


async def test_a_scan_goes_round(played: Played) -> None:
    connection = await played.connect()
    played.answers[A, b"SCAN"] = [b"17", [b"x"]]
    assert await connection.execute((b"SCAN", b"0")) == [b"0.17", [b"x"]]
    played.answers[A, b"SCAN"] = [b"0", []]
    assert await connection.execute((b"SCAN", b"0.17", b"COUNT", b"9")) == [b"1.0", []]
    assert played.log[-1] == ("a", (b"SCAN", b"17", b"COUNT", b"9"))
    played.answers[B, b"SCAN"] = [b"0", []]
    assert await connection.execute((b"SCAN", b"1.0")) == [b"2.0", []]
    played.answers[C, b"SCAN"] = [b"0", [b"y"]]
    assert await connection.execute((b"SCAN", b"2.0")) == [b"0", [b"y"]]
    assert await connection.execute((b"SCAN", b"3.0")) == [b"0", []]
    played.answers[A, b"SCAN"] = ServerError("NOPERM no")
    with pytest.raises(ServerError):
        await connection.execute((b"SCAN", b"0"))
    connection.abort()


async def test_scripts_are_loaded_everywhere(played: Played) -> None:
    connection = await played.connect()
    await connection.execute((b"SCRIPT", b"LOAD", b"return 1"))
    assert sorted(played.sent(b"SCRIPT")) == ["a", "b", "c"]
    played.answers[B, b"SCRIPT"] = ServerError("NOPERM no")
    with pytest.raises(ServerError, match="NOPERM"):
        await connection.execute((b"SCRIPT", b"LOAD", b"return 1"))
    connection.abort()


async def test_several_scripts_are_loaded_everywhere(played: Played) -> None:
    connection = await played.connect()
    loads = ((b"SCRIPT", b"LOAD", b"return 1"), (b"SCRIPT", b"LOAD", b"return 2"))
    assert len(await connection.call(*loads)) == 2
    assert sorted(played.sent(b"SCRIPT")) == ["a", "a", "b", "b", "c", "c"]
    played.answers[B, b"SCRIPT"] = ServerError("NOPERM no")
    assert [str(reply) for reply in await connection.call(*loads)] == ["NOPERM no"] * 2
    connection.abort()


async def test_no_transactions(played: Played) -> None:
    connection = await played.connect()
    with pytest.raises(ConfigError, match="use_multi"):
        connection.send([MULTI, (b"HSET", KEY_A), (b"EXEC",)])
    connection.abort()


# -- URLs


def test_a_url() -> None:
    transport = open_transport("redis+cluster://me:secret@one:7001,two,[::1]:7003?socket_connect_timeout=2")
    assert isinstance(transport, ClusterTransport)
    assert transport.spread
    assert transport.description == "redis+cluster://one:7001,two:6379,[::1]:7003"
    assert "secret" not in repr(transport)
    assert open_transport("rediss+cluster://one").description == "rediss+cluster://one:6379"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+cluster://one/1", "database"),
        ("redis+cluster://one:x", "port"),
        ("redis+cluster://one?nonsense=1", "nonsense"),
        ("redis+cluster://me:sec/ret@one", "%2F"),
    ],
)
def test_urls_that_cannot_work(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        open_transport(url)
    assert "ret@" not in str(raised.value)


def test_no_seeds() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        ClusterTransport([])


async def test_a_cluster_nobody_answers_for() -> None:
    transport = open_transport("redis+cluster://127.0.0.1:1,127.0.0.1:2", connect_timeout=2)
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1.*127\.0\.0\.1:2"):
        await transport.connect()
    await transport.close()
