"""The workers that ``MODULE:NAME`` and ``MODULE:FUNCTION()`` name."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from jobwire import sync
from jobwire.cli.common import FAILED, USAGE, CliError
from jobwire.worker.worker import Worker

__all__ = ["load", "load_all"]


def load_all(targets: Sequence[str], *, verbose: bool = False) -> list[Worker]:
    """Raises ``CliError``, also where two targets are the same worker."""
    if not targets:
        raise CliError("say which worker: MODULE:NAME, as in myapp:worker ($JOBWIRE_TARGETS does as well)", USAGE)
    workers: list[Worker] = []
    for target in targets:
        worker = load(target, verbose=verbose)
        if worker in workers:
            raise CliError(f"{target!r} is a worker that was named before", USAGE)
        workers.append(worker)
    return workers


def load(target: str, *, verbose: bool = False) -> Worker:
    """The worker that ``target`` names. Raises ``CliError`` that names the fault.

    Where a function that is to make one raises, the traceback of the user's own code is printed.
    """
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
        found = _made(found, target)
    if isinstance(found, sync.Worker):
        found = found.asynchronous
    if isinstance(found, Worker):
        return found
    hint = "; write it with () to call it" if callable(found) else ""
    raise CliError(f"{target!r} is a {type(found).__name__}, not a jobwire.Worker{hint}", USAGE)


def _made(function: Any, target: str) -> Any:
    if not callable(function):
        raise CliError(f"{target!r}: a {type(function).__name__} cannot be called; write it without ()", USAGE)
    try:
        return function()
    except Exception as error:
        own = error.__traceback__.tb_next if error.__traceback__ is not None else None
        traceback.print_exception(error.with_traceback(own))
        raise CliError(f"{target!r} made no worker: {type(error).__name__}: {error}", FAILED) from error


def _import(name: str, *, verbose: bool) -> Any:
    if os.getcwd() not in sys.path:
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
