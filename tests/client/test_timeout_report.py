"""The look around at a deadline: how much it asks, and how often."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobwire.client.timeout_report import TimeoutReport
from jobwire.wire import Keyspace, Reliable
from jobwire.wire.commands import Command, Reply
from jobwire.wire.states import JobState

KEYS = {
    b"theirs::pending": b"list",
    b"pending-papers": b"string",
    b"others::workers": b"set",
    b"jobs::workers": b"set",
    b"fieldings": b"list",
}


class Server:
    """A database in which every SCAN ends where it is told to."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self.asked: list[Command] = []

    async def execute(self, command: Command) -> Reply:
        self.asked.append(command)
        if command[0] != b"SCAN":
            return 0
        cursor = int(command[1]) + 1
        return [b"0" if cursor == self._steps else b"%d" % cursor, list(KEYS)]

    async def call(self, *commands: Command) -> list[Reply]:
        self.asked += commands
        return [KEYS[command[1]] for command in commands]

    def scans(self) -> int:
        return sum(command[0] == b"SCAN" for command in self.asked)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    clock = SimpleNamespace(now=5000.0)
    monkeypatch.setattr("jobwire.client.timeout_report.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


WAITS = {b"j": JobState(place="queued", ahead=0, queue_length=1)}


async def test_one_walk_finds_queues_and_fleets_among_a_bounded_number_of_keys(clock: Any) -> None:
    server: Any = Server(steps=1_000_000)
    report = TimeoutReport(Reliable(Keyspace("jobs")))
    message = (await report.explain(server, b"jobs::pending", WAITS))[b"j"]
    assert "other queues that wait: 'theirs::pending'; prefixes that have jobwire workers: 'others':" in message
    scans = [command for command in server.asked if command[0] == b"SCAN"]
    assert sum(int(scan[scan.index(b"COUNT") + 1]) for scan in scans) == 10_000


async def test_it_looks_around_ever_more_rarely(clock: Any) -> None:
    server: Any = Server(steps=1)
    report = TimeoutReport(Reliable(Keyspace("jobs")))
    looks = []
    for minute in range(600):
        clock.now = 5000.0 + 60 * minute
        before = server.scans()
        message = (await report.explain(server, b"jobs::pending", WAITS))[b"j"]
        assert "'theirs::pending'" in message, "it says what it saw last"
        if server.scans() > before:
            looks.append(minute)
    assert looks == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363, 423, 483, 543]
