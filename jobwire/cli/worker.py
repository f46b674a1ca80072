"""Run workers: ``jobwire worker myapp:worker``, or ``myapp:make_worker()`` for a function that makes one.

The module is imported from the working directory or wherever Python finds it; a worker is a jobwire.Worker (or
jobwire.sync.Worker) with its handlers. Several targets run in one event loop. They work until SIGTERM or SIGINT comes.

Every option has a variable, as JOBWIRE_GRACE for --grace; JOBWIRE_TARGETS has the targets, separated by blanks.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import contextlib
import logging
import os
import platform
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from jobwire import __version__, fast
from jobwire.cli.common import (
    FAILED,
    OK,
    USAGE,
    CliError,
    code_of,
    fail,
    one_line,
)
from jobwire.cli.health import ask, health_server
from jobwire.cli.http import address_of
from jobwire.cli.logs import LEVELS, set_up_logging
from jobwire.cli.supervise import Supervised, supervise
from jobwire.cli.targets import load_all
from jobwire.errors import AuthError, JobwireError, TransportError, printable
from jobwire.worker.signals import told_of_signals
from jobwire.worker.threads import DaemonThreadPool
from jobwire.worker.worker import Worker

HELP = "run workers: myapp:worker"
FROM_ENVIRONMENT = True
_log = logging.getLogger("jobwire.worker")
_AT_LEAST = 1.0
"""Seconds that the threads of the application have to end in, once the worker has stopped."""
_FLUSHED_WITHIN = 2.0
_AGAIN = 1.0
"""Seconds between two attempts to reach Redis."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "targets", nargs="*", metavar="MODULE:NAME", help="a worker, or with () a function that returns it"
    )
    parser.add_argument(
        "--grace", type=float, default=30.0, metavar="SECONDS", help="for what is in hand when it stops (default: 30)"
    )
    life = parser.add_argument_group("life")
    life.add_argument("--burst", action="store_true", help="end when the queues are empty and nothing is in hand")
    life.add_argument("--max-jobs", type=int, metavar="N", help="end after each worker has taken so many jobs")
    life.add_argument(
        "--wait-for-redis",
        type=float,
        metavar="SECONDS",
        help="try to reach Redis for so long before it is an error (inf: for ever)",
    )
    life.add_argument(
        "--loop", choices=("asyncio", "uvloop"), help="the event loop (default: uvloop where it is installed)"
    )
    many = parser.add_argument_group("processes")
    many.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="so many, each with an ID of its own; one that dies is started again; SIGHUP replaces them one by one",
    )
    many.add_argument("--reload", action="store_true", help="start again when a Python file below here changes")
    watch = parser.add_argument_group("watching")
    watch.add_argument(
        "--health",
        metavar="HOST:PORT",
        help="answer /live, /ready and /metrics there over HTTP, without a password; the next process at the next port",
    )
    watch.add_argument(
        "--check",
        action="store_true",
        help="run nothing: ask the worker at --health whether it is ready; without --health, whether the targets load "
        "and reach Redis",
    )
    logs = parser.add_argument_group("log (to stderr, unless the application has handlers of its own)")
    logs.add_argument("--log-level", choices=LEVELS, help="default: info")
    logs.add_argument("--log-format", choices=("text", "json"), default="text", help="default: text")
    logs.add_argument("--log-config", metavar="FILE", help="for logging.config: .json, .toml, else an ini file")
    logs.add_argument("--verbose", action="store_true", help="log debugging too, and tracebacks of a failed import")


def run(options: argparse.Namespace) -> int:
    if options.verbose and options.log_level is None:
        options.log_level = "debug"
    if options.check:
        return _check(options)
    supervised = Supervised.of_environment()
    if options.processes is not None and options.processes < 1:
        raise CliError("--processes must be at least 1", USAGE)
    if supervised is None and (options.processes or options.reload):
        return asyncio.run(supervise(options))
    name, factory = _loop(options.loop)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_run(options, name, supervised))


async def _run(options: argparse.Namespace, loop: str, supervised: Supervised | None) -> int:
    asyncio.get_running_loop().set_default_executor(DaemonThreadPool())
    workers = load_all(options.targets, verbose=options.verbose)
    if (options.processes or 0) > 1 and any(worker.named for worker in workers):
        raise CliError("several processes cannot share the worker ID that was given (id=): leave it out", USAGE)
    set_up_logging(level=options.log_level, style=options.log_format, config=options.log_config)
    _log.info("%s", _introduction(loop))
    signalled: list[float] = []
    with told_of_signals(lambda _: signalled.append(time.monotonic())):
        code = await _serve(workers, options, supervised)
    # Its work is done: one more signal must not make a failure of that.
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(number, signal.SIG_IGN)
    left = options.grace - (time.monotonic() - signalled[0]) if signalled else 0.0
    if any(worker.counts["returned"] for worker in workers):
        left = 0.0  # jobs still running here may be begun elsewhere
    end_within(max(_AT_LEAST, left), code)
    return code


