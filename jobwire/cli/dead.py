"""Jobs that will not be run again: list them with the reason, put them back, drop them.

A worker puts a job here when its handler failed and nobody was told, when it expired, or when it lost too many
workers. ``requeue`` puts it into the queue it came through where the job says so, else into --queue, with its attempts
forgotten. ``drop`` deletes the job for good.
"""

from __future__ import annotations

import argparse

from jobwire.cli.common import (
    FAILED,
    OK,
    USAGE,
    CliError,
    add_json,
    add_keyspace,
    bare,
    bytes_in,
    connection_to,
    is_spread,
    keyspace_of,
    print_json,
)
from jobwire.errors import printable
from jobwire.transport import Connection
from jobwire.wire import Keyspace, job_key
from jobwire.wire.codec.extensions import ERROR, QUEUE, without_traceback
from jobwire.wire.codec.ids import check_id
from jobwire.wire.commands import exists, hash_get, list_items
from jobwire.wire.dead_letters import drop_dead, requeue_dead
from jobwire.wire.text import readable

HELP = "jobs that will not be run again: list, requeue, drop"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="list|requeue|drop", required=True)
    listing = actions.add_parser("list", help="all of them, newest first, each with the reason")
    listing.add_argument("--limit", type=int, default=100, help="this many at the most (default: 100)")
    requeueing = actions.add_parser("requeue", help="put jobs back into their queue")
    dropping = actions.add_parser("drop", help="delete jobs for good")
    for action in (requeueing, dropping):
        action.add_argument("ids", nargs="*", metavar="ID")
        action.add_argument("--all", action="store_true", help="all of them")
    for action in (listing, requeueing, dropping):
        add_keyspace(action)
    add_json(listing)


async def run(options: argparse.Namespace) -> int:
    keyspace = keyspace_of(options)
    async with connection_to(options.url) as connection:
        if options.action == "list":
            await _list(connection, keyspace, options)
            return OK
        if bool(options.ids) == options.all:
            raise CliError("say which: job IDs, or --all", USAGE)
        ids = [check_id(job_id) for job_id in options.ids]
        if options.all:
            ids = bytes_in(await connection.execute(list_items(keyspace.dead)))[::-1]  # the oldest is taken next
        action = _requeue if options.action == "requeue" else _drop
        failed = [job_id for job_id in ids if not await action(connection, keyspace, job_id, options)]
    return FAILED if failed else OK


async def _list(connection: Connection, keyspace: Keyspace, options: argparse.Namespace) -> None:
    ids = bytes_in(await connection.execute(list_items(keyspace.dead, 0, max(0, options.limit - 1))))
    asked = await connection.call(*(hash_get(job_key(job_id), ERROR, QUEUE) for job_id in ids)) if ids else []
    jobs = [(job_id, *_two(reply)) for job_id, reply in zip(ids, asked, strict=True)]
    if options.json:
        print_json([{"id": readable(job_id), "error": error, "queue": queue} for job_id, error, queue in jobs])
        return
    for job_id, error, _ in jobs:
        reason = None if error is None else without_traceback(error)[0]
        print(f"{bare(job_id)}  {printable(reason, at_most=300) if reason is not None else '(no reason given)'}")


def _two(reply: object) -> tuple[str | bytes | None, str | bytes | None]:
    error, queue = reply if isinstance(reply, list) and len(reply) == 2 else (None, None)
    return (
        readable(error) if isinstance(error, bytes) else None,
        readable(queue) if isinstance(queue, bytes) else None,
    )


async def _requeue(connection: Connection, keyspace: Keyspace, job_id: bytes, options: argparse.Namespace) -> bool:
    name = bare(job_id)
    if await connection.execute(exists(job_key(job_id))) == 0:
        print(f"{name}: its hash is gone, there is nothing to run; drop it")
        return False
    _, noted = _two(await connection.execute(hash_get(job_key(job_id), ERROR, QUEUE)))
    target = keyspace.queue(options.queue) if noted is None else noted if isinstance(noted, bytes) else noted.encode()
    if await connection.execute(requeue_dead(keyspace, job_id, target, spread=is_spread(options.url))) != 1:
        print(f"{name}: not among the dead")
        return False
    print(f"{name}: back in {bare(target)}")
    return True


async def _drop(connection: Connection, keyspace: Keyspace, job_id: bytes, options: argparse.Namespace) -> bool:
    del options
    name = bare(job_id)
    if job_id not in bytes_in(await connection.execute(list_items(keyspace.dead))):
        print(f"{name}: not among the dead")
        return False
    await connection.call(*drop_dead(keyspace, job_id))
    print(f"{name}: deleted")
    return True
