from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobwire.errors import ConfigError
from jobwire.transport import Backoff


def test_the_ceiling_doubles_up_to_the_maximum() -> None:
    backoff = Backoff(0.1, 1.0, uniform=lambda low, high: high)
    assert [backoff.next() for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff.attempts == 6
    backoff.reset()
    assert backoff.attempts == 0
    assert backoff.next() == 0.1


@given(st.floats(0.001, 10), st.floats(1, 100), st.integers(1, 200))
def test_every_delay_is_within_bounds(initial: float, factor: float, count: int) -> None:
    backoff = Backoff(initial, initial * factor)
    assert all(0 <= backoff.next() <= initial * factor for _ in range(count))


def test_ten_thousand_attempts_do_not_overflow() -> None:
    backoff = Backoff(0.1, 5, uniform=lambda low, high: high)
    assert {backoff.next() for _ in range(10_000)} >= {5}


def test_the_jitter_is_full() -> None:
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return low

    assert Backoff(1, 8, uniform=uniform).next() == 0
    assert bounds == [(0.0, 1.0)]


@pytest.mark.parametrize(("initial", "maximum"), [(0, 1), (-1, 1), (2, 1), (float("nan"), 1)])
def test_nonsense_is_refused(initial: float, maximum: float) -> None:
    with pytest.raises(ConfigError, match="0 < initial <= maximum"):
        Backoff(initial, maximum)
