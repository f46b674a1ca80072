"""A connection that may subscribe: pushes are told from replies.

RESP2 has no mark for pushes. A connection that has sent a subscription command gets messages and acknowledgements as
arrays whose first element names their kind, and Redis permits nothing else on it but
(P)SUBSCRIBE, (P)UNSUBSCRIBE, PING (answered by an array, too) and QUIT, so nothing can be taken for another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from jobwire.transport.connection import RedisConnection
from jobwire.transport.protocols import OnPush, OnReplies
from jobwire.wire.commands import Command, Reply
from jobwire.wire.connection_commands import ACKNOWLEDGEMENT_KINDS, MESSAGE, MESSAGE_KINDS, acknowledgements


class SubscribingConnection(RedisConnection):
    """``RedisConnection`` with ``on_push``.

    Messages go to ``on_push`` alone. Acknowledgements go there as well, and the last one that belongs to a
    command is also the reply to that command, so that ``await connection.execute(subscribe)`` waits for it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_push: OnPush,
        description: str = "Redis",
    ) -> None:
        super().__init__(loop, description=description)
        self._on_push = on_push
        self._subscribing = False
        # For each command whose reply is outstanding: how many acknowledgements it brings (0: a plain reply).
        self._expected: deque[int] = deque()

    def send(self, commands: Sequence[Command], on_replies: OnReplies | None = None) -> None:
        expected = [acknowledgements(command) for command in commands]
        super().send(commands, on_replies)
        if not self.closed:
            self._expected += expected
            self._subscribing = self._subscribing or any(expected)

    def _take(self) -> None:
        gets, on_push = self._reader.gets, self._on_push
        while (reply := gets()) is not False:
            kind = reply[0] if type(reply) is list and reply and self._subscribing else None
            if kind == MESSAGE or kind in MESSAGE_KINDS:
                try:
                    on_push(reply)
                except Exception as error:
                    self._report(error, on_push)
            elif kind in ACKNOWLEDGEMENT_KINDS:
                self._push(reply)
                self._acknowledge(reply)
            elif self._expected:
                self._answer(reply)
            else:
                self._stray(reply)
                return

    def _acknowledge(self, reply: Reply) -> None:
        expected = self._expected
        # A server may also end a subscription by itself; such news belongs to no command.
        if expected and expected[0]:
            expected[0] -= 1
            if not expected[0]:
                self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        """``reply`` completes the oldest command. (An error answers a subscription to many channels once.)"""
        self._expected.popleft()
        replies = self._replies
        replies.append(reply)
        count, on_replies = self._queue[0]
        if len(replies) == count:
            self._queue.popleft()
            self._replies = []
            if on_replies is not None:
                self._deliver(on_replies, self._heeded(replies))

    def _push(self, reply: list[Reply]) -> None:
        try:
            self._on_push(reply)
        except Exception as error:
            self._report(error, self._on_push)


__all__ = ["SubscribingConnection"]
