"""A ``Connection`` to a cluster: one ``RedisConnection`` to each node that is needed, made when it is needed.

It ends as a whole: when the connection to one of its nodes is lost, so is it, and its holder connects again and asks
anew for the owners of the slots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from jobwire.errors import ConfigError, ConnectionLost, DecodeError, ServerError, TransportError
from jobwire.transport.cluster_batch import Batch
from jobwire.transport.connection import RedisConnection
from jobwire.transport.protocols import OnLost, OnReplies, Replies
from jobwire.transport.translate import lost_error
from jobwire.wire.cluster_slots import (
    CLUSTER_SLOTS,
    Node,
    Topology,
    reach_of,
    read_topology,
    slot_of_command,
)
from jobwire.wire.commands import MULTI, Command, Reply

_LOOK_EVERY = 0.02


class Shared(Protocol):
    """The state that the connections of one transport share."""

    topology: Topology
    #: The slot for commands without a key.
    home: int

    @property
    def description(self) -> str: ...


Dial = Callable[[Node, OnLost], Awaitable[RedisConnection]]


class NodeLink:
    """The way to one node; commands sent before there is a connection wait for it."""

    def __init__(
        self, node: Node, dial: Dial, cluster: ClusterConnection, connection: RedisConnection | None = None
    ) -> None:
        self.node = node
        self.connection = connection
        self._cluster = cluster
        self._waiting: list[tuple[Sequence[Command], OnReplies | None]] = []
        self._task = None if connection else asyncio.get_running_loop().create_task(self._open(dial))

    def send(self, commands: Sequence[Command], on_replies: OnReplies | None = None) -> None:
        if self.connection is not None:
            self.connection.send(commands, on_replies)
        else:
            self._waiting.append((commands, on_replies))

    async def _open(self, dial: Dial) -> None:
        try:
            connection = await dial(self.node, self._cluster.lost)
        except TransportError as error:
            self._cluster.lost(ConnectionLost(str(error)))
            return
        if self._cluster.closed:
            connection.abort()
            return
        self.connection = connection
        waiting, self._waiting = self._waiting, []
        for commands, on_replies in waiting:
            connection.send(commands, on_replies)

    def end(self, error: TransportError) -> None:
        """Send nothing any more; fail all waiting sends."""
        if self._task is not None and self.connection is None:
            self._task.cancel()
        if self.connection is not None:
            self.connection.on_lost = None
            self.connection.fail(str(error))
        waiting, self._waiting = self._waiting, []
        for _, on_replies in waiting:
            if on_replies is not None:
                on_replies(error)

    async def close(self) -> None:
        if self.connection is not None:
            await self.connection.close()


class ClusterConnection:
    """See ``jobwire.transport.protocols.Connection``, and ``jobwire.transport.cluster_batch`` for the order in a send.

    Commands without a key (CLIENT, PUBLISH, SUBSCRIBE …) go to the node of the transport's home slot, ``client_id`` is
    of the connection to it. SCAN goes round all nodes, SCRIPT LOAD goes to all; neither in a send with others. MULTI is
    refused (``ConfigError``): a transaction cannot span nodes.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, shared: Shared, dial: Dial, node: Node, on_lost: OnLost | None
    ) -> None:
        self.description = shared.description
        self.client_id: int | None = None
        self.parked: set[Batch] = set()
        self._loop = loop
        self._shared = shared
        self._dial = dial
        self._home = node
        self._on_lost = on_lost
        self._links: dict[Node, NodeLink] = {}
        self._end: TransportError | None = None
        self._refreshing = False
        self.fresh = False
        self._before: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.description} ({'closed' if self.closed else len(self._links)})>"

    def opened(self, connection: RedisConnection) -> None:
        """The connection to the home node is there."""
        self._links[self._home] = NodeLink(self._home, self._dial, self, connection)
        self.client_id = connection.client_id

    @property
    def closed(self) -> bool:
        return self._end is not None

    # The way out

    def send(self, commands: Sequence[Command], on_replies: OnReplies | None = None) -> None:
        if self._end is not None or not commands:
            if on_replies is not None:
                self._loop.call_soon(on_replies, [] if self._end is None else ConnectionLost(str(self._end)))
            return
        if MULTI in commands:
            raise ConfigError("a cluster has no transactions over several nodes: do without use_multi")
        reach = reach_of(commands[0])
        if reach == "one node after the other" and len(commands) == 1:
            self._scan(commands[0], on_replies)
        elif reach == "every node" and all(reach_of(command) == reach for command in commands):
            self._everywhere(commands, on_replies)
        else:
            Batch(self, commands, on_replies, self._loop).start()

    def before_write(self, work: Callable[[], object]) -> None:
        if not self._before:
            self._loop.call_soon(self.flush)
        self._before.append(work)

    def flush(self) -> None:
        while self._before:
            before, self._before = self._before, []
            for work in before:
                try:
                    work()
                except Exception as error:  # of any kind: the others have work to do as well
                    self._loop.call_exception_handler({"message": f"{work!r} failed", "exception": error})
        for link in list(self._links.values()):
            if link.connection is not None:
                link.connection.flush()

    def call(self, *commands: Command) -> asyncio.Future[Replies]:
        future: asyncio.Future[Replies] = self._loop.create_future()
        self.send(commands, partial(_settle, future))
        return future

    async def execute(self, command: Command) -> Reply:
        reply = (await self.call(command))[0]
        if isinstance(reply, ServerError):
            raise reply
        return reply

    async def drained(self) -> None:
        for link in list(self._links.values()):
            if link.connection is not None:
                await link.connection.drained()
        if self._end is not None:
            raise ConnectionLost(str(self._end))

    async def answered(self) -> None:
        self.flush()
        while self._end is None:
            connections = [link.connection for link in list(self._links.values())]
            busy = [one for one in connections if one is not None and one.outstanding]
            if busy:
                await asyncio.gather(*(one.answered() for one in busy))
            elif self.parked or None in connections:
                await asyncio.sleep(_LOOK_EVERY)  # for a slot that is on the way, for a connection that is being made
            else:
                return

    def _scan(self, command: Command, on_replies: OnReplies | None) -> None:
        """Take one step on one node, which the cursor names (``number.cursor``), until all have been asked."""
        masters = self._shared.topology.masters
        number, dot, cursor = command[1].partition(b".")
        at = int(number) if dot else 0
        if at >= len(masters):  # there are fewer than when it began
            none_left: Replies = [[b"0", []]]
            self._loop.call_soon(_tell, on_replies, none_left)
            return

        def answered(outcome: Replies | TransportError) -> None:
            reply = None if isinstance(outcome, TransportError) else outcome[0]
            if isinstance(reply, list) and reply and reply[0] != b"0":
                reply[0] = b"%d.%s" % (at, reply[0])
            elif isinstance(reply, list) and reply and at + 1 < len(masters):
                reply[0] = b"%d.0" % (at + 1)
            _tell(on_replies, outcome)

        step = (command[0], cursor if dot else command[1], *command[2:])
        self.link_to(masters[at]).send((step,), answered)

    def _everywhere(self, commands: Sequence[Command], on_replies: OnReplies | None) -> None:
        """Send the same to all nodes; the answer to each command is the first error, or else the last reply."""
        masters = self._shared.topology.masters
        missing = len(masters)
        errors: dict[int, ServerError] = {}
        lost: TransportError | None = None

        def answered(outcome: Replies | TransportError) -> None:
            nonlocal missing, lost
            missing -= 1
            if isinstance(outcome, TransportError):
                lost = lost or outcome
            else:
                errors.update(
                    (at, reply)
                    for at, reply in enumerate(outcome)
                    if isinstance(reply, ServerError) and at not in errors
                )
                outcome = [errors.get(at, reply) for at, reply in enumerate(outcome)]
            if not missing:
                _tell(on_replies, lost or outcome)

        for node in masters:
            self.link_to(node).send(commands, answered)

    # Owners of slots

    def link_to(self, node: Node) -> NodeLink:
        link = self._links.get(node)
        if link is None:
            link = self._links[node] = NodeLink(node, self._dial, self)
            if self._end is not None:
                link.end(self._end)
        return link

    def link_for(self, command: Command) -> NodeLink:
        slot = slot_of_command(command)
        if slot is None:
            return self._links[self._home]
        return self.link_to(self._shared.topology.slots[slot] or self._home)

    def moved(self, slot: int, node: Node) -> None:
        """Note that one slot has moved; seldom it alone, so the whole map is read again."""
        self._shared.topology.slots[slot] = node
        if not self._refreshing:
            self._refreshing = True
            self.link_to(node).send((CLUSTER_SLOTS,), partial(self._refreshed, node[0]))

    def _refreshed(self, host: str, outcome: Replies | TransportError) -> None:
        self._refreshing = False
        if isinstance(outcome, TransportError):
            return
        try:
            self._shared.topology = read_topology(outcome[0], host=host)
        except (ServerError, DecodeError):
            return  # the answer MOVED is enough for now

    # The end

    def lost(self, error: TransportError) -> None:
        """End, because the connection to a node was lost."""
        if self._end is not None:
            return
        on_lost, self._on_lost = self._on_lost, None
        self._finish(error)
        if on_lost is not None:
            on_lost(error)

    def fail(self, reason: str) -> TransportError:
        """End the connection as lost; ``on_lost`` is told."""
        error = lost_error(self.description, reason)
        self.lost(error)
        return error

    def abort(self) -> None:
        self._on_lost = None
        if self._end is None:
            self._finish(lost_error(self.description, "aborted on this side"))

    async def close(self) -> None:
        self._on_lost = None
        if self._end is None:
            self.flush()
        end = self._end or lost_error(self.description, "closed on this side")
        self._end = end
        # First write out the queue; then nobody is left waiting.
        await asyncio.gather(*(link.close() for link in list(self._links.values())))
        self._finish(end)

    def _finish(self, error: TransportError) -> None:
        self._end = error
        for link in list(self._links.values()):
            link.end(error)
        parked, self.parked = self.parked, set()
        for batch in parked:
            batch.fail(ConnectionLost(str(error)))


def _tell(on_replies: OnReplies | None, outcome: Replies | TransportError) -> None:
    if on_replies is not None:
        on_replies(outcome)


def _settle(future: asyncio.Future[Replies], outcome: Replies | TransportError) -> None:
    if future.done():
        return
    if isinstance(outcome, TransportError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


__all__ = ["ClusterConnection", "Dial", "NodeLink", "Shared"]
