"""How many replies are waited for together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobwire.errors import ServerError
from jobwire.transport import Reply
from jobwire.transport.portions import Portions

MOST = 16


def hash_of(size: int) -> Reply:
    return [b"field", b"x" * (size - 5)]


def after(*sizes: int) -> int:
    portions = Portions()
    for size in sizes:
        portions.learn([hash_of(size)] * portions.size)
    return portions.size


def test_small_ones_are_many() -> None:
    assert after() == after(100) == after(100, 20_000) == MOST


def test_large_ones_are_few_at_once() -> None:
    assert after(100_000) == 5
    assert after(200_000) == 2
    assert after(50_000_000) == 1


def test_after_large_ones_the_way_back_takes_some_portions() -> None:
    assert after(200_000, 100) == 5
    assert after(200_000, 100, 100) == 10
    assert after(200_000, 100, 100, 100) == MOST


def test_a_small_one_among_large_ones_does_not_mislead() -> None:
    portions = Portions()
    portions.learn([hash_of(400_000), hash_of(400_000)])
    portions.learn([hash_of(10), hash_of(400_000)])
    assert portions.size <= 2


REPLY = st.one_of(st.none(), st.integers(), st.binary(), st.lists(st.one_of(st.none(), st.binary(), st.integers())))


@given(st.lists(st.lists(REPLY)))
def test_whatever_is_answered_something_is_asked_for(portions_of_replies: list[list[Reply]]) -> None:
    portions = Portions()
    for replies in portions_of_replies:
        portions.learn([*replies, ServerError("NOPERM no")] if len(replies) % 2 else replies)
        assert 1 <= portions.size <= MOST


def test_an_error_and_a_hash_that_is_gone_are_small() -> None:
    portions = Portions()
    portions.learn([ServerError("WRONGTYPE " + "x" * 1_000_000)])
    portions.learn([None])
    portions.learn([])
    assert portions.size == MOST
