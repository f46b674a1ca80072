"""Workers in processes of their own, and hands on the wire for what no worker would do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import redis

from endurance.chaos.worker import Entry, WorkerSettings, read_journal
from jobwire.options import build_mode
from jobwire.transport import Connection, open_transport
from jobwire.worker.rescuer import Recovery

#: Settings that make a death known soon, and still leave a busy machine time to beat.
BEAT, TTL = 0.3, 1.2
FAST: dict[str, Any] = {"heartbeat": BEAT, "heartbeat_ttl": TTL}
#: Seconds after which what a killed worker had must be back: the last beat's TTL, and the next look of a live worker.
BOUND = TTL + 1.6 * BEAT


class Victim:
    """One worker process."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, worker_id: str) -> None:
        self.process = process
        self._log = log
        self.id = worker_id

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def kill(self) -> float:
        """kill −9; when that was, by ``time.monotonic``."""
        self.process.kill()
        at = time.monotonic()
        await self.process.wait()
        return at


class Victims:
    """Makes worker processes, and ends them all."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._journal = folder / "journal"
        self._made: list[Victim] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for victim in self._made:
            if victim.process.returncode is None:
                victim.process.kill()
            await victim.process.wait()

    async def worker(self, worker_id: str, *, url: str | None = None, ready: bool = True, **options: Any) -> Victim:
        """A worker process; it pops when this returns, unless ``ready`` is false."""
        defaults = {"id": worker_id, "max_concurrent_jobs": 4, "reconnect_delay": 0.05, **FAST}
        settings = WorkerSettings(url=url or self._url, journal=str(self._journal), options={**defaults, **options})
        log = self._folder / f"{worker_id}.{len(self._made)}.log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "endurance.chaos.worker",
                msgspec.json.encode(settings).decode(),
                stdout=asyncio.subprocess.PIPE,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        victim = Victim(process, log, worker_id)
        self._made.append(victim)
        if ready:
            assert process.stdout is not None
            said = await asyncio.wait_for(process.stdout.readline(), 20)
            assert said == b"ready\n", victim.log
        return victim

    @property
    def journal(self) -> list[Entry]:
        return read_journal(str(self._journal)) if self._journal.exists() else []

    def runs(self, what: str = "begin") -> list[tuple[str, str]]:
        """Every run so far: job and worker, in order."""
        return [(entry.job, entry.worker) for entry in self.journal if entry.what == what]


@asynccontextmanager
async def recovery_at(url: str, *, mode: str = "reliable", prefix: str = "jobs", **options: Any) -> Any:
    """A ``Recovery`` with a connection of its own."""
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connected(url))
        yield Recovery(connection, mode_of(mode, prefix), **options)


@asynccontextmanager
async def connected(url: str) -> Any:
    transport = open_transport(url)
    try:
        connection: Connection = await transport.connect(name="test")
        yield connection
    finally:
        await transport.close()


def mode_of(mode: str = "reliable", prefix: str = "jobs", owner: str | None = None) -> Any:
    from jobwire.limits import DEFAULT_LIMITS

    return build_mode(
        mode,
        dialect="0.004",
        prefix=prefix,
        use_multi=False,
        strings="auto",
        limits=DEFAULT_LIMITS,
        owner=owner,
        processing_queue=None,
    )


def leave_behind(raw: redis.Redis, worker: str, *entries: str, prefix: str = "jobs", queue: str = "pending") -> None:
    """What a worker that was killed leaves: known, no heartbeat, entries (the oldest first), their hashes."""
    pre = f"{prefix}::" if prefix else ""
    raw.sadd(f"{pre}workers", worker)
    raw.hset(f"{pre}queues", worker, f"{pre}{queue}")
    for entry in entries:
        raw.lpush(f"{pre}processing::{worker}", entry)
        raw.hset(f"job::{entry}", mapping={"_reply_to": "c", "_queued": str(time.time()), "text_value": entry})


def mark(raw: redis.Redis, worker: str, *jobs: str, prefix: str = "jobs", queue: str = "pending") -> None:
    """What a worker of mode recoverable that was killed leaves."""
    pre = f"{prefix}::" if prefix else ""
    raw.sadd(f"{pre}workers", worker)
    raw.hset(f"{pre}queues", worker, f"\0{pre}{queue}")
    for job in jobs:
        fields = {"_reply_to": "c", "_queued": "1", "_started": "2", "_worker": worker, "_queue": f"{pre}{queue}"}
        raw.hset(f"job::{job}", mapping=fields)
