"""A job, and its hash.

Source: Job::Async::Redis 0.004, Client/Redis.pm ``submit`` and Worker/Redis.pm ``on_job_received``.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from jobwire.errors import EncodeError, JobDecodeError
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.sereal.values import StringPolicy
from jobwire.wire.codec import extensions as m
from jobwire.wire.codec.dialects import DEFAULT_DIALECT, Dialect, dialect_named, dialect_of
from jobwire.wire.codec.fields import Nested, decode_fields, encode_parameters
from jobwire.wire.codec.plain import parameters_of
from jobwire.wire.keys import job_key
from jobwire.wire.text import Text, epoch, parse_epoch, readable, wire_bytes

__all__ = ["JOB_FIELDS", "Job", "decode_job", "encode_job"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job as it stands on the wire.

    ``id``        its ID: ``str`` where it is valid UTF-8, else ``bytes``
    ``data``      its parameters
    ``reply_to``  the client ID that wants the result; empty where nobody does
    ``queued``, ``started``, ``processed``  epoch seconds, None where not (yet) written
    ``meta``      every other field whose name starts with ``_``, names and values read by the policy ``auto``
    ``result``    the bytes of a ``result`` that is already there, else None
    ``dialect``   the dialect it was read as, which is the one to answer in
    """

    id: Text
    data: dict[Text, object]
    reply_to: Text = ""
    queued: float | None = None
    started: float | None = None
    processed: float | None = None
    meta: dict[Text, Text] = msgspec.field(default_factory=dict)
    result: bytes | None = None
    dialect: Dialect = DEFAULT_DIALECT

    def _meta_bytes(self, field: str) -> bytes | None:
        value = self.meta.get(field)
        return None if value is None else wire_bytes(value)

    @property
    def accept(self) -> frozenset[str]:
        """Result tags besides ``T`` and ``J`` that the submitter reads: ``E``, ``V`` (extension ``_accept``).

        None in a dialect without tags.
        """
        return m.parse_accept(self.meta.get("_accept") if self.dialect.tagged_results else None)

    @property
    def expires(self) -> float | None:
        """Epoch seconds after which the job is not run (extension ``_expires``)."""
        return parse_epoch(self._meta_bytes("_expires")) if "_expires" in self.meta else None

    @property
    def attempts(self) -> int:
        """The number of failures of its handler so far (extension ``_attempts``)."""
        value = self.meta.get("_attempts", "")
        return int(value) if value[:1] and value.isdigit() else 0

    @property
    def queue(self) -> bytes | None:
        """The whole key of the pending queue it came through, where somebody wrote it down (extension ``_queue``)."""
        return self._meta_bytes("_queue")

    @property
    def worker(self) -> Text | None:
        """The ID of the worker that marked the job as its own (extension ``_worker``)."""
        return self.meta.get("_worker")


JOB_FIELDS = Job.__struct_fields__
"""The fields of a job, in the order in which the compiled code has them."""
_KINDS = (b"text_", b"sereal_", b"json_")
_LATER = len(m.MARKS | {m.PROCESSED, m.RESULT})
"""Fields that workers add to a hash; a job that is tried again is read with them."""


def encode_job(
    data: object,
    *,
    reply_to: Text,
    queued: float | None = None,
    dialect: str | Dialect = DEFAULT_DIALECT,
    meta: Mapping[Text, Text] | None = None,
    nested: Nested = "sereal",
    limits: Limits = DEFAULT_LIMITS,
) -> dict[bytes, bytes]:
    """Return the hash fields of a submission.

    ``data`` is a mapping, a Struct or a dataclass; ``queued`` epoch seconds (ignored by dialects without timing
    fields), ``limits`` those of whoever reads it. Raises ``EncodeError`` naming the parameter that the wire cannot say,
    or the limit that is crossed.
    """
    dialect = dialect_named(dialect)
    fields = {m.REPLY_TO: wire_bytes(reply_to)}
    if dialect.timing_fields and queued is not None:
        fields[m.QUEUED] = epoch(queued)
    parameters = encode_parameters(parameters_of(data), dialect=dialect, nested=nested, limits=limits)
    for name, value in meta.items() if meta else ():
        field, raw = m.encode_meta(name, value)
        if field not in m.RESERVED and any(kind + field in parameters for kind in _KINDS):
            raise EncodeError(
                "a parameter and a meta field of this name: Perl would see the meta field alone", field=field
            )
        fields[field] = raw
    fields.update(parameters)
    if len(fields) > limits.max_fields - _LATER:
        raise EncodeError(
            f"{len(parameters)} parameters make a hash of {len(fields)} fields, and workers add up to {_LATER}; the "
            f"limit is {limits.max_fields} (max_fields): put them into one parameter, as a list or an object"
        )
    return fields


def decode_job(
    job_id: Text,
    fields: Mapping[bytes, bytes],
    *,
    dialect: str | Dialect | None = DEFAULT_DIALECT,
    strings: StringPolicy = "auto",
    limits: Limits = DEFAULT_LIMITS,
) -> Job:
    """Return the job in a hash.

    ``dialect=None`` takes the dialect that the submission shows (``dialect_of``). Raises ``JobDecodeError`` that
    names the key and the field, and carries the field's bytes.
    """
    known = dialect_of(fields) if dialect is None else dialect_named(dialect)
    try:
        data, meta = decode_fields(fields, dialect=known, strings=strings, limits=limits)
    except JobDecodeError as error:
        error.located(key=job_key(wire_bytes(job_id)))
        raise
    get = fields.get
    return Job(
        id=readable(job_id) if isinstance(job_id, bytes) else job_id,
        data=data,
        reply_to=readable(get(m.REPLY_TO, b"")),
        queued=None if (queued := get(m.QUEUED)) is None else parse_epoch(queued),
        started=None if (started := get(m.STARTED)) is None else parse_epoch(started),
        processed=None if (processed := get(m.PROCESSED)) is None else parse_epoch(processed),
        meta=meta,
        result=get(m.RESULT),
        dialect=known,
    )
