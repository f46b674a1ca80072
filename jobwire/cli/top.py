"""Show waiting jobs, running jobs and workers, under each prefix.

On a terminal `jobwire top` is a screen that goes on until it is interrupted (extra `top`); `--once` shows it once, and
so does a pipe's reader get it again and again. Without `--prefix` every prefix is shown that has lists or workers: they
are looked for once, in a bounded number of steps, and after that asked for by name, so that a look costs the same with
a million jobs as with none. Jobs under way stand in the list that all Perl workers share ("processing") or in a list of
one jobwire worker ("own"); Perl workers leave no sign of life, so only jobwire workers are listed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import count as counted

import msgspec
from msgspec.structs import replace

from jobwire.cli.common import (
    OK,
    add_json,
    add_url,
    bare,
    connection_to,
    jsonable,
    print_json,
    styled,
)
from jobwire.cli.fleet import look_at
from jobwire.cli.jobs import Listed, listing
from jobwire.cli.screen import screen_of_rich
from jobwire.transport import Connection
from jobwire.wire import Keyspace
from jobwire.wire.commands import scan_type, scanned
from jobwire.wire.keys import DEFAULT_PREFIX
from jobwire.wire.states import PrefixState, list_every, prefixes_in
from jobwire.wire.text import Text, readable, wire_bytes
from jobwire.wire.workers import Host

HELP = "show queues, processing lists, workers, dead and rejected jobs"
_CLEAR = "\x1b[H\x1b[2J"
_STEPS = 10
_STEP = 1000
"""Keys of one step; a search of more than so many steps is given up."""
_RUNNING = 10
"""Jobs under way that a screen shows of each prefix."""
_SEARCH_EVERY = 15
"""Looks after which new names are looked for."""


class Overview(msgspec.Struct, frozen=True):
    """All prefixes of a server at one moment; ``at`` epoch seconds.

    ``ages`` and ``hosts`` stand beside the prefixes; ``searched`` is False where there are too many keys to look for
    further names.
    """

    at: float
    prefixes: tuple[PrefixState, ...]
    ages: tuple[dict[Text, float], ...] = ()
    hosts: tuple[dict[Text, Host], ...] = ()
    searched: bool = True


def configure(parser: argparse.ArgumentParser) -> None:
    add_url(parser)
    parser.add_argument("--prefix", action="append", metavar="PREFIX", help="only this one; may be given several times")
    parser.add_argument("--queue", action="append", default=[], metavar="QUEUE", help="one that is not found by itself")
    parser.add_argument("--once", action="store_true", help="show it once, and end")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="between two looks (default: 2)")
    add_json(parser)


async def run(options: argparse.Namespace) -> int:
    wanted = None if options.prefix is None else [prefix.encode() for prefix in options.prefix]
    again = sys.stdout.isatty() and not (options.once or options.json)
    screen = screen_of_rich() if again else None
    async with connection_to(options.url) as connection, contextlib.AsyncExitStack() as stack:
        if screen is not None:
            stack.enter_context(screen)
        names = await known_names(connection, wanted, options.queue)
        for look in counted(1):
            if look % _SEARCH_EVERY == 0:
                names = await known_names(connection, wanted, options.queue)
            overview = await look_over(connection, names)
            if screen is not None:
                screen.show(overview, await _running(connection, names))
            else:
                _show(overview, options, again=again)
            if options.once:
                return OK
            await asyncio.sleep(max(0.1, options.interval))
    return OK


async def _running(connection: Connection, names: Names) -> dict[Text, list[Listed]]:
    """The first jobs under way, by prefix."""
    found = {}
    for prefix in map(readable, names.lists):
        found[prefix] = (await listing(connection, Keyspace(prefix), "", "running", _RUNNING)).jobs
    return found


# -- looking


class Names(msgspec.Struct):
    """The prefixes, and their lists, to ask for. ``searched``: these are all that there are."""

    lists: dict[bytes, list[bytes]]
    searched: bool


async def known_names(connection: Connection, wanted: list[bytes] | None, queues: Sequence[str] = ()) -> Names:
    """Look for lists and sets once, in a bounded number of steps. Raises ``TransportError``."""
    found: dict[bytes, set[bytes]] = {}
    searched = True
    for kind in (b"list", b"set"):
        cursor = b"0"
        for _ in range(_STEPS):
            cursor, keys = scanned(await connection.execute(scan_type(cursor, kind, _STEP)))
            found.setdefault(kind, set()).update(keys)
            if cursor == b"0":
                break
        searched = searched and cursor == b"0"
    lists = sorted(found[b"list"])
    known = prefixes_in([*lists, *found[b"set"]])
    chosen = sorted(known if wanted is None else wanted)
    if wanted is None and not searched:
        chosen = sorted({*chosen, wire_bytes(DEFAULT_PREFIX)})
    names: dict[bytes, list[bytes]] = {}
    for prefix in chosen:
        keyspace = Keyspace(readable(prefix))
        names[prefix] = [*list_every(keyspace, lists, known - {prefix}), *map(keyspace.queue, queues)]
    return Names(names, searched)


async def look_over(connection: Connection, names: Names) -> Overview:
    """One look at all of them. Raises ``TransportError``."""
    fleets = [
        await look_at(connection, Keyspace(readable(prefix)), lists=lists) for prefix, lists in names.lists.items()
    ]
    return Overview(
        time.time(),
        tuple(_without_empty(fleet.state) for fleet in fleets),
        tuple(fleet.ages for fleet in fleets),
        tuple(fleet.hosts for fleet in fleets),
        names.searched,
    )


def _without_empty(state: PrefixState) -> PrefixState:
    return replace(
        state,
        queues=tuple(queue for queue in state.queues if queue.length),
        own=tuple(own for own in state.own if own.length),
    )


# -- lines of text


def _show(overview: Overview, options: argparse.Namespace, *, again: bool) -> None:
    if options.json:
        if options.once:
            print_json(overview)
        else:
            print(json.dumps(jsonable(overview)))  # one line a look
    else:
        print((_CLEAR if again else "") + "\n".join(rendered(overview)))
    sys.stdout.flush()


def rendered(overview: Overview) -> Iterator[str]:
    """The overview as lines of text."""
    if not overview.prefixes:
        yield "no queues, no workers"
    if not overview.searched:
        yield styled("too many keys to look for all names: --prefix and --queue name further ones", "yellow")
    for state, hosts in zip(overview.prefixes, overview.hosts, strict=True):
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
            who = _worker(worker, beats.get(worker), hosts.get(worker))
            yield f"  processing  {lengths.get(worker, 0):>8}  own, {who}"
        aside = {"dead": state.dead, "rejected": state.rejected, "with failed attempts": state.attempts}
        for what, count in aside.items():
            if count:
                yield styled(f"  set aside   {count:>8}  {what}", "yellow")


def _worker(worker: str | bytes, heartbeat: float | None, host: Host | None) -> str:
    name = f"worker {bare(worker)}" + (f" ({bare(host.host)}:{host.pid})" if host is not None else "")
    if heartbeat is None:
        return styled(f"{name}: no sign of life", "red")
    return f"{name}: {styled('alive', 'green')}, {heartbeat:.0f} s left of its heartbeat"
