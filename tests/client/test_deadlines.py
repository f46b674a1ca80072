"""Deadlines: the order in which they come, those that were removed, very many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobwire.client.deadlines import Deadlines


class Clock:
    """The part of an event loop that deadlines use; time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[asyncio.TimerHandle] = []
        self.armed = 0

    def time(self) -> float:
        return self.now

    def call_at(self, moment: float, callback: object) -> asyncio.TimerHandle:
        self.armed += 1
        timer = asyncio.TimerHandle(moment, callback, (), self)  # type: ignore[arg-type]  # the part that is used
        self.timers.append(timer)
        return timer

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        self.timers.remove(timer)

    def get_debug(self) -> bool:
        return False

    def pass_to(self, moment: float) -> None:
        self.now = moment
        while due := [timer for timer in self.timers if timer.when() <= moment]:
            for timer in due:
                self.timers.remove(timer)
                timer._run()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[list[str]]:
    return []


@pytest.fixture
def deadlines(clock: Clock, told: list[list[str]]) -> Iterator[Deadlines[str]]:
    made: Deadlines[str] = Deadlines(clock, told.append)  # type: ignore[arg-type]  # the part of a loop that is used
    yield made
    made.close()
    assert clock.timers == []


def test_they_come_in_their_order_whatever_their_lengths(
    deadlines: Deadlines[str], clock: Clock, told: list[list[str]]
) -> None:
    for key, seconds in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("a too", 1.0)):
        deadlines.add(key, seconds)
    clock.pass_to(0.9)
    assert told == []
    clock.pass_to(2.01)
    assert told == [["a", "a too", "b"]]
    clock.pass_to(9.0)
    assert told == [["a", "a too", "b"], ["c"]]


def test_one_timer_for_all(deadlines: Deadlines[str], clock: Clock) -> None:
    for number in range(1000):
        deadlines.add(str(number), 10.0 + number)
    assert clock.armed == len(clock.timers) == 1
    deadlines.add("sooner", 1.0)
    assert len(clock.timers) == 1


def test_a_wait_that_has_ended_is_not_told_and_a_new_one_of_its_key_is(
    deadlines: Deadlines[str], clock: Clock, told: list[list[str]]
) -> None:
    deadlines.add("a", 1.0)
    deadlines.remove("a")
    deadlines.remove("never there")
    deadlines.add("a", 5.0)
    clock.pass_to(4.0)
    assert told == []
    clock.pass_to(5.01)
    assert told == [["a"]]


def test_the_new_wait_of_a_key_is_the_one_that_counts(
    deadlines: Deadlines[str], clock: Clock, told: list[list[str]]
) -> None:
    deadlines.add("a", 1.0)
    deadlines.add("b", 1.0)
    deadlines.add("a", 5.0)
    clock.pass_to(4.0)
    assert told == [["b"]]
    clock.pass_to(5.01)
    assert told == [["b"], ["a"]]


def test_waits_that_end_at_almost_the_same_moment_end_together(
    deadlines: Deadlines[str], clock: Clock, told: list[list[str]]
) -> None:
    for number in range(100):
        clock.now = number * 0.0001
        deadlines.add(str(number), 3600.0)
    assert len(deadlines._heap) == 1
    clock.pass_to(3600.0099)
    assert told == []
    clock.pass_to(3600.05)
    assert told == [[str(number) for number in range(100)]]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from([None, 0.0, 0.5, 0.5001, 3.0, 60.0]), st.floats(0, 1)),
        max_size=40,
    )
)
def test_each_ends_once_not_early_and_hardly_late(steps: list[tuple[str, float | None, float]]) -> None:
    clock, wanted, heard = Clock(), dict[str, float](), list[str]()

    def told(keys: list[str]) -> None:
        heard.extend(keys)
        for key in keys:
            due = wanted.pop(key)
            assert due <= clock.now

    deadlines: Deadlines[str] = Deadlines(clock, told)  # type: ignore[arg-type]  # the part of a loop that is used
    for key, seconds, pause in steps:
        if seconds is None:
            deadlines.remove(key)
            wanted.pop(key, None)
        else:
            deadlines.add(key, seconds)
            wanted[key] = clock.now + seconds
        clock.pass_to(clock.now + pause)
        assert all(due + 0.05 >= clock.now for due in wanted.values())
    clock.pass_to(clock.now + 61)
    assert not wanted
    deadlines.close()


def test_what_has_ended_is_not_kept(deadlines: Deadlines[str], clock: Clock, told: list[list[str]]) -> None:
    """Each of a million requests has its own time that remains."""
    for number in range(20_000):
        deadlines.add(str(number), 3600.0 + number / 1000)
        if number >= 10:
            deadlines.remove(str(number))
    assert len(deadlines._heap) <= 2 * 10 + 1000 + 1
    clock.pass_to(4000.0)
    assert told == [[str(number) for number in range(10)]]


def test_very_many_are_told_in_steps(deadlines: Deadlines[str], clock: Clock, told: list[list[str]]) -> None:
    for number in range(2300):
        deadlines.add(str(number), 1.0)
    clock.pass_to(1.01)
    assert [len(step) for step in told] == [500, 500, 500, 500, 300]
    assert [key for step in told for key in step] == [str(number) for number in range(2300)]
