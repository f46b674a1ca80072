"""Decode and lint live traffic: the conformance suite's ``tap``, under the name of the package's own command.

It is the one command that is not jobwire's: what it looks with must not be what it looks at, so it lives in the suite,
and is loaded when it is asked for.
"""

from __future__ import annotations

import argparse

from jobwire.cli.common import ENVIRONMENT, USAGE, CliError

HELP = "decode and lint live traffic between peers and Redis, or a recording"


def configure(parser: argparse.ArgumentParser) -> None:
    from jobwire_conformance.tap import options as tap_options

    parser.description = tap_options.__doc__
    tap_options.configure(parser)


async def run(options: argparse.Namespace) -> int:
    from jobwire_conformance.peers.registry import UsageFault
    from jobwire_conformance.peers.servers import EnvironmentFault
    from jobwire_conformance.tap import command as tap

    try:
        return await tap.run(options)
    except UsageFault as fault:
        raise CliError(str(fault), USAGE) from None
    except EnvironmentFault as fault:
        raise CliError(str(fault), ENVIRONMENT) from None
