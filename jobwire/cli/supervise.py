"""``jobwire worker`` with ``--processes`` or ``--reload``: processes that are started, watched, and replaced.

Each is ``jobwire worker`` with the same arguments and an ID of its own. It says through a pipe when its workers take
jobs; another pipe, which nobody writes to, tells it when its supervisor has died: then it stops in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from jobwire.cli.common import OK, USAGE, CliError
from jobwire.cli.logs import set_up_logging
from jobwire.transport import Backoff
from jobwire.worker.signals import told_of_signals
from jobwire.worker.worker import Worker

__all__ = ["Supervised", "supervise"]

_log = logging.getLogger("jobwire.supervisor")
_VARIABLE = "JOBWIRE_SUPERVISED"
_BEGINS_WITHIN = 60.0
"""Seconds that a new process may take until it takes jobs, in a rolling restart."""
_LONGER_THAN_GRACE = 15.0
"""Seconds after the grace until a process that was told to stop is killed."""
_STEADY = 5.0
"""Seconds after which the end of a process is no sign that it cannot start."""
_LOOK = 0.05
_KILLED = 9


class Supervised:
    """The part of a process that has a supervisor: its number, from 0, and two pipes."""

    def __init__(self, text: str) -> None:
        self.number, self._ready, self._life = map(int, text.split(","))

    @classmethod
    def of_environment(cls) -> Supervised | None:
        """None where this process has no supervisor."""
        text = os.environ.pop(_VARIABLE, None)
        return None if text is None else cls(text)

    @contextlib.asynccontextmanager
    async def watching(self, workers: Sequence[Worker]) -> AsyncIterator[None]:
        """Say when all ``workers`` take jobs; SIGTERM to ourselves when the supervisor has died."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._life, self._orphaned)
        task = asyncio.ensure_future(self._say_when_ready(workers))
        try:
            yield
        finally:
            task.cancel()
            loop.remove_reader(self._life)

    def _orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(self._life)
        _log.error("the supervisor has died; this process stops")
        os.kill(os.getpid(), signal.SIGTERM)

    async def _say_when_ready(self, workers: Sequence[Worker]) -> None:
        while not all(worker.health.taking for worker in workers):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_LOOK)
        with contextlib.suppress(OSError):
            os.write(self._ready, b"1")


class _Child:
    """One process, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process, ready: asyncio.Future[bool]) -> None:
        self.process = process
        self.ready = ready
        """True once it takes jobs, False where it has ended before."""
        self.begun = time.monotonic()

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class _Slot:
    """The place of one process."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.child: _Child | None = None
        self.replacement: _Child | None = None
        """In a rolling restart, the one that takes its place."""
        self.backoff = Backoff(1.0, 30.0)


