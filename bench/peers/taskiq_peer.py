"""taskiq: list broker, results in Redis; the client asks more often than the default 0.2 s."""

from __future__ import annotations

import asyncio
from typing import Any

import closed_loop
from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend


def broker_of(told: Any) -> tuple[Any, Any]:
    url = f"redis://127.0.0.1:{told.port}"
    broker = ListQueueBroker(url).with_result_backend(RedisAsyncResultBackend(url, keep_results=False))

    @broker.task(task_name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    return broker, add


async def work(told: Any) -> None:
    broker, _ = broker_of(told)
    broker.is_worker_process = True
    await broker.startup()
    asyncio.get_running_loop().call_later(0.5, closed_loop.ready)
    await run_receiver_task(broker, max_async_tasks=told.slots)


async def submit(told: Any) -> None:
    broker, add = broker_of(told)
    await broker.startup()

    async def call(number: int) -> None:
        task = await add.kiq(number, 7)
        result = await task.wait_result(check_interval=closed_loop.poll(told), timeout=60)
        closed_loop.check(result.return_value, number + 7)

    await closed_loop.drive(call, told)


if __name__ == "__main__":
    told = closed_loop.options()
    closed_loop.run(work(told) if told.role == "worker" else submit(told), told.loop)
