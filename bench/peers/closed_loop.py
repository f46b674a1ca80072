"""The common part of all clients of the comparison: a loop, and one line of JSON about it.

Standard library only: it runs in the environment of every queue. In a closed loop a client keeps as many jobs
outstanding as it is told; each is submitted, its result awaited and checked, and the next one submitted. In an open one
(``--rate``) it submits at a fixed rate, whatever becomes of the jobs before, and a job's latency counts from the moment
at which it was due. When the warm-up is over it prints ``measuring``, and at the end a line of JSON: jobs, seconds, CPU
seconds of the client, latencies in seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import queue
import sys
import threading
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
    parser.add_argument("--rate", type=float, default=0.0)
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
                    "p999": ordered[int(len(ordered) * 0.999)],
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
    if told.rate:
        await drive_at_rate(call, told)
        return
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


async def drive_at_rate(call: Callable[[int], Awaitable[Any]], told: argparse.Namespace) -> None:
    """Submit what is due, and go on when the next job is."""
    record = Record(told)
    begun = time.perf_counter()
    under_way: set[asyncio.Future[None]] = set()

    async def one(number: int, due: float) -> None:
        await call(number)
        record.done(due)

    number = 0
    while time.perf_counter() < record.ends:
        while (due := begun + number / told.rate) <= time.perf_counter():
            number += 1
            task = asyncio.ensure_future(one(number, due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    if under_way:
        await asyncio.wait(under_way, timeout=10)
    record.tell()
    finish()


def drive_blocking(submit: Callable[[int], Any], result: Callable[[Any], Any], told: argparse.Namespace) -> None:
    """For queues whose clients block: one thread, a window of outstanding jobs, awaited in their order."""
    if told.rate:
        drive_blocking_at_rate(submit, result, told)
        return
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


WAITERS = 16
"""Threads of a blocking client that wait for results, beside the one that submits."""


def drive_blocking_at_rate(
    submit: Callable[[int], Any], result: Callable[[Any], Any], told: argparse.Namespace
) -> None:
    """For queues whose clients block: one thread submits, others await."""
    record = Record(told)
    begun = time.perf_counter()
    under_way: queue.SimpleQueue[tuple[float, int, Any]] = queue.SimpleQueue()
    lock = threading.Lock()
    ended = 0

    def await_results() -> None:
        nonlocal ended
        while True:
            due, which, handle = under_way.get()
            check(result(handle), which + 7)
            with lock:
                record.done(due)
                ended += 1

    for _ in range(WAITERS):
        threading.Thread(target=await_results, daemon=True).start()
    number = 0
    while time.perf_counter() < record.ends:
        due = begun + number / told.rate
        time.sleep(max(0.0, due - time.perf_counter()))
        number += 1
        under_way.put((due, number, submit(number)))
    patience = time.perf_counter() + 10
    while ended < number and time.perf_counter() < patience:
        time.sleep(0.01)
    record.tell()
    finish()
