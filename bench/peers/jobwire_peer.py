"""jobwire through its public face: ``Client.submit``, ``Worker`` with a typed handler."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import closed_loop
import msgspec

import jobwire


class Add(msgspec.Struct):
    a: int
    b: int


class Echo(msgspec.Struct):
    payload: Any


async def work(told: Any) -> None:
    processing = "processing" if told.shared else None
    worker = jobwire.Worker(
        f"redis://127.0.0.1:{told.port}", max_concurrent_jobs=told.slots, processing_queue=processing
    )

    async def add(args: Add) -> int:
        return args.a + args.b

    async def echo(args: Echo) -> Any:
        return args.payload

    worker.handler(add if told.kind == "ints" else echo)
    await worker.start()
    closed_loop.ready()
    await asyncio.Event().wait()


def payload_of(kind: str, size: int) -> Any:
    if kind == "text":
        return "x" * size
    return {"list": [{"id": number, "name": f"item {number:08d}"} for number in range(max(1, size // 36))]}


async def submit(told: Any) -> None:
    client = jobwire.Client(f"redis://127.0.0.1:{told.port}", nested="json" if told.kind == "json" else "sereal")
    await client.start()
    payload = payload_of(told.kind, told.size)

    async def add(number: int) -> None:
        closed_loop.check(int(await client.submit({"a": number, "b": 7})), number + 7)

    async def echo(number: int) -> None:
        del number
        closed_loop.check(await client.submit({"payload": payload}), payload)

    await closed_loop.drive(add if told.kind == "ints" else echo, told)


def profiled(told: Any) -> None:
    """Writes a cProfile to the file ``--profile`` where the process ends."""
    import cProfile
    import signal

    profile = cProfile.Profile()
    end = os._exit

    def stop(status: int) -> None:
        profile.disable()
        profile.dump_stats(told.profile)
        sys.stdout.flush()
        end(status)

    os._exit = stop  # type: ignore[assignment]
    signal.signal(signal.SIGTERM, lambda *_: stop(0))
    profile.enable()


if __name__ == "__main__":
    told = closed_loop.options()
    if told.profile:
        profiled(told)
    closed_loop.run(work(told) if told.role == "worker" else submit(told), told.loop)
