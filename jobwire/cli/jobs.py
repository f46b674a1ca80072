"""List jobs: those that wait, those that run, those that are dead.

Each with its age, its queue, its worker, and its first parameters. Waiting jobs are shown in the order in which they
are taken. Jobs that run are those in Perl's shared list, and in the lists of the jobwire workers of the prefix; a job
of a recoverable worker of several queues stands in no list while it runs, and is not shown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import msgspec

from jobwire.cli.common import (
    OK,
    add_json,
    add_keyspace,
    bare,
    connection_to,
    keyspace_of,
    more,
    print_json,
    shown,
    styled,
)
from jobwire.cli.fleet import known_workers
from jobwire.errors import DecodeError, ServerError
from jobwire.transport import Connection, first_entries
from jobwire.wire import Keyspace, Reply, decode_job, job_key
from jobwire.wire.codec.expansion import too_large
from jobwire.wire.codec.extensions import ERROR, QUEUE, WORKER, without_traceback
from jobwire.wire.commands import hash_get, hash_get_all, hash_pairs, hash_size, list_length
from jobwire.wire.text import Text, readable
from jobwire.wire.workers import read_host

HELP = "list jobs: waiting, running, dead"
Kind: TypeAlias = Literal["waiting", "running", "dead"]
_KINDS: tuple[Kind, ...] = ("running", "waiting", "dead")
_MANY_FIELDS = 1000
"""Of a job with more, no parameters are shown."""


class Listed(msgspec.Struct, kw_only=True):
    """One job of a list. ``age`` seconds since it was begun, where it runs, else since it was submitted."""

    id: Text
    kind: Kind
    queue: Text | None = None
    worker: Text | None = None
    host: str | None = None
    age: float | None = None
    attempts: int = 0
    error: Text | None = None
    data: dict[Text, Any] | None = None
    unreadable: str | None = None


class Listing(msgspec.Struct):
    """A list, and how many jobs there are in all."""

    kind: Kind
    total: int
    jobs: list[Listed]


def configure(parser: argparse.ArgumentParser) -> None:
    for kind in _KINDS:
        parser.add_argument(f"--{kind}", action="append_const", dest="kinds", const=kind, help=f"those that are {kind}")
    parser.add_argument("--limit", type=int, default=20, help="this many of each at the most (default: 20)")
    add_keyspace(parser)
    add_json(parser)


async def run(options: argparse.Namespace) -> int:
    async with connection_to(options.url) as connection:
        listings = [
            await listing(connection, keyspace_of(options), options.queue, kind, max(0, options.limit))
            for kind in options.kinds or _KINDS
        ]
    if options.json:
        print_json(listings)
    else:
        print("\n".join(line for found in listings for line in rendered(found)))
    return OK


async def listing(connection: Connection, keyspace: Keyspace, queue: str, kind: Kind, limit: int) -> Listing:
    """One list. Raises ``TransportError``."""
    owners: dict[bytes, bytes | None] = {}
    if kind == "running":
        lists: dict[bytes, bytes | None] = {
            keyspace.own_list(worker): worker for worker in await known_workers(connection, keyspace)
        }
        lists = {keyspace.queue("processing"): None, **lists}
    else:
        lists = {keyspace.queue(queue) if kind == "waiting" else keyspace.dead: None}
    lengths = await connection.call(*map(list_length, lists))
    total = sum(length for length in lengths if isinstance(length, int))
    for (key, worker), length in zip(lists.items(), lengths, strict=True):
        if length == 0 or len(owners) >= limit:
            continue
        # The right end is taken next; among the dead the newest stands on the left.
        ids = await first_entries(connection.execute, key, limit, newest=kind == "dead")
        owners |= dict.fromkeys(ids, worker)
    chosen = dict(list(owners.items())[:limit])
    return Listing(kind, total, await _described(connection, keyspace, kind, chosen))


async def _described(
    connection: Connection, keyspace: Keyspace, kind: Kind, owners: dict[bytes, bytes | None]
) -> list[Listed]:
    if not owners:
        return []
    sizes = await connection.call(*(hash_size(job_key(job_id)) for job_id in owners))
    jobs = []
    for (job_id, worker), size in zip(owners.items(), sizes, strict=True):
        whole = isinstance(size, int) and size <= _MANY_FIELDS
        command = hash_get_all(job_key(job_id)) if whole else hash_get(job_key(job_id), WORKER, QUEUE, ERROR)
        jobs.append(_read(job_id, kind, worker, await connection.execute(command) if whole else None, size))
    named = [job.worker for job in jobs if job.worker is not None]
    if named:
        hosts = await connection.execute(hash_get(keyspace.hosts, *_raw(named)))
        told = dict(zip(named, map(read_host, hosts if isinstance(hosts, list) else []), strict=False))
        for job in jobs:
            host = told.get(job.worker) if job.worker is not None else None
            job.host = None if host is None else f"{host.host}:{host.pid}"
    return jobs


def _raw(names: list[Text]) -> list[bytes]:
    return [name if isinstance(name, bytes) else name.encode() for name in names]


def _read(job_id: bytes, kind: Kind, worker: bytes | None, reply: Reply, size: Reply) -> Listed:
    found = Listed(id=readable(job_id), kind=kind, worker=None if worker is None else readable(worker))
    if isinstance(size, ServerError):
        found.unreadable = str(size)
        return found
    if reply is None:
        found.unreadable = "its hash is gone" if size == 0 else f"{size!r} fields"
        return found
    try:
        fields = hash_pairs(reply, key=job_key(job_id))
        if not fields:
            found.unreadable = "its hash is gone"
            return found
        job = decode_job(job_id, fields, dialect=None)
        if (reason := too_large(job.data)) is not None:
            raise DecodeError(reason)
    except (DecodeError, ServerError) as error:
        found.unreadable = str(error)
        return found
    begun = job.started if kind == "running" and job.started is not None else job.queued
    found.age = None if begun is None else time.time() - begun
    found.queue, found.data, found.attempts = job.meta.get("_queue"), dict(job.data), job.attempts
    found.worker = found.worker or (job.meta.get("_worker") if kind == "running" else None)
    error_text = job.meta.get("_error")
    found.error = None if error_text is None else without_traceback(error_text)[0]
    return found


def rendered(found: Listing) -> Iterator[str]:
    """The list as lines of text."""
    yield styled(f"{found.kind}: {found.total}", "bold")
    for job in found.jobs:
        age = "" if job.age is None else duration(job.age)
        facts = [
            f"{bare(job.id, at_most=36):<8}",
            f"{age:>6}",
            *([bare(job.queue)] if job.queue is not None else []),
            *([f"by {job.host or bare(job.worker, at_most=12)}"] if job.worker is not None else []),
            *([f"attempt {job.attempts + 1}"] if job.attempts else []),
        ]
        yield f"  {'  '.join(facts)}  {styled(shown(job.error, at_most=120), 'red') if job.error else described(job)}"
    left = more(found.total, len(found.jobs))
    if left is not None:
        yield f"  {left}"


def described(job: Listed, *, at_most: int = 60) -> str:
    """The first parameters of a job, in so many characters; why they cannot be shown."""
    if job.data is None:
        return f"({job.unreadable})"
    text = " ".join(f"{bare(name, at_most=20)}={_value(value)}" for name, value in list(job.data.items())[:5])
    cut = len(text) > at_most or len(job.data) > 5
    return f"{text[:at_most]}…" if cut else text


def _value(value: object) -> str:
    text = shown(value, at_most=40) if isinstance(value, str | bytes) else repr(value)
    return text if len(text) <= 60 else f"{text[:40]}…"


def duration(seconds: float) -> str:
    """A time in one or two units: ``3.2s``, ``12m``, ``3h05m``, ``4d``."""
    seconds = max(0.0, seconds)
    if seconds < 60:
        return f"{seconds:.1f}s"
    if seconds < 3600:
        return f"{seconds / 60:.0f}m"
    if seconds < 86400:
        return f"{int(seconds // 3600)}h{int(seconds % 3600 // 60):02d}m"
    return f"{seconds / 86400:.0f}d"
