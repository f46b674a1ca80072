"""The options that the owner of a connection was started with: nothing has to be guessed then, and more is judged."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Claim", "Told"]


class Told(NamedTuple):
    """One peer, by name, and its options; ``dialect`` None: whichever it shows.

    ``prefix`` is empty where the dialect has none. ``use_multi``: of a client, whether a submission stands in MULTI …
    EXEC; of a worker, whether a completion does (None: it may). ``processing``: the list that a worker moves jobs to
    (None: one of its own, or none). ``marks``: whether a worker says that it marks jobs in ``recoverable``.
    """

    peer: str
    role: Literal["client", "worker"]
    dialect: str | None
    prefix: bytes
    use_multi: bool | None
    processing: bytes | None = None
    marks: bool = True


class Claim:
    """A job that a client says it has submitted: how often its hash was written, and its ID or envelope pushed."""

    __slots__ = ("pushes", "writes")

    def __init__(self) -> None:
        self.writes = 0
        self.pushes = 0
