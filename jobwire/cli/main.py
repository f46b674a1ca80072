"""From the command line to the command."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from jobwire import __version__
from jobwire.cli.common import FAILED, INTERRUPTED, CliError, code_of, fail, from_environment
from jobwire.errors import JobwireError

__all__ = ["COMMANDS", "build_parser", "main"]

COMMANDS: tuple[str, ...] = (
    "worker",
    "submit",
    "top",
    "web",
    "exporter",
    "jobs",
    "job",
    "rejected",
    "dead",
    "recover",
    "doctor",
    "server",
    "completion",
    "tap",
)
"""The commands: each is the module ``jobwire.cli.<name>``."""
EXTERNAL = frozenset({"tap"})
"""Those that another package brings: loaded only when they are asked for."""


def build_parser(asked: str | None = None) -> argparse.ArgumentParser:
    """All commands; the external ones have their options where they are ``asked`` for. Raises ``CliError``."""
    parser = argparse.ArgumentParser(
        prog="jobwire", description="Work with jobs of Perl's Job::Async::Redis.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"jobwire {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = import_module(f"jobwire.cli.{name}")
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == asked or name not in EXTERNAL:
            module.configure(command)
        if name == asked and getattr(module, "FROM_ENVIRONMENT", False):
            from_environment(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Errors are one line on stderr."""
    words = sys.argv[1:] if arguments is None else arguments
    asked = words[0] if words else ""
    try:
        options = build_parser(asked).parse_args(words)
        options.words = list(words)
        outcome = options.run(options)
        code: int = asyncio.run(outcome) if inspect.iscoroutine(outcome) else outcome
        sys.stdout.flush()
    except CliError as error:
        return fail(asked, error, error.code)
    except JobwireError as error:
        return fail(asked, error, code_of(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough of it; the interpreter must not trip over that at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code
