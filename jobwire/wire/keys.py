"""Key, queue and channel names for one prefix.

Source: Job::Async::Redis 0.004, ``prefixed_queue`` in Client/Redis.pm and Worker/Redis.pm; the names that Perl does
not know (``dead``, ``rejected``, ``attempts``, ``workers``, ``worker``, a worker's own list) are defined by jobwire.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from jobwire.wire.text import Text, wire_bytes

__all__ = [
    "ANY_PENDING_OR_WORKERS",
    "DEFAULT_PREFIX",
    "JOB_PREFIX",
    "LONGEST_KEPT",
    "PENDING",
    "PROCESSING",
    "Keyspace",
    "channel",
    "channel_to",
    "job_key",
    "kept_channel",
    "looks_pending",
    "prefix_of_workers",
]

DEFAULT_PREFIX = "jobs"
PENDING = "pending"
PROCESSING = "processing"
JOB_PREFIX = b"job::"
_CHANNEL_PREFIX = b"client::"
_WORKERS = b"workers"

ANY_PENDING_OR_WORKERS = b"*[pw][eo][nr][dk][ie][nr][gs]*"
"""The pattern of keys that hold the word ``pending`` or ``workers``, and of few others: one SCAN for both."""


def job_key(job_id: bytes) -> bytes:
    """Return the key of a job's hash: ``job::<job id>``; never prefixed, so all prefixes of a database share it."""
    return JOB_PREFIX + job_id


LONGEST_KEPT = 256
"""Characters of a client ID that a cache may hold."""


def channel(client_id: Text) -> bytes:
    """Return the notice channel of a client: ``client::<client id>``."""
    return _CHANNEL_PREFIX + wire_bytes(client_id)


kept_channel = lru_cache(1024)(channel)


def channel_to(client_id: Text) -> bytes:
    """``channel``, remembered for those who answer the same clients again and again.

    Anybody may write ``_reply_to``, so a long one is not remembered.
    """
    return kept_channel(client_id) if len(client_id) <= LONGEST_KEPT else channel(client_id)


def looks_pending(key: bytes) -> bool:
    """Return whether a key may be that of a pending queue, under any prefix."""
    return PENDING.encode() in key


def prefix_of_workers(key: bytes) -> bytes | None:
    """Return the prefix whose set of workers has this key; empty for bare names, None where it is no such key."""
    if key == _WORKERS:
        return b""
    return key.removesuffix(b"::" + _WORKERS) if key.endswith(b"::" + _WORKERS) else None


class Keyspace(msgspec.Struct, frozen=True):
    """The names of one prefix. ``prefix`` empty means bare queue names; ``"0"`` is a legal prefix.

    All methods return the bytes that stand on the wire; names are ``str`` (written as UTF-8) or ``bytes``.
    """

    prefix: Text = DEFAULT_PREFIX

    def queue(self, name: Text) -> bytes:
        """Return the key of the queue ``name``: ``<prefix>::<name>``, or ``<name>`` without prefix."""
        prefix = wire_bytes(self.prefix)
        return prefix + b"::" + wire_bytes(name) if prefix else wire_bytes(name)

    def own_list(self, worker_id: Text) -> bytes:
        """Return the processing list that belongs to one worker: ``<prefix>::processing::<worker id>``."""
        return self.queue(b"processing::" + wire_bytes(worker_id))

    @property
    def workers(self) -> bytes:
        """The set of the IDs of workers that have own lists."""
        return self.queue(_WORKERS)

    @property
    def queues(self) -> bytes:
        """The hash that says, by worker ID, to which pending queue a worker's entries belong."""
        return self.queue(b"queues")

    @property
    def hosts(self) -> bytes:
        """The hash that says to people, by worker ID, where and since when a worker runs (JSON)."""
        return self.queue(b"hosts")

    @property
    def aborts(self) -> bytes:
        """The set of the IDs of jobs that are to be aborted where they run."""
        return self.queue(b"aborts")

    @property
    def gone(self) -> bytes:
        """The hash that says, by worker ID, since when (epoch seconds of the server) a worker is known to be gone."""
        return self.queue(b"gone")

    @property
    def looked(self) -> bytes:
        """The moment (epoch milliseconds of the server) of the last look after the workers of the prefix."""
        return self.queue(b"looked")

    def worker(self, worker_id: Text) -> bytes:
        """Return the key of a worker's heartbeat: its start nonce, with a TTL."""
        return self.queue(b"worker::" + wire_bytes(worker_id))

    @property
    def dead(self) -> bytes:
        """The list of IDs of jobs that will not be run again; their hashes say why (``_error``)."""
        return self.queue(b"dead")

    @property
    def rejected(self) -> bytes:
        """The list of entries that could not be read, each whole, with the reason."""
        return self.queue(b"rejected")

    @property
    def attempts(self) -> bytes:
        """The hash of attempts by job ID."""
        return self.queue(b"attempts")
