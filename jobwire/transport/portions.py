"""How many replies are waited for together: fewer where they are large, for all are held until the last is there."""

from __future__ import annotations

from jobwire.transport.protocols import Replies, Reply

__all__ = ["Portions"]

_MOST = 16
_HELD = 512 * 1024
"""Bytes of replies that are held, as far as earlier ones tell."""


class Portions:
    """``size`` is how many commands the next portion is to have."""

    def __init__(self) -> None:
        self.size = _MOST
        self._bytes = 0

    def learn(self, replies: Replies) -> None:
        """Take the first of a portion for all of them: to measure each would cost as much as to read it."""
        self._bytes = max(_bytes_in(replies[0]), self._bytes // 2) if replies else self._bytes
        self.size = min(_MOST, max(1, _HELD // (self._bytes + 1)))


def _bytes_in(reply: Reply) -> int:
    return sum(len(part) for part in reply if isinstance(part, bytes)) if isinstance(reply, list) else 0
