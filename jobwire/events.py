"""One place for logs, metrics and spans: a function that is told of every step of every job."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from jobwire.wire.lifecycle import Event
from jobwire.wire.text import Text

__all__ = ["Trace", "TraceEvent", "tell"]


class TraceEvent(msgspec.Struct, frozen=True):
    """A step of a job.

    ``event``   one of the events of ``jobwire.wire.LIFECYCLE``, ``fail`` for a handler that raised, ``expire`` and
                ``timeout`` for deadlines, ``cancel``
    ``at``      epoch seconds
    ``detail``  what else is known, in a few words (an error, a queue); empty where nothing
    """

    event: Event | Literal["fail", "timeout", "expire", "cancel"]
    role: Literal["client", "worker"]
    job_id: Text
    at: float
    detail: str = ""


Trace: TypeAlias = Callable[[TraceEvent], object]
"""Called in the event loop, so it must not block; what it raises is logged and otherwise ignored."""


def tell(trace: Trace, event: TraceEvent, log: logging.Logger) -> None:
    """Call the hook; what it raises goes to ``log``."""
    try:
        trace(event)
    except Exception:
        log.exception("the trace hook raised")
