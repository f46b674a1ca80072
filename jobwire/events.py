"""One stream of events of jobs, for counters, metrics, spans and logs."""

from __future__ import annotations

import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from jobwire.wire.lifecycle import Counter as Counters
from jobwire.wire.lifecycle import Event
from jobwire.wire.text import Text

__all__ = ["AnyEvent", "Events", "Trace", "TraceEvent", "loggable"]


AnyEvent: TypeAlias = Event | Literal["fail", "timeout", "expire", "cancel"]


class TraceEvent(msgspec.Struct, frozen=True):
    """A step of a job.

    ``event``   one of the events of ``jobwire.wire.LIFECYCLE``, ``fail`` for a handler that raised, ``expire`` and
                ``timeout`` for deadlines, ``cancel``
    ``at``      epoch seconds
    ``detail``  further facts in a few words (an error, a queue); may be empty
    """

    event: AnyEvent
    role: Literal["client", "worker"]
    job_id: Text
    at: float
    detail: str = ""


Trace: TypeAlias = Callable[[TraceEvent], object]
"""Called in the event loop, so it must not block; its exceptions are logged and otherwise ignored."""


_LONGEST_STORY = 50_000
"""Characters of a traceback that is logged."""


def loggable(error: BaseException) -> tuple[str, BaseException | None]:
    """Text to append to a log line, and its ``exc_info``.

    The traceback is ``exc_info`` where every stream can write it; one of megabytes, or with lone surrogates, is cut and
    escaped into the text instead.
    """
    story = "".join(traceback.format_exception(error))
    if len(story) <= _LONGEST_STORY and not any("\ud800" <= char <= "\udfff" for char in story):
        return "", error
    return "\n" + ascii(story[-_LONGEST_STORY:]), None


class Events:
    """The one stream of events of a client or a worker: it feeds the counters and the trace hook.

    Nothing else counts jobs. A hook that raises is logged, and otherwise ignored.
    """

    def __init__(self, role: Literal["client", "worker"], log: logging.Logger, trace: Trace | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.traced = trace is not None
        self._role: Literal["client", "worker"] = role
        self._log = log
        self._trace = trace

    def emit(self, event: AnyEvent, job_id: Text, detail: str = "") -> None:
        """Report one step."""
        trace = self._trace
        if trace is None:
            return
        try:
            trace(TraceEvent(event, self._role, job_id, time.time(), detail))
        except Exception:
            self._log.exception("the trace hook raised")

    def count(self, counter: Counters, times: int = 1) -> None:
        """Count ends of jobs."""
        if times:
            self.counts[counter] += times
