"""The processes of a soak: Python clients and workers in all modes, a real Perl client and a real Perl worker.

Two workers and the Perl worker share one queue with the Perl client; jobs that fail, time out or are cancelled, and
those of clients that die, go to a queue that Python alone serves: a Perl worker never tells of a failure, and its
results never expire.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from endurance.soak.load import Load
from endurance.soak.process import Latencies, ProcessSettings, Report
from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.process import PeerCommand, PeerFault, PeerProcess

__all__ = ["MORTAL", "PREFIXES", "RESTARTED", "Fleet", "PerlClient", "Process"]

PREFIXES = {"reliable": "soak", "recoverable": "soak-recoverable", "simple": "soak-simple"}
MORTAL, RESTARTED = "client that dies", "worker that is restarted"
_WORKER: dict[str, Any] = {
    "max_concurrent_jobs": 16,
    "timeout": 5.0,
    "on_failure": "retry",
    "max_attempts": 2,
    "retry_delay": 0.1,
    "heartbeat": 2.0,
    "heartbeat_ttl": 8.0,
    "reconnect_delay": 0.1,
}
_READY_WITHIN = 60.0
_CLIENT: dict[str, Any] = {"timeout": 60.0, "reconnect_delay": 0.1}
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "1"}
"""For glibc: return freed memory. Otherwise it keeps more the larger the blocks are that it has seen, and its memory
would be taken for ours."""
_SHARES = {"client reliable": 0.45, "client recoverable": 0.15, "client simple": 0.1, MORTAL: 0.05, "client perl": 0.25}


class Process:
    """One Python process, and the latest that it said. It can be started again, with an ID of its own each time."""

    def __init__(self, name: str, settings: ProcessSettings, folder: Path) -> None:
        self.name = name
        self.report = Report()
        self._settings = settings
        self._log = folder / f"{name.replace(' ', '-')}.log"
        self._starts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._spoke = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start it; it gets ready on its own."""
        self._starts += 1
        options = {**self._settings.options, "id": f"{self.name.replace(' ', '-')}-{self._starts}"}
        settings = msgspec.structs.replace(self._settings, options=options, seed=self._starts)
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "endurance.soak.process",
                msgspec.json.encode(settings).decode(),
                stdin=subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **_ALLOCATOR, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self.report = Report()
        self._spoke = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is not None:
            while line := await process.stdout.readline():
                self.report = msgspec.json.decode(line, type=Report)
                self._spoke.set()

    async def ready(self) -> None:
        """Wait until it is connected. Raises ``PeerFault``."""
        try:
            await asyncio.wait_for(self._spoke.wait(), _READY_WITHIN)
        except TimeoutError:
            raise PeerFault(f"the {self.name} does not get ready:\n{self.words()}") from None

    async def end(self, number: signal.Signals, within: float = 120.0) -> None:
        """Send a signal, wait until the process has ended and everything that it said was read; kill it otherwise."""
        process = self._process
        if process is None or self._reading is None:
            return
        if process.returncode is None:
            process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), within)
        except TimeoutError:
            process.kill()
            await process.wait()
        await self._reading

    def words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-2000:]


class PerlClient:
    """A real Perl client that submits at a steady rate; only outstanding jobs are remembered."""

    name = "client perl"

    def __init__(self, command: PeerCommand, url: str, rate: float) -> None:
        self.report = Report()
        self._process = PeerProcess(command, self._on_answer)
        self._url, self._rate = url, rate
        self._load = Load(1)
        self._waiting: dict[int, tuple[str, Any, float]] = {}
        self._latencies = Latencies()
        self._submitting: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    async def start(self) -> None:
        """Raises ``PeerFault``."""
        await _meet(self._process, driver.Start(role="client", redis=self._url, prefix=PREFIXES["reliable"]))
        self._submitting = asyncio.ensure_future(self._submit())

    async def _submit(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + 1 / self._rate, time.monotonic() - 1)
            await asyncio.sleep(due - time.monotonic())
            job = self._load.next()
            self.report.submitted += 1
            self._waiting[self.report.submitted] = (job.kind.name, job.value, time.monotonic())
            self._process.send(driver.Submit(seq=self.report.submitted, data=job.data))

    def _on_answer(self, answer: driver.Answer) -> None:
        if not isinstance(answer, driver.Result | driver.Failed | driver.Error) or answer.seq is None:
            return
        kind, value, began = self._waiting.pop(answer.seq)
        if isinstance(answer, driver.Result) and answer.value == value:
            self.report.ended[kind] = self.report.ended.get(kind, 0) + 1
            if kind == "echo":
                self._latencies.add(time.monotonic() - began)
        else:
            what = f"{kind}, Perl: {type(answer).__name__}"
            self.report.unexpected[what] = self.report.unexpected.get(what, 0) + 1

    def look(self) -> None:
        """Bring the report up to date."""
        self.report.outstanding = len(self._waiting)
        self.report.latency = self._latencies.take()

    async def finish(self, within: float) -> None:
        """Submit no more, and wait for outstanding jobs."""
        if self._submitting is not None:
            self._submitting.cancel()
        end = time.monotonic() + within
        while self._waiting and time.monotonic() < end:  # noqa: ASYNC110 - it is another process that works
            await asyncio.sleep(0.05)
        self.look()
        if self._submitting is not None and not self._submitting.cancelled() and self._submitting.done():
            self._submitting.result()  # whatever ended it too early

    async def close(self) -> None:
        """End the process."""
        if self._submitting is not None:
            self._submitting.cancel()
        await self._process.close()


