"""The Python peer: ``python -m jobwire_conformance.peers.python`` drives jobwire by the driver protocol.

It uses nothing but jobwire's public face, as an application would.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import signal
import sys
from importlib import metadata
from typing import Any

import msgspec

import jobwire
from jobwire.errors import ConfigError, EncodeError, JobTimeout, JobwireError
from jobwire.sereal import PerlObject, ScalarRef
from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.values import RECURSION, Blessed, Chars, Ref, decode_value, encode_value
from jobwire_conformance.peers.operations import run_operation
from jobwire_conformance.rules.facts import DIALECTS

__all__ = ["Peer", "main", "serve"]

BEHAVIOURS = [
    "auto-dialect",
    "cancel",
    "client-timeout",
    "chars",
    "diagnoses-mismatch",
    "exact-floats",
    "failure-result",
    "own-list",
    "queue-names",
    "reconnect",
    "recovers",
    "rejects",
    "says-again",
    "server-clock",
    "stop-drains",
    "submit-id",
    "submit-queue",
    "undef",
    "worker-timeout",
]


def about() -> driver.HelloAnswer:
    """The answer to hello."""
    libraries = {name: metadata.version(name) for name in ("redis", "hiredis", "msgspec")}
    return driver.HelloAnswer(
        driver=driver.DRIVER_VERSION,
        name="jobwire",
        version=jobwire.__version__,
        language="Python",
        runtime=f"{platform.python_implementation()} {platform.python_version()}",
        libraries=libraries,
        roles=["client", "worker"],
        modes=["reliable", "recoverable", "simple"],
        dialects=list(DIALECTS),
        codecs=["sereal", "json"],
        behaviours=BEHAVIOURS,
    )


def to_jobwire(value: Any) -> Any:
    """The suite's value types as jobwire's."""
    if isinstance(value, list):
        return [to_jobwire(item) for item in value]
    if isinstance(value, dict):
        return {key: to_jobwire(item) for key, item in value.items()}
    if isinstance(value, Ref):
        return ScalarRef(to_jobwire(value.value))
    if isinstance(value, Blessed):
        return PerlObject(value.class_name, to_jobwire(value.value))
    return value.text if isinstance(value, Chars) else value


def from_jobwire(value: Any) -> Any:
    """jobwire's value types as the suite's."""
    if isinstance(value, list | tuple):
        return [from_jobwire(item) for item in value]
    if isinstance(value, dict):
        return {key: from_jobwire(item) for key, item in value.items()}
    if isinstance(value, ScalarRef):
        return Ref(from_jobwire(value.value))
    if isinstance(value, PerlObject):
        return Blessed(str(value.class_name), from_jobwire(value.value))
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    return Blessed(type(value).__name__, str(value))


class Peer:
    """One process: at most one client or one worker in its life."""

    def __init__(self) -> None:
        self.client: jobwire.Client | None = None
        self.worker: jobwire.Worker | None = None
        self._handles: dict[int, jobwire.JobHandle[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._jobs = 0
        self._leaving = False

    def say(self, answer: driver.Answer) -> None:
        """One line to the runner."""
        sys.stdout.buffer.write(driver.encode(answer))
        sys.stdout.buffer.flush()

    # --- the requests -------------------------------------------------------------------------

    async def handle(self, line: bytes) -> bool:
        """Obey one line; False at the end."""
        try:
            request = driver.decode_request(line)
        except msgspec.ValidationError:
            what = msgspec.json.decode(line, type=dict[str, Any]).get("type")
            self.say(driver.Unsupported(what=f"message {what}"))
            return True
        match request:
            case driver.Hello():
                self.say(about())
            case driver.Start():
                await self._start(request)
            case driver.Submit():
                self._submit(request)
            case driver.Cancel():
                self._handles[request.seq].cancel()
            case driver.Stop():
                await self.stop()
                self.say(driver.Stopped(jobs=self._jobs))
            case driver.Bye():
                return False
        return True

    async def _start(self, start: driver.Start) -> None:
        try:
            if start.role == "client":
                await self._start_client(start)
            else:
                await self._start_worker(start)
        except (JobwireError, TypeError) as error:
            self.say(driver.Error(message=str(error), kind=type(error).__name__))

    async def _start_client(self, start: driver.Start) -> None:
        options: dict[str, Any] = {
            "mode": start.mode,
            "dialect": start.dialect,
            "prefix": start.prefix,
            "queue": start.queue,
            "use_multi": start.use_multi,
            "timeout": start.timeout,
            "id": start.id,
            "nested": start.codec,
            "strings": start.strings,
            **start.options,
        }
        client = jobwire.Client(start.redis, **self.adapted(start, options))
        await client.start()
        self.client = client
        self.say(driver.Ready(client_id=_text(client.id)))

    async def _start_worker(self, start: driver.Start) -> None:
        options: dict[str, Any] = {
            "mode": start.mode,
            "dialect": start.dialect,
            "prefix": start.prefix,
            "pending_queues": start.queues,
            "max_concurrent_jobs": start.max_concurrent_jobs,
            "use_multi": start.use_multi,
            "timeout": start.timeout,
            "id": start.id,
            "strings": start.strings,
            **start.options,
        }
        if start.processing_queue is not None:
            options["processing_queue"] = start.processing_queue
        if options.pop("own_list", False):
            options["processing_queue"] = None
        if start.job_poll_interval is not None:
            options["job_poll_interval"] = start.job_poll_interval
        worker = jobwire.Worker(start.redis, **self.adapted(start, options))
        worker.handler(self._run)
        await worker.start()
        self.worker = worker
        self.say(driver.Ready(worker_id=_text(worker.id)))

    def adapted(self, start: driver.Start, options: dict[str, Any]) -> dict[str, Any]:
        """The options for client or worker; a variant of this peer changes them (:mod:`.selftest.peer`)."""
        del start
        return options

    def _submit(self, request: driver.Submit) -> None:
        if self.client is None:
            self.say(driver.Unsupported(what="submit without a client", seq=request.seq))
            return
        data = to_jobwire(decode_value(request.data))
        try:
            handle = self.client.submit(data, queue=request.queue, id=request.id)
        except (ConfigError, EncodeError) as error:
            self.say(driver.Error(message=f"{type(error).__name__}: {error}", seq=request.seq))
            return
        self._jobs += 1
        self._handles[request.seq] = handle
        task = asyncio.get_running_loop().create_task(self._await(request.seq, handle))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _await(self, seq: int, handle: jobwire.JobHandle[Any]) -> None:
        job_id = encode_value(handle.id)
        answer: driver.Answer
        with contextlib.suppress(JobwireError):  # which the result tells
            await handle.submitted()
        self.say(driver.Submitted(seq=seq, id=job_id))
        try:
            value = await handle
            answer = driver.Result(seq=seq, id=job_id, value=encode_value(from_jobwire(value)))
        except JobTimeout as error:
            answer = driver.Timeout(seq=seq, id=job_id, error=str(error))
        except JobwireError as error:
            answer = driver.Failed(seq=seq, id=job_id, error=str(error), kind=type(error).__name__)
        if not self._leaving:
            self.say(answer)

    async def _run(self, job: jobwire.Job) -> Any:
        """The handler. Perl's handler sees data and meta fields together in ``data``."""
        self._jobs += 1
        data = {**job.data, **job.meta}
        self.say(driver.Job(id=encode_value(job.id), data=encode_value(from_jobwire(data))))
        return await run_operation(data)

    async def stop(self) -> None:
        """Drain and leave."""
        self._leaving = True
        if self.worker is not None:
            await self.worker.stop()
        if self.client is not None:
            await self.client.stop()


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


async def _lines() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=256 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _serve(peer: Peer) -> None:
    reader = await _lines()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    async def listen() -> None:
        while line := await reader.readline():
            if not await peer.handle(line):
                break
        ended.set()

    listening = loop.create_task(listen())
    await ended.wait()
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening
    with contextlib.suppress(JobwireError):
        await peer.stop()


def serve(peer: Peer) -> int:
    """Serve until ``bye``, the end of input, or SIGTERM."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION))
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(_serve(peer))
    return 0


def main() -> int:
    """The program."""
    return serve(Peer())


if __name__ == "__main__":
    sys.exit(main())
