"""saq: ``apply`` waits for the result by pub/sub (``poll_interval=0``; the default asks every 0.5 s)."""

from __future__ import annotations

import asyncio
from typing import Any

import closed_loop
from saq import Queue, Worker


async def add(context: Any, *, a: int, b: int) -> int:
    del context
    return a + b


async def work(told: Any) -> None:
    queue = Queue.from_url(f"redis://127.0.0.1:{told.port}")
    await queue.connect()
    worker = Worker(queue, functions=[("add", add)], concurrency=told.slots)
    asyncio.get_running_loop().call_later(0.5, closed_loop.ready)
    await worker.start()


async def submit(told: Any) -> None:
    # Without the number of connections a client with more than a hundred jobs outstanding dies.
    url = f"redis://127.0.0.1:{told.port}?max_connections={told.concurrency + 100}"
    queue = Queue.from_url(url, max_concurrent_ops=told.concurrency)
    await queue.connect()

    async def call(number: int) -> None:
        closed_loop.check(await queue.apply("add", a=number, b=7, timeout=60, poll_interval=0.0), number + 7)

    await closed_loop.drive(call, told)


if __name__ == "__main__":
    told = closed_loop.options()
    closed_loop.run(work(told) if told.role == "worker" else submit(told), told.loop)
