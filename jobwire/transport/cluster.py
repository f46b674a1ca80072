"""Connections to a Redis Cluster.

The nodes are asked who serves which slot (CLUSTER SLOTS, on a connection like all others) whenever a connection is
made; MOVED corrects that later. Commands travel on our own connections, one to a node, not through redis-py's cluster
client, which has no pipelined blocking pops and knows nothing of the order that ``wire.cluster_slots.plan`` keeps.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace

from jobwire.errors import AuthError, ConfigError, ConnectError, DecodeError, ServerError, TransportError
from jobwire.transport.address import Address, ParsedURL, TLSOptions, parse_url
from jobwire.transport.cluster_connection import ClusterConnection
from jobwire.transport.connection import RedisConnection
from jobwire.transport.dial import ConnectOptions, DialOptions, dial
from jobwire.transport.direct import DialingTransport
from jobwire.transport.protocols import OnLost
from jobwire.transport.translate import timeout_error
from jobwire.wire.cluster_slots import (
    CLUSTER_INFO,
    CLUSTER_SLOTS,
    Node,
    Topology,
    is_whole,
    read_topology,
    slot_of,
)

SCHEMES = ("redis+cluster://", "rediss+cluster://")


class ClusterTransport(DialingTransport):
    """Connections to a cluster of which ``seeds`` are nodes; one that answers is enough.

    All nodes are let in by the user, password and TLS options of the first seed.
    """

    @property
    def spread(self) -> bool:
        return True

    def __init__(self, seeds: Sequence[Address], options: DialOptions | None = None, *, name: str = "") -> None:
        super().__init__(options, name=name)
        if not seeds:
            raise ConfigError("at least one node of the cluster is needed")
        if any(seed.database for seed in seeds):
            raise ConfigError("a cluster has one database, number 0; take the other one out of the URL")
        self._seeds = tuple(seeds)
        self.home = 0
        self.topology = Topology([], ())

    @property
    def description(self) -> str:
        scheme = SCHEMES[self._seeds[0].tls is not None]
        return scheme + ",".join(seed.description.partition("://")[2] for seed in self._seeds)

    def anchor(self, key: bytes) -> None:
        """Send commands without a key to the node where this key lives: there the pops are."""
        self.home = slot_of(key)

    async def _dial(self, wanted: ConnectOptions) -> ClusterConnection:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._options.connect_timeout
        try:
            async with asyncio.timeout_at(end):
                self.topology = await self._discover()
        except TimeoutError:
            raise timeout_error(self.description, self._options.connect_timeout) from None
        node = self.topology.slots[self.home]
        if node is None:
            raise ConnectError(f"{self.description}: no node of the cluster serves slot {self.home}")

        async def another(node: Node, on_lost: OnLost) -> RedisConnection:
            return await self._dial_node(node, replace(wanted, on_push=None, on_lost=on_lost))

        cluster = ClusterConnection(loop, self, another, node, wanted.on_lost)
        cluster.opened(await self._dial_node(node, replace(wanted, on_lost=cluster.lost)))
        return cluster

    async def _dial_node(self, node: Node, wanted: ConnectOptions, *, share: int = 1) -> RedisConnection:
        address = replace(self._seeds[0], host=node[0], port=node[1])
        options = replace(self._options, connect_timeout=self._options.connect_timeout / share)
        # In any role: a node that does not serve a slot names the one that does.
        return await dial(address, options, wanted, any_role=True)

    async def _discover(self) -> Topology:
        """Ask one node after the other. Raises ``ConnectError``, ``AuthError``."""
        nodes = list(dict.fromkeys([*self.topology.masters, *((seed.host, seed.port) for seed in self._seeds)]))
        trouble: list[str] = []
        for node in nodes:
            try:
                # A dead node must leave time for the others.
                connection = await self._dial_node(node, ConnectOptions(name=self._name), share=len(nodes) + 1)
            except AuthError:
                raise
            except ConnectError as error:
                trouble.append(str(error))
                continue
            try:
                return await _ask(connection, node)
            except (TransportError, DecodeError) as error:
                trouble.append(f"{node[0]}:{node[1]}: {error}")
            finally:
                connection.abort()
                await connection.close()
        raise ConnectError(f"no node of the cluster can be asked: {'; '.join(trouble)}")


async def _ask(connection: RedisConnection, node: Node) -> Topology:
    slots, info = await connection.call(CLUSTER_SLOTS, CLUSTER_INFO)
    if isinstance(slots, ServerError):
        raise ConnectError(f"no cluster ({slots}); write redis:// for a single server")
    if not is_whole(info):
        raise ConnectError("the cluster is down at the moment (CLUSTER INFO)")
    return read_topology(slots, host=node[0])


def is_cluster_url(url: str) -> bool:
    return url.startswith(SCHEMES)


def parse_cluster_url(url: str, tls: TLSOptions | None = None) -> tuple[tuple[Address, ...], ParsedURL]:
    """Parse ``redis+cluster://[[user]:password@]host[:port][,host[:port]…][?option=…]``; ``rediss+cluster://`` for TLS.

    Options are as in ``redis://``. Raises ``ConfigError``.
    """
    scheme, _, rest = url.partition("+cluster://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    userinfo, at, hosts = authority.rpartition("@")
    # The same URL for each host alone: the reader of all URLs reports the errors in it.
    tail = rest[len(authority) :]
    parsed = [parse_url(f"{scheme}://{userinfo}{at}{host}{tail}", tls) for host in hosts.split(",")]
    return tuple(one.address for one in parsed), parsed[0]


__all__ = ["ClusterTransport", "is_cluster_url", "parse_cluster_url"]
