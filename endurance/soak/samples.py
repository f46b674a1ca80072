"""The record of a soak: JSON lines, a header, samples and events as they come, a footer; and how they are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

__all__ = ["Event", "Footer", "Header", "Line", "Measured", "Sample", "encode", "measure", "read_samples"]

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Measured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One process at one time: resident bytes, open file descriptors, Python's allocated blocks."""

    pid: int
    rss: int
    fds: int
    blocks: int = 0


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="header"):
    """The run: its settings, versions, and the processes that ``judged`` names."""

    at: float
    seconds: float
    every: float
    warm_up: float
    rate: float
    judged: list[str]
    server: str
    settings: dict[str, str] = {}


class Sample(msgspec.Struct, frozen=True, kw_only=True, tag="sample"):
    """``t`` seconds since the beginning; ``latency`` p50, p99, longest in milliseconds, by client. ``keys`` without the
    results that were told to a client which was killed before it had fetched them: nobody can know of those.
    """

    t: float
    processes: dict[str, Measured]
    used_memory: int
    keys: int
    lists: dict[str, int]
    latency: dict[str, tuple[float, float, float]]
    submitted: int
    outstanding: int


class Event(msgspec.Struct, frozen=True, kw_only=True, tag="event"):
    """Something that was done to the fleet: ``cut``, ``killed``, ``restarted``, ``died``."""

    t: float
    what: str
    whom: str


class Footer(msgspec.Struct, frozen=True, kw_only=True, tag="footer"):
    """The accounts, after everybody had time to finish."""

    seconds: float
    submitted: int
    ended: dict[str, int]
    unexpected: dict[str, int]
    unanswered: int
    died_with: int
    left: dict[str, int]
    told_the_dying: int = 0


Line: TypeAlias = Header | Sample | Event | Footer
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def encode(line: Line) -> bytes:
    """One line, its end included."""
    return msgspec.json.encode(line) + b"\n"


def read_samples(path: Path) -> Iterator[Line]:
    """All lines; raises ``msgspec.DecodeError`` for a line that is none, ``OSError``."""
    with path.open("rb") as file:
        for line in file:
            yield _decoder.decode(line)


def measure(pid: int, blocks: int = 0) -> Measured | None:
    """The figures of ``/proc`` about a process; None where it ended. Raises ``OSError`` where there is no ``/proc``."""
    folder = Path("/proc")
    if not (folder / "self/statm").exists():
        raise OSError("a soak reads memory from /proc, which is not here: run it on Linux")
    try:
        rss = int((folder / str(pid) / "statm").read_text().split()[1]) * _PAGE
        fds = len(os.listdir(folder / str(pid) / "fd"))
    except (FileNotFoundError, ProcessLookupError, PermissionError, IndexError):
        return None
    return Measured(pid=pid, rss=rss, fds=fds, blocks=blocks)
