"""Redis Cluster, for real: three nodes; jobs, deaths, slots on the move, nodes that go and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobwire import Client, Job, JobCancelled, JobTimeout, Worker
from jobwire.cli import main
from jobwire.errors import ConfigError, ConnectError, ConnectionLost, ServerError
from jobwire.testing.cluster import RedisCluster
from jobwire.testing.server import RedisServer
from jobwire.transport import ClusterTransport, open_transport
from jobwire.wire.cluster_slots import slot_of
from jobwire.wire.commands import Command, Reply, hash_get_all, hash_set, list_items, list_push, scan, scanned
from jobwire.wire.keys import Keyspace
from jobwire.wire.modes.cluster import SpreadRecoverable
from jobwire.worker.rescuer import Recovered, Recovery
from jobwire_conformance.record.proxy import Proxy, Recorder, Upstream
from tests.support.faces import WAYS, Faces, eventually, faces_for, until, within
from tests.support.victims import FAST, Victims

PREFIX = "{jobs}"
HOME = slot_of(b"{jobs}::pending")
PENDING = b"{jobs}::pending"


class Raw:
    """Looks at the nodes directly."""

    def __init__(self, cluster: RedisCluster) -> None:
        self.cluster = cluster

    def ask(self, command: Command) -> Reply:
        return self.cluster.ask(self.cluster.owner(slot_of(command[1])), command)

    def items(self, key: bytes) -> Reply:
        return self.ask(list_items(key))

    def keys(self) -> list[bytes]:
        found = [self.cluster.ask(node, (b"KEYS", b"*")) for node in self.cluster.nodes]
        return sorted(key for keys in found if isinstance(keys, list) for key in keys if isinstance(key, bytes))

    def nothing_left(self) -> bool:
        """Nothing but who the workers are."""
        fleet = tuple(b"{jobs}::" + name for name in (b"workers", b"queues", b"worker::", b"hosts", b"gone", b"looked"))
        return all(key.startswith(fleet) for key in self.keys())


@pytest.fixture(scope="module")
def durable_cluster() -> Iterator[RedisCluster]:
    with RedisCluster(appendonly=True, config=["appendfsync always"]) as cluster:
        yield cluster


@pytest.fixture
def cluster(durable_cluster: RedisCluster) -> RedisCluster:
    durable_cluster.agreed()
    for node in durable_cluster.nodes:
        durable_cluster.ask(node, (b"FLUSHALL",), (b"SCRIPT", b"FLUSH"))
    return durable_cluster


@pytest.fixture
def raw(cluster: RedisCluster) -> Raw:
    return Raw(cluster)


class ClusterFaces(Faces):
    async def client(self, **options: Any) -> Client:
        return await super().client(**{"prefix": PREFIX, "timeout": 30, **options})

    async def worker(self, handler: Any = None, **options: Any) -> Worker:
        return await super().worker(handler or echo, **options)

    def unstarted(self, handler: Any = None, **options: Any) -> Worker:
        return super().unstarted(handler or echo, **{"prefix": PREFIX, **options})


@pytest.fixture
async def faces(cluster: RedisCluster) -> AsyncIterator[ClusterFaces]:
    async with faces_for(cluster.url) as made:
        made.__class__ = ClusterFaces
        assert isinstance(made, ClusterFaces)
        yield made


@pytest.fixture
async def victims(cluster: RedisCluster, tmp_path: Path) -> AsyncIterator[Victims]:
    async with Victims(cluster.url, tmp_path) as made:
        yield made


async def echo(job: Job) -> Any:
    return job.data["value"]


@pytest.mark.parametrize("way", list(WAYS))
async def test_a_thousand_jobs_come_back_and_leave_nothing(faces: ClusterFaces, raw: Raw, way: str) -> None:
    worker = await faces.worker(max_concurrent_jobs=32, **WAYS[way])
    client = await faces.client(mode=WAYS[way]["mode"])
    handles = await client.submit_many([{"value": n} for n in range(1000)])
    nodes = {raw.cluster.owner(slot_of(b"job::" + str(handle.id).encode())).port for handle in handles[:50]}
    assert len(nodes) == 3
    assert [int(await within(handle, 30)) for handle in handles] == list(range(1000))
    # The client may know before the worker does: the notice goes out before the entry is dropped.
    await until(lambda: worker.counts["done"] == 1000)
    await eventually(raw.nothing_left)


async def test_a_hash_is_there_before_its_id_is_pushed(faces: ClusterFaces, raw: Raw) -> None:
    worker = await faces.worker(max_concurrent_jobs=64)
    client = await faces.client()
    for _ in range(20):
        await asyncio.gather(*(client.submit({"value": n}) for n in range(50)))
    await until(lambda: worker.counts == {"done": 1000})


async def test_a_node_is_known_by_the_port_that_it_announces(cluster: RedisCluster, faces: ClusterFaces) -> None:
    node = cluster.owner(HOME)
    proxy = Proxy(Upstream(port=node.port), Recorder(), "peer")
    await proxy.start()
    cluster.announce(node, proxy.port)
    try:
        await asyncio.to_thread(cluster.agreed)
        assert cluster.owner(HOME) is node
        await faces.worker()
        client = await faces.client()
        assert await client.submit({"value": "by the proxy"}) == "by the proxy"
        assert proxy.connections > 0
    finally:
        cluster.announce(node, node.port)
        await asyncio.to_thread(cluster.agreed)
        await proxy.close()


@pytest.mark.parametrize("way", list(WAYS))
async def test_scripts_that_a_node_has_not_got_any_more(faces: ClusterFaces, raw: Raw, way: str) -> None:
    """The hashes of jobs are on all nodes, and so must be what completes them."""
    worker = await faces.worker(max_concurrent_jobs=8, **WAYS[way])
    client = await faces.client(mode=WAYS[way]["mode"])
    for node in raw.cluster.nodes:
        raw.cluster.ask(node, (b"SCRIPT", b"FLUSH"))
    handles = await client.submit_many([{"value": n} for n in range(100)])
    assert [int(await within(handle, 30)) for handle in handles] == list(range(100))
    await until(lambda: worker.counts == {"done": 100})


async def test_many_queues_in_order_of_priority(faces: ClusterFaces, raw: Raw) -> None:
    client = await faces.client(mode="recoverable")
    low = [client.submit({"value": n}, queue="low") for n in range(3)]
    high = [client.submit({"value": n}, queue="high") for n in range(3)]
    await eventually(lambda: [raw.ask((b"LLEN", b"{jobs}::" + name)) for name in (b"low", b"high")] == [3, 3])
    order: list[Any] = []

    async def note(job: Job) -> Any:
        order.append(job.id)
        return 1

    await faces.worker(note, mode="recoverable", pending_queues=["high", "low"], max_concurrent_jobs=1)
    await within(asyncio.gather(*low, *high))
    assert {handle.id for handle in high} == set(order[:3])


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_a_killed_workers_jobs_are_done_by_another(
    faces: ClusterFaces, raw: Raw, victims: Victims, mode: str
) -> None:
    victim = await victims.worker("victim", prefix=PREFIX, mode=mode)
    client = await faces.client(mode=mode)
    handles = [client.submit({"op": "sleep", "seconds": 1, "value": n}, id=f"j{n}") for n in range(12)]
    await eventually(lambda: len(victims.runs()) == 4)
    await victim.kill()
    worker = await faces.worker(mode=mode, **FAST)
    assert await within(asyncio.gather(*handles), 30) == [str(n) for n in range(12)]
    await until(lambda: worker.counts["done"] == 12)
    await eventually(lambda: raw.nothing_left() or raw.keys() == [b"{jobs}::attempts"])


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_a_job_that_lost_too_many_workers_is_dead_and_says_why(
    faces: ClusterFaces, raw: Raw, victims: Victims, mode: str
) -> None:
    victim = await victims.worker("victim", prefix=PREFIX, mode=mode)
    client = await faces.client(mode=mode)
    client.submit({"op": "sleep", "seconds": 60, "value": 1}, id="heavy")
    await eventually(lambda: len(victims.runs()) == 1)
    await victim.kill()
    await faces.worker(mode=mode, max_losses=1, pending_queues=["nothing"], **FAST)
    await eventually(lambda: raw.items(b"{jobs}::dead") == [b"heavy"])
    await eventually(lambda: b"lost its worker too often" in (_fields(raw, "heavy").get(b"_error") or b""))
    assert b"_worker" not in _fields(raw, "heavy")


async def test_a_revived_worker_neither_overwrites_nor_leaves_a_ghost(faces: ClusterFaces, raw: Raw) -> None:
    """What a fence does elsewhere: here the hash decides."""
    gate = asyncio.Event()

    async def slow(job: Job) -> Any:
        await gate.wait()
        return "late"

    first = await faces.worker(slow, id="slow", max_concurrent_jobs=1)
    client = await faces.client()
    handle = client.submit({"value": 1}, id="j")
    await until(lambda: first.running == 1)
    # Recovery takes it for dead.
    raw.ask((b"LREM", b"{jobs}::processing::slow", b"0", b"j"))
    raw.ask(list_push(PENDING, b"j"))
    second = await faces.worker(id="quick")
    assert await within(handle) == "1"
    await eventually(raw.nothing_left)
    gate.set()
    await until(lambda: first.counts["given_away"] == 1)
    assert second.counts["done"] == 1
    assert raw.nothing_left()


def _fields(raw: Raw, job_id: str) -> dict[bytes, bytes]:
    reply = raw.ask(hash_get_all(b"job::" + job_id.encode()))
    assert isinstance(reply, list)
    items: list[Any] = reply
    return dict(zip(items[::2], items[1::2], strict=True))


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_failures_cancellations_and_a_stop(faces: ClusterFaces, raw: Raw, mode: str) -> None:
    async def moody(job: Job) -> Any:
        if job.data["value"] == "fail":
            raise ValueError("no")
        await asyncio.sleep(60)

    client = await faces.client(mode=mode, accept="")
    waiting = client.submit({"value": "never"}, id="taken-back")
    await eventually(lambda: raw.items(PENDING) == [b"taken-back"])
    waiting.cancel()
    with pytest.raises(JobCancelled):
        await waiting
    await eventually(lambda: raw.keys() == [])

    worker = await faces.worker(moody, mode=mode, max_concurrent_jobs=2)
    failing = client.submit({"value": "fail"}, id="bad", timeout=1)
    with pytest.raises(JobTimeout, match="set aside as dead"):
        await within(failing)
    assert raw.items(b"{jobs}::dead") == [b"bad"]
    fields = _fields(raw, "bad")
    assert fields[b"_error"].startswith(b"ValueError: no\n-- traceback\n")
    assert b"_worker" not in fields

    client.submit({"value": "long"}, id="long")
    await until(lambda: worker.running == 1)
    await worker.stop(0)
    assert raw.items(PENDING) == [b"long"]
    assert worker.counts == {"dead": 1, "returned": 1}


async def test_retries_are_counted(faces: ClusterFaces, raw: Raw) -> None:
    runs: list[Any] = []

    async def third_time(job: Job) -> Any:
        runs.append(job.id)
        if len(runs) < 3:
            raise ValueError(len(runs))
        return "done"

    await faces.worker(third_time, on_failure="retry", retry_delay=0.01, mode="recoverable")
    client = await faces.client(mode="recoverable")
    assert await within(client.submit({"value": 1})) == "done"
    assert len(runs) == 3
    await eventually(raw.nothing_left)


async def test_unmarked_jobs_are_adopted(faces: ClusterFaces, raw: Raw) -> None:
    """SCAN goes round all nodes."""
    for number in range(30):
        fields = {b"_reply_to": b"c", b"_queued": b"1", b"text_value": b"x"}
        raw.ask(hash_set(b"job::u%d" % number, fields))
    assert len(await _unmarked(faces.url, dry_run=True)) == 30
    assert len(await _unmarked(faces.url)) == 30
    assert raw.ask((b"LLEN", PENDING)) == 30


async def _unmarked(url: str, *, dry_run: bool = False) -> list[Recovered]:
    """``jobwire recover --adopt-unmarked --older-than 1``."""
    mode = SpreadRecoverable(Keyspace(PREFIX))
    async with _connected(url) as connection:
        return await Recovery(connection, mode).unmarked(older_than=1.0, dry_run=dry_run)


async def test_the_commands_of_an_operator(faces: ClusterFaces, raw: Raw, capsys: pytest.CaptureFixture[str]) -> None:
    async def command(*words: str) -> str:
        await asyncio.to_thread(main, [words[0], *words[1:], "--url", faces.url, "--prefix", PREFIX])
        return capsys.readouterr().out

    raw.ask(hash_set(b"job::gone-wrong", {b"_reply_to": b"c", b"_queued": b"1", b"_error": b"no"}))
    raw.ask(list_push(b"{jobs}::dead", b"gone-wrong"))
    assert "gone-wrong  'no'" in await command("dead", "list")
    assert "back in {jobs}::pending" in await command("dead", "requeue", "gone-wrong")
    assert raw.items(PENDING) == [b"gone-wrong"]
    assert "nothing was left behind" in await command("recover")
    report = await command("doctor")
    assert "Perl's Job::Async::Redis cannot follow" in report
    assert "may send all" in report
    raw.ask((b"LPOP", PENDING))
    assert "gone-wrong" in await command("recover", "--adopt-unmarked", "--older-than", "1", "--yes")


# -- slots on the move, nodes that go


async def _submit_until(client: Client, stop: asyncio.Event) -> list[Any]:
    results: list[Any] = []
    number = 0
    while not stop.is_set():
        handles = [client.submit({"value": number + n}) for n in range(20)]
        number += 20
        results += await asyncio.gather(*handles)
    assert [int(result) for result in results] == list(range(number))
    return results


@pytest.mark.parametrize("way", list(WAYS))
async def test_slots_move_during_work(faces: ClusterFaces, raw: Raw, way: str) -> None:
    """That of the queues, and a few hundred of those of job hashes."""
    cluster = raw.cluster
    worker = await faces.worker(max_concurrent_jobs=8, **WAYS[way])
    client = await faces.client(mode=WAYS[way]["mode"])
    stop = asyncio.Event()
    work = asyncio.create_task(_submit_until(client, stop))
    for _ in range(2):
        owner = cluster.owner(HOME)
        other = cluster.nodes[(cluster.nodes.index(owner) + 1) % 3]
        await asyncio.to_thread(cluster.migrate, HOME, other)
        await asyncio.sleep(0.2)
    first = cluster.nodes[0]
    for slot in range(0, 16384, 128):
        if cluster.owner(slot) is not first:
            await asyncio.to_thread(cluster.migrate, slot, first)
    stop.set()
    results = await within(work, 30)
    assert len(results) >= 40
    await until(lambda: worker.counts["done"] == len(results))
    await eventually(raw.nothing_left)


async def test_a_key_on_the_way_is_asked_for_where_it_is(cluster: RedisCluster, raw: Raw) -> None:
    key = b"job::moving"
    slot = slot_of(key)
    source = cluster.owner(slot)
    target = next(node for node in cluster.nodes if node is not source)
    raw.ask(hash_set(key, {b"a": b"1"}))
    async with _connected(cluster.url) as connection:
        assert await connection.execute(hash_get_all(key)) == [b"a", b"1"]
        cluster.begin_migration(slot, target)
        cluster.move_keys(slot, target)
        assert cluster.holds(target, key)
        assert await connection.execute(hash_get_all(key)) == [b"a", b"1"]
        cluster.end_migration(slot, target)
        assert await connection.execute(hash_get_all(key)) == [b"a", b"1"]


async def test_a_script_waits_for_a_slot_on_the_way(cluster: RedisCluster, raw: Raw) -> None:
    one, two = b"{way}::one", b"{way}::two"
    slot = slot_of(one)
    target = next(node for node in cluster.nodes if node is not cluster.owner(slot))
    raw.ask(list_push(one, b"x"))
    raw.ask(list_push(two, b"y"))
    async with _connected(cluster.url) as connection:
        cluster.begin_migration(slot, target)
        cluster.move_keys(slot, target, at_most=1)
        both = (b"EVAL", b"return {redis.call('LLEN', KEYS[1]), redis.call('LLEN', KEYS[2])}", b"2", one, two)
        waiting = asyncio.ensure_future(connection.execute(both))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await asyncio.to_thread(cluster.end_migration, slot, target)
        assert await within(waiting) == [1, 1]


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_a_node_is_restarted_during_work(faces: ClusterFaces, raw: Raw, mode: str, how: str) -> None:
    cluster = raw.cluster
    worker = await faces.worker(max_concurrent_jobs=8, mode=mode, reconnect_delay=0.1)
    client = await faces.client(mode=mode, reconnect_delay=0.1)
    stop = asyncio.Event()
    work = asyncio.create_task(_submit_until(client, stop))
    for node in cluster.nodes:
        await asyncio.sleep(0.3)
        if how == "kill":
            node.kill()
        await asyncio.to_thread(node.restart)
        await asyncio.to_thread(cluster.agreed)
    await asyncio.sleep(0.3)
    stop.set()
    if mode == "recoverable":
        # What BRPOP had taken whose answer was lost with the node bears no mark: an operator has to say so. A node
        # that ends in an orderly way loses answers too: it resets a connection on which something still came in, and
        # what the worker had not read by then is gone.
        await asyncio.wait((work,), timeout=2.0)
        await _unmarked(faces.url)
    results = await within(work, 60)
    assert results
    # Where the answer to a completion was lost, its client may have collected the job by the time the worker looks.
    assert worker.counts.keys() <= {"done", "duplicate", "given_away", "notified_again", "returned", "vanished"}


# -- what is refused


class _Connected:
    def __init__(self, url: str) -> None:
        self._transport = open_transport(url)

    async def __aenter__(self) -> Any:
        return await self._transport.connect(name="test")

    async def __aexit__(self, *exc: object) -> None:
        await self._transport.close()


def _connected(url: str) -> _Connected:
    return _Connected(url)


def test_options_that_cannot_work(cluster: RedisCluster) -> None:
    with pytest.raises(ConfigError, match=r'prefix="\{jobs\}"'):
        Worker(cluster.url)
    with pytest.raises(ConfigError, match=r'prefix="\{jobs\}"'):
        Client(cluster.url, prefix="")
    with pytest.raises(ConfigError, match="use_multi"):
        Client(cluster.url, prefix=PREFIX, use_multi=True)
    with pytest.raises(ConfigError, match="expire_results"):
        Worker(cluster.url, prefix=PREFIX, expire_results=60)


async def test_one_server_is_no_cluster() -> None:
    with RedisServer() as server:
        transport = open_transport(f"redis+cluster://127.0.0.1:{server.port}")
        with pytest.raises(ConnectError, match="no cluster"):
            await transport.connect()


async def test_one_seed_that_answers_is_enough(cluster: RedisCluster) -> None:
    transport = open_transport(f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster.nodes[1].port}")
    assert isinstance(transport, ClusterTransport)
    connection = await transport.connect()
    assert await connection.execute((b"PING",)) == b"PONG"
    assert connection.client_id is not None
    await transport.close()


async def test_a_refused_write_is_the_last_of_its_send(cluster: RedisCluster, raw: Raw) -> None:
    raw.ask((b"SET", b"job::string", b"x"))
    async with _connected(cluster.url) as connection:
        write, push = await connection.call(hash_set(b"job::string", {b"a": b"1"}), list_push(PENDING, b"string"))
        assert isinstance(write, ServerError)
        assert write.code == "WRONGTYPE"
        assert isinstance(push, ServerError)
        assert push.code == "ABORTED"
        # Reads need nothing of each other.
        replies = await connection.call(hash_get_all(b"job::string"), (b"LLEN", PENDING))
        assert isinstance(replies[0], ServerError)
        assert replies[1] == 0


async def test_a_scan_sees_all_nodes(cluster: RedisCluster, raw: Raw) -> None:
    for number in range(100):
        raw.ask(hash_set(b"job::s%d" % number, {b"a": b"1"}))
    found: list[bytes] = []
    async with _connected(cluster.url) as connection:
        cursor = b"0"
        while True:
            cursor, keys = scanned(await connection.execute(scan(cursor, b"job::*", 10)))
            found += keys
            if cursor == b"0":
                break
    assert set(found) == {b"job::s%d" % number for number in range(100)}


async def test_a_node_that_stays_away_is_a_lost_connection(cluster: RedisCluster) -> None:
    lost: list[Exception] = []
    node = next(node for node in cluster.nodes if node is not cluster.owner(HOME))
    key = next(b"k%d" % n for n in range(1000) if cluster.owner(slot_of(b"k%d" % n)) is node)
    transport = open_transport(cluster.url)
    transport.anchor(PENDING)
    connection = await transport.connect(on_lost=lost.append)
    try:
        await connection.execute((b"LLEN", key))
        pop = connection.call((b"BRPOP", PENDING, b"0"))
        node.kill()
        await until(lambda: lost)
        with pytest.raises(type(lost[0])):
            await within(pop)
        assert connection.closed
        # What others serve goes on until the cluster as a whole is down (cluster-require-full-coverage).
        again = await transport.connect()
        assert await again.execute((b"LLEN", PENDING)) == 0
        with pytest.raises(ConnectionLost):
            await again.execute((b"LLEN", key))
        await eventually(lambda: not cluster.takes_commands(cluster.nodes[cluster.nodes.index(node) - 1]))
        with pytest.raises(ConnectError, match="down"):
            await transport.connect()
    finally:
        await transport.close()
        await asyncio.to_thread(node.restart)
        await asyncio.to_thread(cluster.agreed)
