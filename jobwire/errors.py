"""Every error that jobwire raises, in one tree.

::

    JobwireError
    ├── ConfigError                 an option, URL or handler that cannot work (also a ValueError)
    ├── ClosedError                 used before start or after stop (also a RuntimeError)
    ├── TooManyJobs                 a client that has its limit of jobs outstanding already (also a RuntimeError)
    ├── WireError                   the bytes on the wire, in either direction
    │   ├── EncodeError             ours: a value that the wire cannot say (also a ValueError)
    │   │   └── SerealEncodeError   … in a Sereal document
    │   └── DecodeError             theirs: bytes that cannot be read (also a ValueError)
    │       ├── SerealDecodeError   … a Sereal document
    │       ├── JobDecodeError      … a job hash or queue entry
    │       ├── ResultDecodeError   … a result
    │       └── MismatchError       readable, but of another mode or dialect
    ├── TransportError              between us and Redis (also an OSError)
    │   ├── ConnectError            no connection could be made
    │   │   └── AuthError           the server refused the credentials
    │   ├── ConnectionLost          a connection broke with work under way
    │   └── ServerError             Redis answered with an error
    └── JobError                    the end of one job without a value
        ├── JobFailed               the handler failed; type, message, traceback of the other side
        ├── JobTimeout              no result before the deadline (also a TimeoutError)
        ├── JobCancelled            cancelled at the submitter
        └── JobLost                 the job's hash is gone and no result was seen

Nothing here imports anything but the standard library. Messages name keys, fields and
offsets, and the remedy; they never hold credentials or whole payloads (payloads are on
the error's attributes).
"""

from __future__ import annotations

import re
from typing import Any

__all__ = [
    "AuthError",
    "ClosedError",
    "ConfigError",
    "ConnectError",
    "ConnectionLost",
    "DecodeError",
    "EncodeError",
    "JobCancelled",
    "JobDecodeError",
    "JobError",
    "JobFailed",
    "JobLost",
    "JobTimeout",
    "JobwireError",
    "MismatchError",
    "ResultDecodeError",
    "SerealDecodeError",
    "SerealEncodeError",
    "ServerError",
    "TooManyJobs",
    "TransportError",
    "WireError",
    "printable",
]

Text = str | bytes


def printable(value: Text | None, *, at_most: int = 80) -> str:
    """Return one line of ASCII that shows ``value`` safely in a message or log.

    Control characters, quotes and non-ASCII are escaped, so that nothing from the wire can
    forge a log line; longer values are cut at ``at_most`` characters and say so.
    """
    if value is None:
        return "(none)"
    # Cut first: a hostile value may be megabytes long.
    head = value[:at_most]
    text = ascii(head.decode("ascii") if isinstance(head, bytes) and head.isascii() else head)
    return text if len(value) <= at_most else f"{text}... ({len(value)} in all)"


class JobwireError(Exception):
    """Base of all errors of this package. They can be copied and pickled, with all their attributes."""

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(kind: type[JobwireError], args: tuple[object, ...], state: dict[str, object]) -> JobwireError:
    error = kind.__new__(kind, *args)
    error.args = args  # OSError leaves them to an __init__ of ours
    error.__dict__.update(state)
    return error


class ConfigError(JobwireError, ValueError):
    """An option, URL or handler that cannot work; raised before anything is sent."""


class ClosedError(JobwireError, RuntimeError):
    """The client or worker has not been started, or has been stopped.

    ``submitted``, where somebody waited for a job: True, Redis has the job, and it goes on; False, Redis has not got
    it; None, that is not known.
    """

    submitted: bool | None = None


class TooManyJobs(JobwireError, RuntimeError):
    """The client has ``max_outstanding`` jobs outstanding; nothing was sent."""


class WireError(JobwireError):
    """Base of errors in the bytes on the wire."""


class EncodeError(WireError, ValueError):
    """A value that has no form on the wire; nothing was sent.

    ``field`` is the parameter or path (None where there is none).
    """

    def __init__(self, message: str, *, field: Text | None = None) -> None:
        super().__init__(message if field is None else f"{message} (at {printable(field)})")
        self.reason = message
        self.field = field


class SerealEncodeError(EncodeError):
    """A value that Sereal, or the version asked for, has no form for."""


