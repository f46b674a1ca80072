"""One peer process: starting it, speaking the driver protocol with it, and breaking it on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import msgspec

from jobwire_conformance.driver import protocol as driver

__all__ = ["LINE_LIMIT", "NONSENSE", "PeerCommand", "PeerFault", "PeerProcess", "PeerUnsupported", "Running"]

#: A request that no peer can know; the answer must be ``unsupported``.
NONSENSE = b'{"type":"fhqwhgads","what":"no peer knows this"}\n'

LINE_LIMIT = 256 * 1024 * 1024
_STDERR_LINES = 400

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)


class PeerFault(RuntimeError):
    """The peer broke the driver protocol, died, or said ``error``."""


class PeerUnsupported(Exception):
    """The peer said ``unsupported``."""


class Running(Protocol):
    """A started peer, in a process or in a container, as :class:`PeerProcess` uses it."""

    @property
    def stdout(self) -> asyncio.StreamReader: ...
    @property
    def stderr(self) -> asyncio.StreamReader: ...
    @property
    def returncode(self) -> int | None: ...
    @property
    def pid(self) -> int | None: ...
    def write(self, line: bytes) -> None: ...
    def end_input(self) -> None: ...
    async def wait(self) -> int: ...
    def signal(self, number: signal.Signals) -> None: ...
    async def dispose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class PeerCommand:
    """How a peer is started: the name it was asked for by, its dialect, argument list, environment additions.

    ``launch`` starts anything but a local process.
    """

    name: str
    dialect: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    kind: str = "process"
    launch: Callable[[PeerCommand], Awaitable[Running]] | None = None


class _LocalProcess:
    """A peer as a child process, in a session of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise PeerFault("the peer has no pipes")
        self._process = process
        self._stdin = process.stdin
        self.stdout = process.stdout
        self.stderr = process.stderr

    @classmethod
    async def open(cls, command: PeerCommand) -> _LocalProcess:
        try:
            process = await asyncio.create_subprocess_exec(
                *command.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, **command.env},
                limit=LINE_LIMIT,
                start_new_session=True,
            )
        except OSError as error:
            raise PeerFault(f"cannot start {command.argv[0]}: {error.strerror}") from None
        return cls(process)

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def write(self, line: bytes) -> None:
        self._stdin.write(line)

    def end_input(self) -> None:
        self._stdin.close()

    async def wait(self) -> int:
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def dispose(self) -> None:
        """Nothing is left of a process that has ended."""


