"""What is remembered between jobs is bounded in bytes: names and values may be as long as anybody likes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobwire import Client
from jobwire.wire.codec.extensions import encode_meta, parse_accept
from jobwire.wire.codec.fields import Plans, text_field
from jobwire.wire.keys import channel_to

LONG = 100_000
MANY = 3000
PLANS = Plans(typed=True, strings="auto")


@pytest.fixture
def kept() -> Iterator[Callable[[Callable[[str], Any]], int]]:
    """Call a function with very many long and short names: how many bytes stay."""
    tracemalloc.start()

    def measure(function: Callable[[str], Any]) -> int:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(200):
            function(f"n{number}".ljust(LONG, "x"))
        for number in range(MANY):
            function(f"n{number}")
        return tracemalloc.get_traced_memory()[0] - before

    yield measure
    tracemalloc.stop()


@pytest.mark.parametrize(
    "function",
    [
        channel_to,
        parse_accept,
        text_field,
        lambda name: encode_meta("_" + name, "x"),
        lambda name: encode_meta("_x", name),
        lambda name: PLANS[b"text_" + name.encode()],
        Client()._queue_key,
    ],
    ids=["_reply_to", "_accept", "parameter", "meta name", "meta value", "field", "queue"],
)
def test_no_name_is_kept_for_good(kept: Callable[[Callable[[str], Any]], int], function: Callable[[str], Any]) -> None:
    assert kept(function) < 1_000_000


def test_short_names_are_kept() -> None:
    assert text_field("name") is text_field("name")
    assert encode_meta("_a", "b") is encode_meta("_a", "b")
    assert channel_to("me") is channel_to("me")
