"""A client that submits faster than workers take, or than Redis reads, waits: what it holds does not grow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from jobwire import Client
from jobwire.testing.scripted import Outcome, ScriptedTransport
from jobwire.wire.commands import Command


def answered(command: Command) -> Outcome:
    return None if command[0] == b"SUBSCRIBE" else [b"V1"] if command[0] == b"HMGET" else 1


class Source:
    """Parameters without end, counted as they are asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def __iter__(self) -> Iterator[dict[str, int]]:
        while self.asked < 100_000:
            self.asked += 1
            yield {"n": self.asked}


async def settled(source: Source) -> int:
    """How much was asked for, once nothing more is."""
    before = -1
    while before != source.asked:
        before = source.asked
        for _ in range(50):
            await asyncio.sleep(0)
    return before


def link(transport: ScriptedTransport, name: str) -> Any:
    return [link for link in transport.links if link.name.startswith(name)][-1]


async def test_no_more_jobs_are_outstanding_than_allowed() -> None:
    transport = ScriptedTransport(answered)
    async with Client(transport=transport, max_outstanding=500) as client:
        source = Source()
        submitting = asyncio.create_task(client.submit_many(source))
        # One was taken from the source already, and is held until there is room.
        assert await settled(source) == 501
        assert client.outstanding == 500
        notices = link(transport, "jobwire-notices")
        commands = link(transport, "jobwire-client").commands
        first = [job_id for command in commands if command[0] == b"LPUSH" for job_id in command[2:]][:100]
        for job_id in first:
            notices.push([b"message", b"client::x", job_id])
        assert await settled(source) == 601
        assert client.outstanding == 500
        submitting.cancel()


async def test_no_more_is_written_than_redis_reads() -> None:
    transport = ScriptedTransport(answered)
    async with Client(transport=transport) as client:
        link(transport, "jobwire-client").connection.pause_writing()
        source = Source()
        submitting = asyncio.create_task(client.submit_many(source))
        assert await settled(source) == 1000
        link(transport, "jobwire-client").connection.resume_writing()
        assert await settled(source) > 2000
        submitting.cancel()
