"""The path of one job through the modules of jobwire: ``python -m bench.path``.

Traces one warm job from submission to result (``sys.setprofile``), client and worker in one process on a Redis of its
own, and prints the moves from module to module in their order, how many there are, and how many modules take part.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from itertools import pairwise
from types import FrameType
from typing import Any

import jobwire
from jobwire.testing.server import open_server

__all__ = ["main", "trace"]


async def trace(url: str, *, warm: int = 50) -> list[tuple[str, str]]:
    """Module and function of each call in jobwire, in order, while one job runs."""
    worker = jobwire.Worker(url, max_concurrent_jobs=4)

    @worker.handler
    async def echo(job: jobwire.Job) -> object:
        return job.data["value"]

    calls: list[tuple[str, str]] = []

    def record(frame: FrameType, event: str, _argument: Any) -> None:
        name = frame.f_globals.get("__name__", "")
        if event == "call" and name.startswith("jobwire."):
            calls.append((name.removeprefix("jobwire."), frame.f_code.co_qualname))

    async with jobwire.Client(url) as client, worker:
        for _ in range(warm):
            await client.submit({"value": "x"})
        await asyncio.sleep(0.05)
        sys.setprofile(record)
        try:
            await client.submit({"value": "x"})
            await asyncio.sleep(0.05)  # the worker hears that its completion was written, the client deletes the hash
        finally:
            sys.setprofile(None)
    return calls


def main() -> None:
    """Print the path."""
    with open_server() as server:
        calls = asyncio.run(trace(server.url))
    places = [module for module, _ in calls]
    moves = sum(before != after for before, after in pairwise(places))
    previous = ""
    for module, function in calls:
        print(f"{module if module != previous else '':32} {function}")
        previous = module
    print(f"\n{len(calls)} calls, {moves} moves between {len(set(places))} modules")
    for module, count in Counter(places).most_common():
        print(f"{count:4} {module}")


if __name__ == "__main__":
    main()
