"""The processes of a chaos run: workers to be killed, and Perl clients, each of which lives as long as its connections.

A Perl client of release 0.004 never works again once its connection to Redis was lost, so the fleet replaces it; what
it had outstanding must then be found in Redis.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

import msgspec

from endurance.chaos.accounts import NOT_KNOWN, Submitted
from endurance.chaos.worker import WorkerSettings
from jobwire.wire.lifecycle import ModeName
from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.process import PeerCommand, PeerFault, PeerProcess

__all__ = ["ChaosWorker", "ClientOptions", "PerlWorkers", "ProcessClient", "PythonWorkers"]


_TOLD = {"ServerError": "refused by Redis", "ConnectionLost": NOT_KNOWN}


class PerlWorkers(NamedTuple):
    """How many workers are Perl's, stock ones that load ``Jobwire::Reliable``, and how one is started."""

    number: int
    command: tuple[str, ...]
    env: dict[str, str]


class ChaosWorker:
    """One worker process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log
        self.ready = asyncio.get_running_loop().create_future()
        self.stopped = False
        self.steady = False
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        if self.process.stdout is not None:
            line = await self.process.stdout.readline()
            if not self.ready.done():
                self.ready.set_result(line == b"ready\n")

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    @property
    def up(self) -> bool:
        return self.alive and not self.stopped and self.ready.done() and bool(self.ready.result())

    async def end(self, number: signal.Signals) -> None:
        """Send a signal, and wait until the process has ended."""
        if self.alive:
            self.process.send_signal(number)
            await self.process.wait()


class PythonWorkers:
    """Keeps ``count`` workers running; each goes to Redis by the next of ``urls``. The oldest is ``steady``: there is
    no fault for it alone, as in a fleet in which not everybody is young.
    """

    def __init__(
        self,
        urls: Sequence[str],
        folder: Path,
        *,
        count: int,
        steady: bool,
        options: dict[str, Any],
        perl: PerlWorkers | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._env = env or {}
        self._urls = urls
        self._perl = perl
        self._folder = folder
        self._count = count
        self._options = options
        self._made = 0
        self._steady = steady
        self.all: list[ChaosWorker] = []
        self._filling = asyncio.Lock()
        self.journal = folder / "journal"
        self.journal.touch()

    async def fill(self) -> None:
        """Start as many as are missing; they get ready on their own."""
        async with self._filling:  # two faults may end workers at the same time
            self.all = [worker for worker in self.all if worker.alive]
            while len(self.all) < self._count:
                started = await self._start()
                self.all.append(started)
            self.all[0].steady = self._steady

    async def _start(self) -> ChaosWorker:
        name = f"chaos-{self._made}"
        url = self._urls[self._made % len(self._urls)]
        self._made += 1
        settings = WorkerSettings(url=url, journal=str(self.journal), options={"id": name, **self._options})
        log = self._folder / f"{name}.log"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **self._env}
        command: tuple[str, ...] = (sys.executable, "-m", "endurance.chaos.worker")
        # The first one is steady; of those behind it as many as were asked for are Perl's, whoever is replaced.
        if self._perl is not None and self._made > 1 and (self._made - 2) % (self._count - 1) < self._perl.number:
            command, environment = self._perl.command, {**os.environ, **self._perl.env}
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *command,
                msgspec.json.encode(settings).decode(),
                stdin=subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=out,
                env=environment,
            )
        return ChaosWorker(name, process, log)

    async def some_up(self, count: int, *, within: float) -> list[ChaosWorker]:
        """Those that work, once there are ``count``; raises ``TimeoutError`` where there are not."""
        end = time.monotonic() + within
        while len(up := [worker for worker in self.all if worker.up and not worker.steady]) < count:
            if time.monotonic() > end:
                logs = "\n".join(worker.log.read_text(errors="replace")[-500:] for worker in self.all)
                raise TimeoutError(f"{len(up)} of {count} workers work:\n{logs}")
            await self.fill()
            await asyncio.sleep(0.02)
        return up

    async def all_up(self, *, within: float) -> None:
        """Return when every worker works; raises ``TimeoutError``."""
        await self.fill()
        async with asyncio.timeout(within):
            while not all(worker.up for worker in self.all):  # noqa: ASYNC110 - they are processes
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        """SIGTERM, then SIGKILL for who does not go."""
        for worker in self.all:
            if worker.alive:
                worker.process.send_signal(signal.SIGCONT)
                worker.process.send_signal(signal.SIGTERM)
        for worker in self.all:
            try:
                await asyncio.wait_for(worker.process.wait(), 15)
            except TimeoutError:
                await worker.end(signal.SIGKILL)


class ClientOptions(TypedDict):
    """``timeout``: seconds that it waits for a result."""

    mode: ModeName
    prefix: str
    timeout: float


class ProcessClient:
    """A client in a process of its own, Perl or Python, behind the driver protocol; its jobs go into ``book``."""

    def __init__(
        self, command: PeerCommand, url: str, name: str, book: dict[str, Submitted], **options: Unpack[ClientOptions]
    ) -> None:
        self._url = url
        self._options = options
        self.name = name
        self._book = book
        self._sent: dict[int, tuple[Submitted, Any]] = {}
        self._process = PeerProcess(command, self._on_answer)
        self.usable = False

    async def start(self) -> None:
        """Raises ``PeerFault``."""
        await self._process.start()
        await self._process.handshake(30)
        await self._process.ask(driver.Ready, 30, driver.Start(role="client", redis=self._url, **self._options))
        self.usable = True

    @property
    def outstanding(self) -> int:
        return sum(1 for job, _ in self._sent.values() if not job.outcome and not job.given_up)

    def submit(self, number: int, data: dict[str, Any]) -> bool:
        """False where this client is of no use any more."""
        if not self.usable:
            return False
        job = Submitted(id=f"{self.name} {number}, not acknowledged", client=self.name, at=time.time())
        self._sent[number] = (job, data["value"])
        try:
            self._process.send(driver.Submit(seq=number, data=data))
        except PeerFault:
            self.usable = False
            del self._sent[number]
            return False
        self._book[f"{self.name} {number}"] = job
        return True

    def _on_answer(self, answer: driver.Answer) -> None:
        seq = getattr(answer, "seq", None)
        if seq not in self._sent:
            return
        job, expected = self._sent[seq]
        if isinstance(answer, driver.Submitted):
            job.id, job.acknowledged = str(answer.id), True
        elif isinstance(answer, driver.Result):
            job.outcome = "result" if answer.value == expected else "wrong result"
        elif isinstance(answer, driver.Failed) and answer.kind in _TOLD:
            job.outcome = _TOLD[answer.kind]
        elif isinstance(answer, driver.Timeout):
            job.given_up = True
        elif isinstance(answer, driver.Failed | driver.Error):
            # A submission that could not be made is not a job; one that was acknowledged is looked for in Redis.
            self.usable = False

    async def end(self, *, after: float = 0.2) -> None:
        """kill −9. After its connections were lost, it may finish its report ``after`` seconds later."""
        self.usable = False
        await asyncio.sleep(after)
        self._process.signal(signal.SIGKILL)
        await self._process.close()
        for job, _ in self._sent.values():
            job.client_died = job.client_died or not (job.outcome or job.given_up)
