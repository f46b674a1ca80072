"""Decode and lint live traffic between peers and Redis, or a recording.

The one command that is not of jobwire itself: a program must not judge itself. It is an entry point of the group
``jobwire.commands``, as the conformance suite registers it, and is loaded when it is asked for, by nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Coroutine
from importlib.metadata import entry_points
from typing import Any

from jobwire.cli.common import ENVIRONMENT, CliError

HELP = "decode and lint live traffic between peers and Redis, or a recording"
GROUP = "jobwire.commands"
"""Entry points of this group are modules with ``configure(parser)`` and ``run(options)``."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Raises ``CliError`` where nothing is registered, or it cannot be loaded."""
    _command().configure(parser)


def run(options: argparse.Namespace) -> Coroutine[Any, Any, int]:
    found: Coroutine[Any, Any, int] = _command().run(options)
    return found


def _command() -> Any:
    for found in entry_points(group=GROUP, name="tap"):
        try:
            return found.load()
        except ImportError as error:
            raise CliError(f"the conformance suite cannot be loaded: {error}", ENVIRONMENT) from None
    raise CliError(
        "this is a command of jobwire's conformance suite, which is not installed here: "
        "pip install 'jobwire[conformance]'",
        ENVIRONMENT,
    )
