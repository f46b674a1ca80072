"""A forked child has nothing to do with the connections of its parent.

It has a copy of every socket. As long as that is open, the server does not see that the parent has closed its own: pops
that were under way would go on taking jobs for a worker that is gone. So they are given up in the child, without a word
to the server, and without a touch of the event loop, whose ``epoll`` set both processes share.
"""

from __future__ import annotations

import contextlib
import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["forget", "remember"]


class _Open(Protocol):
    def fileno(self) -> int: ...
    def left_to_parent(self) -> None: ...


_open: WeakSet[_Open] = WeakSet()


def remember(connection: _Open) -> None:
    """Give it up in children that are forked from now on, until ``forget``."""
    _open.add(connection)


def forget(connection: _Open) -> None:
    _open.discard(connection)


def _give_up() -> None:
    with contextlib.suppress(OSError):
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for connection in list(_open):
            connection.left_to_parent()
            descriptor = connection.fileno()
            if descriptor >= 0:
                # In its place, so that whoever closes the socket object later closes nobody else's descriptor.
                os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_up)