class PeerProcess:
    """A running peer. ``on_answer`` is called for messages about jobs (submitted, result, job, …)."""

    def __init__(self, command: PeerCommand, on_answer: Callable[[driver.Answer], None] | None = None) -> None:
        self.command = command
        self._on_answer = on_answer
        self._process: Running | None = None
        self._stderr: deque[bytes] = deque(maxlen=_STDERR_LINES)
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: asyncio.Queue[driver.Answer | PeerFault] = asyncio.Queue()
        self._news = asyncio.Event()
        self.errors: list[str] = []
        self.hello: driver.HelloAnswer | None = None

    # --- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the process; raises :class:`PeerFault` where it cannot be started."""
        launch = self.command.launch or _LocalProcess.open
        self._process = process = await launch(self.command)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read_answers(process)), loop.create_task(self._read_stderr(process))]

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """The process id; None where it is not a process of this machine."""
        return self._process.pid if self._process is not None else None

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs; negative: killed by that signal."""
        return self._process.returncode if self._process is not None else None

    def stderr(self) -> str:
        """The last lines that the peer wrote to stderr."""
        return b"".join(self._stderr).decode("utf-8", "backslashreplace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it started."""
        if self._process is not None and self._process.returncode is None:
            self._process.signal(number)

    async def wait_exit(self, seconds: float) -> int | None:
        """Wait for the end of the process; its status, or None where it still runs."""
        if self._process is None:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
        return self._process.returncode

    async def close(self) -> None:
        """End the process, whatever its state; never raises."""
        if self._process is None:
            return
        if self.alive:
            with contextlib.suppress(PeerFault):
                self.send(driver.Bye())
            self._process.end_input()
            self.signal(signal.SIGCONT)
            if await self.wait_exit(0.5) is None:
                self.signal(signal.SIGKILL)
                await self._process.wait()
        # A child of the peer may hold the pipes open; do not wait for it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await self._process.dispose()

    # --- speaking -----------------------------------------------------------------------------

    def send(self, message: driver.Request) -> None:
        """Send one request, without waiting."""
        self.send_raw(driver.encode(message))

    def send_raw(self, line: bytes) -> None:
        """Send bytes as they are."""
        if self._process is None or not self.alive:
            raise PeerFault(f"the peer is not running (status {self.status})")
        self._process.write(line)

    async def handshake(self, seconds: float) -> driver.HelloAnswer:
        """The nonsense command, then hello; raises :class:`PeerFault` where either is answered wrongly."""
        self.send_raw(NONSENSE)
        answer = await self._next(seconds)
        if not isinstance(answer, driver.Unsupported):
            raise PeerFault(f"a nonsense command was answered with {type(answer).__name__}, not with unsupported")
        self.send(driver.Hello())
        hello = await self.ask(driver.HelloAnswer, seconds)
        if hello.driver != driver.DRIVER_VERSION:
            raise PeerFault(f"the peer speaks driver protocol {hello.driver}, the suite {driver.DRIVER_VERSION}")
        self.hello = hello
        return hello

    async def ask(self, wanted: type[AnswerT], seconds: float, message: driver.Request | None = None) -> AnswerT:
        """Send ``message`` and wait for its answer; unsupported and errors are raised."""
        if message is not None:
            self.send(message)
        answer = await self._next(seconds)
        if isinstance(answer, driver.Unsupported):
            raise PeerUnsupported(answer.what)
        if isinstance(answer, driver.Error):
            self.errors.append(answer.message)
            raise PeerFault(answer.message)
        if not isinstance(answer, wanted):
            raise PeerFault(f"answered {type(answer).__name__} where {wanted.__name__} was due")
        return answer

    async def news(self, seconds: float) -> None:
        """Wait until the peer wrote something (stdout or stderr), or time has passed."""
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _next(self, seconds: float) -> driver.Answer:
        try:
            async with asyncio.timeout(seconds):
                answer = await self._waiting.get()
        except TimeoutError:
            raise PeerFault(f"no answer within {seconds:g} s (does it flush each line that it writes?)") from None
        if isinstance(answer, PeerFault):
            raise answer
        return answer

    # --- listening ----------------------------------------------------------------------------

    async def _read_answers(self, process: Running) -> None:
        while line := await process.stdout.readline():
            self._news.set()
            try:
                answer = driver.decode_answer(line)
            except msgspec.DecodeError as error:
                self._waiting.put_nowait(PeerFault(f"not an answer of the driver protocol: {error}: {line[:200]!r}"))
                continue
            self._dispatch(answer)
        status = await process.wait()
        self._news.set()
        self._waiting.put_nowait(PeerFault(f"the peer ended (status {status}) before it answered"))

    def _dispatch(self, answer: driver.Answer) -> None:
        seq = getattr(answer, "seq", None)
        of_jobs = isinstance(answer, driver.Job) or seq is not None
        if isinstance(answer, driver.Error) and seq is not None:
            self.errors.append(answer.message)
        if not of_jobs:
            self._waiting.put_nowait(answer)
        elif self._on_answer is not None:
            self._on_answer(answer)

    async def _read_stderr(self, process: Running) -> None:
        while chunk := await process.stderr.read(65536):
            self._stderr += chunk.splitlines(keepends=True)
            self._news.set()


def options_of(start: dict[str, Any]) -> driver.Start:
    """A ``start`` message from plain fields; raises ``msgspec.ValidationError``."""
    return msgspec.convert({"type": "start", **start}, driver.Start)
