"""Upkeep against growth in Redis: results that nobody fetches, entries that nobody can read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from jobwire.errors import printable
from jobwire.transport import Replies
from jobwire.wire import Command, Job, Keyspace
from jobwire.wire.codec.extensions import KEEP, parse_keep
from jobwire.wire.commands import expire_in, list_length
from jobwire.wire.keys import channel, job_key
from jobwire.wire.scripts import EXPIRE_UNHEARD
from jobwire.wire.text import wire_bytes

__all__ = ["KEPT", "MAX_REJECTED", "Maintenance"]

KEPT = KEEP.decode()
"""The name of the field in a job's ``meta``."""

MAX_REJECTED = 1000
"""Entries in ``<prefix>::rejected`` from which on a worker raises the alarm."""


class Send(Protocol):
    """Sends commands; ``then`` gets their replies, where they arrive."""

    def __call__(self, commands: tuple[Command, ...], then: Callable[[Replies], None] | None = None) -> None: ...


class Maintenance:
    """``expire_results``: seconds until a result goes that no client was listening for, None for never.

    A client that listens on its channel, Perl or Python, is there; its result is never touched. A Perl client that does
    not listen at the moment of the notice does not look for it later either; a Python client that comes back looks, and
    has that long to do so.
    """

    def __init__(
        self, keyspace: Keyspace, *, expire_results: float | None, max_rejected: int, log: logging.Logger
    ) -> None:
        self.always = expire_results is not None
        """Every completed job concerns it, not only those that say how long their result is kept."""
        self._rejected = keyspace.rejected
        self._milliseconds = b"%d" % int(1000 * (expire_results or 0))
        self._max_rejected = max_rejected
        self._log = log
        self._alarmed_at = 0

    def completed(self, job: Job, job_id: bytes, send: Send) -> None:
        """Note that a result was written and published."""
        keep = parse_keep(job.meta.get(KEPT))
        if keep is not None:
            send((expire_in(job_key(job_id), keep),))
            return
        if not self.always:
            return
        notices = channel(wire_bytes(job.reply_to))
        send((EXPIRE_UNHEARD.call_whole((job_key(job_id),), notices, self._milliseconds),))

    def rejected(self, send: Send) -> None:
        """Note that one more entry was set aside; raise the alarm if due. The list itself is never shortened."""
        send((list_length(self._rejected),), self._counted)

    def _counted(self, replies: Replies) -> None:
        length = replies[0]
        if not isinstance(length, int) or length < self._max_rejected:
            self._alarmed_at = 0
        elif length >= max(self._max_rejected, 2 * self._alarmed_at):
            self._alarmed_at = length
            self._log.error(
                "%s holds %d entries that could not be read (max_rejected is %d): look at them with jobwire rejected",
                printable(self._rejected),
                length,
                self._max_rejected,
            )