class DecodeError(WireError, ValueError):
    """Bytes from the wire that cannot be read.

    ``reason`` is the fault and its remedy, ``key`` the Redis key, ``field`` the hash field or
    path, ``offset`` the byte offset in ``raw`` (each None where unknown), ``raw`` the bytes.
    """

    def __init__(
        self,
        reason: str,
        *,
        key: Text | None = None,
        field: Text | None = None,
        offset: int | None = None,
        raw: bytes | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.key = key
        self.field = field
        self.offset = offset
        self.raw = raw

    def located(self, *, key: Text | None = None, field: Text | None = None) -> DecodeError:
        """Return this error, with ``key`` and ``field`` filled in where they were unknown."""
        if self.key is None:
            self.key = key
        if self.field is None:
            self.field = field
        return self

    def __str__(self) -> str:
        places = [
            f"key {printable(self.key)}" if self.key is not None else "",
            f"field {printable(self.field)}" if self.field is not None else "",
            f"offset {self.offset}" if self.offset is not None else "",
        ]
        where = ", ".join(place for place in places if place)
        return f"{where}: {self.reason}" if where else self.reason


class SerealDecodeError(DecodeError):
    """A Sereal document that is malformed, or beyond the limits; ``tag`` is the tag byte met."""

    def __init__(
        self,
        reason: str,
        *,
        key: Text | None = None,
        field: Text | None = None,
        offset: int | None = None,
        raw: bytes | None = None,
        tag: int | None = None,
    ) -> None:
        super().__init__(reason, key=key, field=field, offset=offset, raw=raw)
        self.tag = tag

    def __str__(self) -> str:
        base = super().__str__()
        return base if self.tag is None else f"{base} (tag 0x{self.tag:02x})"


class JobDecodeError(DecodeError):
    """A job hash or queue entry that cannot be read as a job."""


class ResultDecodeError(DecodeError):
    """A ``result`` field or reply that cannot be read."""


class MismatchError(DecodeError):
    """Readable, but written by a peer of another mode or dialect; names both sides and the remedy."""


class TransportError(JobwireError, OSError):
    """Base of errors between this process and Redis."""


class ConnectError(TransportError):
    """No connection could be made; names the address, never the credentials."""


class AuthError(ConnectError):
    """The server refused the user name, the password, or asked for one."""


class ConnectionLost(TransportError):
    """The connection broke with commands under way on it.

    ``replies`` are the server's answers to these commands, where the answers ended the connection: it takes no writes
    any more (READONLY). Else there are none.
    """

    replies: tuple[Any, ...] = ()


# Redis 6 wraps the answer to a command in a script: "ERR Error running script (call to f_…): @user_script:1:
# @user_script: 1: -READONLY You can't write …".
_IN_SCRIPT = re.compile(r"ERR Error running script .*?@user_script: ?\d+: (?:@user_script: ?\d+: )?-?([A-Z]+) ")


class ServerError(TransportError):
    """Redis answered a command with an error.

    ``code`` is its first word, e.g. ``WRONGTYPE``, also where Redis 6 wraps the error of a command in a script.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        wrapped = _IN_SCRIPT.match(message) if message.startswith("ERR Error") else None
        self.code = message.partition(" ")[0] if wrapped is None else wrapped[1]


class JobError(JobwireError):
    """Base of the ends of one job without a value; ``job_id`` names it."""

    def __init__(self, message: str, *, job_id: Text) -> None:
        super().__init__(message)
        self.job_id = job_id


class JobFailed(JobError):
    """The job's handler failed. ``type``, ``message`` and ``traceback`` (None unless the worker
    sends it, ``Worker(send_tracebacks=True)``) are the other side's words."""

    def __init__(self, message: str, *, job_id: Text, type: str, traceback: str | None = None) -> None:
        super().__init__(f"{type}: {message}", job_id=job_id)
        self.type = type
        self.message = message
        self.traceback = traceback
        if traceback:
            lines = (line if line.isprintable() else ascii(line)[1:-1] for line in traceback[-20_000:].splitlines())
            self.add_note("The worker's traceback:\n" + "\n".join(f"  {line}" for line in lines))


class JobTimeout(JobError, TimeoutError):
    """No result before the deadline; the message describes the job's state in Redis at that moment."""


class JobCancelled(JobError):
    """The job was cancelled by its submitter."""


class JobLost(JobError):
    """The job's hash vanished from Redis before its result was seen."""
