"""bullmq, the Python port: results are heard of through its stream of events."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import closed_loop
from bullmq import Queue, QueueEvents, Worker


async def work(told: Any) -> None:
    async def process(job: Any, token: str) -> int:
        del token
        result: int = job.data["a"] + job.data["b"]
        return result

    worker = Worker("bench", process, {"connection": f"redis://127.0.0.1:{told.port}", "concurrency": told.slots})
    asyncio.get_running_loop().call_later(0.5, closed_loop.ready)
    await asyncio.Event().wait()
    await worker.close()


async def submit(told: Any) -> None:
    connection = f"redis://127.0.0.1:{told.port}"
    queue = Queue("bench", {"connection": connection})
    events = QueueEvents("bench", {"connection": connection})
    waiting: dict[str, asyncio.Future[Any]] = {}
    early: dict[str, Any] = {}

    def completed(event: Any, *_: Any) -> None:
        job_id, value = event["jobId"], event["returnvalue"]
        future = waiting.pop(job_id, None)
        if future is None:
            early[job_id] = value
        elif not future.done():
            future.set_result(value)

    events.on("completed", completed)

    async def call(number: int) -> None:
        job = await queue.add("add", {"a": number, "b": 7}, {"removeOnComplete": True})
        value = early.pop(job.id, None)
        if value is None:
            future = waiting[job.id] = asyncio.get_running_loop().create_future()
            value = await future
        closed_loop.check(json.loads(value) if isinstance(value, str) else value, number + 7)

    await asyncio.sleep(0.2)
    await closed_loop.drive(call, told)


if __name__ == "__main__":
    told = closed_loop.options()
    closed_loop.run(work(told) if told.role == "worker" else submit(told), told.loop)
