"""A transport that breaks its traffic: how mutants of the Python peer are made.

It wraps the real one at jobwire's public seam (``transport=``), so that nothing inside jobwire is
touched: a mutant is a peer that differs from the good one in its traffic, or in its reading of its
options, and in nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from jobwire.errors import ServerError, TransportError
from jobwire.transport import Connection, OnLost, OnPush, OnReplies, Transport

__all__ = ["Command", "Fake", "MutantTransport", "Rewrite"]

Command = tuple[bytes, ...]


class Fake:
    """In place of a command: send nothing, and pretend that this was the reply."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply


#: One write's commands -> the commands sent instead: for each outgoing item, the number of the original command whose
#: reply it stands for (None: nobody waits for it), and the command, or a :class:`Fake`.
Rewrite = Callable[[list[Command]], list[tuple[int | None, Command | Fake]]]
#: A command and its reply -> the reply that the peer gets to see.
ReplyRewrite = Callable[[Command, Any], Any]
#: A push -> the push that the peer gets to see, and commands to send on its account.
PushRewrite = Callable[[list[Any]], tuple[list[Any] | None, list[Command]]]


class MutantTransport:
    """``inner`` with its traffic rewritten."""

    def __init__(
        self,
        inner: Transport,
        *,
        rewrite: Rewrite | None = None,
        reply: ReplyRewrite | None = None,
        push: PushRewrite | None = None,
    ) -> None:
        self._inner = inner
        self._rewrite = rewrite
        self._reply = reply
        self._push = push
        self._last: _MutantConnection | None = None

    @property
    def description(self) -> str:
        """The address."""
        return self._inner.description

    @property
    def spread(self) -> bool:
        """As the transport inside."""
        return self._inner.spread

    def anchor(self, key: bytes) -> None:
        """As the transport inside."""
        self._inner.anchor(key)

    async def connect(
        self,
        *,
        name: str = "",
        on_push: OnPush | None = None,
        on_lost: OnLost | None = None,
        longest_silence: float = 0.0,
    ) -> Connection:
        """A connection with rewritten traffic."""
        wrapped = on_push if on_push is None or self._push is None else self._pushing(on_push, self._push)
        inner = await self._inner.connect(name=name, on_push=wrapped, on_lost=on_lost, longest_silence=longest_silence)
        connection = _MutantConnection(inner, self._rewrite, self._reply)
        if on_push is None:
            self._last = connection
        return connection

    async def close(self) -> None:
        """Close."""
        await self._inner.close()

    def _pushing(self, on_push: OnPush, rewrite: PushRewrite) -> OnPush:
        def pushed(message: list[Any]) -> None:
            seen, commands = rewrite(message)
            if commands and self._last is not None:
                self._last.send(commands)
            if seen is not None:
                on_push(seen)

        return pushed


class _MutantConnection:
    def __init__(self, inner: Connection, rewrite: Rewrite | None, reply: ReplyRewrite | None) -> None:
        self._inner = inner
        self._rewrite = rewrite
        self._reply = reply

    @property
    def closed(self) -> bool:
        return self._inner.closed

    @property
    def client_id(self) -> int | None:
        return self._inner.client_id

    @property
    def fresh(self) -> bool:
        return self._inner.fresh

    def before_write(self, work: Callable[[], object]) -> None:
        self._inner.before_write(work)

    def flush(self) -> None:
        self._inner.flush()

    async def drained(self) -> None:
        await self._inner.drained()

    async def answered(self) -> None:
        await self._inner.answered()

    async def close(self) -> None:
        await self._inner.close()

    def abort(self) -> None:
        self._inner.abort()

    def send(self, commands: Sequence[Command], on_replies: OnReplies | None = None) -> None:
        originals = list(commands)
        items = list(enumerate(originals)) if self._rewrite is None else self._rewrite(originals)
        outgoing = [(number, item) for number, item in items if not isinstance(item, Fake)]
        fakes = {number: item.reply for number, item in items if isinstance(item, Fake)}

        def answered(replies: Any) -> None:
            if on_replies is None:
                return
            if isinstance(replies, Exception):
                on_replies(replies)  # type: ignore[arg-type]  # only TransportError ever comes
                return
            found = dict(fakes)
            for (number, _), reply in zip(outgoing, replies, strict=True):
                if number is not None:
                    found[number] = reply
            on_replies([self._seen(command, found.get(number)) for number, command in enumerate(originals)])

        if outgoing:
            self._inner.send([command for _, command in outgoing], answered)
        else:
            asyncio.get_running_loop().call_soon(answered, [])

    def _seen(self, command: Command, reply: Any) -> Any:
        return reply if self._reply is None else self._reply(command, reply)

    def call(self, *commands: Command) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

        def answered(replies: Any) -> None:
            if future.done():
                return
            if isinstance(replies, TransportError):
                future.set_exception(replies)
            else:
                future.set_result(replies)

        self.send(commands, answered)
        return future

    async def execute(self, command: Command) -> Any:
        reply = (await self.call(command))[0]
        if isinstance(reply, ServerError):
            raise reply
        return reply
