"""Long lists are read in pieces whose entries and bytes are bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobwire.errors import ServerError
from jobwire.transport import Pace, entries_of, first_entries
from jobwire.transport.pieces import HELD, TOGETHER
from jobwire.wire.commands import Command, Reply


class OneList:
    """A list that answers LRANGE, and remembers what each answer held."""

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries
        self.answers: list[list[bytes]] = []

    async def __call__(self, command: Command) -> Reply:
        name, key, first, last = command
        assert (name, key) == (b"LRANGE", b"k")
        length = len(self.entries)
        begin, end = (at + length if at < 0 else at for at in (int(first), int(last)))
        answer = self.entries[max(0, begin) : end + 1] if end >= 0 else []
        self.answers.append(answer)
        return list(answer)


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("many", [0, 1, 16, 17, 5000])
async def test_all_entries_come_in_their_order_and_no_piece_is_long(many: int, newest: bool) -> None:
    one = OneList([b"%036d" % number for number in range(many)])
    found = [entry async for piece in entries_of(one, b"k", newest=newest) for entry in piece]
    assert found == (one.entries if newest else one.entries[::-1])
    assert max(map(len, one.answers)) <= 1000
    assert len(one.answers) <= 2 + 6 + many / 1000, "short entries come a thousand at a time"


async def test_pieces_of_large_entries_are_small() -> None:
    one = OneList([b"x" * (1 << 18)] * 100)
    assert await first_entries(one, b"k", 1000) == one.entries
    assert max(map(len, one.answers)) == 16, "the first piece, of which nothing was known"
    assert {len(answer) for answer in one.answers[1:-2]} == {4}, "1 MiB"


async def test_one_entry_comes_whatever_its_size() -> None:
    pace = Pace(100)
    pace.learn([b"x" * (5 << 20)])
    assert pace.step == 1
    for step in (2, 4, 8):
        pace.learn([b"x"])
        assert pace.step == step, "it grows again, little by little"


@pytest.mark.parametrize(("count", "asked"), [(0, 0), (-1, 0), (1, 1), (16, 1), (17, 2)])
async def test_no_more_is_asked_for_than_is_wanted(count: int, asked: int) -> None:
    one = OneList([b"%d" % number for number in range(100)])
    assert await first_entries(one, b"k", count) == one.entries[: max(0, count)]
    assert len(one.answers) == asked


async def test_what_is_no_list_is_told() -> None:
    async def refuse(command: Command) -> Reply:
        raise ServerError("WRONGTYPE no list")

    with pytest.raises(ServerError, match="WRONGTYPE"):
        await first_entries(refuse, b"k", 5)


def hash_of(size: int) -> Reply:
    return [b"field", b"x" * (size - 5)]


def together(*sizes: int) -> int:
    """How many replies are waited for together, after some of these sizes."""
    pace = Pace(TOGETHER, HELD)
    for size in sizes:
        pace.sample([hash_of(size)] * pace.step)
    return pace.step


def test_small_replies_are_many_and_large_ones_few() -> None:
    assert together() == together(100) == together(100, 20_000) == TOGETHER == 16
    assert together(100_000) == 5
    assert together(200_000) == 2
    assert together(50_000_000) == 1


def test_after_large_replies_the_way_back_takes_some_pieces() -> None:
    assert [together(200_000, *[100] * later) for later in (1, 2, 3)] == [4, 8, 16]


REPLY = st.one_of(st.none(), st.integers(), st.binary(), st.lists(st.one_of(st.none(), st.binary(), st.integers())))


@given(st.lists(st.lists(REPLY)))
def test_whatever_is_answered_something_is_asked_for(answered: list[list[Reply]]) -> None:
    pace = Pace(TOGETHER, HELD)
    for replies in answered:
        pace.sample(replies)
        assert 1 <= pace.step <= TOGETHER


@pytest.mark.parametrize("reply", [ServerError("WRONGTYPE " + "x" * 1_000_000), None])
def test_an_error_and_a_hash_that_is_gone_are_small(reply: Reply) -> None:
    pace = Pace(TOGETHER, HELD)
    pace.sample([reply])
    assert pace.step == TOGETHER
