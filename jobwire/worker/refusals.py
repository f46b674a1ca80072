"""Redis refuses what a worker does, again and again: said once for each change, and tried ever less often."""

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
    """``what`` names something that a worker does, in the words of the log: "take jobs"."""

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
        """True while something is refused."""

    def refused(self, what: str, error: Exception, remedy: str = "") -> float:
        """Seconds until the next try: one pause for all who ask while it lasts."""
        trouble = self._trouble(what, error, remedy)
        now = self._clock()
        if now >= trouble.until:
            trouble.until = now + trouble.backoff.next()
        return trouble.until - now

    def eased(self, what: str, error: Exception, remedy: str = "") -> None:
        """It is refused, but there was another way: the next pause is short again."""
        self._trouble(what, error, remedy).backoff.reset()

    def accepted(self, what: str) -> None:
        """It works (again)."""
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
