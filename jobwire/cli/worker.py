"""Run a worker: ``jobwire worker myapp:worker``, or ``myapp:make_worker()`` for a function that makes one.

The module is imported from the working directory or wherever Python finds it; the worker is a jobwire.Worker (or
jobwire.sync.Worker) with its handlers. It works until SIGTERM or SIGINT comes.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from importlib import import_module
from typing import Any

from jobwire import sync
from jobwire.cli.common import FAILED, OK, USAGE, CliError
from jobwire.worker.worker import Worker

HELP = "run a worker: myapp:worker"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="MODULE:NAME", help="the worker, or with () a function that returns it")
    parser.add_argument(
        "--grace", type=float, default=30.0, metavar="SECONDS", help="for what is in hand when it stops (default: 30)"
    )
    parser.add_argument("--verbose", action="store_true", help="log debugging too, and tracebacks of a failed import")


async def run(options: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    worker = load(options.target, verbose=options.verbose)
    await worker.run(grace=options.grace)
    return OK


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
