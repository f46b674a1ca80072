"""The life of a job, as a table that must hang together."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

import pytest

from jobwire.errors import WireError
from jobwire.wire import LIFECYCLE, MODES
from jobwire.wire.lifecycle import FINAL, Event, ModeName, State, after, events_from

STATES: tuple[State, ...] = get_args(State)
MODE_NAMES: tuple[ModeName, ...] = get_args(ModeName)


def reachable(mode: ModeName) -> set[str]:
    found = {"new"}
    while True:
        more = {entry.target for entry in LIFECYCLE if mode in entry.modes and entry.source in found} - found
        if not more:
            return found
        found |= more


def test_the_modes_are_the_modes() -> None:
    assert set(MODE_NAMES) == set(MODES)
    assert all(set(entry.modes) <= set(MODES) for entry in LIFECYCLE)


def test_every_state_is_reached_in_some_mode() -> None:
    assert set().union(*map(reachable, MODE_NAMES)) == set(STATES)


@pytest.mark.parametrize("mode", MODE_NAMES)
def test_no_transition_starts_where_the_mode_never_comes(mode: ModeName) -> None:
    assert {entry.source for entry in LIFECYCLE if mode in entry.modes} <= reachable(mode)


def test_every_event_happens() -> None:
    assert {entry.event for entry in LIFECYCLE} == set(get_args(Event))


@pytest.mark.parametrize("state", sorted(FINAL))
@pytest.mark.parametrize("mode", MODE_NAMES)
def test_nothing_leads_out_of_a_final_state(state: State, mode: ModeName) -> None:
    assert events_from(state, mode=mode) == ()
    with pytest.raises(WireError, match="nothing any more"):
        after(state, "push", mode=mode)


@pytest.mark.parametrize("mode", MODE_NAMES)
def test_something_leads_out_of_every_other_state(mode: ModeName) -> None:
    stuck = {state for state in reachable(mode) - FINAL if not events_from(state, mode=mode)}
    # Mode simple keeps nothing: a job whose worker died is lost, which is what "at most once" means.
    assert stuck == ({"orphaned"} if mode == "simple" else set())


@pytest.mark.parametrize("mode", MODE_NAMES)
def test_every_job_can_still_be_collected(mode: ModeName) -> None:
    ends = {"collected"}
    while True:
        more = {entry.source for entry in LIFECYCLE if mode in entry.modes and entry.target in ends} - ends
        if not more:
            break
        ends |= more
    assert reachable(mode) - ends == {"dead", "rejected"} & reachable(mode) | (
        {"orphaned"} if mode == "simple" else set()
    )


def test_an_event_in_a_state_has_one_outcome() -> None:
    seen = [(entry.source, entry.event, mode) for entry in LIFECYCLE for mode in entry.modes]
    assert len(seen) == len(set(seen))


def test_every_transition_says_what_it_means() -> None:
    assert all(entry.meaning for entry in LIFECYCLE)


@pytest.mark.parametrize(
    ("mode", "events", "states"),
    [
        (
            "reliable",
            ["write", "push", "take", "start", "finish", "notify", "collect"],
            ["new", "submitted", "queued", "taken", "started", "processed", "notified", "collected"],
        ),
        (
            "simple",
            ["push", "take", "start", "notify", "collect"],
            ["new", "queued", "taken", "started", "notified", "collected"],
        ),
        (
            "recoverable",
            ["write", "push", "take", "start", "lose", "return", "take", "start", "finish", "lose", "collect"],
            [
                "new",
                "submitted",
                "queued",
                "taken",
                "started",
                "orphaned",
                "queued",
                "taken",
                "started",
                "processed",
                "orphaned",
                "collected",
            ],
        ),
        (
            "reliable",
            ["write", "push", "take", "start", "finish", "lose", "return", "take", "notify", "collect"],
            [
                "new",
                "submitted",
                "queued",
                "taken",
                "started",
                "processed",
                "orphaned",
                "queued",
                "taken",
                "notified",
                "collected",
            ],
        ),
    ],
)
def test_a_life(mode: ModeName, events: list[Event], states: list[State]) -> None:
    for (state, following), event in zip(pairwise(states), events, strict=True):
        assert after(state, event, mode=mode) == following


def test_what_cannot_be_says_what_can() -> None:
    with pytest.raises(WireError, match="a job that is queued cannot finish in mode reliable; it can: take"):
        after("queued", "finish", mode="reliable")
