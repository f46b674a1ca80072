"""Run a worker: ``jobwire worker myapp:worker``, or ``myapp:make_worker()`` for a function that makes one.

The module is imported from the working directory or wherever Python finds it; the worker is a jobwire.Worker (or
jobwire.sync.Worker) with its handlers. It works until SIGTERM or SIGINT comes.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
import time
import traceback
from importlib import import_module
from typing import Any

from jobwire import sync
from jobwire.cli.common import FAILED, OK, USAGE, CliError, code_of, fail
from jobwire.errors import JobwireError
from jobwire.worker.signals import told_of_signals
from jobwire.worker.threads import DaemonThreadPool
from jobwire.worker.worker import Worker

HELP = "run a worker: myapp:worker"
_log = logging.getLogger("jobwire.worker")
_AT_LEAST = 1.0
"""Seconds that the threads of the application have to end in, once the worker has stopped."""
_FLUSHED_WITHIN = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="MODULE:NAME", help="the worker, or with () a function that returns it")
    parser.add_argument(
        "--grace", type=float, default=30.0, metavar="SECONDS", help="for what is in hand when it stops (default: 30)"
    )
    parser.add_argument("--verbose", action="store_true", help="log debugging too, and tracebacks of a failed import")


async def run(options: argparse.Namespace) -> int:
    asyncio.get_running_loop().set_default_executor(DaemonThreadPool())
    worker = load(options.target, verbose=options.verbose)
    set_up_logging(verbose=options.verbose)
    signalled: list[float] = []
    with told_of_signals(lambda _: signalled.append(time.monotonic())):
        code = await _work(worker, options.grace)
    # Its work is done: one more signal must not make a failure of that.
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(number, signal.SIG_IGN)
    left = options.grace - (time.monotonic() - signalled[0]) if signalled else 0.0
    if worker.counts["returned"]:
        left = 0.0  # what goes on here may be begun elsewhere
    end_within(max(_AT_LEAST, left), code)
    return code


async def _work(worker: Worker, grace: float) -> int:
    try:
        await worker.run(grace=grace)
    except JobwireError as error:
        return fail("worker", error, code_of(error))
    except Exception:
        traceback.print_exc()
        return FAILED
    return OK


def set_up_logging(*, verbose: bool) -> None:
    """Log to stderr, unless the application has handlers of its own: then it decides."""
    level = logging.DEBUG if verbose else logging.INFO
    root = logging.getLogger()
    if root.handlers:
        if verbose:
            logging.getLogger("jobwire").setLevel(level)
        return
    logging.basicConfig(
        level=level if verbose or root.level == logging.WARNING else root.level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


def end_within(seconds: float, code: int) -> None:
    """End the process for good if it has not ended by then: threads of the application keep it.

    What ``atexit`` calls comes after all threads have ended, and has the time that it needs.
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


def load(target: str, *, verbose: bool = False) -> Worker:
    """The worker that ``module:name`` or ``module:function()`` names. Raises ``CliError`` that says what is wrong."""
    module_name, separator, path = target.partition(":")
    if not separator or not module_name or not path.removesuffix("()"):
        raise CliError(f"{target!r} is not MODULE:NAME, as in myapp:worker or myapp:make_worker()", USAGE)
    found: Any = _import(module_name, verbose=verbose)
    for name in path.removesuffix("()").split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise CliError(f"there is no {name!r} in {module_name!r}", USAGE) from None
    if path.endswith("()"):
        found = found()
    if isinstance(found, sync.Worker):
        found = found.asynchronous
    if isinstance(found, Worker):
        return found
    hint = "; write it with () to call it" if callable(found) else ""
    raise CliError(f"{target!r} is a {type(found).__name__}, not a jobwire.Worker{hint}", USAGE)


def _import(name: str, *, verbose: bool) -> Any:
    sys.path.insert(0, os.getcwd())
    try:
        return import_module(name)
    except Exception as error:
        if verbose:
            traceback.print_exc()
        known = isinstance(error, ModuleNotFoundError) and error.name is not None and name.startswith(error.name)
        raise CliError(
            f"cannot import {name!r}: {type(error).__name__}: {error}", USAGE if known else FAILED
        ) from error
