"""Health checks, by a clock that is turned by hand."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import pytest

from jobwire.transport.health import HealthCheck


class Clock:
    """The part of an event loop that a health check uses."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, int, Callable[[], None], Timer]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = Timer()
        heapq.heappush(self.timers, (self.now + delay, len(self.timers), callback, timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            self.now, _, callback, timer = heapq.heappop(self.timers)
            if not timer.cancelled:
                callback()
        self.now = end

    def fire(self) -> None:
        """Run the next timer now, however late that is."""
        heapq.heappop(self.timers)[2]()


class Timer:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Peer:
    """A connection whose other side answers, or does not."""

    def __init__(self) -> None:
        self.received = False
        self.closed = False
        self.outstanding = 0
        self.answers = True
        self.pings = 0
        self.lost: str | None = None

    def send(self, commands: list[Any], on_replies: object = None) -> None:
        self.pings += 1
        self.received = self.received or self.answers
        self.outstanding += 0 if self.answers else 1

    def fail(self, reason: str) -> None:
        self.closed = True
        self.lost = reason


def start(peer: Peer, clock: Clock, **options: float) -> HealthCheck:
    check = HealthCheck(peer, clock, **options)  # type: ignore[arg-type]  # the part of a loop that it uses
    check.start()
    return check


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def peer() -> Peer:
    return Peer()


def test_an_idle_connection_is_asked(peer: Peer, clock: Clock) -> None:
    start(peer, clock, interval=10)
    clock.advance(9)
    assert peer.pings == 0
    clock.advance(100)
    assert 9 <= peer.pings <= 11
    assert peer.lost is None


def test_a_dead_idle_connection_is_lost_within_three_intervals(peer: Peer, clock: Clock) -> None:
    start(peer, clock, interval=10)
    clock.advance(25)
    peer.answers = False
    clock.advance(30)
    assert peer.lost is not None
    assert "nothing was heard for 10.0 s" in peer.lost


def test_a_connection_that_owes_replies_is_not_asked_but_lost(peer: Peer, clock: Clock) -> None:
    start(peer, clock, interval=10)
    peer.outstanding = 1
    clock.advance(20.5)
    assert peer.pings == 0
    assert peer.lost is not None


def test_a_blocking_pop_may_be_silent(peer: Peer, clock: Clock) -> None:
    start(peer, clock, interval=2, longest_silence=30)
    peer.outstanding = 1
    for _ in range(10):  # a pop that times out every 30 s, and another one behind it
        clock.advance(30)
        assert peer.lost is None
        peer.received = True
    clock.advance(36.5)
    assert peer.lost is not None
    assert peer.pings == 0


def test_any_byte_counts_as_life(peer: Peer, clock: Clock) -> None:
    start(peer, clock, interval=10)
    peer.outstanding = 5
    for _ in range(50):
        clock.advance(9)
        peer.received = True
    assert peer.lost is None


def test_it_stops(peer: Peer, clock: Clock) -> None:
    check = start(peer, clock, interval=10)
    clock.advance(15)
    check.stop()
    check.stop()
    clock.advance(100)
    assert peer.pings == 1


def test_it_stops_by_itself_with_the_connection(peer: Peer, clock: Clock) -> None:
    start(peer, clock, interval=10)
    peer.closed = True
    clock.advance(100)
    assert peer.pings == 0
    assert clock.timers == []


def test_a_loop_that_was_held_up_does_not_blame_the_peer(peer: Peer, clock: Clock) -> None:
    start(peer, clock, interval=10)
    peer.outstanding = 1
    clock.advance(10)
    # Nothing ran for a minute; then the timer comes first, and only after it the bytes that had arrived meanwhile.
    clock.now += 60
    clock.fire()
    assert peer.lost is None
    peer.received = True
    clock.advance(10)
    assert peer.lost is None
    clock.advance(20)
    assert peer.lost is not None
