"""arq: the worker and the client ask, more often than the default 0.5 s."""

from __future__ import annotations

import asyncio
from typing import Any

import closed_loop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker


async def add(context: Any, a: int, b: int) -> int:
    del context
    return a + b


async def work(told: Any) -> None:
    worker = Worker(
        functions=[add],
        redis_settings=RedisSettings(port=told.port),
        max_jobs=told.slots,
        poll_delay=0.005,
        keep_result=60,
        handle_signals=False,
        log_results=False,
    )
    asyncio.get_running_loop().call_later(0.5, closed_loop.ready)
    await worker.async_run()


async def submit(told: Any) -> None:
    pool = await create_pool(RedisSettings(port=told.port))

    async def call(number: int) -> None:
        job = await pool.enqueue_job("add", number, 7)
        assert job is not None
        closed_loop.check(await job.result(poll_delay=closed_loop.poll(told)), number + 7)

    await closed_loop.drive(call, told)


if __name__ == "__main__":
    told = closed_loop.options()
    closed_loop.run(work(told) if told.role == "worker" else submit(told), told.loop)
