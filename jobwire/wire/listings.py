"""Rows of lists of jobs: facts of many jobs at a cost that does not grow with their parameters. Reads only.

Parameters may be megabytes: of each job the names are asked for first, then the lengths of a few fields, then the
contents of those that are short.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobwire.errors import ServerError
from jobwire.wire import commands as c
from jobwire.wire.codec import extensions as m
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import job_key
from jobwire.wire.text import Text, parse_epoch, readable

__all__ = [
    "ALL_NOTICES",
    "LONGEST_SHOWN",
    "PARAMETERS_SHOWN",
    "Row",
    "ask_for_lengths",
    "ask_for_row",
    "is_notice",
    "parameters_of",
    "read_row",
]

PARAMETERS_SHOWN = 3
LONGEST_SHOWN = 4096
"""Bytes of a parameter that a row holds."""
_FIELDS = (m.QUEUED, m.STARTED, m.PROCESSED, m.WORKER, m.REPLY_TO, m.ERROR, m.ATTEMPTS)

ALL_NOTICES: Command = (b"PSUBSCRIBE", b"client::*")
"""Hear the notices of all clients of the server: one for each job that ends."""


def is_notice(push: list[Reply]) -> bool:
    """Whether a push of a connection with ``ALL_NOTICES`` is a notice."""
    return push[0] == b"pmessage"


class Row(msgspec.Struct, kw_only=True):
    """One job of a list.

    ``queued``, ``started``, ``processed``  epoch seconds
    ``parameters``  names of parameters, as the hash has them, with their type: ``text_name``
    ``gone``        there is no hash
    """

    id: Text
    queued: float | None = None
    started: float | None = None
    processed: float | None = None
    worker: Text | None = None
    reply_to: Text | None = None
    error: Text | None = None
    attempts: Text | None = None
    parameters: list[bytes] = []
    gone: bool = False


def ask_for_row(job_id: bytes) -> tuple[Command, ...]:
    """Return the commands whose replies ``read_row`` reads."""
    return (c.hash_get(job_key(job_id), *_FIELDS), c.hash_names(job_key(job_id)))


def read_row(job_id: bytes, replies: Sequence[Reply]) -> Row:
    """Read the replies to ``ask_for_row``; a key that holds no hash is a row that says so."""
    values, names = replies
    row = Row(id=readable(job_id))
    if isinstance(values, ServerError) or not isinstance(values, list):
        row.error = "its key holds no hash"
        return row
    queued, started, processed, worker, reply_to, error, attempts = (
        value if isinstance(value, bytes) else None for value in values
    )
    row.queued, row.started, row.processed = map(parse_epoch, (queued, started, processed))
    row.worker, row.reply_to, row.attempts = map(_text, (worker, reply_to, attempts))
    row.error = None if error is None else m.without_traceback(readable(error))[0]
    found = sorted(name for name in names if isinstance(name, bytes)) if isinstance(names, list) else []
    row.parameters = [name for name in found if name != m.RESULT and name not in m.RESERVED]
    row.gone = not found
    return row


def _text(value: bytes | None) -> Text | None:
    return None if value is None else readable(value)


def parameters_of(row: Row) -> list[bytes]:
    """Return the fields of the first parameters of a row."""
    return row.parameters[:PARAMETERS_SHOWN]


def ask_for_lengths(job_id: bytes, fields: Sequence[bytes]) -> tuple[Command, ...]:
    """Ask for the bytes of each of these fields."""
    return tuple(c.field_length(job_key(job_id), field) for field in fields)
