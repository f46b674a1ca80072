"""Commands on their way out: packed as RESP when they are added, written in one piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, cast

import hiredis

from jobwire import fast
from jobwire.wire.commands import Command

__all__ = ["Outbox", "new_outbox"]

# hiredis' own annotation says "a tuple of one".
_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)


class Outbox(Protocol):
    """Its length is the number of commands in it."""

    def __len__(self) -> int: ...

    def add(self, commands: Sequence[Command], /) -> int:
        """Pack all of them or, where one is no command (``TypeError``), none; says how many these were."""
        ...

    def take(self) -> bytes:
        """Return all that was added since the last time."""
        ...

    def clear(self) -> None: ...


class _PlainOutbox:
    """The outbox in plain Python, used where the compiled code was not built."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []

    def __len__(self) -> int:
        return len(self._packed)

    def add(self, commands: Sequence[Command], /) -> int:
        self._packed += [_pack(command) for command in commands]
        return len(commands)

    def take(self) -> bytes:
        packed, self._packed = self._packed, []
        return b"".join(packed)

    def clear(self) -> None:
        self._packed.clear()


def new_outbox() -> Outbox:
    """Return an empty outbox: compiled code where it was built."""
    compiled: Outbox | None = fast.outbox()
    return _PlainOutbox() if compiled is None else compiled
