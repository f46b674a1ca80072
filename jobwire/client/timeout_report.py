"""Why nobody answered: what can be said at a deadline, from what Redis holds."""

from __future__ import annotations

from contextlib import suppress

from jobwire.errors import DecodeError, printable
from jobwire.transport import Connection
from jobwire.wire import Mode
from jobwire.wire.commands import list_items, scan, scanned, set_members, value_type
from jobwire.wire.dead_letters import decode_rejected
from jobwire.wire.keys import ANY_PENDING, ANY_WORKERS, prefix_of_workers
from jobwire.wire.states import JobState

__all__ = ["explain_timeout"]

_SCAN_STEPS = 20
_AT_MOST = 20
_RECORDS = 100


async def explain_timeout(connection: Connection, mode: Mode, job_id: bytes, queue: bytes) -> str:
    """One sentence that says where the job is and what to look at. Raises ``TransportError``."""
    state = mode.inspected(await connection.call(*mode.inspect(job_id, queue)))
    where = _place(state, queue)
    if state.place == "unknown" and (why := await _rejection(connection, mode, job_id)) is not None:
        return f"no worker could read it, and it stands in {printable(mode.keyspace.rejected)}: {why}"
    if state.place != "queued" and not (state.place == "not kept" and state.queue_length):
        return where
    members = await connection.execute(set_members(mode.keyspace.workers))
    workers = (
        f"{len(members)} jobwire workers are known under this prefix"
        if isinstance(members, list) and members
        else ("no jobwire worker is known under this prefix (Perl workers leave no sign)")
    )
    return f"{where}; {workers}{await _elsewhere(connection, queue, mode.keyspace.workers)}"


def _place(state: JobState, queue: bytes) -> str:
    name = printable(queue)
    who = "" if state.worker is None else f" by worker {printable(state.worker)}"
    why = "" if state.error is None else f": {printable(state.error, at_most=200)}"
    return {
        "queued": f"it is still in {name}, {state.ahead} jobs ahead of it, {state.queue_length} in the queue",
        "started": f"it was taken{who}, and there is no result yet{why}",
        "processed": "its result has just arrived; attach to it",
        "dead": f"it was set aside as dead{why}",
        "unknown": f"its hash is there, but it is in no queue we know{why}: is it in another processing queue?",
        "gone": "its hash is gone",
        "not kept": f"the queue {name} holds {state.queue_length} jobs",
    }[state.place]


async def _rejection(connection: Connection, mode: Mode, job_id: bytes) -> str | None:
    """Why the job was set aside as unreadable; None where the youngest entries of that list do not name it."""
    records = await connection.execute(list_items(mode.keyspace.rejected, 0, _RECORDS - 1))
    for raw in records if isinstance(records, list) else ():
        with suppress(DecodeError):
            record = decode_rejected(raw if isinstance(raw, bytes) else b"")
            if record.raw == job_id:
                return printable(record.reason, at_most=300)
    return None


async def _elsewhere(connection: Connection, queue: bytes, workers: bytes) -> str:
    """What looks like ours under other names; empty where nothing does."""
    queues = [printable(key) for key in await _keys(connection, ANY_PENDING, b"list") if key != queue]
    fleets = [prefix_of_workers(key) for key in await _keys(connection, ANY_WORKERS, b"set") if key != workers]
    prefixes = [printable(prefix) if prefix else "'' (none)" for prefix in fleets if prefix is not None]
    hints = [f"other queues that wait: {', '.join(queues)}"] if queues else []
    hints += [f"prefixes that have jobwire workers: {', '.join(prefixes)}"] if prefixes else []
    return f"; {'; '.join(hints)}: do both sides use the same prefix and queue?" if hints else ""


async def _keys(connection: Connection, pattern: bytes, kind: bytes) -> list[bytes]:
    """Keys of this type, from a bounded look around."""
    cursor, found = b"0", list[bytes]()
    for _ in range(_SCAN_STEPS):
        cursor, keys = scanned(await connection.execute(scan(cursor, pattern)))
        found += keys
        if cursor == b"0":
            break
    found = list(dict.fromkeys(found))[:_AT_MOST]
    types = await connection.call(*map(value_type, found)) if found else []
    return [key for key, actual in zip(found, types, strict=False) if actual == kind]