def _loop(asked: str | None) -> tuple[str, Callable[[], asyncio.AbstractEventLoop] | None]:
    """The name of the event loop, and its factory."""
    if asked != "asyncio":
        try:
            import uvloop
        except ModuleNotFoundError:
            if asked is not None:
                raise CliError("there is no uvloop: pip install 'jobwire[uvloop]'", USAGE) from None
        else:
            return "uvloop", uvloop.new_event_loop
    return "asyncio", None


def _introduction(loop: str) -> str:
    """Which code runs, where."""
    reasons = {part: fast.missing(part) for part in fast.PARTS}
    code = ", ".join(
        f"{part}: {'compiled' if why is None else f'plain Python ({why})'}" for part, why in reasons.items()
    )
    python = platform.python_version()
    return f"jobwire {__version__}, Python {python}, {loop}; {code}; pid {os.getpid()} on {socket.gethostname()}"


async def _serve(workers: Sequence[Worker], options: argparse.Namespace, supervised: Supervised | None) -> int:
    try:
        async with contextlib.AsyncExitStack() as stack:
            if supervised is not None:
                await stack.enter_async_context(supervised.watching(workers))
            if options.health is not None:
                host, port = address_of(options.health)
                # In a rolling restart the old process and the new one answer at the same port.
                shared = supervised is not None
                place = (host, port + (supervised.number if supervised is not None else 0))
                server = await stack.enter_async_context(health_server(workers, place, shared=shared))
                _log.info("health at http://%s: /live, /ready, /metrics", server.address)
            if options.wait_for_redis is not None and not await _reached_redis(workers, options.wait_for_redis):
                _log.info("a signal came before Redis was reached")
                return OK
            return await _work(workers, options)
    except JobwireError as error:
        return fail("worker", error, code_of(error))


async def _work(workers: Sequence[Worker], options: argparse.Namespace) -> int:
    """All of them; where one fails, the others stop in order."""
    runs = [
        asyncio.ensure_future(worker.run(grace=options.grace, burst=options.burst, max_jobs=options.max_jobs))
        for worker in workers
    ]
    await asyncio.wait(runs, return_when=asyncio.FIRST_EXCEPTION)
    if not all(run.done() for run in runs):
        await asyncio.gather(*(worker.stop(options.grace) for worker in workers), return_exceptions=True)
        await asyncio.wait(runs)
    return max(map(_code_of, runs), default=OK)


def _code_of(run: asyncio.Future[None]) -> int:
    error = run.exception()
    if error is None:
        return OK
    if isinstance(error, JobwireError):
        return fail("worker", error, code_of(error))
    traceback.print_exception(error)
    return FAILED


async def _reached_redis(workers: Sequence[Worker], seconds: float) -> bool:
    """True once each has reached it, False where a signal came before; raises the error of the last attempt."""
    end = time.monotonic() + seconds
    said, signalled = "", asyncio.Event()
    with told_of_signals(lambda _: signalled.set()):
        for worker in workers:
            while not signalled.is_set():
                try:
                    await worker.check()
                    break
                except TransportError as error:
                    if isinstance(error, AuthError) or time.monotonic() >= end:
                        raise
                    if str(error) != said:
                        said = str(error)
                        _log.warning("waiting for Redis: %s", said)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(signalled.wait(), _AGAIN)
    return not signalled.is_set()


def _check(options: argparse.Namespace) -> int:
    if options.health is not None:
        code, said = ask(address_of(options.health))
        for one in said.get("workers", ()):
            print(one_line(" ".join(f"{name}={value}" for name, value in one.items())))
        print("ready" if code == OK else "not ready")
        return code
    workers = load_all(options.targets, verbose=options.verbose)
    for worker in workers:
        asyncio.run(worker.check())
        print(f"worker {printable(worker.id)}: loads, and reaches {worker.place}")
    return OK


def end_within(seconds: float, code: int) -> None:
    """End the process for good if it has not ended by then: threads of the application keep it.

    Functions of ``atexit`` run after all threads have ended, and has the time that it needs.
    """
    ended = threading.Event()

    def watch() -> None:
        if ended.wait(min(seconds, threading.TIMEOUT_MAX)):
            return
        # In a thread: whoever keeps the process may also hold the lock of a log, or have filled its pipe.
        farewell = threading.Thread(target=_say_and_flush, args=(seconds,), daemon=True)
        farewell.start()
        farewell.join(_FLUSHED_WITHIN)
        os._exit(code)

    threading.Thread(target=watch, name="jobwire-end", daemon=True).start()
    atexit.register(ended.set)


def _say_and_flush(seconds: float) -> None:
    main = threading.main_thread()
    names = [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not main]
    _log.warning(
        "the process is still there %g s after its worker (threads: %s); it ends for good",
        round(seconds, 1),
        ", ".join(sorted(names)) or "none that it waits for",
    )
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
