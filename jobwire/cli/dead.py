"""Jobs that will not be run again: list them with the reason, put them back, drop them.

A worker puts a job here when its handler failed and nobody was told, when it expired, or when it lost too many
workers. ``requeue`` puts it into the queue it came through where the job says so, else into --queue, with its attempts
forgotten. ``drop`` deletes the job for good.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from jobwire.cli.common import (
    FAILED,
    OK,
    USAGE,
    CliError,
    add_json,
    add_keyspace,
    bare,
    confirmed,
    connection_to,
    is_newer_half,
    is_spread,
    keyspace_of,
    more,
    position_in,
    print_json,
    shown,
    work_off,
)
from jobwire.errors import ServerError
from jobwire.transport import Connection, first_entries
from jobwire.wire import Command, Keyspace, job_key
from jobwire.wire.codec.extensions import ERROR, QUEUE, without_traceback
from jobwire.wire.codec.ids import check_id
from jobwire.wire.commands import Reply, exists, hash_get, list_length
from jobwire.wire.dead_letters import drop_dead, requeue_dead
from jobwire.wire.text import readable, wire_bytes

_STEP = 500
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
    dropping.add_argument("--yes", action="store_true", help="do it, without a question")
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
        if options.action == "drop":
            confirmed(f"delete {'all dead jobs' if options.all else f'{len(options.ids)} jobs'} for good", options)
        actions = {
            "requeue": partial(_requeue, connection, keyspace, options),
            "drop": partial(_drop, connection, keyspace),
        }
        act = actions[options.action]
        if options.all:
            failed = await work_off(connection, keyspace.dead, act, step=_STEP)
        else:
            failed = 0
            for job_id in map(check_id, options.ids):
                position = await position_in(connection, keyspace.dead, job_id)
                if position is None:
                    print(f"{bare(job_id)}: not among the dead")
                    failed += 1
                else:
                    failed += await act([job_id], newest=await is_newer_half(connection, keyspace.dead, position))
    return FAILED if failed else OK


async def _list(connection: Connection, keyspace: Keyspace, options: argparse.Namespace) -> None:
    ids = await first_entries(connection.execute, keyspace.dead, options.limit)
    asked = await connection.call(*(hash_get(job_key(job_id), ERROR, QUEUE) for job_id in ids)) if ids else []
    jobs = [(job_id, *_two(reply)) for job_id, reply in zip(ids, asked, strict=True)]
    if options.json:
        print_json([{"id": readable(job_id), "error": error, "queue": queue} for job_id, error, queue in jobs])
        return
    for job_id, error, _ in jobs:
        reason = None if error is None else without_traceback(error)[0]
        print(f"{bare(job_id)}  {shown(reason, at_most=300) if reason is not None else '(no reason given)'}")
    total = await connection.execute(list_length(keyspace.dead))
    if isinstance(total, int) and (left := more(total, len(jobs))) is not None:
        print(left)


def _two(reply: object) -> tuple[str | bytes | None, str | bytes | None]:
    error, queue = reply if isinstance(reply, list) and len(reply) == 2 else (None, None)
    return (
        readable(error) if isinstance(error, bytes) else None,
        readable(queue) if isinstance(queue, bytes) else None,
    )


async def _requeue(
    connection: Connection,
    keyspace: Keyspace,
    options: argparse.Namespace,
    ids: Sequence[bytes],
    *,
    newest: bool = False,
) -> int:
    """Put jobs back in this order; how many could not be. One that cannot be does not stop the others."""
    known = await connection.call(*(exists(job_key(job_id)) for job_id in ids))
    noted = await connection.call(*(hash_get(job_key(job_id), ERROR, QUEUE) for job_id in ids))
    targets: dict[bytes, bytes] = {}
    for job_id, there, fields in zip(ids, known, noted, strict=True):
        if there == 0:
            print(f"{bare(job_id)}: its hash is gone, there is nothing to run; drop it")
            continue
        queue = _two(fields)[1]
        targets[job_id] = keyspace.queue(options.queue) if queue is None else wire_bytes(queue)
    spread = is_spread(options.url)
    commands = [
        requeue_dead(keyspace, job_id, queue, spread=spread, newest=newest) for job_id, queue in targets.items()
    ]
    done = 0
    for (job_id, queue), reply in zip(targets.items(), await _answers(connection, commands), strict=True):
        done += reply == 1
        print(f"{bare(job_id)}: {_outcome(reply, f'back in {bare(queue)}')}")
    return len(ids) - done


async def _drop(connection: Connection, keyspace: Keyspace, ids: Sequence[bytes], *, newest: bool = False) -> int:
    """Delete jobs; how many could not be."""
    failed = 0
    commands = [drop_dead(keyspace, job_id, newest=newest) for job_id in ids]
    replies = await _answers(connection, [command for each in commands for command in each])
    each = len(replies) // len(ids)
    for job_id, reply in zip(ids, replies[each - 1 :: each], strict=True):
        failed += reply != 1
        print(f"{bare(job_id)}: {_outcome(reply, 'deleted')}")
    return failed


async def _answers(connection: Connection, commands: Sequence[Command]) -> Sequence[Reply]:
    return await connection.call(*commands) if commands else []


def _outcome(reply: Reply, done: str) -> str:
    if isinstance(reply, ServerError):
        return f"left where it is: {reply}"
    return done if reply == 1 else "not among the dead"
