"""The common part of all clients of the comparison: a closed loop, and one line of JSON about it.

Standard library only: it runs in the environment of every queue. A client keeps as many jobs outstanding as it is
told; each is submitted, its result awaited and checked, and the next one submitted. When the warm-up is over it prints
``measuring``, and at the end a line of JSON: jobs, seconds, CPU seconds of the client, latencies in seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["worker", "client"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--loop", default="uvloop")
    parser.add_argument("--kind", default="ints")
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--profile", default="")
    parser.add_argument("--slots", type=int, default=64)
    return parser.parse_args()


def ready() -> None:
    """A worker that takes jobs from now on."""
    print("ready", flush=True)


def poll(told: argparse.Namespace) -> float:
    """For clients that can only ask: as often as they can without doing nothing else."""
    return max(0.002, 0.0002 * told.concurrency)


def run(main: Awaitable[Any], loop: str) -> None:
    if loop == "uvloop":
        import uvloop

        uvloop.install()
    asyncio.run(main)  # type: ignore[arg-type]


class Record:
    def __init__(self, told: argparse.Namespace) -> None:
        self.latencies: list[float] = []
        self.begins = time.perf_counter() + told.warmup
        self.ends = self.begins + told.seconds
        self.since = 0.0
        self._cpu = 0.0

    def done(self, submitted: float) -> bool:
        """Count one finished job; return False when the time is over."""
        now = time.perf_counter()
        if self.since:
            self.latencies.append(now - submitted)
        elif now > self.begins:
            print("measuring", flush=True)
            self.since = time.perf_counter()
            self.ends += self.since - self.begins
            self._cpu = time.process_time()
        return now < self.ends

    def tell(self) -> None:
        cpu = time.process_time() - self._cpu
        seconds = time.perf_counter() - self.since
        ordered = sorted(self.latencies) or [0.0]
        print(
            json.dumps(
                {
                    "jobs": len(self.latencies),
                    "seconds": seconds,
                    "cpu": cpu,
                    "p50": ordered[len(ordered) // 2],
                    "p99": ordered[int(len(ordered) * 0.99)],
                }
            ),
            flush=True,
        )


def check(found: object, wanted: object) -> None:
    if found != wanted:
        raise SystemExit(f"a wrong result: {found!r:.100}")


def finish() -> None:
    sys.stdout.flush()
    os._exit(0)  # without waiting for outstanding jobs


async def drive(call: Callable[[int], Awaitable[Any]], told: argparse.Namespace) -> None:
    """``call(number)`` submits a job, awaits its result and checks it."""
    record = Record(told)
    over = asyncio.Event()

    async def one(start: int) -> None:
        number = start
        while True:
            number += 1
            begun = time.perf_counter()
            await call(number)
            if not record.done(begun):
                over.set()
                return

    tasks = [asyncio.ensure_future(one(k * 1_000_000)) for k in range(told.concurrency)]
    waits = [asyncio.ensure_future(over.wait()), *tasks]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=told.warmup + 5 * told.seconds + 30)
    for task in tasks:
        if task.done():
            task.result()
    record.tell()
    finish()


def drive_blocking(submit: Callable[[int], Any], result: Callable[[Any], Any], told: argparse.Namespace) -> None:
    """For queues whose clients block: one thread, a window of outstanding jobs, awaited in their order."""
    record = Record(told)
    window: deque[tuple[float, int, Any]] = deque()
    number = 0
    while True:
        while len(window) < told.concurrency:
            number += 1
            begun = time.perf_counter()
            window.append((begun, number, submit(number)))
        begun, which, handle = window.popleft()
        check(result(handle), which + 7)
        if not record.done(begun):
            break
    record.tell()
    finish()
