"""A worker to be killed: ``python -m endurance.chaos.worker SETTINGS`` (JSON).

It says ``ready`` on stdout, and writes a line into its journal before and after every run of a job: the
accounts are settled with it, and it survives kill −9. A job names its operation in ``op``: ``echo`` (the default),
``sleep`` (without holding the event loop), ``block`` (holding it), ``spin`` (holding it in pure Python), ``exit``.
A job with ``gate`` ends when there is a file of that name.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from typing import Any

import msgspec

from jobwire import Job, Worker

__all__ = ["Entry", "Journal", "WorkerSettings", "main", "read_journal"]


_now = time.time
_DAY = 86_400.0


class Clock:
    """The wall clock of this process: SIGUSR1 moves it by a day, there and back."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def time(self) -> float:
        return _now() + self._ahead

    def jump(self, *_: object) -> None:
        self._ahead = _DAY - self._ahead


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one such process. ``options`` are those of ``jobwire.Worker``."""

    url: str
    journal: str
    options: dict[str, Any] = {}
    grace: float = 5.0


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a journal: ``what`` is ``begin``, ``end`` or ``given away``; ``at`` epoch seconds."""

    what: str
    worker: str
    pid: int
    at: float
    job: str = ""


class Journal:
    """Appends whole lines, so that they are there however the process ends."""

    def __init__(self, path: str, worker: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._worker = worker

    def write(self, what: str, job: str = "") -> None:
        """Write down that it happened now."""
        entry = Entry(what=what, worker=self._worker, pid=os.getpid(), at=_now(), job=job)
        os.write(self._file, msgspec.json.encode(entry) + b"\n")


def read_journal(path: str, *, last: int | None = None) -> list[Entry]:
    """All entries so far, or those of the ``last`` so many bytes; lines that are not whole are left out."""
    with open(path, "rb") as file:
        begin = 0 if last is None else max(0, file.seek(0, os.SEEK_END) - last)
        file.seek(begin)
        lines = file.read().split(b"\n")
    return [msgspec.json.decode(line, type=Entry) for line in lines[1 if begin else 0 : -1]]


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def _block(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - that is the point


async def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def _opened(gate: str) -> None:
    while not os.path.exists(gate):  # noqa: ASYNC110, ASYNC240 - of other processes
        await asyncio.sleep(0.02)


async def _exit(seconds: float) -> None:
    await asyncio.sleep(seconds)
    os._exit(3)


_OPERATIONS = {"sleep": _sleep, "block": _block, "spin": _spin, "exit": _exit}


def _say_ready(state: str, error: object) -> None:
    del error
    if state == "up":
        sys.stdout.write("ready\n")
        sys.stdout.flush()


def make_worker(settings: WorkerSettings) -> Worker:
    """The worker, with its one handler."""
    worker = Worker(settings.url, on_state=_say_ready, **settings.options)
    journal = Journal(settings.journal, str(worker.id))

    @worker.handler
    async def handle(job: Job) -> Any:
        name = job.id if isinstance(job.id, str) else ascii(job.id)
        journal.write("begin", name)
        operation = _OPERATIONS.get(str(job.data.get("op", "echo")))
        if operation is not None:
            await operation(float(str(job.data.get("seconds", 0))))
        if "gate" in job.data:
            await _opened(str(job.data["gate"]))
        journal.write("end", name)
        return job.data.get("value", "done")

    return worker


def main(words: list[str]) -> None:
    """Run until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    clock = Clock()
    time.time = clock.time
    signal.signal(signal.SIGUSR1, clock.jump)
    settings = msgspec.json.decode(words[0], type=WorkerSettings)
    asyncio.run(make_worker(settings).run(grace=settings.grace))


if __name__ == "__main__":
    main(sys.argv[1:])
