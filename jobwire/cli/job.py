"""Show one job: where it is, and its hash, decoded.

The first characters of an ID are enough, as `jobwire tap` and `jobwire jobs` print them; the whole database is gone
through for them. `--abort` ends it.

The place is looked for in the queue and the lists of --prefix and --queue, and in the worker's own list. Long ones are
gone through in pieces, so that nobody else waits for it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from jobwire.cli.common import (
    FAILED,
    OK,
    USAGE,
    CliError,
    add_json,
    add_keyspace,
    bare,
    checked,
    confirmed,
    connection_to,
    keyspace_of,
    position_in,
    print_json,
    shown,
    styled,
)
from jobwire.client.client import Client
from jobwire.errors import DecodeError
from jobwire.transport import Connection
from jobwire.wire import Failure, Job, Keyspace, decode_job, decode_result, job_key
from jobwire.wire.codec.expansion import too_large
from jobwire.wire.codec.extensions import WORKER
from jobwire.wire.codec.ids import check_id
from jobwire.wire.commands import exists, hash_get_all, hash_pairs, list_length, list_position, literal, scan, scanned
from jobwire.wire.states import SEARCHED, JobState, Place, ask_for_state, read_state

HELP = "show one job, decoded"
_WHOLE = 36
"""Characters of a UUID."""
_SCANNED = 1000


class Report(msgspec.Struct, kw_only=True):
    """The report. ``unreadable`` says why the hash cannot be decoded; ``fields`` are its raw fields then."""

    id: str
    state: JobState
    job: Job | None = None
    result: Any = None
    failure: Failure | None = None
    unreadable: str | None = None
    fields: dict[bytes, bytes] | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the job's ID, or how it begins")
    parser.add_argument("--abort", action="store_true", help="end it: take it back, or have its worker cancel it")
    parser.add_argument("--yes", action="store_true", help="with --abort: without a question")
    add_keyspace(parser)
    add_json(parser)


async def run(options: argparse.Namespace) -> int:
    async with connection_to(options.url) as connection:
        job_id = await whole_id(connection, check_id(options.id))
        if options.abort:
            return await _abort(job_id, options)
        report = await look(connection, job_id, keyspace_of(options), options.queue)
    if report.fields is None and report.job is None:
        raise CliError(f"there is no job {shown(options.id)}: it was never here, or its result was collected", FAILED)
    if options.json:
        print_json(report)
    else:
        print("\n".join(rendered(report)))
    return OK


async def _abort(job_id: bytes, options: argparse.Namespace) -> int:
    confirmed(f"abort job {bare(job_id)}", options)
    async with Client(options.url, prefix=options.prefix, queue=options.queue) as client:
        outcome = await client.abort(job_id)
    words = {
        "withdrawn": "it had not begun, and is deleted",
        "asked": "its worker is asked to cancel it (Perl workers do not hear that)",
        "ended": "nothing to abort: it has ended, or is not there",
    }
    print(f"{bare(job_id)}: {words[outcome]}")
    return FAILED if outcome == "ended" else OK


async def whole_id(connection: Connection, beginning: bytes) -> bytes:
    """The ID of the only job whose ID begins so; as it came where there is none. Raises ``CliError`` for several."""
    if len(beginning) >= _WHOLE or await connection.execute(exists(job_key(beginning))) == 1:
        return beginning
    found: set[bytes] = set()
    cursor = b"0"
    while True:
        cursor, keys = scanned(await connection.execute(scan(cursor, job_key(literal(beginning)) + b"*", _SCANNED)))
        found |= {key.removeprefix(job_key(b"")) for key in keys}
        if cursor == b"0" or len(found) > 1:
            break
    if len(found) > 1:
        raise CliError(f"several jobs begin so: {', '.join(sorted(map(bare, found))[:5])}", USAGE)
    return found.pop() if found else beginning


async def look(connection: Connection, job_id: bytes, keyspace: Keyspace, queue: str) -> Report:
    """Raises ``TransportError``; ``DecodeError`` where the key holds no hash."""
    key = job_key(job_id)
    fields = hash_pairs(await connection.execute(hash_get_all(key)), key=key)
    worker = fields.get(WORKER)
    processing = keyspace.queue("processing")
    if worker is not None:
        own = keyspace.own_list(worker)
        if await connection.execute(list_position(own, job_id, within=SEARCHED)) is not None:
            processing = own
    lists = (keyspace.queue(queue), processing, keyspace.dead)
    state = read_state(checked(await connection.call(*ask_for_state(job_id, *lists))))
    if state.place == "unknown":
        state = await _further_inside(connection, job_id, lists, state)
    report = Report(id=bare(job_id, at_most=200), state=state)
    if fields:
        _decode(report, job_id, fields)
    return report


async def _further_inside(
    connection: Connection, job_id: bytes, lists: tuple[bytes, bytes, bytes], state: JobState
) -> JobState:
    """The state of a job that may stand at neither end of a long list."""
    queue, processing, dead = lists
    places: tuple[tuple[Place, bytes], ...] = (("dead", dead), ("queued", queue), ("started", processing))
    for place, key in places:
        length = await connection.execute(list_length(key))
        if isinstance(length, int) and length > 2 * SEARCHED:
            position = await position_in(connection, key, job_id)
            if position is not None:
                return replace(state, place=place, ahead=length - 1 - position if place == "queued" else None)
    return state


def _decode(report: Report, job_id: bytes, fields: dict[bytes, bytes]) -> None:
    try:
        job = decode_job(job_id, fields, dialect=None)
        if (reason := too_large(job.data)) is not None:
            raise DecodeError(reason)
        report.job = job
        if report.job.result is not None:
            result = decode_result(report.job.result, dialect=report.job.dialect)
            if isinstance(result, Failure):
                report.failure = result
            else:
                report.result = result.value
    except DecodeError as error:
        report.unreadable = str(error)
        report.fields = fields


def rendered(report: Report) -> Iterator[str]:
    """The report as lines of text."""
    state = report.state
    ahead = "" if state.ahead is None else f", {state.ahead} ahead of it, {state.queue_length} in the queue"
    yield f"{styled(report.id, 'bold')}  {state.place}{ahead}"
    if state.worker is not None:
        yield f"  worker     {bare(state.worker)}"
    if state.error is not None:
        yield styled(f"  error      {shown(state.error, at_most=300)}", "red")
    for line in words_of(state.traceback).splitlines() if state.traceback else ():
        yield f"             {line if line.isprintable() else repr(line)[1:-1]}"
    if report.unreadable is not None:
        yield styled(f"  unreadable {report.unreadable}", "red")
        if report.job is not None and report.job.result is not None:
            yield "  hint       a result that cannot be read is kept: delete the hash where nobody wants it"
        for name, value in (report.fields or {}).items():
            yield f"  field      {bare(name)} = {shown(value, at_most=200)}"
    if report.job is not None:
        yield from _job(report.job)
    if report.failure is not None:
        failure = f"{report.failure.type}: {report.failure.message}"
        yield styled(f"  failure    {shown(failure, at_most=400)}", "red")
    elif report.job is not None and report.job.result is not None and report.unreadable is None:
        yield f"  result     {_value(report.result)}"


def _job(job: Job) -> Iterator[str]:
    yield f"  dialect    {job.dialect.name}"
    yield f"  reply to   {bare(job.reply_to) if job.reply_to else '(nobody)'}"
    for name in ("queued", "started", "processed"):
        moment = getattr(job, name)
        if moment is not None:
            yield f"  {name:<9}  {_moment(moment)}"
    for field, value in job.meta.items():
        if field == "_error":
            continue  # shown with the state
        yield f"  {bare(field)} = {shown(value, at_most=200)}"
    for parameter, content in job.data.items():
        yield f"  data       {bare(parameter)} = {_value(content)}"


def _moment(seconds: float) -> str:
    ago = time.time() - seconds
    return f"{seconds:.15g} ({ago:.1f} s ago)" if ago >= 0 else f"{seconds:.15g} (in {-ago:.1f} s)"


def words_of(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode(errors="backslashreplace")


def _value(value: object) -> str:
    text = shown(value, at_most=400) if isinstance(value, str | bytes) else repr(value)
    return text if len(text) <= 500 else text[:500] + "…"
