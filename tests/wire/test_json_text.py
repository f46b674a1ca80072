"""JSON as the two sides exchange it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import json
import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobwire.errors import DecodeError, EncodeError
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.sereal import PerlObject, PerlRegexp, ScalarRef
from jobwire.wire.codec.json import MAX_DEPTH, decode_json, decode_json_strictly, deeper_than, encode_json

pytestmark = pytest.mark.usefixtures("either_code")

text = st.text(st.characters(exclude_categories=["Cs"]))
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=20,
)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@given(documents)
@example(-0.0)
def test_json_round_trip(value: Any) -> None:
    raw = encode_json(value)
    assert decode_json(raw, limits=DEFAULT_LIMITS) == value
    assert decode_json_strictly(raw, limits=DEFAULT_LIMITS) == value


@given(st.binary())
@example(b'"\xff"')
@example(b'{"\xff":1}')
@example(b'"\xed\xa0\x80"')
@example(b"1" * 5000)
@example(b"[" * 100_000)
@example(b"\xef\xbb\xbf[]")
def test_arbitrary_bytes_raise_decode_error_and_nothing_else(raw: bytes) -> None:
    for decode in (decode_json, decode_json_strictly):
        with contextlib.suppress(DecodeError):
            decode(raw, limits=DEFAULT_LIMITS)


def test_json_is_utf8_and_compact() -> None:
    assert encode_json({"☺": ["é", 1, None, True]}) == '{"☺":["é",1,null,true]}'.encode()


def test_bytes_become_the_string_of_their_latin1_characters() -> None:
    assert encode_json([b"caf\xe9", bytearray(b"\xff"), memoryview(b"a")]) == '["café","ÿ","a"]'.encode()
    assert encode_json({b"\xe9": b"x"}) == '{"é":"x"}'.encode()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_and_infinities_become_null(number: float) -> None:
    assert encode_json([number, 1.5, (number,), {"a": number}]) == b'[null,1.5,[null],{"a":null}]'


class Point(msgspec.Struct):
    x: float
    raw: bytes = b"\xe9"


@dataclasses.dataclass
class Named:
    name: str
    when: datetime.date


class Colour(enum.Enum):
    RED = "red"


def test_structs_dataclasses_dates_enums_and_mappings_take_their_json_form() -> None:
    value = [
        Point(math.nan),
        Named("n", datetime.date(2026, 1, 2)),
        Colour.RED,
        MappingProxyType({"a": 1}),
        {1},
    ]
    assert json.loads(encode_json(value)) == [
        {"x": None, "raw": "é"},
        {"name": "n", "when": "2026-01-02"},
        "red",
        {"a": 1},
        [1],
    ]


def test_keys_that_are_no_text_read_the_same_with_and_without_nan_beside_them() -> None:
    keys = {7: "a", True: "b", None: "c", 2.5: "d", False: "e"}
    plain, careful = encode_json(keys), encode_json({**keys, "nan": math.nan})
    assert {**json.loads(plain), "nan": None} == json.loads(careful)


@pytest.mark.parametrize(
    "value",
    [
        PerlObject("Foo", {"a": 1}),
        ScalarRef(1),
        PerlRegexp("x"),
        object(),
        1j,
        {(1, 2): 3},
        {b"a": 1, "a": 2},
        10**5000,
        iter([]),
        {b"x": object()},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_json_form_is_refused(value: object) -> None:
    for given_value in (value, [value], {"a": [value, math.nan]}):
        with pytest.raises(EncodeError):
            encode_json(given_value, field="result")


@pytest.mark.parametrize("value", ["\ud800", ["\udcff"], {"\ud800": 1}])
def test_lone_surrogates_are_refused(value: object) -> None:
    with pytest.raises(EncodeError, match="lone surrogate"):
        encode_json(value)


def test_512_levels_are_written_and_513_refused() -> None:
    assert encode_json(nested(MAX_DEPTH)) == b"[" * 512 + b"]" * 512
    for levels in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(EncodeError, match="512 levels"):
            encode_json(nested(levels))


class Link(msgspec.Struct):
    next: Any = None


def test_structs_count_as_levels() -> None:
    chain = Link()
    for _ in range(600):
        chain = Link(chain)
    with pytest.raises(EncodeError, match="512 levels"):
        encode_json(chain)


def test_what_contains_itself_is_refused() -> None:
    round_list: list[Any] = []
    round_list.append(round_list)
    loop = Link()
    loop.next = loop
    for value in (round_list, loop, [loop, b"x"]):
        with pytest.raises(EncodeError):
            encode_json(value)


def test_brackets_in_strings_are_no_levels() -> None:
    flat = ["[" * 2000, '"[{' * 1000, "\\" * 3]
    assert decode_json(encode_json(flat), limits=DEFAULT_LIMITS) == flat


@given(documents, st.integers(0, 6))
def test_depth_is_counted_as_everywhere(value: Any, levels: int) -> None:
    def depth(item: Any) -> int:
        children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else None
        return 0 if children is None else 1 + max(map(depth, children), default=0)

    assert deeper_than(levels, value) == (depth(value) > levels)


def test_limits_of_a_document() -> None:
    for raw, limits in (
        (b"[1,2,3]", Limits(max_bytes=6)),
        (b"[[[1,2,3]]]", Limits(max_depth=2)),
        (b"[" * 5000 + b"]" * 5000, DEFAULT_LIMITS),
        (b"[1,2,3]", Limits(max_items=2)),
        (b'{"a":1,"b":2}', Limits(max_items=3)),
    ):
        with pytest.raises(DecodeError) as caught:
            decode_json(raw, limits=limits)
        assert caught.value.raw == raw
    assert decode_json(b"[[[1,2,3]]]", limits=Limits(max_depth=3)) == [[[1, 2, 3]]]
    assert decode_json(b"[1,2,3]", limits=Limits(max_items=3)) == [1, 2, 3]
    assert decode_json(b'{"a":1,"b":2}', limits=Limits(max_items=4)) == {"a": 1, "b": 2}
    assert decode_json(b'",,,,,,:::[[["', limits=Limits(max_items=1)) == ",,,,,,:::[[["


def test_integers_keep_all_their_digits() -> None:
    assert decode_json(b"[18446744073709551615,123456789012345678901234567890]", limits=DEFAULT_LIMITS) == [
        2**64 - 1,
        123456789012345678901234567890,
    ]


def test_duplicate_keys_the_last_counts_in_results_and_are_refused_in_parameters() -> None:
    assert decode_json(b'{"a":1,"a":2}', limits=DEFAULT_LIMITS) == {"a": 2}
    with pytest.raises(DecodeError, match="twice"):
        decode_json_strictly(b'[{"a":1,"a":2}]', limits=DEFAULT_LIMITS)


@pytest.mark.parametrize("raw", [b"NaN", b"[Infinity]", b"[-Infinity]", b"", b"{", b"[1,]", b"'a'", b"[1] x"])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError, match="JSON"):
        decode_json_strictly(raw, limits=DEFAULT_LIMITS)


@pytest.mark.parametrize("decode", [decode_json, decode_json_strictly])
def test_a_byte_order_mark_is_skipped_as_in_perl(decode: Callable[..., object]) -> None:
    assert decode(b'\xef\xbb\xbf{"a":1}', limits=Limits()) == {"a": 1}
