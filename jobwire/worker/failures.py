"""A handler's failure, in the words of the log, of Redis and of the client."""

from __future__ import annotations

import logging
import traceback

from jobwire.errors import EncodeError
from jobwire.events import loggable
from jobwire.wire import Failure

__all__ = ["cut", "failure_of", "log_failure", "sentence", "traceback_of"]

_LONGEST_MESSAGE = 10_000
"""Characters of a handler's error message that are logged, written and sent."""
_LONGEST_TYPE = 200
_LONGEST_TRACEBACK = 8_000
"""Characters of a traceback that are written and sent: its end, where the error is."""


def failure_of(error: BaseException, *, with_traceback: bool = False) -> Failure:
    """``error`` as it is told to the submitter."""
    try:
        words = str(error)
    except Exception as worse:  # an error whose ``__str__`` fails
        words = f"(its message cannot be had: {type(worse).__name__})"
    if isinstance(error, EncodeError):
        words = f"the handler's result cannot be sent: {words}"
    kind = cut(type(error).__name__, _LONGEST_TYPE)
    return Failure(kind, cut(words), traceback_of(error) if with_traceback else None)


def traceback_of(error: BaseException) -> str:
    """The end of the traceback, with causes and the members of groups; empty where no code of anybody's is in it."""
    if error.__traceback__ is None and error.__cause__ is None:
        return ""
    story = "".join(traceback.format_exception(error)).rstrip("\n")
    if len(story) <= _LONGEST_TRACEBACK:
        return story
    return f"… (the last {_LONGEST_TRACEBACK} of {len(story)} characters)\n{story[-_LONGEST_TRACEBACK:]}"


def cut(words: str, longest: int = _LONGEST_MESSAGE) -> str:
    """``words``, no longer than ``longest`` characters, and with their number where they were."""
    return words if len(words) <= longest else f"{words[:longest]}… ({len(words)} characters)"


def sentence(failure: Failure) -> str:
    """Type and message."""
    return f"{failure.type}: {failure.message}"


def log_failure(log: logging.Logger, name: str, failure: Failure, error: BaseException) -> None:
    """An error in the log, with the traceback: causes and members of groups too."""
    story, shown = loggable(error)
    log.error("job %s failed: %s: %s%s", name, failure.type, ascii(failure.message), story, exc_info=shown)
