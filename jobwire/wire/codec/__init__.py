"""Values to bytes and back: fields, jobs, results, envelopes, for each dialect."""

from __future__ import annotations

from jobwire.wire.codec.envelopes import (
    JobEnvelope,
    ReplyEnvelope,
    decode_job_envelope,
    decode_reply_envelope,
    encode_job_envelope,
    encode_reply_envelope,
)
from jobwire.wire.codec.jobs import Job, decode_job, encode_job
from jobwire.wire.codec.results import decode_result, encode_failure, encode_result

__all__ = [
    "Job",
    "JobEnvelope",
    "ReplyEnvelope",
    "decode_job",
    "decode_job_envelope",
    "decode_reply_envelope",
    "decode_result",
    "encode_failure",
    "encode_job",
    "encode_job_envelope",
    "encode_reply_envelope",
    "encode_result",
]
