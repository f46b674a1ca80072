"""A client or a worker of a soak: ``python -m endurance.soak.process SETTINGS`` (JSON).

It keeps nothing of jobs that are over, so that any growth is jobwire's. Once it is connected, and every ``report``
seconds from then on, it writes one line of JSON to stdout; SIGTERM lets it finish its jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections import Counter
from typing import Any, Literal

import msgspec

from endurance.soak.load import Load, Planned
from jobwire import Client, Job, JobHandle, JobwireError, Worker
from jobwire_conformance.peers.operations import run_operation

__all__ = ["Latencies", "ProcessSettings", "Report", "main"]

_DRAINED_WITHIN = 90.0


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``options`` are those of ``jobwire.Client`` or ``jobwire.Worker``; the rest but ``report`` is for clients.

    ``rate`` jobs a second, of which ``hard`` go to ``hard_queue``; ``hoard``: bytes of every job that are kept for
    ever, which is how the tests see whether a leak is found.
    """

    role: Literal["client", "worker"]
    url: str
    options: dict[str, Any] = {}
    report: float = 5.0
    seed: int = 1
    rate: float = 50.0
    hard: float = 0.0
    hard_queue: str = "pending"
    hoard: int = 0


class Report(msgspec.Struct, kw_only=True):
    """One line. ``blocks``: Python's allocated blocks. ``latency``: p50, p99, longest of the time since the last line,
    in milliseconds, of jobs that do nothing.
    """

    blocks: int = 0
    submitted: int = 0
    ended: dict[str, int] = {}
    unexpected: dict[str, int] = {}
    outstanding: int = 0
    held_back: int = 0
    latency: tuple[float, float, float] | None = None


class Latencies:
    """Those since the last look, and no more."""

    def __init__(self) -> None:
        self._since: list[float] = []

    def add(self, seconds: float) -> None:
        """Another one."""
        self._since.append(seconds)

    def take(self) -> tuple[float, float, float] | None:
        """Median, 99th percentile and longest in milliseconds, and begin anew."""
        ordered, self._since = sorted(self._since), []
        if not ordered:
            return None
        picked = (ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)], ordered[-1])
        return tuple(round(seconds * 1000, 3) for seconds in picked)  # type: ignore[return-value]  # three of them


class _Submitter:
    def __init__(self, settings: ProcessSettings) -> None:
        self.report = Report()
        self.started, self.ending = asyncio.Event(), asyncio.Event()
        self._settings = settings
        self._client = Client(settings.url, **settings.options)
        self._load = Load(settings.seed, hard=settings.hard)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: Counter[str] = Counter()
        self._unexpected: Counter[str] = Counter()
        self._latencies = Latencies()
        self._hoard: list[bytes] = []

    async def run(self) -> None:
        settings = self._settings
        async with self._client:
            self.started.set()
            due = time.monotonic()
            while not self.ending.is_set():
                due = max(due + 1 / settings.rate, time.monotonic() - 1)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.ending.wait(), max(0.0, due - time.monotonic()))
                    break
                if len(self._tasks) > settings.rate * 20:
                    self.report.held_back += 1
                    continue
                self._submit(self._load.next())
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_DRAINED_WITHIN)

    def _submit(self, job: Planned) -> None:
        kind, settings = job.kind, self._settings
        options: dict[str, Any] = {}
        if kind.outcome != "result":
            options["queue"] = settings.hard_queue
        if kind.timeout is not None:
            options["timeout"] = kind.timeout
        handle = self._client.submit(job.data, **options)
        self.report.submitted += 1
        if settings.hoard:
            self._hoard.append(bytes(settings.hoard))
        task = asyncio.get_running_loop().create_task(self._collect(job, handle))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _collect(self, job: Planned, handle: JobHandle[Any]) -> None:
        began = time.monotonic()
        if job.kind.cancel_after is not None:
            asyncio.get_running_loop().call_later(job.kind.cancel_after, handle.cancel)
        try:
            outcome = "result" if await handle == job.value else "wrong result"
        except JobwireError as error:
            outcome = type(error).__name__
            if outcome not in (job.kind.outcome, job.kind.also):
                logging.warning("%s: %s", job.kind.name, error)
        if outcome in (job.kind.outcome, job.kind.also):
            self._ended[job.kind.name] += 1
        else:
            self._unexpected[f"{job.kind.name}: {outcome}"] += 1
        if job.kind.name == "echo":
            self._latencies.add(time.monotonic() - began)

    def look(self) -> Report:
        self.report.ended = dict(self._ended)
        self.report.unexpected = dict(self._unexpected)
        self.report.outstanding = len(self._tasks)
        self.report.latency = self._latencies.take()
        return self.report


class _Server:
    def __init__(self, settings: ProcessSettings) -> None:
        self.report = Report()
        self.started, self.ending = asyncio.Event(), asyncio.Event()
        self._worker = Worker(settings.url, **settings.options)
        self._worker.handler(self._handle)

    async def _handle(self, job: Job) -> Any:
        self.report.submitted += 1
        return await run_operation(job.data)

    async def run(self) -> None:
        await self._worker.start()
        self.started.set()
        await self.ending.wait()
        await self._worker.stop(grace=5)

    def look(self) -> Report:
        return self.report


async def _serve(settings: ProcessSettings) -> None:
    one = (_Submitter if settings.role == "client" else _Server)(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, one.ending.set)
    running = loop.create_task(one.run())
    running.add_done_callback(lambda _: one.started.set())
    await one.started.wait()
    _say(one.look())
    while not running.done():
        await asyncio.wait([running], timeout=settings.report)
        _say(one.look())
    await running


def _say(report: Report) -> None:
    report.blocks = sys.getallocatedblocks()
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


def main(words: list[str]) -> None:
    """Run until SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_serve(msgspec.json.decode(words[0], type=ProcessSettings)))


if __name__ == "__main__":
    main(sys.argv[1:])