async def _meet(process: PeerProcess, start: driver.Start) -> None:
    await process.start()
    await process.handshake(30)
    await process.ask(driver.Ready, 30, start)


class Fleet:
    """All of them. ``perl`` None leaves out the Perl ones; ``hoard``: see ``ProcessSettings``."""

    def __init__(
        self, url: str, folder: Path, *, rate: float, perl: PeerCommand | None, report: float, hoard: int, expire: float
    ) -> None:
        self._url, self._folder, self._report, self._expire = url, folder, report, expire
        self.died_with = 0
        self.past: list[Report] = []
        self.workers = [
            # Without a limit: a Perl client, whose jobs these run, is not told of failures.
            self._worker("worker reliable", "reliable", timeout=None),
            self._worker(RESTARTED, "reliable", timeout=None),
            self._worker("worker of failures", "reliable", queue="python"),
            self._worker("worker recoverable", "recoverable"),
            self._worker("worker simple", "simple"),
        ]
        self.clients = [
            self._client("client reliable", "reliable", rate, hard=0.06, hard_queue="python", hoard=hoard),
            self._client("client recoverable", "recoverable", rate, hard=0.06),
            self._client("client simple", "simple", rate, hard=0.06),
            self._client(MORTAL, "reliable", rate, hard=1.0, queue="python", hard_queue="python"),
        ]
        self.perl_client = None if perl is None else PerlClient(perl, url, rate * _SHARES["client perl"])
        self.perl_worker = None if perl is None else PeerProcess(perl)

    def _worker(self, name: str, mode: str, queue: str = "pending", **more: Any) -> Process:
        options = {
            **_WORKER,
            "expire_results": self._expire,
            "mode": mode,
            "prefix": PREFIXES[mode],
            "pending_queues": [queue],
            **more,
        }
        return Process(name, self._settings(role="worker", options=options), self._folder)

    def _client(self, name: str, mode: str, rate: float, *, queue: str = "pending", **more: Any) -> Process:
        options = {**_CLIENT, "mode": mode, "prefix": PREFIXES[mode], "queue": queue}
        settings = self._settings(role="client", options=options, rate=rate * _SHARES[name], **more)
        return Process(name, settings, self._folder)

    def _settings(self, **more: Any) -> ProcessSettings:
        return ProcessSettings(url=self._url, report=self._report, **more)

    @property
    def judged(self) -> list[str]:
        """The Python processes that live from the beginning to the end."""
        return [one.name for one in (*self.clients, *self.workers) if one.name not in (MORTAL, RESTARTED)]

    def named(self, name: str) -> Process:
        """The Python process of that name."""
        return next(one for one in (*self.clients, *self.workers) if one.name == name)

    @property
    def pids(self) -> dict[str, int]:
        """Every process, by name."""
        found = {one.name: one.pid for one in (*self.clients, *self.workers)}
        if self.perl_client is not None and self.perl_worker is not None:
            found |= {"client perl": self.perl_client.pid, "worker perl": self.perl_worker.pid or 0}
        return found

    @property
    def reports(self) -> dict[str, Report]:
        """The latest of every client, and those of the clients that were killed."""
        found = {one.name: one.report for one in self.clients}
        if self.perl_client is not None:
            found[self.perl_client.name] = self.perl_client.report
        return found

    async def start(self) -> None:
        """Workers first. Raises ``PeerFault``."""
        await asyncio.gather(*[worker.start() for worker in self.workers])
        if self.perl_worker is not None:
            prefix = PREFIXES["reliable"]
            await _meet(
                self.perl_worker, driver.Start(role="worker", redis=self._url, prefix=prefix, max_concurrent_jobs=8)
            )
        await asyncio.gather(*[client.start() for client in self.clients])
        await asyncio.gather(*[one.ready() for one in (*self.workers, *self.clients)])
        if self.perl_client is not None:
            await self.perl_client.start()

    async def replace_client(self) -> None:
        """Kill a client with jobs outstanding, and start another."""
        client = self.named(MORTAL)
        await client.end(signal.SIGKILL)
        self.died_with += client.report.outstanding
        self.past.append(client.report)
        await client.start()

    async def restart_worker(self, number: signal.Signals) -> None:
        """End a worker in order or by kill −9, and start another."""
        worker = self.named(RESTARTED)
        await worker.end(number)
        await worker.start()

    async def finish(self) -> None:
        """Let the clients finish their jobs; the one that dies does that once more."""
        mortal = self.named(MORTAL)
        await mortal.end(signal.SIGKILL)
        self.died_with += mortal.report.outstanding
        mortal.report.outstanding = 0
        waits = [client.end(signal.SIGTERM) for client in self.clients if client is not mortal]
        if self.perl_client is not None:
            waits.append(self.perl_client.finish(60))
        await asyncio.gather(*waits)

    async def close(self) -> None:
        """End everything that still runs."""
        await asyncio.gather(*[one.end(signal.SIGTERM, 20) for one in (*self.clients, *self.workers)])
        for perl in (self.perl_client, self.perl_worker):
            if perl is not None:
                await perl.close()

    def check(self) -> None:
        """Raises ``PeerFault`` where a process that has to live has ended."""
        for one in (*self.clients, *self.workers):
            if one.pid and not Path(f"/proc/{one.pid}").exists():
                raise PeerFault(f"the {one.name} has ended:\n{one.words()}")
        if self.perl_worker is not None and not self.perl_worker.alive:
            raise PeerFault(f"the Perl worker has ended:\n{self.perl_worker.stderr()}")
