"""One instance being run: its peers, its names, its jobs. The steps themselves are in :mod:`run.steps`."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from jobwire_conformance.cases.case import Job, StartPeer
from jobwire_conformance.cases.templates import Names, make_value, timed
from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.process import PeerCommand, PeerFault, PeerProcess, PeerUnsupported
from jobwire_conformance.driver.values import decode_value, encode_value
from jobwire_conformance.peers.servers import Server
from jobwire_conformance.record.proxy import Proxy, Recorder
from jobwire_conformance.record.redis_link import RedisLink
from jobwire_conformance.run.axes import Instance

__all__ = ["CaseFailed", "JobRun", "LivePeer", "Scenario"]

#: The worker's pop ends this soon, so that cases do not wait for stops (Perl's default is 3 s).
POLL_INTERVAL = 0.5
#: No case waits for a client's own deadline unless it says so.
CLIENT_TIMEOUT = 60.0


class CaseFailed(Exception):
    """The instance does not show the behaviour that the case describes."""

    def __init__(self, reason: str, *, expected: Any = "", actual: Any = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.expected = expected
        self.actual = actual


@dataclass(eq=False)
class JobRun:
    """One submitted job: its number, its ID, and the client's messages about it."""

    job: Job
    seq: int
    name: str
    value: Any
    peer: str
    id: bytes | None = None
    end: driver.Answer | None = None
    refused: str | None = None
    unsupported: str | None = None
    extra_ends: int = 0
    checked: bool = False


@dataclass(eq=False)
class LivePeer:
    """A running peer behind its proxy."""

    name: str
    role: driver.Role
    process: PeerProcess
    proxy: Proxy
    start: driver.Start
    ready: driver.Ready | None = None
    jobs: list[driver.Job] = field(default_factory=list)
    stopped: bool = False


