"""Why nobody answered: the report at a deadline, from the contents of Redis.

Very many deadlines may come at once, so each question here is asked once for all of them, and costs the same however
long the queues are. Other names are looked for among 10,000 keys at the most, and ever more rarely: again after a
minute, two, four, in the end an hour. With a thousand clients that wait in vain it would be a load of its own.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

from jobwire.errors import DecodeError, ServerError, printable
from jobwire.transport import Connection, first_entries
from jobwire.wire import Mode
from jobwire.wire.commands import scan, scanned, set_size, value_type
from jobwire.wire.dead_letters import decode_rejected
from jobwire.wire.keys import ANY_PENDING_OR_WORKERS, looks_pending, prefix_of_workers
from jobwire.wire.states import LOOKED_AT, JobState

T = TypeVar("T")

__all__ = ["TimeoutReport"]

_SCAN_STEPS = 20
_AT_MOST = 20
_RECORDS = 100
_LOOK_AGAIN_AFTER = 60.0
_LOOK_AT_LEAST_EVERY = 3600.0


class TimeoutReport:
    """The reports about the jobs of one ``mode`` at their deadlines."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._queues: list[bytes] = []
        self._fleets: list[bytes] = []
        self._look_at = 0.0
        self._pause = _LOOK_AGAIN_AFTER
        self._refused: set[str] = set()

    async def explain(
        self, connection: Connection, queue: bytes, states: Mapping[bytes, JobState | ServerError]
    ) -> dict[bytes, str]:
        """Say of each job of ``queue``, in a sentence, where it is and where to look. Raises ``TransportError``."""
        known = [state for state in states.values() if isinstance(state, JobState)]
        rejected, around = dict[bytes, str](), ""
        if any(state.place == "unknown" for state in known):
            rejected = await self._if_permitted("rejected", partial(self._rejections, connection), rejected)
        if any(map(_waits, known)):
            around = await self._if_permitted("workers", partial(self._workers, connection), "")
            around += await self._if_permitted("elsewhere", partial(self._elsewhere, connection, queue), "")
        return {job_id: self._sentence(queue, state, rejected.get(job_id), around) for job_id, state in states.items()}

    async def _if_permitted(self, what: str, ask: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """An ACL may leave to a client its queue and its jobs alone: a question that is refused is not asked again."""
        if what in self._refused:
            return otherwise
        try:
            return await ask()
        except ServerError:
            self._refused.add(what)
            return otherwise

    def _sentence(self, queue: bytes, state: JobState | ServerError, rejected: str | None, around: str) -> str:
        if isinstance(state, ServerError):
            return str(state)
        if state.place == "unknown" and rejected is not None:
            return f"no worker could read it, and it stands in {printable(self._mode.keyspace.rejected)}: {rejected}"
        return self._place(state, queue) + (around if _waits(state) else "")

    def _place(self, state: JobState, queue: bytes) -> str:
        name = printable(queue)
        who = "" if state.worker is None else f" by worker {printable(state.worker)}"
        why = "" if state.error is None else f": {printable(state.error, at_most=200)}"
        if _is_inside(state):
            dead = (
                "" if state.error is None else f", nor among the youngest of {printable(self._mode.keyspace.dead)}{why}"
            )
            return (
                f"it has not been begun, and is neither among the next nor among the last {LOOKED_AT} of {name}, which "
                f"holds {state.queue_length}{dead}: most likely it waits in between"
            )
        return {
            "queued": f"it is still in {name}, {state.ahead} jobs ahead of it, {state.queue_length} in the queue",
            "started": f"it was taken{who}, and there is no result yet{why}",
            "processed": "its result has just arrived; attach to it",
            "dead": f"it was set aside as dead{why}",
            "unknown": f"its hash is there, but it is in no queue we know{why}: is it in another processing queue?",
            "gone": "its hash is gone",
            "not kept": f"the queue {name} holds {state.queue_length} jobs",
        }[state.place]

    async def _rejections(self, connection: Connection) -> dict[bytes, str]:
        """Why jobs were set aside as unreadable, by the entry: of the youngest records alone."""
        found: dict[bytes, str] = {}
        for raw in await first_entries(connection.execute, self._mode.keyspace.rejected, _RECORDS):
            with suppress(DecodeError):
                record = decode_rejected(raw)
                found.setdefault(record.raw, printable(record.reason, at_most=300))
        return found

    async def _workers(self, connection: Connection) -> str:
        workers = await connection.execute(set_size(self._mode.keyspace.workers))
        if not workers:
            return "; no jobwire worker is known under this prefix (Perl workers leave no sign)"
        return f"; {workers!r} jobwire workers are known under this prefix"

    async def _elsewhere(self, connection: Connection, queue: bytes) -> str:
        """Name queues that look like ours under other names; empty where none does."""
        now = time.monotonic()
        if now >= self._look_at:
            self._queues, self._fleets = await _queues_and_fleets(connection)
            self._look_at, self._pause = now + self._pause, min(2 * self._pause, _LOOK_AT_LEAST_EVERY)
        queues = [printable(key) for key in self._queues if key != queue]
        fleets = [prefix_of_workers(key) for key in self._fleets if key != self._mode.keyspace.workers]
        prefixes = [printable(prefix) if prefix else "'' (none)" for prefix in fleets if prefix is not None]
        hints = [f"other queues that wait: {', '.join(queues)}"] if queues else []
        hints += [f"prefixes that have jobwire workers: {', '.join(prefixes)}"] if prefixes else []
        return f"; {'; '.join(hints)}: do both sides use the same prefix and queue?" if hints else ""


def _waits(state: JobState) -> bool:
    return state.place == "queued" or (state.place == "not kept" and state.queue_length > 0) or _is_inside(state)


def _is_inside(state: JobState) -> bool:
    """Whether the job may stand in its queue where nobody looked."""
    return state.place == "unknown" and state.queue_length > 2 * LOOKED_AT


async def _queues_and_fleets(connection: Connection) -> tuple[list[bytes], list[bytes]]:
    """The keys of lists that may be queues, and of sets of workers, from a bounded look around."""
    cursor, keys = b"0", dict[bytes, None]()
    for _ in range(_SCAN_STEPS):
        cursor, some = scanned(await connection.execute(scan(cursor, ANY_PENDING_OR_WORKERS)))
        keys |= dict.fromkeys(some)
        if cursor == b"0":
            break
    queues = [key for key in keys if looks_pending(key)][:_AT_MOST]
    fleets = [key for key in keys if prefix_of_workers(key) is not None][:_AT_MOST]
    both = [*queues, *fleets]
    types = await connection.call(*map(value_type, both)) if both else []
    kinds = dict(zip(both, types, strict=True))
    return [key for key in queues if kinds[key] == b"list"], [key for key in fleets if kinds[key] == b"set"]
