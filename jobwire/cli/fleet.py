"""A look at one prefix that asks for names that are known: it costs the same with a million jobs as with none.

Known are `pending`, the queues that jobwire workers say they take from, and those that the caller names.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from jobwire.cli.common import checked
from jobwire.transport import Connection
from jobwire.wire import Keyspace, Reply, job_key
from jobwire.wire.codec.extensions import QUEUED
from jobwire.wire.commands import hash_get, list_next, scanned
from jobwire.wire.keys import PENDING, PROCESSING
from jobwire.wire.states import PrefixState, ask_for_prefix, read_prefix
from jobwire.wire.text import Text, parse_epoch, readable
from jobwire.wire.workers import Host, homes, read_home, read_host, scan_workers

__all__ = ["Fleet", "known_workers", "look_at"]

_STEP = 1000
"""Workers that one command asks about."""


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """One prefix at one moment.

    ``ages``   seconds since the submission of the job that is taken next, by queue
    ``hosts``  where the jobwire workers run, by worker ID
    ``at``     epoch seconds; ``took`` seconds
    """

    state: PrefixState
    ages: dict[Text, float]
    hosts: dict[Text, Host]
    at: float
    took: float


async def look_at(
    connection: Connection, keyspace: Keyspace, queues: Sequence[Text] = (), *, lists: Sequence[bytes] = ()
) -> Fleet:
    """Look once, at these ``queues`` too, and at these whole keys of ``lists``. Raises ``TransportError``."""
    begun = time.perf_counter()
    workers = await known_workers(connection, keyspace)
    told_homes, told_hosts = await _homes_and_hosts(connection, keyspace, workers)
    keys = [keyspace.queue(name) for name in (PENDING, *queues)]
    for raw in told_homes:
        home = read_home(raw if isinstance(raw, bytes) else None)
        keys += home.queues if home is not None else ()
    keys = list(dict.fromkeys(keys))
    aside = [keyspace.queue(PROCESSING), keyspace.dead, keyspace.rejected]
    every = list(dict.fromkeys([*keys, *aside, *map(keyspace.own_list, workers), *lists]))
    asked = ask_for_prefix(keyspace, every, workers)
    own = keyspace.own_list(b"")
    keys = [key for key in every if key not in aside and not key.startswith(own)]
    replies = await connection.call(*asked, *map(list_next, keys))
    ages = await _ages(connection, keyspace, keys, replies[len(asked) :])
    hosts = {
        readable(worker): host for worker, raw in zip(workers, told_hosts, strict=True) if (host := read_host(raw))
    }
    state = read_prefix(keyspace, every, workers, checked(replies[: len(asked)]))
    return Fleet(state=state, ages=ages, hosts=hosts, at=time.time(), took=time.perf_counter() - begun)


async def known_workers(connection: Connection, keyspace: Keyspace) -> list[bytes]:
    """The jobwire workers of a prefix, sorted. Raises ``TransportError``."""
    found: dict[bytes, None] = {}
    cursor = b"0"
    while True:
        cursor, some = scanned(await connection.execute(scan_workers(keyspace, cursor)))
        found |= dict.fromkeys(some)
        if cursor == b"0":
            return sorted(found)


async def _homes_and_hosts(
    connection: Connection, keyspace: Keyspace, workers: Sequence[bytes]
) -> tuple[Sequence[Reply], Sequence[Reply]]:
    """The entries of the workers in the hashes of homes and hosts."""
    told: tuple[list[Reply], list[Reply]] = [], []
    for at in range(0, len(workers), _STEP):
        some = workers[at : at + _STEP]
        replies = await connection.call(homes(keyspace, some), hash_get(keyspace.hosts, *some))
        for known, reply in zip(told, replies, strict=True):
            known.extend(reply if isinstance(reply, list) else [None] * len(some))
    return told


async def _ages(
    connection: Connection, keyspace: Keyspace, keys: Sequence[bytes], heads: Sequence[Reply]
) -> dict[Text, float]:
    skip = len(keyspace.queue(b""))
    waiting = {key: head for key, head in zip(keys, heads, strict=True) if isinstance(head, bytes)}
    if not waiting:
        return {}
    replies = await connection.call(*(hash_get(job_key(job_id), QUEUED) for job_id in waiting.values()))
    ages: dict[Text, float] = {}
    for key, reply in zip(waiting, replies, strict=True):
        queued = parse_epoch(reply[0]) if isinstance(reply, list) and reply and isinstance(reply[0], bytes) else None
        if queued is not None:
            ages[readable(key[skip:])] = max(0.0, time.time() - queued)
    return ages
