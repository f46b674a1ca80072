"""What is written, byte by byte where it matters, and what is refused."""

from __future__ import annotations

import enum
from collections import OrderedDict, UserDict, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from jobwire.sereal import (
    Limits,
    PerlObject,
    PerlRegexp,
    ScalarRef,
    SerealEncodeError,
    dumps,
    loads,
)


def body(value: object, **options: Any) -> bytes:
    document = dumps(value, **options)
    assert document[5] == 0
    return document[6:]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, b"\x25"),
        (True, b"\x3b"),
        (False, b"\x3a"),
        (0, b"\x00"),
        (15, b"\x0f"),
        (16, b"\x20\x10"),
        (300, b"\x20\xac\x02"),
        (2**64 - 1, b"\x20" + b"\xff" * 9 + b"\x01"),
        (-1, b"\x1f"),
        (-16, b"\x10"),
        (-17, b"\x21\x21"),
        (-(2**63), b"\x21" + b"\xff" * 9 + b"\x01"),
        (1.5, b"\x22\x00\x00\xc0\x3f"),
        (0.1, b"\x23\x9a\x99\x99\x99\x99\x99\xb9\x3f"),
        (-0.0, b"\x22\x00\x00\x00\x80"),
        (float("inf"), b"\x22\x00\x00\x80\x7f"),
        (3.4028235677973366e38, b"\x23\x00\x00\x00\xf0\xff\xff\xef\x47"),  # just beyond a 32-bit float
        ("", b"\x60"),
        ("x" * 31, b"\x7f" + b"x" * 31),
        ("x" * 32, b"\x26\x20" + b"x" * 32),
        ("é", b"\x27\x02\xc3\xa9"),
        ("\ud800", b"\x27\x03\xed\xa0\x80"),
        (b"\xff", b"\x61\xff"),
        (bytearray(b"ab"), b"\x62ab"),
        (memoryview(b"ab"), b"\x62ab"),
        ([], b"\x40"),
        ([1, 2], b"\x42\x01\x02"),
        ((1, 2), b"\x42\x01\x02"),
        ([0] * 16, b"\x28\x2b\x10" + bytes(16)),
        ({}, b"\x50"),
        ({"a": 1}, b"\x51\x61a\x01"),
        ({b"\xff": 1}, b"\x51\x61\xff\x01"),
        ([{"a": 1}, {"a": 2}], b"\x42\x51\x61a\x01\x51\x2f\x03\x02"),
        (ScalarRef(1), b"\x28\x01"),
        (ScalarRef(ScalarRef(1)), b"\x28\x28\x01"),
        (ScalarRef([]), b"\x28\x40"),
        (ScalarRef(True), b"\x28\x3f\x3b"),  # not Perl's one immutable "true"
        (PerlObject("Foo", {}), b"\x2c\x63Foo\x50"),
        ([PerlObject("F", []), PerlObject("F", [])], b"\x42\x2c\x61F\x40\x2d\x03\x40"),
        (PerlObject("F", [1], frozen=True), b"\x32\x61F\x41\x01"),
        (PerlObject("é", []), b"\x2c\x27\x02\xc3\xa9\x40"),
        (PerlRegexp("a+", "i"), b"\x2c\x66Regexp\x28\x31\x62a+\x61i"),
        (PerlObject("Foo", PerlRegexp("a")), b"\x2c\x63Foo\x28\x31\x61a\x60"),
    ],
)
def test_the_bytes(value: object, expected: bytes) -> None:
    assert body(value) == expected


def test_headers() -> None:
    assert [dumps(None, version=version)[:6] for version in range(1, 6)] == [
        b"=srl\x01\x00",
        b"=srl\x02\x00",
        b"=\xf3rl\x03\x00",
        b"=\xf3rl\x04\x00",
        b"=\xf3rl\x05\x00",
    ]
    assert dumps(1, header=["ab"]) == b"=\xf3rl\x03\x05\x01\x41\x62ab\x01"


