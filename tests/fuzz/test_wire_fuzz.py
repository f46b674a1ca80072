"""Hostile bytes into every parser of ``jobwire.wire``: a value, or the error that it promises, soon and in one line."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from wire_fuzz import PARSERS, check, fields, pieces, reply

SEEDS = [
    b"",
    b"\x00",
    b"\xff" * 40,
    b"T",
    b"J",
    b'J{"a":[1,2,{"b":null}]}',
    b'E{"type":"X","message":"no"}',
    b"Vtrue",
    b'{"id":"a","_reply_to":"c","_queued":1.5,"data":{"a":1}}',
    b'{"id":"a","result":1}',
    b'{"at":1.0,"worker":"w","queue":"q","entry":{"$bytes":"YQ=="},"reason":"r"}',
    b"=\xf3rl\x05\x00\x28\x2a\x01",
    b"=srl\x01\x00\x01",
    b"[" * 5000,
    b'{"a":' * 3000,
    b'"' + b"\\ud800" * 20 + b'"',
    b"1" * 5000,
    b"1e999",
    b"-" * 200,
    b"E,V,\xff, E",
    b"\x00jobs::a\x00jobs::b",
    "\u202e\u2028\r\n\x1b[31mforged".encode(),
]


@pytest.mark.parametrize("name", list(PARSERS))
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=600))
def test_any_bytes(name: str, data: bytes) -> None:
    check(name, data)


@pytest.mark.parametrize("name", list(PARSERS))
def test_what_is_nearly_right(name: str) -> None:
    """Documents that mean something, with a few bytes changed, cut, doubled or moved."""
    dice = random.Random(name)
    for _ in range(250):
        data = bytearray(dice.choice(SEEDS))
        for _ in range(dice.randint(0, 4)):
            if not data:
                break
            at = dice.randrange(len(data))
            how = dice.randrange(4)
            if how == 0:
                data[at] = dice.randrange(256)
            elif how == 1:
                del data[at : at + dice.randint(1, 8)]
            elif how == 2:
                data[at:at] = data[at : at + dice.randint(1, 30)]
            else:
                data[at:at] = dice.choice(SEEDS)[:50]
        check(name, bytes(data[:8000]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON)
@settings(max_examples=60, deadline=None)
def test_any_json(value: object) -> None:
    text = json.dumps(value).encode()
    for name in (
        "JSON",
        "JSON, strictly",
        "job envelope",
        "reply envelope",
        "notice, simple",
        "record of a rejected entry",
    ):
        check(name, text)
    check("result", b"\x03J" + text)
    check("result", b"\x03E" + text)
    check("result", b"\x03V" + text)


def test_the_fuzz_reaches_what_it_is_for() -> None:
    """Cut into strings and replies, as the parsers need them."""
    assert pieces(b"\x02ab\x01c\x05xy") == [b"ab", b"c", b"xy"]
    assert fields(b"\x01\x00\x01x") == [b"_reply_to", b"x"]
    assert reply(b"\x03\x01\x00\x02\x01\x05") == [None, 5]
    with pytest.raises(KeyError):
        check("no such parser", b"")


def test_a_parser_that_breaks_its_promise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> object:
        raise IndexError(data)

    monkeypatch.setitem(PARSERS, "broken", broken)
    with pytest.raises(IndexError):
        check("broken", b"x")
