"""One send to a cluster: its commands in order, on all nodes, also while keys move between them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

from jobwire.errors import ServerError, TransportError
from jobwire.transport.protocols import OnReplies, Replies
from jobwire.wire.cluster_slots import ASKING, Node, Step, plan, redirection
from jobwire.wire.commands import Command

#: How often the commands of one send are redirected, or sent again, until that is given up.
TRIES = 50
#: Redirections that are followed at once; nodes that point at each other, as during a failover, need time.
AT_ONCE = 4
#: Seconds between the others: 50 of them are about five seconds.
PAUSE = 0.1
_UNTIL_MENDED = frozenset({"MOVED", "ASK", "CLUSTERDOWN"})


class Link(Protocol):
    """The way to one node."""

    @property
    def node(self) -> Node: ...
    def send(self, commands: Sequence[Command], on_replies: OnReplies | None = None) -> None: ...


class Cluster(Protocol):
    """The part of a connection that its sends need."""

    def link_for(self, command: Command) -> Link: ...
    def link_to(self, node: Node) -> Link: ...
    def moved(self, slot: int, node: Node) -> None: ...
    def fail(self, reason: str) -> TransportError: ...

    parked: set[Batch]


class Batch:
    """Send step after step (``jobwire.wire.cluster_slots.plan``), follow redirections, and call ``on_replies`` once.

    A step whose writes were refused is the last one: later steps rely on it. The commands that were not sent are
    answered with the error ``ABORTED``.
    """

    __slots__ = (
        "_cluster",
        "_commands",
        "_ended",
        "_loop",
        "_on_replies",
        "_outstanding",
        "_replies",
        "_step",
        "_steps",
        "_tries",
    )

    def __init__(
        self,
        cluster: Cluster,
        commands: Sequence[Command],
        on_replies: OnReplies | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._cluster = cluster
        self._commands = commands
        self._on_replies = on_replies
        self._loop = loop
        self._steps: Iterator[Step] = plan(commands)
        self._step = next(self._steps)
        self._replies: Replies = [None] * len(commands)
        self._outstanding = 0
        self._tries = 0
        self._ended = False

    def start(self) -> None:
        self._dispatch(self._step.commands)

    def fail(self, error: TransportError) -> None:
        """End with the connection."""
        self._finish(error)

    def _dispatch(self, positions: Iterable[int]) -> None:
        groups: dict[Link, list[int]] = {}
        for position in positions:
            groups.setdefault(self._cluster.link_for(self._commands[position]), []).append(position)
        self._outstanding += len(groups)
        for link, group in groups.items():
            link.send([self._commands[position] for position in group], partial(self._answered, link, group))

    def _answered(self, link: Link, positions: Sequence[int], outcome: Replies | TransportError) -> None:
        self._outstanding -= 1
        if self._ended:
            return
        if isinstance(outcome, TransportError):
            self._finish(outcome)
            return
        refused: list[int] = []
        for position, reply in zip(positions, outcome, strict=True):
            self._replies[position] = reply
            if redirection(reply, host=link.node[0]) is not None:
                refused.append(position)
        if refused:
            self._again(link, refused)
        if not self._outstanding and not self._ended:
            self._go_on()

    def _again(self, link: Link, positions: Sequence[int]) -> None:
        """Handle commands that were not executed, because their slot is elsewhere, on the way, or nowhere."""
        self._tries += 1
        if self._tries > TRIES:
            errors = [str(self._replies[position]) for position in positions]
            if any(error.partition(" ")[0] in _UNTIL_MENDED for error in errors):
                self._finish(self._cluster.fail(f"the cluster is not whole ({errors[0]})"))
            return  # TRYAGAIN is passed on: a slot is long on the way, and all others are well
        later: list[int] = []
        for position in positions:
            target = redirection(self._replies[position], host=link.node[0])
            if target is None or target.node is None or target.slot is None:
                later.append(position)
            elif target.asking:
                self._ask(target.node, position)
            else:
                self._cluster.moved(target.slot, target.node)
                later.append(position)
        if not later:
            return
        if self._tries <= AT_ONCE and all(self._is_moved(position) for position in later):
            self._dispatch(later)
            return
        self._outstanding += 1
        self._cluster.parked.add(self)
        self._loop.call_later(PAUSE, self._resume, later)

    def _is_moved(self, position: int) -> bool:
        reply = self._replies[position]
        return isinstance(reply, ServerError) and reply.code == "MOVED"

    def _ask(self, node: Node, position: int) -> None:
        link = self._cluster.link_to(node)
        self._outstanding += 1
        link.send((ASKING, self._commands[position]), partial(self._asked, link, position))

    def _asked(self, link: Link, position: int, outcome: Replies | TransportError) -> None:
        self._answered(link, (position,), outcome if isinstance(outcome, TransportError) else outcome[1:])

    def _resume(self, positions: Sequence[int]) -> None:
        self._cluster.parked.discard(self)
        self._outstanding -= 1
        if not self._ended:
            self._dispatch(positions)

    def _go_on(self) -> None:
        if not self._step.independent and any(isinstance(self._replies[at], ServerError) for at in self._step.commands):
            self._abort(self._step.commands.stop)
            return
        step = next(self._steps, None)
        if step is None:
            self._finish(self._replies)
            return
        self._step = step
        self._dispatch(step.commands)

    def _abort(self, first: int) -> None:
        for position in range(first, len(self._commands)):
            self._replies[position] = ServerError("ABORTED not sent, because a command before it was refused")
        self._finish(self._replies)

    def _finish(self, outcome: Replies | TransportError) -> None:
        if self._ended:
            return
        self._ended = True  # all state is in order before foreign code runs
        if self._on_replies is not None:
            self._on_replies(outcome)


__all__ = ["Batch", "Cluster", "Link"]
