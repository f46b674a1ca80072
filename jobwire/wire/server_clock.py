"""The clock of the server, as far as a peer has to know it: ``_expires`` is written and judged by it (EXT-25).

Peers on machines whose clocks are minutes apart agree on the server's. It is asked for only where a job has
``_expires``, and then not again for a minute; between two looks it is counted on with the monotonic clock, so that a
step of the machine's own clock changes nothing. It is off by at most half of the round trip that asked for it.
"""

from __future__ import annotations

import time

from jobwire.wire.commands import Command, Reply

__all__ = ["ServerClock", "server_seconds"]

_GOOD_FOR = 60.0


def server_seconds(reply: Reply) -> float | None:
    """Return the epoch seconds that TIME answered; None for anything else."""
    words = reply if isinstance(reply, list) and len(reply) == 2 else ()
    numbers = [int(word) for word in words if isinstance(word, bytes | int)]
    return numbers[0] + numbers[1] / 1e6 if len(numbers) == 2 else None


class ServerClock:
    """No I/O: send ``ASK`` where it is ``due``, and tell it the reply."""

    ASK: Command = (b"TIME",)

    def __init__(self) -> None:
        self._server = 0.0
        self._learned: float | None = None

    @property
    def due(self) -> bool:
        """Is it to be asked (again)?"""
        return self._learned is None or time.monotonic() - self._learned > _GOOD_FOR

    def now(self) -> float:
        """Epoch seconds: the server's, or this machine's as long as those are not known."""
        return time.time() if self._learned is None else self._server + time.monotonic() - self._learned

    @property
    def ahead(self) -> float:
        """Seconds by which the server's clock is ahead of this machine's."""
        return self.now() - time.time() if self._learned is not None else 0.0

    def learn(self, reply: Reply, *, asked: float) -> None:
        """``reply`` is that to ``ASK``, sent when the monotonic clock said ``asked``. A server that does not tell the
        time (the ACL forbids it, say) leaves this machine's clock as the best that there is.
        """
        now = time.monotonic()
        told = server_seconds(reply)
        self._server = time.time() if told is None else told + (now - asked) / 2
        self._learned = now