def test_booleans_by_version_and_option() -> None:
    assert body([True, False], version=5) == b"\x42\x35\x34"
    assert body([True, False], version=1) == b"\x42\x3b\x3a"
    as_objects = body([True, True, False, {"x": False}], booleans="json-pp")
    assert as_objects == (b"\x44\x2c\x71JSON::PP::Boolean\x28\x81\x29\x16\x2d\x03\x28\x80\x51\x61x\x29\x1c")
    assert loads(b"=\xf3rl\x03\x00" + as_objects) == [True, True, False, {"x": False}]


def test_offsets_by_version() -> None:
    assert body([{"a": 1}, {"a": 2}], version=1).endswith(b"\x2f\x08\x02")
    assert body([{"a": 1}, {"a": 2}], version=2).endswith(b"\x2f\x03\x02")
    shared = [1]
    assert body([shared, shared]) == b"\x42\x28\xab\x01\x01\x29\x03"
    assert body([shared, shared], version=1) == b"\x42\x28\xab\x01\x01\x29\x08"


def test_only_what_is_shared_takes_the_long_form() -> None:
    shared: dict[str, int] = {}
    assert body([shared, {}, shared]) == b"\x43\x28\xaa\x00\x50\x29\x03"


def test_identity_survives() -> None:
    shared, ref, thing = {"k": [1]}, ScalarRef("v"), PerlObject("Foo", {})
    pattern = PerlRegexp("a")
    found = loads(dumps([shared, shared, ref, ref, thing, thing, {"deep": thing}, pattern, pattern, (), ()]))
    assert found[0] is found[1]
    assert found[2] is found[3]
    assert found[4] is found[5] is found[6]["deep"]
    assert found[7] == found[8] == pattern
    pair = (1, 2)
    found = loads(dumps([pair, pair, shared["k"], shared]))
    assert found[0] is found[1]
    assert found[2] is found[3]["k"]


def test_cycles() -> None:
    ring: list[Any] = [1]
    ring.append({"ring": ring})
    found = loads(dumps(ring))
    assert found[1]["ring"] is found
    ref = ScalarRef()
    ref.value = ref
    assert loads(dumps(ref)).value is not None
    thing = PerlObject("Node", {})
    assert isinstance(thing.value, dict)
    thing.value["me"] = thing
    found = loads(dumps(thing))
    assert found.value["me"] is found


def test_equal_but_not_the_same_stays_apart() -> None:
    found = loads(dumps([[1], [1]]))
    assert found[0] is not found[1]


def test_dedupe_strings() -> None:
    value = ["abcd", "abcd", "abc", "abc", {"abcd": "abcd"}, b"abcd", "ééé", "ééé"]
    assert body(value, dedupe_strings=True) == (
        b"\x48\x64abcd\x2f\x02\x63abc\x63abc\x51\x64abcd\x2f\x02\x64abcd\x27\x06" + "ééé".encode() + b"\x2f\x1e"
    )
    assert loads(dumps(value, dedupe_strings=True)) == [*value[:5], "abcd", "ééé", "ééé"]


def test_keys_unshared_on_request() -> None:
    assert body([{"a": 1}, {"a": 2}], share_keys=False) == b"\x42\x51\x61a\x01\x51\x61a\x02"


def test_canonical_documents_are_equal_for_equal_values() -> None:
    one = {"b": [1, {"z": 1, "é": 2}], "a": b"x", b"\xff": None}
    other = {b"\xff": None, "a": b"x", "b": [1, {"é": 2, "z": 1}]}
    assert dumps(one, canonical=True) == dumps(other, canonical=True)
    assert body({"b": 1, "a": 2}, canonical=True) == b"\x28\x2a\x02\x61a\x02\x61b\x01"
    shared = [1]
    assert body([shared, shared], canonical=True) == b"\x28\x2b\x02\x28\xab\x01\x01\x29\x05"


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 7


class Name(enum.StrEnum):
    ANN = "ann"


class Mixed(str, enum.Enum):  # noqa: UP042 - StrEnum prints differently
    ONE = "one"


class Point(NamedTuple):
    x: int
    y: int


class Lazy(Mapping[str, Any]):
    """Makes its values anew each time: identities come and go."""

    def __getitem__(self, key: str) -> Any:
        return [key]

    def __iter__(self) -> Any:
        return iter("abc")

    def __len__(self) -> int:
        return 3


