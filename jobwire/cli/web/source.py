"""One prefix of one server: its state and its jobs, asked for by the names that are known and never by a scan."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from jobwire.cli import job as job_command
from jobwire.cli.common import bytes_in, checked, jsonable
from jobwire.cli.fleet import Fleet, known_workers, look_at
from jobwire.errors import DecodeError, JobwireError, ServerError
from jobwire.transport import Connection, Transport, entries_of, first_entries, open_transport
from jobwire.wire import Keyspace, decode_job, job_key
from jobwire.wire.codec.envelopes import decode_job_envelope
from jobwire.wire.codec.extensions import QUEUE
from jobwire.wire.commands import Reply, exists, hash_get, list_items, list_length
from jobwire.wire.dead_letters import decode_rejected, drop_dead, requeue_dead, requeue_rejected
from jobwire.wire.keys import PENDING, PROCESSING
from jobwire.wire.listings import (
    ALL_NOTICES,
    LONGEST_SHOWN,
    Row,
    ask_for_lengths,
    ask_for_row,
    is_notice,
    parameters_of,
    read_row,
)
from jobwire.wire.states import PrefixState
from jobwire.wire.text import readable

__all__ = ["Kind", "Page", "Sample", "Source"]

Kind: TypeAlias = Literal["running", "waiting", "dead", "rejected"]
PAGE = 50
"""Rows of one page of a list."""
_KEPT = 720
_SAMPLED = 20  # jobs of a queue that age, delay and work are taken from
_UNREAD = "(too long to be shown in a list)"


class Sample(msgspec.Struct, frozen=True):
    """The figures of one moment (epoch seconds): lengths by name of queue, and jobs that have ended in all so far."""

    at: float
    lengths: dict[str, int]
    running: int
    ended: int


class Page(msgspec.Struct, frozen=True):
    """Rows of a list from ``offset`` on, and the length of the whole."""

    rows: list[dict[str, Any]]
    offset: int
    total: int


class Source:
    """Raises ``TransportError`` where Redis is away; the next question dials again."""

    def __init__(self, url: str, prefix: str, queues: Sequence[str], *, rates: bool) -> None:
        self.transport: Transport = open_transport(url)
        self.keyspace = Keyspace(prefix)
        self._prefix = prefix
        self.samples: deque[Sample] = deque(maxlen=_KEPT)
        self._queues = tuple(queues)
        self._rates = rates
        self._ended = 0
        self._connection: Connection | None = None
        self._ear: Connection | None = None
        self._dialling = asyncio.Lock()

    @property
    def name(self) -> str:
        """The server, without credentials, and the prefix."""
        return f"{self.transport.description} {self._prefix or '(no prefix)'}"

    # -- the state

    async def overview(self) -> dict[str, Any]:
        """The state of the prefix, with how old and how fast the jobs at the ends of its lists are."""
        connection, fleet = await self._look()
        times = {queue: await self._times(connection, self.keyspace.queue(queue)) for queue in _all_lists(fleet.state)}
        hosts = {_word(worker): f"{host.host}:{host.pid}" for worker, host in fleet.hosts.items()}
        return {"at": fleet.at, "state": jsonable(fleet.state), "times": times, "hosts": hosts}

    async def sample(self) -> None:
        """Add to ``samples``."""
        state = (await self._look())[1].state
        running = state.processing + sum(own.length for own in state.own)
        lengths = {_word(queue.name): queue.length for queue in state.queues}
        self.samples.append(Sample(time.time(), lengths, running, self._ended))

    async def _look(self) -> tuple[Connection, Fleet]:
        connection = await self._connected()
        return connection, await look_at(connection, self.keyspace, self._queues)

    async def _times(self, connection: Connection, key: bytes) -> dict[str, float | None]:
        """Milliseconds, as Perl's monitor has them: the medians of the jobs at both ends of a list."""
        ends = await connection.call(list_items(key, 0, _SAMPLED - 1), list_items(key, -_SAMPLED, -1))
        ids = [entry for entry in dict.fromkeys(bytes_in(ends[0]) + bytes_in(ends[1])) if entry[:1] != b"{"]
        replies = await connection.call(*(command for entry in ids for command in ask_for_row(entry))) if ids else []
        rows = [read_row(entry, replies[2 * at : 2 * at + 2]) for at, entry in enumerate(ids)]
        now = time.time()
        oldest = min((row.queued for row in rows if row.queued is not None), default=None)
        return {
            "oldest": None if oldest is None else (now - oldest) * 1000,
            "age": _median([now - row.queued for row in rows if row.queued is not None]),
            "delay": _median(
                [b - a for row in rows if (a := row.queued) is not None and (b := row.started) is not None]
            ),
            "work": _median(
                [b - a for row in rows if (a := row.started) is not None and (b := row.processed) is not None]
            ),
            "total": _median(
                [b - a for row in rows if (a := row.queued) is not None and (b := row.processed) is not None]
            ),
        }

    # -- lists

    async def jobs(self, kind: Kind, *, queue: str = PENDING, offset: int = 0) -> Page:
        """Rows of a list: who runs now, who is next, the newest set aside first."""
        connection = await self._connected()
        if kind == "rejected":
            return await self._rejected(connection, offset)
        if kind == "running":
            return await self._running(connection, offset)
        key = self.keyspace.dead if kind == "dead" else self.keyspace.queue(queue)
        total = await _length(connection, key)
        if kind == "waiting":  # jobs are taken from the right
            entries = bytes_in(await connection.execute(list_items(key, -offset - PAGE, -offset - 1)))[::-1]
        else:
            entries = bytes_in(await connection.execute(list_items(key, offset, offset + PAGE - 1)))
        return Page(await self._rows(connection, entries), offset, total)

    async def _running(self, connection: Connection, offset: int) -> Page:
        keyspace = self.keyspace
        workers = await known_workers(connection, keyspace)
        owners = [None, *workers]
        keys = [keyspace.queue(PROCESSING), *map(keyspace.own_list, workers)]
        lengths = [reply if isinstance(reply, int) else 0 for reply in await connection.call(*map(list_length, keys))]
        rows: list[dict[str, Any]] = []
        skip = offset
        for owner, key, length in zip(owners, keys, lengths, strict=True):
            if skip < length and len(rows) < PAGE:
                entries = bytes_in(await connection.execute(list_items(key, skip, skip + PAGE - len(rows) - 1)))
                found = await self._rows(connection, entries)
                rows += found if owner is None else [{**row, "worker": _word(readable(owner))} for row in found]
            skip = max(0, skip - length)
        return Page(rows, offset, sum(lengths))

    async def _rows(self, connection: Connection, entries: Sequence[bytes]) -> list[dict[str, Any]]:
        ids = [entry for entry in entries if entry[:1] != b"{"]
        replies = await connection.call(*(command for entry in ids for command in ask_for_row(entry))) if ids else []
        rows = {entry: read_row(entry, replies[2 * at : 2 * at + 2]) for at, entry in enumerate(ids)}
        shown = await self._parameters(connection, rows)
        return [_row(rows[entry], shown.get(entry, {})) if entry in rows else _envelope(entry) for entry in entries]

    async def _parameters(self, connection: Connection, rows: dict[bytes, Row]) -> dict[bytes, dict[str, Any]]:
        """The first parameters of each job, decoded, where they are short."""
        asked = [(job_id, field) for job_id, row in rows.items() for field in parameters_of(row)]
        if not asked:
            return {}
        lengths = await connection.call(*(one for job_id, field in asked for one in ask_for_lengths(job_id, [field])))
        short = [
            pair
            for pair, length in zip(asked, lengths, strict=True)
            if isinstance(length, int) and length <= LONGEST_SHOWN
        ]
        replies = await connection.call(*(hash_get(job_key(job_id), field) for job_id, field in short)) if short else []
        found: dict[bytes, dict[str, Any]] = {}
        for (job_id, field), reply in zip(short, replies, strict=True):
            value = reply[0] if isinstance(reply, list) and reply else None
            if isinstance(value, bytes):
                found.setdefault(job_id, {}).update(_decoded(job_id, field, value))
        for job_id, field in set(asked) - set(short):
            found.setdefault(job_id, {})[_word(readable(field.partition(b"_")[2]))] = _UNREAD
        return found

    async def _rejected(self, connection: Connection, offset: int) -> Page:
        key = self.keyspace.rejected
        total = await _length(connection, key)
        raws = bytes_in(await connection.execute(list_items(key, offset, offset + PAGE - 1)))
        rows: list[dict[str, Any]] = []
        for raw in raws:
            try:
                record = decode_rejected(raw)
            except DecodeError as error:
                rows.append({"id": _word(readable(raw[:80])), "error": str(error)})
                continue
            rows.append(
                {"id": _word(readable(record.raw[:200])), "at": record.at, "worker": record.worker,
                 "queue": record.queue, "error": record.reason}
            )  # fmt: skip
        return Page(rows, offset, total)

    async def job(self, job_id: bytes) -> dict[str, Any]:
        """One job, whole."""
        connection = await self._connected()
        report = await job_command.look(connection, job_id, self.keyspace, PENDING)
        shown = jsonable(report)
        if report.job is not None:
            shown["job"]["dialect"] = report.job.dialect.name
        return {"report": shown, "there": report.job is not None or report.fields is not None}

    # -- changes

    async def requeue(self, kind: Kind, words: Sequence[str]) -> int:
        """Put jobs, or entries that were set aside, back into their queues; how many that were."""
        if kind == "rejected":
            return await self._requeue_rejected(words)
        if kind != "dead":
            raise ValueError("only dead jobs and rejected entries can be put back")
        connection = await self._connected()
        ids = await self._ids(connection, words)
        there = checked(await connection.call(*(exists(job_key(job_id)) for job_id in ids)))
        noted = await connection.call(*(hash_get(job_key(job_id), QUEUE) for job_id in ids))
        commands = [
            requeue_dead(self.keyspace, job_id, self._home(queue), spread=self.transport.spread, newest=ids[job_id])
            for job_id, known, queue in zip(ids, there, noted, strict=True)
            if known
        ]
        return _ones(await connection.call(*commands)) if commands else 0

    async def drop(self, kind: Kind, words: Sequence[str]) -> int:
        """Delete dead jobs for good; how many that were. Rejected entries are never deleted."""
        if kind != "dead":
            raise ValueError("only dead jobs can be dropped")
        connection = await self._connected()
        commands = [
            command
            for job_id, newest in (await self._ids(connection, words)).items()
            for command in drop_dead(self.keyspace, job_id, newest=newest)
        ]
        return _ones((await connection.call(*commands))[2::3]) if commands else 0

    def _home(self, noted: Reply) -> bytes:
        queue = noted[0] if isinstance(noted, list) and noted else None
        return queue if isinstance(queue, bytes) else self.keyspace.queue(PENDING)

    async def _ids(self, connection: Connection, words: Sequence[str]) -> dict[bytes, bool]:
        """The IDs of the dead that ``words`` name, as the page shows them, as far as they still stand in the list: each
        with whether it is in the newer half of it.
        """
        total = await _length(connection, self.keyspace.dead)
        wanted = set(words)
        found: dict[bytes, bool] = {}
        passed = 0
        async for entries in entries_of(connection.execute, self.keyspace.dead):
            for entry in entries:
                if _word(readable(entry)) in wanted:
                    found[entry] = 2 * passed < total
            wanted -= {_word(readable(entry)) for entry in entries}
            passed += len(entries)
            if not wanted:
                break
        return found

    async def _requeue_rejected(self, words: Sequence[str]) -> int:
        connection = await self._connected()
        raws = await first_entries(connection.execute, self.keyspace.rejected, 500)
        done = 0
        for raw in raws:
            try:
                record = decode_rejected(raw)
            except DecodeError:
                continue
            if _word(readable(record.raw[:200])) in words:
                queue = record.queue.encode()
                done += (
                    checked(
                        await connection.call(*requeue_rejected(self.keyspace, raw, record.raw, queue, newest=True))
                    )[-1]
                    == 1
                )
        return done

    # -- connections

    async def _connected(self) -> Connection:
        async with self._dialling:
            if self._connection is None or self._connection.closed:
                self._connection = await self.transport.connect(name="jobwire-web")
            if self._rates and (self._ear is None or self._ear.closed):
                ear = await self.transport.connect(name="jobwire-web-notices", on_push=self._hear)
                try:
                    await ear.execute(ALL_NOTICES)
                except ServerError:  # an ACL without the channels of others: no rates
                    self._rates = False
                    await ear.close()
                else:
                    self._ear = ear
            return self._connection

    def _hear(self, push: list[Reply]) -> None:
        self._ended += is_notice(push)

    async def close(self) -> None:
        """End the connections."""
        await self.transport.close()


