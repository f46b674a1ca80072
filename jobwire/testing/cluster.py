"""A throw-away Redis Cluster on loopback: some ``RedisServer`` made into one. Gone with the process, like those."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self, cast

import hiredis

from jobwire.errors import ConnectError, ServerError
from jobwire.testing.server import RedisServer
from jobwire.wire.cluster_slots import ASKING, CLUSTER_INFO, CLUSTER_SLOTS, SLOTS, announce, is_whole, read_topology
from jobwire.wire.commands import Command, Reply, exists

#: Seconds that the nodes may take to agree.
AGREE_TIMEOUT = 30.0

# hiredis' own annotation says "a tuple of one".
_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)


class RedisCluster:
    """``size`` masters without replicas; a context manager. ``nodes`` are the servers, in the order of their slots.

    ``config`` are further lines of each configuration file, ``appendonly`` lets a node keep its data over a restart.
    The cluster takes commands when the constructor returns. Raises as ``RedisServer`` does.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        binary: str | os.PathLike[str] | None = None,
        appendonly: bool = False,
        config: Sequence[str] = (),
    ) -> None:
        lines = ["cluster-enabled yes", "cluster-node-timeout 2000", *config]
        self._stack = ExitStack()
        self.nodes: list[RedisServer] = []
        self._announced: dict[RedisServer, int] = {}
        try:
            for _ in range(size):
                node = RedisServer(binary=binary, appendonly=appendonly, config=lines)
                self.nodes.append(self._stack.enter_context(node))
            self._join()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL for jobwire's clients and workers."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def stop(self) -> None:
        """End all nodes and remove their files."""
        self._stack.close()

    def _join(self) -> None:
        size = len(self.nodes)
        for number, node in enumerate(self.nodes):
            first, last = SLOTS * number // size, SLOTS * (number + 1) // size - 1
            # One by one: CLUSTER ADDSLOTSRANGE is of Redis 7.0, recovery works from 6.2 on.
            slots = [b"%d" % slot for slot in range(first, last + 1)]
            self.ask(node, (b"CLUSTER", b"ADDSLOTS", *slots))
            # No two nodes may take themselves for the owner of the same slot at the same age of the configuration.
            self.ask(node, (b"CLUSTER", b"SET-CONFIG-EPOCH", b"%d" % (number + 1)))
        for node in self.nodes[1:]:
            self.ask(node, (b"CLUSTER", b"MEET", b"127.0.0.1", b"%d" % self.nodes[0].port))
        self.agreed()

    def agreed(self) -> None:
        """Return when every node takes commands, and knows all nodes. Raises ``ConnectError`` where that takes long."""
        end = time.monotonic() + AGREE_TIMEOUT
        for node in self.nodes:
            while not self.takes_commands(node):
                if time.monotonic() > end:
                    raise ConnectError(f"the nodes of the cluster do not agree:\n{node.log[-2000:]}")
                time.sleep(0.02)

    def takes_commands(self, node: RedisServer) -> bool:
        """Return whether ``node`` takes commands, and knows all nodes."""
        try:
            known = read_topology(self.ask(node, CLUSTER_SLOTS), host="127.0.0.1")
            ports = {port for _, port in known.masters}
            return is_whole(self.ask(node, CLUSTER_INFO)) and ports == set(map(self._port_of, self.nodes))
        except (OSError, ServerError):
            return False

    def ask(self, node: RedisServer, *commands: Command) -> Reply:
        """Return the reply of ``node`` to the last of ``commands``. Raises ``ServerError`` for it, ``OSError``."""
        reader = hiredis.Reader(replyError=ServerError)
        reply: Reply = None
        with socket.create_connection(("127.0.0.1", node.port), timeout=5.0) as link:
            link.sendall(b"".join(map(_pack, commands)))
            for _ in commands:
                while (reply := reader.gets()) is False:
                    data = link.recv(65536)
                    if not data:
                        raise ConnectionResetError("the node closed the connection")
                    reader.feed(data)
        if isinstance(reply, ServerError):
            raise reply
        return reply

    def announce(self, node: RedisServer, port: int) -> None:
        """From now on everybody is told that ``node`` listens on ``port``, where a proxy does; once more after each
        restart of the node. Needs Redis 7.
        """
        self._announced[node] = port
        self.ask(node, announce(port, node.port + 10_000))

    def owner(self, slot: int) -> RedisServer:
        """Return the node that serves ``slot``."""
        found = read_topology(self.ask(self.nodes[0], CLUSTER_SLOTS), host="127.0.0.1").slots[slot]
        port = None if found is None else found[1]
        return next(node for node in self.nodes if port in (node.port, self._port_of(node)))

    def _port_of(self, node: RedisServer) -> int:
        return self._announced.get(node, node.port)

    def begin_migration(self, slot: int, to: RedisServer) -> None:
        """From now on keys of ``slot`` that are not at its owner are asked for at ``to``."""
        owner = self.owner(slot)
        self.ask(to, (b"CLUSTER", b"SETSLOT", b"%d" % slot, b"IMPORTING", self._id(owner)))
        self.ask(owner, (b"CLUSTER", b"SETSLOT", b"%d" % slot, b"MIGRATING", self._id(to)))

    def move_keys(self, slot: int, to: RedisServer, *, at_most: int = 1000) -> int:
        """Move keys of a slot whose migration has begun; how many there were."""
        owner = self.owner(slot)
        keys = self.ask(owner, (b"CLUSTER", b"GETKEYSINSLOT", b"%d" % slot, b"%d" % at_most))
        for key in keys if isinstance(keys, list) else []:
            if isinstance(key, bytes):
                self.ask(owner, (b"MIGRATE", b"127.0.0.1", b"%d" % to.port, key, b"0", b"5000"))
        return len(keys) if isinstance(keys, list) else 0

    def end_migration(self, slot: int, to: RedisServer) -> None:
        """Move the rest, and let everybody know."""
        while self.move_keys(slot, to):
            pass
        for node in (to, *(node for node in self.nodes if node is not to)):
            self.ask(node, (b"CLUSTER", b"SETSLOT", b"%d" % slot, b"NODE", self._id(to)))

    def migrate(self, slot: int, to: RedisServer) -> None:
        """Move a slot with all its keys, as an operator would."""
        self.begin_migration(slot, to)
        self.end_migration(slot, to)

    def _id(self, node: RedisServer) -> bytes:
        found = self.ask(node, (b"CLUSTER", b"MYID"))
        assert isinstance(found, bytes)  # noqa: S101 - CLUSTER MYID is a string
        return found

    def holds(self, node: RedisServer, key: bytes) -> bool:
        """Return whether ``key`` is on ``node`` itself, in any state of its slot."""
        return self.ask(node, ASKING, exists(key)) == 1


__all__ = ["RedisCluster"]
