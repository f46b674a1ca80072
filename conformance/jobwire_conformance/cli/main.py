"""From the command line to the command."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from jobwire_conformance.cases.case import CaseError
from jobwire_conformance.driver.text import one_line
from jobwire_conformance.driver.values import RECURSION
from jobwire_conformance.peers.registry import UsageFault
from jobwire_conformance.peers.servers import EnvironmentFault
from jobwire_conformance.report.report import ReportError
from jobwire_conformance.report.verdicts import Exit
from jobwire_conformance.run.expected import ExpectedError

__all__ = ["COMMANDS", "build_parser", "main"]

COMMANDS: tuple[str, ...] = (
    *("hello", "run", "show", "list", "render", "merge", "doctor", "mutants", "chaos", "soak", "tap"),
)
"""The commands: each is the module ``jobwire_conformance.cli.<name>``."""


def build_parser(asked: str = "") -> argparse.ArgumentParser:
    """All commands; the one that was asked for with its options. Raises :class:`EnvironmentFault`."""
    parser = argparse.ArgumentParser(
        prog="jobwire-conformance",
        description="Do these two programs understand each other over Redis? Real processes, a real Redis, every byte.",
        epilog="Exit status: 0 conformant, 1 not conformant, 2 usage, 3 environment, 4 stale list of expectations. "
        "How to write a peer: docs/PEERS.md.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"jobwire_conformance.cli.{name}")
        formatter = argparse.RawDescriptionHelpFormatter
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__, formatter_class=formatter)
        if name == asked:
            module.configure(command)
        command.set_defaults(perform=module.run)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION))
    try:
        options = build_parser(words[0] if words else "").parse_args(words)
        options.words = words
        status: int = options.perform(options)
    except SystemExit as end:
        return Exit.CONFORMANT if end.code in (0, None) else Exit.USAGE
    except (UsageFault, CaseError, ExpectedError, ReportError) as fault:
        return _say(str(fault), Exit.USAGE)
    except EnvironmentFault as fault:
        return _say(str(fault), Exit.ENVIRONMENT)
    except KeyboardInterrupt as end:
        return _say(": ".join(["interrupted", *map(str, end.args)]), Exit.NOT_CONFORMANT)
    return status


def _say(message: str, status: Exit) -> int:
    sys.stderr.write(f"jobwire-conformance: {one_line(message)}\n")
    return status