def test_subclasses_are_written_as_what_they_are() -> None:
    value = [
        Level.HIGH,
        Name.ANN,
        Mixed.ONE,
        Point(1, 2),
        OrderedDict(a=1),
        defaultdict(int, b=2),
        UserDict(c=3),
        Lazy(),
    ]
    expected = [7, "ann", "one", [1, 2], {"a": 1}, {"b": 2}, {"c": 3}, {"a": ["a"], "b": ["b"], "c": ["c"]}]
    assert loads(dumps(value)) == expected
    ordered = OrderedDict(a=1)
    found = loads(dumps([ordered, ordered, Lazy(), Lazy()]))
    assert found[0] is found[1]
    assert found[2] is not found[3]


def test_default_maps_other_types() -> None:
    asked: list[object] = []

    def default(value: object) -> object:
        asked.append(value)
        if isinstance(value, complex):
            return PerlObject("Complex", [value.real, value.imag])
        return sorted(value) if isinstance(value, set) else value

    number = 1 + 2j
    found = loads(dumps([number, number, {3, 1}], default=default))
    assert found == [PerlObject("Complex", [1.0, 2.0])] * 2 + [[1, 3]]
    assert found[0] is found[1]
    assert len(asked) == 2
    with pytest.raises(SerealEncodeError, match="default answered Colour"):
        dumps(Colour.RED, default=default)


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        (2**64, {}, "2\\*\\*64-1"),
        (-(2**63) - 1, {}, "-2\\*\\*63"),
        ({1: 2}, {}, "hash key of type int"),
        ({None: 2}, {}, "hash key of type NoneType"),
        ({"a": 1, b"a": 2}, {}, "one hash key in Perl"),
        ({"é": 1, b"\xe9": 2}, {}, "one hash key in Perl"),
        ({"é": 1, b"\xe9": 2}, {"canonical": True}, "one hash key in Perl"),
        (object(), {}, "type object"),
        ({1, 2}, {}, "type set"),
        (PerlObject("Foo", 1), {}, "made of int"),
        (PerlObject("Foo", PerlObject("Bar", {})), {}, "made of PerlObject"),
        (PerlObject("", {}), {}, "empty class name"),
        (PerlObject("Foo", {}, frozen=True), {}, "frozen object holds a list"),
        (PerlObject("Foo", [], frozen=True), {"version": 1}, "version 2"),
        (PerlRegexp("a", "n"), {}, "flags"),
        (1, {"version": 0}, "version 0"),
        (1, {"version": 6}, "version 6"),
        (1, {"version": 1, "header": 1}, "no user data"),
        (1, {"compression": "lzma"}, "no compression"),
        (1, {"compression": "zlib", "version": 2}, "version 2 of Sereal has no compression zlib"),
        (1, {"compression": "zstd", "version": 3}, "version 3 of Sereal has no compression zstd"),
        (1, {"compression": "snappy-old", "version": 2}, "no compression snappy-old"),
        ([[[]]], {"limits": Limits(max_depth=2)}, "deeper than 2"),
        (1, {"booleans": "perl"}, "booleans"),
    ],
)
def test_what_cannot_be_said(value: object, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SerealEncodeError, match=message):
        dumps(value, **options)
    if "version" not in options and "compression" not in options and "booleans" not in options:
        with pytest.raises(SerealEncodeError, match=message):
            dumps([{"in": value}], **options)


def test_depth_is_counted_alike_both_ways() -> None:
    for limit in (1, 2, 5, 40):
        limits = Limits(max_depth=limit)
        value: list[Any] = []
        for _ in range(limit - 1):
            value = [value]
        assert loads(dumps(value, limits=limits), limits=limits) == value
        with pytest.raises(SerealEncodeError, match="deeper"):
            dumps([value], limits=limits)


def test_doubling_tuples_are_written_once_each() -> None:
    value: tuple[Any, ...] = (1,)
    for _ in range(100):
        value = (value, value)
    assert len(dumps(value)) < 2000
