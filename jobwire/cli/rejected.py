"""Entries that could not be read, each kept whole with the reason: list them, look at one, put one back.

Numbers count from the newest, as the list shows them. ``requeue`` puts the entry back into the queue it was popped
from; where its cause is still there it will be rejected again, and nothing is lost.
"""

from __future__ import annotations

import argparse
import time

from jobwire.cli.common import (
    FAILED,
    OK,
    CliError,
    add_json,
    add_prefix,
    add_url,
    bare,
    bytes_in,
    checked,
    connection_to,
    keyspace_of,
    print_json,
)
from jobwire.errors import DecodeError, printable
from jobwire.transport import Connection
from jobwire.wire import Keyspace
from jobwire.wire.commands import list_items
from jobwire.wire.dead_letters import Rejected, decode_rejected, requeue_rejected

HELP = "entries that could not be read: list, show, requeue"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="list|show|requeue", required=True)
    listing = actions.add_parser("list", help="all of them, newest first")
    listing.add_argument("--limit", type=int, default=100, help="this many at the most (default: 100)")
    showing = actions.add_parser("show", help="one of them, whole")
    requeueing = actions.add_parser("requeue", help="put one back into its queue")
    for action in (showing, requeueing):
        action.add_argument("number", type=int, help="its number in the list")
    requeueing.add_argument("--to", metavar="QUEUE", help="into this queue instead of the one it came from")
    for action in (listing, showing, requeueing):
        add_url(action)
        add_prefix(action)
    for action in (listing, showing):
        add_json(action)


async def run(options: argparse.Namespace) -> int:
    actions = {"list": _list, "show": _show, "requeue": _requeue}
    async with connection_to(options.url) as connection:
        await actions[options.action](connection, keyspace_of(options), options)
    return OK


async def _list(connection: Connection, keyspace: Keyspace, options: argparse.Namespace) -> None:
    raws = bytes_in(await connection.execute(list_items(keyspace.rejected, 0, max(0, options.limit - 1))))
    numbered = [(number, _record(raw), raw) for number, raw in enumerate(raws)]
    if options.json:
        print_json([_plain(*one) for one in numbered])
        return
    for number, record, raw in numbered:
        if isinstance(record, Rejected):
            when, queue = _moment(record.at), bare(record.queue)
            print(f"{number:>4}  {when}  {queue}  {printable(record.raw)}  {_one(record.reason)}")
        else:
            print(f"{number:>4}  (no record of ours)  {printable(raw)}  {_one(str(record))}")


async def _show(connection: Connection, keyspace: Keyspace, options: argparse.Namespace) -> None:
    raw = await _nth(connection, keyspace, options.number)
    record = _record(raw)
    if options.json:
        print_json(_plain(options.number, record, raw))
    elif isinstance(record, Rejected):
        print(f"at      {_moment(record.at)}\nworker  {bare(record.worker)}\nqueue   {bare(record.queue)}")
        print(f"reason  {_one(record.reason)}\nentry   {printable(record.raw, at_most=100_000)}")
    else:
        print(f"reason  {_one(str(record))}\nrecord  {printable(raw, at_most=100_000)}")


async def _requeue(connection: Connection, keyspace: Keyspace, options: argparse.Namespace) -> None:
    raw = await _nth(connection, keyspace, options.number)
    record = _record(raw)
    if not isinstance(record, Rejected):
        raise CliError(f"number {options.number} is no record of ours: {record}", FAILED)
    queue = record.queue.encode() if options.to is None else keyspace.queue(options.to)
    replies = checked(await connection.call(*requeue_rejected(keyspace, raw, record.raw, queue)))
    if replies[-1] != 1:
        raise CliError(f"number {options.number} is not there any more: somebody was faster", FAILED)
    print(f"{printable(record.raw)} is back in {bare(queue)}")


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
    return printable(text, at_most=300)[1:-1]


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
