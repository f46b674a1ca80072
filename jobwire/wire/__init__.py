"""The wire as plain data: keys, fields, jobs, results, envelopes, dialects, modes. No I/O, no event loop."""

from __future__ import annotations

from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.wire.codec.dialects import DEFAULT_DIALECT, DIALECTS, Dialect, dialect_named, dialect_of
from jobwire.wire.codec.envelopes import (
    JobEnvelope,
    ReplyEnvelope,
    decode_job_envelope,
    decode_reply_envelope,
    encode_job_envelope,
    encode_reply_envelope,
)
from jobwire.wire.codec.ids import new_id
from jobwire.wire.codec.jobs import Job, decode_job, encode_job
from jobwire.wire.codec.results import Failure, Result, Success, decode_result, encode_failure, encode_result
from jobwire.wire.commands import Command, Reply
from jobwire.wire.keys import Keyspace, channel, job_key
from jobwire.wire.lifecycle import LIFECYCLE
from jobwire.wire.modes import MODES
from jobwire.wire.modes.base import HashMode, Mode, Notice, Submission, Taken
from jobwire.wire.modes.recoverable import Recoverable
from jobwire.wire.modes.reliable import Reliable
from jobwire.wire.modes.simple import Simple
from jobwire.wire.text import Text

__all__ = [
    "DEFAULT_DIALECT",
    "DEFAULT_LIMITS",
    "DIALECTS",
    "LIFECYCLE",
    "MODES",
    "Command",
    "Dialect",
    "Failure",
    "HashMode",
    "Job",
    "JobEnvelope",
    "Keyspace",
    "Limits",
    "Mode",
    "Notice",
    "Recoverable",
    "Reliable",
    "Reply",
    "ReplyEnvelope",
    "Result",
    "Simple",
    "Submission",
    "Success",
    "Taken",
    "Text",
    "channel",
    "decode_job",
    "decode_job_envelope",
    "decode_reply_envelope",
    "decode_result",
    "dialect_named",
    "dialect_of",
    "encode_failure",
    "encode_job",
    "encode_job_envelope",
    "encode_reply_envelope",
    "encode_result",
    "job_key",
    "new_id",
]
