"""The delays between attempts to connect."""

from __future__ import annotations

import random
from collections.abc import Callable

from jobwire.errors import ConfigError


class Backoff:
    """Delays that grow, with full jitter, so that a fleet does not come back in step.

    The n-th delay is anything between 0 and ``initial * 2**n`` seconds, but never above ``maximum`` seconds.
    Raises ``ConfigError`` unless ``0 < initial <= maximum``. ``uniform`` is the source of chance, for tests.
    """

    __slots__ = ("_attempts", "_uniform", "initial", "maximum")

    def __init__(
        self,
        initial: float = 0.1,
        maximum: float = 10.0,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if not 0 < initial <= maximum:
            raise ConfigError(f"a backoff needs 0 < initial <= maximum, not initial={initial!r}, maximum={maximum!r}")
        self.initial = initial
        self.maximum = maximum
        self._uniform = uniform
        self._attempts = 0

    @property
    def attempts(self) -> int:
        """The number of delays since the last ``reset``."""
        return self._attempts

    def next(self) -> float:
        """Return the next delay, in seconds."""
        # Beyond 2**60 nothing changes any more, and a float would overflow some day.
        ceiling = min(self.maximum, self.initial * 2.0 ** min(self._attempts, 60))
        self._attempts += 1
        return self._uniform(0.0, ceiling)

    def reset(self) -> None:
        """Begin again with short delays, after a connection was made."""
        self._attempts = 0


__all__ = ["Backoff"]