def _all_lists(state: PrefixState) -> list[str]:
    return [PROCESSING, *(queue.name for queue in state.queues if isinstance(queue.name, str))]


def _word(value: object) -> str:
    return value if isinstance(value, str) else ascii(value)


async def _length(connection: Connection, key: bytes) -> int:
    reply = await connection.execute(list_length(key))
    return reply if isinstance(reply, int) else 0


def _ones(replies: Sequence[Reply]) -> int:
    return sum(reply == 1 for reply in replies)


def _median(seconds: list[float]) -> float | None:
    return sorted(seconds)[len(seconds) // 2] * 1000 if seconds else None


def _row(row: Row, parameters: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {name: _shown(getattr(row, name)) for name in row.__struct_fields__ if name != "parameters"}
    return {**shown, "data": parameters, "more": max(0, len(row.parameters) - len(parameters))}


def _shown(value: object) -> object:
    return _word(value) if isinstance(value, str | bytes) else value


def _envelope(entry: bytes) -> dict[str, Any]:
    try:
        envelope = decode_job_envelope(entry)
    except JobwireError as error:
        return {"id": _word(readable(entry[:80])), "error": str(error)}
    first = dict(list(envelope.data.items())[:3])
    return {"id": _word(envelope.id), "queued": envelope.queued, "data": jsonable(first), "reply_to": envelope.reply_to}


def _decoded(job_id: bytes, field: bytes, value: bytes) -> dict[str, Any]:
    """One parameter, or the reason why it cannot be read."""
    try:
        return {
            _word(name): jsonable(part) for name, part in decode_job(job_id, {field: value}, dialect=None).data.items()
        }
    except DecodeError as error:
        return {_word(readable(field)): f"(unreadable: {error})"}
