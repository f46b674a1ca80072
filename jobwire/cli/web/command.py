"""The options of ``jobwire web``, and the server."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import msgspec

from jobwire.cli.common import ENVIRONMENT, OK, USAGE, CliError, add_url
from jobwire.cli.web.source import Source

HELP = "serve a page that shows queues, workers and jobs"
FROM_ENVIRONMENT = True


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("at", nargs="*", metavar="URL#PREFIX", help="servers and prefixes (default: --url, --prefix)")
    add_url(parser)
    parser.add_argument("--prefix", default="jobs", help="prefix of a URL without one (default: jobs)")
    parser.add_argument("--queue", action="append", default=[], metavar="NAME", help="a queue that no worker names")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one (default: 8090)")
    parser.add_argument("--token-file", metavar="FILE", help="a file with the token that every request must show")
    parser.add_argument(
        "--behind", metavar="HEADER", help="the header in which a proxy in front names who has signed in"
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="with --behind: a name that the proxy serves it under",
    )
    parser.add_argument("--read-only", action="store_true", help="nobody requeues or drops")
    parser.add_argument(
        "--interval", type=float, default=5.0, metavar="SECONDS", help="between two samples (default: 5)"
    )
    parser.add_argument("--no-rates", action="store_true", help="do not listen to all notices to count ended jobs")
    parser.add_argument("--tap", metavar="HOST:PORT", help="show the steps of peers that are connected there")


async def run(options: argparse.Namespace) -> int:
    try:
        import uvicorn

        from jobwire.cli.web.app import make_app
        from jobwire.cli.web.guard import Guard
    except ModuleNotFoundError as missing:
        raise CliError("the page needs the extra web: pip install 'jobwire[web]'", USAGE) from missing
    guard = Guard(
        host=options.host,
        port=options.port,
        token=_token(options.token_file),
        behind=None if options.behind is None else options.behind.lower(),
        names=frozenset(options.name),
        read_only=options.read_only,
    )
    guard.check_setting()
    with _listening(options.host, options.port) as listener:
        guard = msgspec.structs.replace(guard, port=listener.getsockname()[1])
        places = [_place(text, options.prefix) for text in options.at or [options.url]]
        sources = [Source(url, prefix, options.queue, rates=not options.no_rates) for url, prefix in places]
        app = make_app(
            sources, guard, interval=options.interval, tap=(options.tap, places[0][0]) if options.tap else None
        )
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"jobwire web: http://{host}:{guard.port}/", flush=True)
        settings = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2
        )
        await uvicorn.Server(settings).serve(sockets=[listener])
    return OK


def _place(text: str, prefix: str) -> tuple[str, str]:
    url, separator, named = text.partition("#")
    return url, named if separator else prefix


def _token(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"the token cannot be read from {path}: {error}", USAGE) from error


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise CliError(f"cannot listen at {host}:{port}: {error}", ENVIRONMENT) from error
