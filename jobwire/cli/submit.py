"""Submit one job and print its result: ``jobwire submit some_data='reverse me please'``.

A result that is text or bytes is printed as it is, any other as JSON. ``key=value`` gives text; ``--json`` gives an
object whose values may be of any kind. The two may be mixed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from jobwire.cli.common import OK, USAGE, CliError, add_keyspace, add_mode, jsonable
from jobwire.client.client import Client

HELP = "submit a job and print its result"


def configure(parser: argparse.ArgumentParser) -> None:
    add_keyspace(parser)
    add_mode(parser)
    parser.add_argument("pairs", nargs="*", metavar="KEY=VALUE", help="a parameter, as text")
    parser.add_argument("--json", metavar="OBJECT", help="parameters as a JSON object")
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="SECONDS", help="how long to wait (default: 300)"
    )
    parser.add_argument("--no-wait", action="store_true", help="print the job ID, and do not wait")


def parameters(pairs: list[str], document: str | None) -> dict[str, object]:
    """The job's data. Raises ``CliError``."""
    data: dict[str, object] = {}
    if document is not None:
        try:
            data = json.loads(document)
        except ValueError as error:
            raise CliError(f"--json is no JSON: {error}", USAGE) from None
        if not isinstance(data, dict):
            raise CliError("--json must be an object, as in --json '{\"a\": 1}'", USAGE)
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise CliError(f"{pair!r} is not KEY=VALUE", USAGE)
        if name in data:
            raise CliError(f"the parameter {name!r} is given twice", USAGE)
        data[name] = value
    return data


async def _pushed(client: Client, data: dict[str, object]) -> object:
    """Submit, and return the ID once Redis has the job. Raises its ``JobError`` where that comes first."""
    pushed = asyncio.Event()
    client.on_queue_length(lambda _: pushed.set())
    handle = client.submit(data)
    handle.add_done_callback(lambda _: pushed.set())
    await pushed.wait()
    if handle.done():
        await handle
    return handle.id


async def run(options: argparse.Namespace) -> int:
    data = parameters(options.pairs, options.json)
    client = Client(
        options.url,
        mode=options.mode,
        dialect=options.dialect,
        prefix=options.prefix,
        queue=options.queue,
        timeout=options.timeout,
    )
    async with client:
        if options.no_wait:
            print(await _pushed(client, data))
            return OK
        result = await client.submit(data)
    if isinstance(result, str | bytes):
        raw = result if isinstance(result, bytes) else result.encode()
        sys.stdout.buffer.write(raw + b"\n")
    else:
        print(json.dumps(jsonable(result), ensure_ascii=False))
    return OK
