"""``jobwire tap``: the entry point ``tap`` of the group ``jobwire.commands``."""

from __future__ import annotations

import argparse

from jobwire.cli.common import ENVIRONMENT, USAGE, CliError
from jobwire_conformance.peers.registry import UsageFault
from jobwire_conformance.peers.servers import EnvironmentFault
from jobwire_conformance.tap import command, options

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the options."""
    parser.description = options.__doc__
    options.configure(parser)


async def run(chosen: argparse.Namespace) -> int:
    """Run it; the exit status. Raises ``CliError``."""
    try:
        return await command.run(chosen)
    except UsageFault as fault:
        raise CliError(str(fault), USAGE) from None
    except EnvironmentFault as fault:
        raise CliError(str(fault), ENVIRONMENT) from None
