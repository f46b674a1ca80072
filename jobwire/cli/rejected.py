"""Entries that could not be read, each kept whole with the reason: list them, look at one, put one back.

Numbers count from the newest, as the list shows them. ``requeue`` puts one entry, or all, back into the queue that it
was popped from; where its cause is still there it will be rejected again, and nothing is lost.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial

from jobwire.cli.common import (
    FAILED,
    OK,
    USAGE,
    CliError,
    add_json,
    add_prefix,
    add_url,
    bare,
    bytes_in,
    checked,
    connection_to,
    is_newer_half,
    keyspace_of,
    more,
    print_json,
    shown,
    work_off,
)
from jobwire.errors import DecodeError, ServerError
from jobwire.transport import Connection, first_entries
from jobwire.wire import Command, Keyspace, Reply
from jobwire.wire.commands import list_items, list_length
from jobwire.wire.dead_letters import Rejected, decode_rejected, requeue_rejected

_STEP = 100
HELP = "entries that could not be read: list, show, requeue"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="list|show|requeue", required=True)
    listing = actions.add_parser("list", help="all of them, newest first")
    listing.add_argument("--limit", type=int, default=100, help="this many at the most (default: 100)")
    showing = actions.add_parser("show", help="one of them, whole")
    requeueing = actions.add_parser("requeue", help="put one back into its queue, or all")
    showing.add_argument("number", type=int, help="its number in the list")
    requeueing.add_argument("number", type=int, nargs="?", help="its number in the list")
    requeueing.add_argument("--all", action="store_true", help="all of them, the oldest first")
    requeueing.add_argument("--to", metavar="QUEUE", help="into this queue instead of the one it came from")
    for action in (listing, showing, requeueing):
        add_url(action)
        add_prefix(action)
    for action in (listing, showing):
        add_json(action)


async def run(options: argparse.Namespace) -> int:
    actions = {"list": _list, "show": _show, "requeue": _requeue}
    action = actions[options.action]
    if options.action == "requeue":
        if (options.number is None) != options.all:
            raise CliError("say which: a number, or --all", USAGE)
        action = _requeue_all if options.all else _requeue
    async with connection_to(options.url) as connection:
        await action(connection, keyspace_of(options), options)
    return OK


async def _list(connection: Connection, keyspace: Keyspace, options: argparse.Namespace) -> None:
    raws = await first_entries(connection.execute, keyspace.rejected, options.limit)
    numbered = [(number, _record(raw), raw) for number, raw in enumerate(raws)]
    if options.json:
        print_json([_plain(*one) for one in numbered])
        return
    for number, record, raw in numbered:
        if isinstance(record, Rejected):
            when, queue = _moment(record.at), bare(record.queue)
            print(f"{number:>4}  {when}  {queue}  {shown(record.raw)}  {_one(record.reason)}")
        else:
            print(f"{number:>4}  (no record of ours)  {shown(raw)}  {_one(str(record))}")
    total = await connection.execute(list_length(keyspace.rejected))
    if isinstance(total, int) and (left := more(total, len(numbered))) is not None:
        print(left)


async def _show(connection: Connection, keyspace: Keyspace, options: argparse.Namespace) -> None:
    raw = await _nth(connection, keyspace, options.number)
    record = _record(raw)
    if options.json:
        print_json(_plain(options.number, record, raw))
    elif isinstance(record, Rejected):
        print(f"at      {_moment(record.at)}\nworker  {bare(record.worker)}\nqueue   {bare(record.queue)}")
        print(f"reason  {_one(record.reason)}\nentry   {shown(record.raw, at_most=100_000)}")
    else:
        print(f"reason  {_one(str(record))}\nrecord  {shown(raw, at_most=100_000)}")


async def _requeue(connection: Connection, keyspace: Keyspace, options: argparse.Namespace) -> None:
    raw = await _nth(connection, keyspace, options.number)
    record = _record(raw)
    if not isinstance(record, Rejected):
        raise CliError(f"number {options.number} is no record of ours: {record}", FAILED)
    queue = record.queue.encode() if options.to is None else keyspace.queue(options.to)
    newest = await is_newer_half(connection, keyspace.rejected, options.number)
    replies = checked(await connection.call(*requeue_rejected(keyspace, raw, record.raw, queue, newest=newest)))
    if replies[-1] != 1:
        raise CliError(f"number {options.number} is not there any more: somebody was faster", FAILED)
    print(f"{shown(record.raw)} is back in {bare(queue)}")


async def _requeue_all(connection: Connection, keyspace: Keyspace, options: argparse.Namespace) -> None:
    left = await work_off(
        connection, keyspace.rejected, partial(_requeue_some, connection, keyspace, options), step=_STEP
    )
    if left:
        raise CliError(f"{left} could not be put back, and stand where they were", FAILED)


async def _requeue_some(
    connection: Connection, keyspace: Keyspace, options: argparse.Namespace, raws: Sequence[bytes]
) -> int:
    """Put records back in this order; how many could not be. One that cannot be does not stop the others."""
    targets: list[tuple[bytes, bytes]] = []
    commands: list[Command] = []
    for raw in raws:
        record = _record(raw)
        if isinstance(record, Rejected):
            queue = record.queue.encode() if options.to is None else keyspace.queue(options.to)
            targets.append((record.raw, queue))
            commands += requeue_rejected(keyspace, raw, record.raw, queue)
        else:
            print(f"{shown(raw)}: no record of ours: {_one(str(record))}")
    replies = (await connection.call(*commands))[1::2] if commands else []
    for (entry, queue), reply in zip(targets, replies, strict=True):
        print(f"{shown(entry)} {_outcome(reply, queue)}")
    return len(raws) - len(targets) + sum(isinstance(reply, ServerError) for reply in replies)


def _outcome(reply: Reply, queue: bytes) -> str:
    if isinstance(reply, ServerError):
        return f"is left where it is: {reply}"
    return f"is back in {bare(queue)}" if reply == 1 else "is not there any more: somebody was faster"


async def _nth(connection: Connection, keyspace: Keyspace, number: int) -> bytes:
    found = bytes_in(await connection.execute(list_items(keyspace.rejected, number, number))) if number >= 0 else []
    if not found:
        raise CliError(f"there is no number {number} in {bare(keyspace.rejected)}", FAILED)
    return found[0]


def _record(raw: bytes) -> Rejected | DecodeError:
    try:
        return decode_rejected(raw)
    except DecodeError as error:
        return error


def _plain(number: int, record: Rejected | DecodeError, raw: bytes) -> dict[str, object]:
    if isinstance(record, DecodeError):
        return {"number": number, "unreadable": str(record), "record": raw}
    return {
        "number": number,
        "at": record.at,
        "worker": record.worker,
        "queue": record.queue,
        "reason": record.reason,
        "entry": record.raw,
    }


def _one(text: str) -> str:
    return shown(text, at_most=300)[1:-1]


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