class _Supervisor:
    def __init__(self, options: Namespace) -> None:
        self._options = options
        self._slots = [_Slot(number) for number in range(options.processes or 1)]
        self._children: set[_Child] = set()
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._was_ready = False
        self._rolling: asyncio.Future[None] | None = None
        self._life, self._held = os.pipe()  # who holds the second end lives
        self.code = OK

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._roll_soon)
        with told_of_signals(self._stop):
            kept = [asyncio.ensure_future(self._keep(slot)) for slot in self._slots]
            watch = asyncio.ensure_future(self._reload()) if self._options.reload else None
            try:
                await asyncio.gather(*kept)
            finally:
                for task in filter(None, (watch, self._rolling)):
                    task.cancel()
        _log.info("all processes have ended")
        return self.code

    # -- one process

    async def _keep(self, slot: _Slot) -> None:
        while not self._stopping.is_set():
            child = slot.child = slot.child or await self._spawn(slot)
            code = await child.process.wait()
            self._children.discard(child)
            new, slot.replacement = slot.replacement, None
            slot.child = new if new is not None and await new.ready else None
            if slot.child is not None:
                continue
            if self._stopping.is_set() or await self._ended(slot, child, code):
                self.code = max(self.code, code)
                return

    async def _ended(self, slot: _Slot, child: _Child, code: int) -> bool:
        """True where no other process is to take its place."""
        name = f"process {slot.number} ({child.process.pid})"
        if self._options.reload:
            if not self._changed.is_set():
                _log.warning("%s ended with status %d; it starts again when a file changes", name, code)
                await self._first_of(self._changed, self._stopping)
            self._changed.clear()
            return self._stopping.is_set()
        if code == OK:
            _log.info("%s has done its work", name)
            return self._options.max_jobs is None or self._options.burst
        # One that a signal ended has not said that it cannot work.
        if code == USAGE or (code > 0 and not self._was_ready):
            _log.error("%s could not start: status %d; all stop", name, code)
            self.code = code
            self._stop(signal.SIGTERM)
            return True
        if time.monotonic() - child.begun > _STEADY:
            slot.backoff.reset()
        delay = slot.backoff.next()
        _log.error("%s ended with status %d; another one starts in %.1f s", name, code, delay)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay)
        return self._stopping.is_set()

    async def _spawn(self, slot: _Slot) -> _Child:
        ours, theirs = os.pipe()
        command = [sys.executable, "-m", "jobwire", *self._options.words]
        variables = {**os.environ, _VARIABLE: f"{slot.number},{theirs},{self._life}"}
        try:
            process = await asyncio.create_subprocess_exec(*command, env=variables, pass_fds=(theirs, self._life))
        finally:
            os.close(theirs)
        ready = asyncio.get_running_loop().create_future()
        child = _Child(process, ready)
        asyncio.get_running_loop().add_reader(ours, self._heard, ours, ready)
        self._children.add(child)
        _log.info("process %d (%d) has begun", slot.number, process.pid)
        if self._stopping.is_set():
            child.signal(signal.SIGTERM)
        return child

    def _heard(self, pipe: int, ready: asyncio.Future[bool]) -> None:
        said = os.read(pipe, 1)
        asyncio.get_running_loop().remove_reader(pipe)
        os.close(pipe)
        self._was_ready = self._was_ready or bool(said)
        if not ready.done():
            ready.set_result(bool(said))

    # -- all of them

    def _stop(self, number: signal.Signals) -> None:
        if not self._stopping.is_set():
            _log.info("stopping %d processes: %s", len(self._children), number.name)
            self._stopping.set()
            end = self._options.grace + _LONGER_THAN_GRACE
            asyncio.get_running_loop().call_later(end, self._kill)
        for child in self._children:
            child.signal(number)

    def _kill(self) -> None:
        for child in self._children:
            _log.error("process %d has not ended; it is killed", child.process.pid)
            child.signal(_KILLED)

    def _roll_soon(self) -> None:
        if self._stopping.is_set() or (self._rolling is not None and not self._rolling.done()):
            return
        self._rolling = asyncio.ensure_future(self._roll())

    async def _roll(self) -> None:
        """Replace one after the other: the old one stops when the new one takes jobs."""
        _log.info("SIGHUP: a rolling restart of %d processes", len(self._slots))
        for slot in self._slots:
            old = slot.child
            if old is None:
                continue  # it is about to start anyhow
            new = slot.replacement = await self._spawn(slot)
            try:
                good = await asyncio.wait_for(asyncio.shield(new.ready), _BEGINS_WITHIN)
            except TimeoutError:
                good = False
            if not good:
                _log.error("process %d (%d) takes no jobs: the old ones stay", slot.number, new.process.pid)
                slot.replacement = None
                new.signal(signal.SIGTERM)
                await new.process.wait()
                self._children.discard(new)
                return
            old.signal(signal.SIGTERM)
            await old.process.wait()
        _log.info("the rolling restart is done")

    async def _reload(self) -> None:
        from watchfiles import PythonFilter, awatch

        async for changes in awatch(Path.cwd(), watch_filter=PythonFilter(), stop_event=self._stopping):
            names = sorted({Path(path).name for _, path in changes})
            _log.info("changed: %s; starting again", ", ".join(names[:5]))
            self._changed.set()
            for child in self._children:
                child.signal(signal.SIGTERM)

    @staticmethod
    async def _first_of(*events: asyncio.Event) -> None:
        waiting = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()


async def supervise(options: Namespace) -> int:
    """Run ``options.processes`` of them until SIGTERM or SIGINT; SIGHUP replaces them one by one. The exit code."""
    if options.reload and find_spec("watchfiles") is None:
        raise CliError("--reload needs the extra reload: pip install 'jobwire[reload]'", USAGE)
    set_up_logging(level=options.log_level, style=options.log_format, config=options.log_config)
    return await _Supervisor(options).run()
