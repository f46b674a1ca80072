"""Tagged values: there and back, and the rule of comparison."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobwire_conformance.cases.templates import Names, PatternError, field_matches, make_value, word_matches
from jobwire_conformance.driver.values import Blessed, Chars, Ref, decode_value, encode_value, printed, same

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
)
keys = st.text(max_size=5) | st.binary(max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_there_and_back(value: Any) -> None:
    through_json = msgspec.json.decode(msgspec.json.encode(encode_value(value)))
    assert decode_value(through_json) == value


@given(values)
def test_a_value_is_the_same_as_itself(value: Any) -> None:
    try:
        assert same(value, value, typed=True)
    except UnicodeEncodeError:  # a lone surrogate is no text
        pytest.fail("surrogates must be comparable")


@pytest.mark.parametrize("value", [Ref("x"), Blessed("My::Class", {"a": [1]}), Ref(Ref(None)), {"$x": 1}, {b"\xff": 1}])
def test_special_values(value: Any) -> None:
    assert decode_value(encode_value(value)) == value
    assert same(value, decode_value(encode_value(value)), typed=True)


def test_not_finite() -> None:
    assert math.isnan(decode_value(encode_value(math.nan)))
    assert encode_value(math.inf) == {"$float": "Infinity"}


def test_characters_are_told_to_peers_only() -> None:
    assert encode_value(Chars("é")) == {"$chars": "é"}
    assert decode_value({"$chars": "é"}) == Chars("é")


@pytest.mark.parametrize("tagged", [{"$bytes": "no base64!"}, {"$nobody": 1}, {"$map": 3}, {"$object": ["x"]}])
def test_bad_tags(tagged: Any) -> None:
    with pytest.raises(ValueError, match=r"\$"):
        decode_value(tagged)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, b""),
        (True, b"1"),
        (False, b""),
        (5, b"5"),
        (0.1, b"0.1"),
        (1e15, b"1e+15"),
        (2.0**64, b"1.84467440737096e+19"),
        (0.1 + 0.2, b"0.3"),
        (math.inf, b"Inf"),
        (-math.inf, b"-Inf"),
        (math.nan, b"NaN"),
        ("☺", b"\xe2\x98\xba"),
        (b"\xff", b"\xff"),
    ],
)
def test_printed_as_perl_prints(value: Any, text: bytes) -> None:
    assert printed(value) == text


@pytest.mark.parametrize(
    ("one", "other", "untyped", "typed"),
    [
        (5, "5", True, False),
        (True, "1", True, False),
        (None, "", True, False),
        ("é", "é".encode(), True, True),
        ([1], ["1"], True, False),
        ({"a": 1}, {b"a": 1}, True, True),
        ([1], {"0": 1}, False, False),
        (Ref(1), 1, False, False),
        (1, 1.0, True, True),
        ({"a": 1}, {"a": 1, "b": 2}, False, False),
    ],
)
def test_comparison(one: Any, other: Any, untyped: bool, typed: bool) -> None:
    assert same(one, other) is untyped
    assert same(one, other, typed=typed) is (typed or untyped)
    assert same(one, other, typed=True) is typed


def test_names() -> None:
    names = Names("acme")
    names.ids["a"] = b"\xff1"
    names.last_id = b"j2"
    names.kept["client"] = b"c"
    assert names.expand("job::{id:a}/{id}") == b"job::\xff1/j2"
    assert names.expand("{q:pending} {channel} {prefix}") == b"acme::pending client::c acme"
    assert Names("").expand("{q:pending}") == b"pending"
    with pytest.raises(PatternError, match="stands for nothing"):
        names.expand("{id:nobody}")


def test_patterns() -> None:
    names = Names("p.")
    assert word_matches("*", b"anything", names)
    assert word_matches("~{prefix}::.*", b"p.::x", names)
    assert not word_matches("~{prefix}::.*", b"pX::x", names), "what is filled in is quoted"
    assert field_matches({"json": [1, "a"]}, b'J[1,"a"]', names)
    assert not field_matches({"json": [1, "a"]}, b'J["1","a"]', names)
    assert field_matches({"sereal": [1, 2, 3]}, bytes.fromhex("3df3726c0500282b03010203"), names)
    assert not field_matches({"sereal": [1]}, b"no document", names)
    assert field_matches({"time": True}, b"1795434940.83741", names)
    assert not field_matches({"time": True}, b"1795434940837", names)


def test_generators() -> None:
    assert make_value({"$repeat": ["ab", 3]}) == "ababab"
    assert make_value({"$nest": [2, "x"]}) == [["x"]]
    assert make_value([{"$null": True}]) == [None]
    assert len(make_value({"$allbytes": True})) == 256
    assert make_value({"$raw": "00 ff"}) == b"\x00\xff"
