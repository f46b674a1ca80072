"""Where lines go: a thread writes them, so that live traffic never waits for a terminal, a pipe or a disk."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import BinaryIO, Self

__all__ = ["Output"]


class Output:
    """Lines to a file, in the order given. Where more than ``most`` bytes wait, further ones are left out and counted.

    ``patient``: wait for room instead (for lines read from a file, which can wait).
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        most: int = 8 * 1024 * 1024,
        patient: bool = False,
        gap: Callable[[int], bytes] | None = None,
    ) -> None:
        self._file = file
        self._most = most
        self._patient = patient
        self._gap = gap
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._missing = 0
        self._closing = False
        self._changed = threading.Condition()
        #: How many lines were left out in all.
        self.left_out = 0
        #: Why nothing can be written any more; None as long as it can.
        self.broken: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="tap-output", daemon=True)
        self._thread.start()

    def write(self, text: bytes) -> None:
        """Put something at the end."""
        with self._changed:
            if self._patient:
                self._changed.wait_for(lambda: self._size <= self._most or self.broken is not None)
            elif self._size > self._most:
                self._missing += 1
                self.left_out += 1
                return
            if self._missing and self._gap is not None:
                self._put(self._gap(self._missing))
            self._missing = 0
            self._put(text)
            self._changed.notify_all()

    def _put(self, text: bytes) -> None:
        self._lines.append(text)
        self._size += len(text)

    def close(self, *, seconds: float = 5.0) -> None:
        """Write waiting lines, for as long as ``seconds``, and end."""
        with self._changed:
            if self._missing and self._gap is not None:
                self._put(self._gap(self._missing))
            self._closing = True
            self._changed.notify_all()
        self._thread.join(None if self._patient else seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closing)
                if not self._lines:
                    return
                text = b"".join(self._lines)
                self._lines.clear()
            try:
                self._file.write(text)
                self._file.flush()
            except (OSError, ValueError) as error:
                self.broken = error if isinstance(error, OSError) else OSError(str(error))
            with self._changed:
                self._size -= len(text)
                self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):
            self.close()
