"""Show what waits, what runs and who works, under each prefix.

``jobwire top`` goes on until it is interrupted; ``--once`` shows it once. Without ``--prefix`` every prefix is shown
that has lists or workers. Jobs under way stand in the list that all Perl workers share ("processing") or in a list of
one jobwire worker ("own"); Perl workers leave no sign of life, so only jobwire workers are listed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator

import msgspec

from jobwire.cli.common import (
    OK,
    add_json,
    add_url,
    bare,
    checked,
    connection_to,
    jsonable,
    keys_of_type,
    members_of,
    print_json,
    styled,
)
from jobwire.transport import Connection
from jobwire.wire import Keyspace
from jobwire.wire.states import PrefixState, ask_for_prefix, list_every, prefixes_in, read_prefix
from jobwire.wire.text import readable, wire_bytes

HELP = "show queues, processing lists, workers, dead and rejected jobs"
_CLEAR = "\x1b[H\x1b[2J"


class Overview(msgspec.Struct, frozen=True):
    """All prefixes of a server at one moment; ``at`` epoch seconds."""

    at: float
    prefixes: tuple[PrefixState, ...]


def configure(parser: argparse.ArgumentParser) -> None:
    add_url(parser)
    parser.add_argument("--prefix", action="append", metavar="PREFIX", help="only this one; may be given several times")
    parser.add_argument("--once", action="store_true", help="show it once, and end")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="between two looks (default: 2)")
    add_json(parser)


async def run(options: argparse.Namespace) -> int:
    wanted = None if options.prefix is None else [prefix.encode() for prefix in options.prefix]
    async with connection_to(options.url) as connection:
        while True:
            _show(await look_over(connection, wanted), options)
            if options.once:
                return OK
            await asyncio.sleep(max(0.1, options.interval))


async def look_over(connection: Connection, wanted: list[bytes] | None) -> Overview:
    """The prefixes ``wanted``, or all that show. Raises ``TransportError``."""
    lists = await keys_of_type(connection, b"list")
    known = prefixes_in([*lists, *await keys_of_type(connection, b"set")])
    chosen = sorted(known if wanted is None else wanted)
    states = [await _prefix(connection, Keyspace(readable(prefix)), lists, known) for prefix in chosen]
    return Overview(time.time(), tuple(states))


async def _prefix(connection: Connection, keyspace: Keyspace, lists: list[bytes], known: set[bytes]) -> PrefixState:
    own = list_every(keyspace, lists, known - {wire_bytes(keyspace.prefix)})
    workers = await members_of(connection, keyspace.workers)
    replies = checked(await connection.call(*ask_for_prefix(keyspace, own, workers)))
    return read_prefix(keyspace, own, workers, replies)


def _show(overview: Overview, options: argparse.Namespace) -> None:
    if options.json:
        if options.once:
            print_json(overview)
        else:
            print(json.dumps(jsonable(overview)))  # one line a look
    else:
        again = sys.stdout.isatty() and not options.once
        print((_CLEAR if again else "") + "\n".join(rendered(overview)))
    sys.stdout.flush()


def rendered(overview: Overview) -> Iterator[str]:
    """The overview as lines of text."""
    if not overview.prefixes:
        yield "no queues, no workers"
    for state in overview.prefixes:
        name = bare(state.prefix) if state.prefix else "(no prefix)"
        yield styled(name, "bold")
        for queue in state.queues or ():
            yield f"  queue       {queue.length:>8}  {bare(queue.name)}"
        if not state.queues:
            yield f"  queue       {0:>8}  (all empty)"
        yield f"  processing  {state.processing:>8}  shared"
        beats = {worker.id: worker.heartbeat for worker in state.workers}
        lengths = {own.worker: own.length for own in state.own}
        for worker in sorted({*beats, *lengths}, key=wire_bytes):
            yield f"  processing  {lengths.get(worker, 0):>8}  own, {_worker(worker, beats.get(worker))}"
        aside = {"dead": state.dead, "rejected": state.rejected, "with failed attempts": state.attempts}
        for what, count in aside.items():
            if count:
                yield styled(f"  set aside   {count:>8}  {what}", "yellow")


def _worker(worker: str | bytes, heartbeat: float | None) -> str:
    name = f"worker {bare(worker)}"
    if heartbeat is None:
        return styled(f"{name}: no sign of life", "red")
    return f"{name}: {styled('alive', 'green')}, {heartbeat:.0f} s left of its heartbeat"