class Scenario:
    """The state of one running instance."""

    def __init__(
        self,
        instance: Instance,
        server: Server,
        commands: dict[str, PeerCommand],
        *,
        codecs: dict[str, str],
        timeout_factor: float = 1.0,
    ) -> None:
        self.instance = instance
        self.case = instance.case
        self.server = server
        self.commands = commands
        self.codecs = codecs
        self.factor = timeout_factor
        self.recorder = Recorder()
        self.link: RedisLink = server.link()
        # 0.001 has no prefix, whatever it is told.
        self.names = Names(instance.prefix if "bare-queues" not in instance.facts() else "")
        self.peers: dict[str, LivePeer] = {}
        self.runs: list[JobRun] = []
        self.log: list[str] = []
        self.ends: list[JobRun] = []
        self.keys: dict[str, Any] = {}
        self._news = asyncio.Event()

    # --- peers --------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """A line of the evidence."""
        self.log.append(f"{self.recorder.now():8.3f}  {text}")

    async def start_peer(self, step: StartPeer) -> None:
        """Start one peer and wait until it is ready (or, with ``fails``, until it says so)."""
        role: driver.Role = "client" if step.peer.startswith("client") else "worker"
        command = self.commands.get(role)
        if command is None:
            raise PeerFault(f"this instance has no {role}")
        proxy = Proxy(self.server.upstream, self.recorder, step.peer)
        await proxy.start()
        peer_jobs: list[driver.Job] = []
        process = PeerProcess(command, lambda answer: self._answered(step.peer, peer_jobs, answer))
        start = self._start_message(role, proxy, step.options)
        peer = LivePeer(step.peer, role, process, proxy, start, jobs=peer_jobs)
        self.peers[step.peer] = peer
        await process.start()
        await process.handshake(20 * self.factor)
        try:
            peer.ready = await process.ask(driver.Ready, 20 * self.factor, start)
        except PeerFault as fault:
            self._refused(step, str(fault))
            return
        if step.fails is not None:
            raise CaseFailed(f"{step.peer} started, though it must refuse to", expected=step.fails, actual="ready")
        identity = peer.ready.client_id if role == "client" else peer.ready.worker_id
        self.names.kept[step.peer] = _id_bytes(identity)
        self.note(f"{step.peer} is ready: {identity}")

    def _refused(self, step: StartPeer, message: str) -> None:
        import re

        if step.fails is None:
            raise CaseFailed(f"{step.peer} did not start", expected="ready", actual=message)
        if re.search(step.fails, message, re.IGNORECASE | re.DOTALL) is None:
            raise CaseFailed(f"{step.peer} refused, but for another reason", expected=step.fails, actual=message)
        self.note(f"{step.peer} refused to start: {message}")

    def _start_message(self, role: driver.Role, proxy: Proxy, options: dict[str, Any]) -> driver.Start:
        instance, case = self.instance, self.case
        fields: dict[str, Any] = {
            "type": "start",
            "role": role,
            "redis": self.server.url_through(proxy.port),
            "mode": instance.mode,
            "dialect": instance.client_dialect if role == "client" else instance.worker_dialect,
            "prefix": instance.prefix,
            "use_multi": instance.use_multi in (role, "both"),
        }
        if role == "client":
            # How references travel is the client's to choose; a worker reads all of them.
            fields["codec"] = self.codecs[role]
            fields["timeout"] = CLIENT_TIMEOUT
        else:
            fields["max_concurrent_jobs"] = instance.concurrency
            fields["processing_queue"] = "processing"
            if "poll-interval" in instance.facts() or instance.mode != "reliable":
                fields["job_poll_interval"] = POLL_INTERVAL
        fields.update(case.client if role == "client" else case.worker)
        fields.update(options)
        # TOML has no null: this is how a case asks for the peer's own default.
        fields = {name: None if value == {"$default": True} else value for name, value in fields.items()}
        return msgspec.convert(fields, driver.Start)

    def peer(self, name: str) -> LivePeer:
        """A peer that was started."""
        if name not in self.peers:
            raise PeerFault(f"the case speaks of {name}, which was never started")
        return self.peers[name]

    # --- jobs ---------------------------------------------------------------------------------

    def submit(self, job: Job, peer: str = "client") -> JobRun:
        """Send one submission; the answers come by :meth:`_answered`."""
        seq = len(self.runs) + 1
        value = timed(make_value(job.data), self.factor)
        run = JobRun(job=job, seq=seq, name=job.name or str(seq), value=value, peer=peer)
        self.runs.append(run)
        queue = self.names.expand(job.queue).decode() if job.queue is not None else None
        message = driver.Submit(seq=seq, data=encode_value(value), queue=queue, id=job.id)
        self.peer(peer).process.send(message)
        return run

    def _answered(self, peer: str, jobs: list[driver.Job], answer: driver.Answer) -> None:
        self._news.set()
        if isinstance(answer, driver.Job):
            jobs.append(answer)
            return
        seq = getattr(answer, "seq", None)
        if seq is None or not 0 < seq <= len(self.runs):
            self.note(f"{peer} spoke of job {seq}, which was never submitted")
            return
        run = self.runs[seq - 1]
        if isinstance(answer, driver.Submitted):
            run.id = _id_bytes(decode_value(answer.id))
            self.names.ids[run.name] = run.id
            self.names.last_id = run.id
        elif isinstance(answer, driver.Unsupported):
            run.unsupported = answer.what
        elif isinstance(answer, driver.Error):
            run.refused = answer.message
        elif run.end is not None:
            run.extra_ends += 1
        else:
            run.end = answer
            self.ends.append(run)

    async def until(self, condition: Any, seconds: float) -> bool:
        """Wait until ``condition()`` holds; False where time ran out first."""
        deadline = asyncio.get_running_loop().time() + seconds * self.factor
        while not condition():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, 0.25)):
                    await self._news.wait()
        return True

    async def wait_submitted(self, runs: list[JobRun], seconds: float = 20.0) -> None:
        """Wait until each is in Redis, or was refused."""

        def settled(run: JobRun) -> bool:
            return any(item is not None for item in (run.id, run.refused, run.unsupported, run.end))

        await self.until(lambda: all(settled(run) for run in runs) or not self._alive(runs), seconds)
        for run in runs:
            if run.unsupported is not None:
                raise PeerUnsupported(run.unsupported)
            if not settled(run):
                raise CaseFailed("a submission was not confirmed", expected="submitted", actual=self._state(run))

    def _alive(self, runs: list[JobRun]) -> bool:
        return all(self.peer(run.peer).process.alive for run in runs)

    def _state(self, run: JobRun) -> str:
        process = self.peer(run.peer).process
        return "nothing" if process.alive else f"{run.peer} ended with status {process.status}"

    # --- the end ------------------------------------------------------------------------------

    async def close(self) -> None:
        """End every process and proxy; never raises."""
        await asyncio.gather(*(peer.process.close() for peer in self.peers.values()), return_exceptions=True)
        await asyncio.gather(*(peer.proxy.close() for peer in self.peers.values()), return_exceptions=True)
        await self.link.close()

    def stderr(self) -> dict[str, str]:
        """The stderr of each peer."""
        return {name: text for name, peer in self.peers.items() if (text := peer.process.stderr())}


def _id_bytes(value: Any) -> bytes:
    if isinstance(value, dict):
        value = decode_value(value)
    return value if isinstance(value, bytes) else str(value).encode()
