"""A client whose server is played by the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from jobwire import Client
from jobwire.errors import ServerError
from jobwire.testing.scripted import LOST, SILENT, Outcome, ScriptedLink, ScriptedTransport
from jobwire.wire.commands import Command

__all__ = ["LOST", "SILENT", "Played", "ServerError"]


class Played:
    """A server of answers: by command name, a value or a function of the command; the rest is answered as Redis would
    for a job that is queued.
    """

    def __init__(self) -> None:
        self.answers: dict[bytes, Any] = {}
        self.transport = ScriptedTransport(self._answer)

    def _answer(self, command: Command) -> Outcome:
        name = command[0]
        if name == b"SUBSCRIBE":
            return None
        answer = self.answers.get(name, _ORDINARY.get(name, b"OK"))
        return answer(command) if callable(answer) else answer

    @property
    def commands(self) -> ScriptedLink:
        """The newest command connection."""
        return [link for link in self.transport.links if link.name.startswith("jobwire-client")][-1]

    @property
    def notices(self) -> ScriptedLink:
        return [link for link in self.transport.links if link.name.startswith("jobwire-notices")][-1]

    def sent(self, *names: bytes) -> list[Command]:
        """What has arrived with these names, on all connections."""
        return [command for command in self.transport.commands if not names or command[0] in names]

    def tell(self, job_id: str | bytes, client: Client) -> None:
        raw = job_id.encode() if isinstance(job_id, str) else job_id
        self.notices.push([b"message", b"client::" + str(client.id).encode(), raw])


_ORDINARY: dict[bytes, Any] = {
    b"LPUSH": 1,
    b"HMGET": lambda command: [None] * (len(command) - 2),
    b"EXISTS": 1,
    b"LLEN": 1,
    b"LPOS": None,
    b"DEL": 1,
    b"LREM": 1,
    b"EVAL": 1,
    b"SMEMBERS": [],
    b"SCAN": [b"0", []],
}


@pytest.fixture
async def played() -> AsyncIterator[Played]:
    server = Played()
    yield server
    server.transport.check()


@pytest.fixture
async def connect(played: Played) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Client:
            client = Client(transport=played.transport, **{"reconnect_delay": 0.001, "timeout": 5, **options})
            await client.start()
            stack.push_async_callback(client.stop)
            return client

        yield make
