"""Repeated refusals by Redis of a worker's commands: logged once for each change, and retried ever less often."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from jobwire.errors import ServerError
from jobwire.transport import Backoff

__all__ = ["Refusals"]


@dataclass(slots=True)
class _Trouble:
    said: str
    backoff: Backoff
    until: float = field(default=0.0)


class Refusals:
    """Refusals of one kind of work; ``what`` names it in the words of the log: "take jobs"."""

    def __init__(
        self,
        log: logging.Logger,
        *,
        first: float = 0.2,
        longest: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``first`` and ``longest`` are in seconds, about: the pauses have jitter (``Backoff``)."""
        self._log = log
        self._first = first
        self._longest = longest
        self._clock = clock
        self._troubles: dict[str, _Trouble] = {}
        self.troubled = False
        """True while commands are refused."""

    def refused(self, what: str, error: Exception, remedy: str = "") -> float:
        """Return the seconds until the next try: one pause for all callers while it lasts."""
        trouble = self._trouble(what, error, remedy)
        now = self._clock()
        if now >= trouble.until:
            trouble.until = now + trouble.backoff.next()
        return trouble.until - now

    def eased(self, what: str, error: Exception, remedy: str = "") -> None:
        """Note that a refused command succeeded in another way: the next pause is short again."""
        self._trouble(what, error, remedy).backoff.reset()

    def accepted(self, what: str) -> None:
        """Note that commands succeed (again)."""
        trouble = self._troubles.pop(what, None)
        self.troubled = bool(self._troubles)
        if trouble is not None:
            self._log.warning("can %s again", what)

    def _trouble(self, what: str, error: Exception, remedy: str) -> _Trouble:
        trouble = self._troubles.get(what)
        if trouble is None:
            self.troubled = True
            trouble = self._troubles[what] = _Trouble("", Backoff(self._first, self._longest))
        said = error.code if isinstance(error, ServerError) else str(error)
        if said != trouble.said:
            trouble.said = said
            self._log.error("cannot %s: %s; trying again, ever less often%s", what, error, remedy)
        return trouble
