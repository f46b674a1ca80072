"""Where Redis is in a chaos run: the servers, the proxies before them, and the URLs by which a fleet gets there.

The run itself looks at each server directly, whatever happens on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from endurance.chaos.certificate import make_certificate
from endurance.chaos.plan import CLUSTER_FAULTS, FAULTS, Kind
from jobwire.testing.cluster import RedisCluster
from jobwire.testing.server import RedisServer, free_port
from jobwire.wire import Keyspace
from jobwire.wire.cluster_slots import slot_of
from jobwire_conformance.record.proxy import Proxy, Recorder, Upstream
from jobwire_conformance.record.transcripts import Event

__all__ = ["OVER", "ClusterPlace", "Over", "Place", "open_place"]

Over: TypeAlias = Literal["tcp", "unix", "tls", "cluster"]
OVER: tuple[Over, ...] = get_args(Over)

_DURABLE = ["appendfsync always"]


class _Forgetful(Recorder):
    """Nobody reads the traffic of such a run."""

    def add(self, event: Event) -> None:
        del event


def _link(node: RedisServer) -> Any:
    # It must not try again for seconds where a server is away: the proxies live in this process, too.
    return redis.Redis(port=node.port, protocol=2, retry=Retry(NoBackoff(), 0))


class Place:
    """One server with a proxy before it. ``urls``: directly, and by the proxy."""

    prefix = "jobs"
    faults: tuple[Kind, ...] = FAULTS

    def __init__(self, nodes: list[RedisServer], proxies: list[Proxy], urls: tuple[str, str]) -> None:
        self.nodes = nodes
        self.proxies = proxies
        self.urls = urls
        self._restarting = asyncio.Lock()

    def links(self) -> list[Any]:
        """A client of redis-py for each server; redis-py annotates replies with all that they might ever be."""
        return [_link(node) for node in self.nodes]

    def home(self) -> Any:
        """That of the server on which the lists are."""
        return self.links()[0]

    def keys(self, pattern: str) -> list[tuple[Any, str]]:
        """Every key like ``pattern``, with the client of its server."""
        return [(link, key.decode("utf-8", "replace")) for link in self.links() for key in link.keys(pattern)]

    async def restart(self, choice: float, away: float) -> None:
        """One of the servers is stopped in order and started, or killed and started ``away`` seconds later."""
        node = self.nodes[int(choice * 97) % len(self.nodes)]
        async with self._restarting:  # one that meets another follows it: a server that just loads is not to be ended
            if choice > 0.5:
                await asyncio.to_thread(node.kill)
                await asyncio.sleep(away)
            await asyncio.to_thread(node.restart)


class ClusterPlace(Place):
    """Nodes of which each is known by the port of its proxy, so that every connection of a fleet goes by one.

    Nodes go and come, and slots move, one thing at a time: an operator does not move the slots of a node that is down.
    """

    prefix = "{jobs}"
    faults = CLUSTER_FAULTS

    def __init__(self, cluster: RedisCluster, proxies: list[Proxy]) -> None:
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{proxy.port}" for proxy in proxies)
        super().__init__(cluster.nodes, proxies, (url, url))
        self.cluster = cluster
        self.slot = slot_of(Keyspace(self.prefix).queue(b"pending"))
        self._owner = cluster.owner(self.slot)
        self._one_at_a_time = asyncio.Lock()

    def home(self) -> Any:
        return _link(self._owner)

    async def restart(self, choice: float, away: float) -> None:
        async with self._one_at_a_time:
            await super().restart(choice, away)
            await _until_done(self._back)

    def _back(self) -> None:
        for node, proxy in zip(self.nodes, self.proxies, strict=True):
            self.cluster.announce(node, proxy.port)
        self.cluster.agreed()

    async def move_lists(self, choice: float) -> None:
        """The slot of the lists moves to another node; what refuses it is asked again."""
        async with self._one_at_a_time:
            others = [node for node in self.nodes if node is not self._owner]
            to = others[int(choice * len(others))]
            await _until_done(self.cluster.begin_migration, self.slot, to)
            await _until_done(self.cluster.end_migration, self.slot, to)
            self._owner = to


async def _until_done(step: Any, *arguments: Any) -> None:
    while True:
        try:
            await asyncio.to_thread(step, *arguments)
        except (OSError, redis.RedisError):
            await asyncio.sleep(0.1)
        else:
            return


@asynccontextmanager
async def open_place(over: Over, folder: Path, binary: str) -> AsyncIterator[Place]:
    """Servers of our own, every write on disk. Raises ``OSError``, ``JobwireError`` where that cannot be had."""
    async with AsyncExitStack() as stack:
        make = {"tcp": _tcp, "unix": _unix, "tls": _tls, "cluster": _cluster}[over]
        yield await make(stack, folder, binary)


async def _proxy(stack: AsyncExitStack, upstream: Upstream, **listening: Any) -> Proxy:
    proxy = Proxy(upstream, _Forgetful(), "worker")
    await proxy.start(**listening)
    stack.push_async_callback(proxy.close)
    return proxy


async def _server(stack: AsyncExitStack, binary: str, **more: Any) -> RedisServer:
    server = await asyncio.to_thread(lambda: RedisServer(binary=binary, appendonly=True, config=_DURABLE, **more))
    return stack.enter_context(server)


async def _tcp(stack: AsyncExitStack, folder: Path, binary: str) -> Place:
    del folder
    server = await _server(stack, binary)
    proxy = await _proxy(stack, Upstream(port=server.port))
    return Place([server], [proxy], (server.url, f"redis://127.0.0.1:{proxy.port}"))


async def _unix(stack: AsyncExitStack, folder: Path, binary: str) -> Place:
    server = await _server(stack, binary, unix_socket=True)
    path = str(folder / "proxy.sock")
    proxy = await _proxy(stack, Upstream(unix_path=str(server.socket_path)), unix_path=path)
    return Place([server], [proxy], (server.url, f"unix://{path}"))


async def _tls(stack: AsyncExitStack, folder: Path, binary: str) -> Place:
    certificate = await asyncio.to_thread(make_certificate, folder)
    port = free_port()
    files = {"cert": certificate.file, "key": certificate.key, "ca-cert": certificate.file}
    words = [word for name, file in files.items() for word in (f"--tls-{name}-file", str(file))]
    server = await _server(stack, binary, args=["--tls-port", str(port), "--tls-auth-clients", "no", *words])
    upstream = Upstream(port=port, tls=certificate.for_clients())
    proxy = await _proxy(stack, upstream, tls=certificate.for_servers())
    direct, by_proxy = (f"rediss://127.0.0.1:{at}?ssl_ca_certs={certificate.file}" for at in (port, proxy.port))
    return Place([server], [proxy], (direct, by_proxy))


async def _cluster(stack: AsyncExitStack, folder: Path, binary: str) -> Place:
    del folder
    made = await asyncio.to_thread(lambda: RedisCluster(binary=binary, appendonly=True, config=_DURABLE))
    cluster = stack.enter_context(made)
    proxies = [await _proxy(stack, Upstream(port=node.port)) for node in cluster.nodes]
    for node, proxy in zip(cluster.nodes, proxies, strict=True):
        cluster.announce(node, proxy.port)
    await asyncio.to_thread(cluster.agreed)
    return ClusterPlace(cluster, proxies)
