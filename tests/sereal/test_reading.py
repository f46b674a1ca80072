"""Every tag, both offset conventions, headers, string policies, hooks: what each document is read as."""

from __future__ import annotations

import math
from typing import Any

import pytest

from jobwire.sereal import (
    Limits,
    PerlObject,
    PerlRegexp,
    ScalarRef,
    SerealDecodeError,
    dumps,
    iter_loads,
    loads,
    string_reader,
)

V1, V2, V3, V5 = b"=srl\x01\x00", b"=srl\x02\x00", b"=\xf3rl\x03\x00", b"=\xf3rl\x05\x00"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"\x00", 0),
        (b"\x0f", 15),
        (b"\x10", -16),
        (b"\x1f", -1),
        (b"\x20\x80\x01", 128),
        (b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 2**64 - 1),
        (b"\x20\x85\x80\x80\x00", 5),  # padded varint
        (b"\x21\x21", -17),
        (b"\x21\x02", 1),
        (b"\x21\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", -(2**63)),
        (b"\x22\x00\x00\xc0\x3f", 1.5),
        (b"\x23\x9a\x99\x99\x99\x99\x99\xb9\x3f", 0.1),
        (b"\x24" + bytes.fromhex("0000000000000080ff3f") + bytes(6), 1.0),
        (b"\x24" + bytes.fromhex("00000000000000c000c0") + b"\xaa" * 6, -3.0),
        (b"\x24" + bytes.fromhex("0000000000000080ff7f") + bytes(6), math.inf),
        (b"\x24" + bytes.fromhex("ffffffffffffffffff7e") + bytes(6), math.inf),  # beyond a float
        (b"\x24" + bytes(16), 0.0),
        (b"\x38" + bytes(14) + b"\xff\x3f", 1.0),
        (b"\x38" + bytes(14) + b"\xff\xff", -math.inf),
        (b"\x38" + b"\x01" + bytes(15), 0.0),  # a subnormal far below a float's
        (b"\x38" + bytes.fromhex("0000000000000000000000000000ffbf"), -1.0),
        (b"\x25", None),
        (b"\x39", None),
        (b"\x26\x03abc", "abc"),
        (b"\x27\x02\xc3\xa9", "é"),
        (b"\x27\x03\xed\xa0\x80", "\ud800"),
        (b"\x27\x04\xf4\x90\x80\x80", b"\xf4\x90\x80\x80"),  # U+110000: fits no str
        (b"\x27\x0d\xff\x80\x87" + b"\xbf" * 10, b"\xff\x80\x87" + b"\xbf" * 10),
        (b"\x28\x2a\x01\x61a\x01", {"a": 1}),
        (b"\x28\x2b\x02\x01\x02", [1, 2]),
        (b"\x2a\x01\x61a\x01", {"a": 1}),  # bare: other languages' encoders
        (b"\x2b\x02\x01\x02", [1, 2]),
        (b"\x28\x01", ScalarRef(1)),
        (b"\x28\x28\x2b\x00", ScalarRef([])),
        (b"\x34", False),
        (b"\x35", True),
        (b"\x3a", False),
        (b"\x3b", True),
        (b"\x3f\x3f\x3f\x05", 5),
        (b"\x28\x3f\x3f\x2b\x00", []),
        (b"\x42\x3f\x01\x3f\x02", [1, 2]),
        (b"\x40", []),
        (b"\x50", {}),
        (b"\x60", ""),
        (b"\x61\xff", b"\xff"),
        (b"\x2c\x63Foo\x28\x2a\x00", PerlObject("Foo", {})),
        (b"\x2c\x63Foo\x50", PerlObject("Foo", {})),
        (b"\x2c\x63Foo\x28\x05", PerlObject("Foo", ScalarRef(5))),
        (b"\x2c\x26\x03Foo\x40", PerlObject("Foo", [])),
        (b"\x2c\x27\x02\xc3\xa9\x40", PerlObject("é", [])),
        (b"\x2c\x61\xff\x40", PerlObject(b"\xff", [])),
        (b"\x42\x2c\x63Foo\x40\x2d\x03\x50", [PerlObject("Foo", []), PerlObject("Foo", {})]),
        (b"\x42\x63Foo\x2c\x2f\x02\x40", ["Foo", PerlObject("Foo", [])]),
        (b"\x43\x63Foo\x2c\x2f\x02\x40\x2d\x02\x40", ["Foo", PerlObject("Foo", []), PerlObject("Foo", [])]),
        (b"\x32\x63Foo\x28\x2b\x01\x01", PerlObject("Foo", [1], frozen=True)),
        (b"\x42\x32\x63Foo\x40\x33\x03\x41\x01", [PerlObject("Foo", [], True), PerlObject("Foo", [1], True)]),
        (b"\x2c\x71JSON::PP::Boolean\x28\x01", True),
        (b"\x2c\x71JSON::PP::Boolean\x28\x61" + b"0", False),
        (b"\x2c\x71JSON::PP::Boolean\x50", PerlObject("JSON::PP::Boolean", {})),
        (b"\x2c\x78" + b"x" * 24 + b"\x28\x01", PerlObject("x" * 24, ScalarRef(1))),
        (b"\x28\x31\x62a+\x61i", PerlRegexp("a+", "i")),
        (b"\x2c\x66Regexp\x28\x31\x62a+\x60", PerlRegexp("a+")),
        (b"\x2c\x63Foo\x28\x31\x62a+\x60", PerlObject("Foo", PerlRegexp("a+"))),
        (b"\x42\x63abc\x2f\x02", ["abc", "abc"]),
        (b"\x42\x42\x01\x62hi\x2f\x02", [[1, "hi"], [1, "hi"]]),
        (b"\x42\x28\x2b\x01\x01\x28\x2f\x03", [[1], [1]]),
        (b"\x42\x05\x2f\x02", [5, 5]),
        (b"\x42\x85\x2e\x02", [5, 5]),
        (b"\x42\xe3abc\x2e\x02", ["abc", "abc"]),
        (b"\x42\x30\x28\xaa\x00\x29\x04", [{}, {}]),
        (b"\x42\x85\x2c\x63Foo\x29\x02", [5, PerlObject("Foo", ScalarRef(5))]),
        (b"\x51\x61a\x3f\x01", {"a": 1}),
    ],
)
def test_what_each_tag_says(body: bytes, value: object) -> None:
    found = loads(V5 + body)
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value)


def test_not_a_number() -> None:
    for body in (b"\x23\x00\x00\x00\x00\x00\x00\xf8\x7f", b"\x24" + bytes(7) + b"\xc0\xff\x7f" + bytes(6)):
        assert math.isnan(loads(V5 + body))
    assert math.isnan(loads(V5 + b"\x38" + bytes(13) + b"\x80\xff\x7f"))


def test_float_128_is_rounded_once() -> None:
    # 1 + 2**-53 + 2**-112: rounding to 64 bits first would give 1.0
    mantissa = (1 << 59) + 1
    raw = (mantissa | 0x3FFF << 112).to_bytes(16, "little")
    assert loads(V5 + b"\x38" + raw) == 1.0000000000000002


def test_shared_things_stay_one() -> None:
    value = loads(V3 + b"\x43\x28\xab\x01\x01\x29\x03\x29\x03")
    assert value == [[1], [1], [1]]
    assert value[0] is value[1] is value[2]


def test_cycles() -> None:
    found = loads(V3 + b"\x28\xaa\x01\x64self\x29\x02")
    assert found["self"] is found
    found = loads(V3 + b"\x2c\x63Foo\x28\xaa\x01\x62me\x29\x07")
    assert isinstance(found, PerlObject)
    assert found.value["me"] is found


def test_a_scalar_that_refers_to_itself() -> None:
    found = loads(V3 + b"\x28\xa9\x02")
    assert isinstance(found, ScalarRef)
    assert found.value is found


def test_references_to_one_scalar_are_one() -> None:
    found = loads(V3 + b"\x43\x85\x29\x02\x29\x02")
    assert found[0] == 5
    assert found[1] == ScalarRef(5)
    assert found[1] is found[2]


def test_aliases_are_the_item_they_mean() -> None:
    found = loads(V3 + b"\x43\xe3abc\x28\xae\x02\x29\x07")  # "abc", a reference to an alias of it, that again
    assert found == ["abc", ScalarRef("abc"), ScalarRef("abc")]
    assert found[1] is found[2]
    found = loads(V3 + b"\x44\xe3abc\xae\x02\x29\x02\x29\x06")  # references to an item and to its alias
    assert found[1] == "abc"
    assert found[2] is found[3]
    found = loads(V3 + b"\x43\x51\xe1k\x01\x28\x2e\x03\x2e\x03")  # a hash key is meant
    assert found == [{"k": 1}, ScalarRef("k"), "k"]
    found = loads(V3 + b"\x43\xe3abc\x2c\x61F\x28\xae\x02\x41\x29\x0a")  # a blessed reference to an alias
    assert found[1] is found[2][0]
    assert found[1] == PerlObject("F", ScalarRef("abc"))


def test_objects_met_twice_are_one() -> None:
    found = loads(V3 + b"\x42\x2c\x63Foo\x28\xaa\x00\x29\x08")
    assert found[0] is found[1]
    found = loads(V3 + b"\x42\x2c\x71JSON::PP::Boolean\x28\x81\x29\x16")
    assert found == [True, True]


def test_offsets_count_from_the_document_in_version_1_and_from_the_body_later() -> None:
    assert loads(V1 + b"\x42\x63abc\x2f\x07") == ["abc", "abc"]
    assert loads(V2 + b"\x42\x63abc\x2f\x02") == ["abc", "abc"]
    with_suffix = b"=srl\x01\x03zzz" + b"\x42\x63abc\x2f\x0a"
    assert loads(with_suffix) == ["abc", "abc"]
    assert loads(b"=srl\x02\x03\x00zz" + b"\x42\x63abc\x2f\x02") == ["abc", "abc"]


def test_header_and_user_data() -> None:
    document = b"=\xf3rl\x03\x07\x01\x42\x62ab\x2f\x02" + b"\x01"
    assert loads(document, with_header=True) == (1, ["ab", "ab"])
    assert loads(document) == 1
    assert loads(V3 + b"\x01", with_header=True) == (1, None)
    assert loads(b"=\xf3rl\x03\x01\x00\x01", with_header=True) == (1, None)
    assert loads(b"=srl\x01\x02\x01\x05\x01", with_header=True) == (1, None)  # version 1 never looked inside


def test_documents_one_behind_the_other() -> None:
    documents = dumps({"n": 1}) + dumps([2], version=1) + dumps("x" * 2000, compression="snappy") + dumps(None)
    assert list(iter_loads(documents)) == [{"n": 1}, [2], "x" * 2000, None]
    assert list(iter_loads(b"")) == []
    repeated = dumps([{"key": 1}, {"key": 2}], version=1)
    assert list(iter_loads(repeated * 3)) == [[{"key": 1}, {"key": 2}]] * 3
    broken = iter_loads(dumps(1) + b"rubbish")
    assert next(broken) == 1
    with pytest.raises(SerealDecodeError, match="no Sereal document") as caught:
        next(broken)
    assert caught.value.offset == 7


def test_bytes_behind_the_document_are_refused() -> None:
    with pytest.raises(SerealDecodeError, match="3 bytes behind the document") as caught:
        loads(dumps(1) + b"abc")
    assert caught.value.offset == len(dumps(1))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_like(kind: Any) -> None:
    assert loads(kind(dumps([1]))) == [1]
    assert list(iter_loads(kind(dumps([1])))) == [[1]]


BINARY = [b"plain", b"\xc3\xa9", b"\xff"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("auto", ["plain", "é", b"\xff"]),
        ("exact", ["plain", b"\xc3\xa9", b"\xff"]),
        ("latin-1", ["plain", "Ã©", "ÿ"]),
        ("bytes", [b"plain", b"\xc3\xa9", b"\xff"]),
    ],
)
def test_string_policies(policy: Any, expected: list[object]) -> None:
    assert loads(dumps(BINARY), strings=policy) == expected
    assert loads(dumps(["é"]), strings=policy) == ["é"]  # STR_UTF8 is text under every policy
    assert loads(dumps(dict.fromkeys(BINARY, 1)), strings=policy) == dict.fromkeys(expected, 1)
    assert [string_reader(policy)(raw) for raw in BINARY] == expected


def test_the_policy_utf_8_refuses_what_is_not() -> None:
    assert loads(dumps(BINARY[:2]), strings="utf-8") == ["plain", "é"]
    with pytest.raises(SerealDecodeError, match="not UTF-8") as caught:
        loads(dumps(BINARY), strings="utf-8")
    assert caught.value.offset is not None
    with pytest.raises(UnicodeDecodeError):
        string_reader("utf-8")(b"\xff")


@pytest.mark.parametrize("policy", ["ascii", "", None, 7])
def test_unknown_policies(policy: Any) -> None:
    with pytest.raises(ValueError, match="no string policy"):
        string_reader(policy)
    with pytest.raises(ValueError, match="no string policy"):
        loads(dumps(1), strings=policy)


@pytest.mark.parametrize("policy", ["auto", "exact", "latin-1", "utf-8", "bytes"])
def test_class_names_and_flags_are_text_under_every_policy(policy: Any) -> None:
    assert loads(dumps(True, booleans="json-pp"), strings=policy) is True
    assert loads(dumps(PerlObject("Foo", [])), strings=policy) == PerlObject("Foo", [])
    assert loads(dumps(PerlRegexp("a", "i")), strings=policy).flags == "i"


def test_two_perl_keys_that_read_alike_both_live() -> None:
    raw, text = b"\x62\xc3\xa9\x01", b"\x27\x02\xc3\xa9\x02"
    expected = {b"\xc3\xa9": 1, "é": 2}
    assert loads(V3 + b"\x52" + raw + text) == expected
    assert loads(V3 + b"\x52" + text + raw) == expected
    copied = V3 + b"\x43" + b"\x62\xc3\xa9" + b"\x27\x02\xc3\xa9" + b"\x52\x2f\x02\x01\x2f\x05\x02"
    assert loads(copied)[2] == expected
    assert loads(V3 + b"\x52" + raw + text, strings="latin-1") == {"Ã©": 1, "é": 2}
    for twice in (raw + raw, text + text, raw + text + raw, text + raw + text):
        count = twice.count(b"\xc3")
        with pytest.raises(SerealDecodeError, match="twice"):
            loads(V3 + bytes([0x50 + count]) + twice)
    with pytest.raises(SerealDecodeError, match="twice"):
        loads(V3 + b"\x52" + raw + text, strings="utf-8")


def test_a_hook_maps_classes() -> None:
    def hook(found: PerlObject) -> object:
        return complex(*found.value) if found.class_name == "Complex" else found

    document = dumps({"c": [PerlObject("Complex", [1, 2]), PerlObject("Other", {"in": PerlObject("Complex", [3, 4])})]})
    assert loads(document, object_hook=hook) == {"c": [1 + 2j, PerlObject("Other", {"in": 3 + 4j})]}
    assert loads(dumps(PerlObject("Complex", [5, 6])), object_hook=hook) == 5 + 6j
    assert loads(dumps(ScalarRef(PerlObject("Complex", [5, 6]))), object_hook=hook) == ScalarRef(5 + 6j)
    assert next(iter_loads(document, object_hook=hook))["c"][0] == 1 + 2j


def test_a_hook_is_asked_once_for_a_shared_object() -> None:
    asked: list[PerlObject] = []

    def hook(found: PerlObject) -> object:
        asked.append(found)
        return [found.class_name]

    thing = PerlObject("Foo", {"a": 1})
    found = loads(dumps([thing, thing, {"again": thing}]), object_hook=hook)
    assert len(asked) == 1
    assert found[0] is found[1] is found[2]["again"]
    assert found[0] == ["Foo"]


@pytest.mark.parametrize(
    ("first", "second", "asked"), [("B", "A", ["B", "B", "A"]), ("A", "A", ["A", "A"])], ids=["anew", "again"]
)
def test_hook_for_a_copy_of_an_object_that_is_blessed(first: str, second: str, asked: list[str]) -> None:
    # Two objects in an array; the second one blesses a COPY of the first.
    body = b"\x42" + b"\x2c\x61" + first.encode() + b"\x50" + b"\x2c\x61" + second.encode() + b"\x2f\x02"
    seen: list[object] = []

    def hook(found: PerlObject) -> str:
        seen.append(found.class_name)
        return f"hooked {found.class_name}"

    assert loads(b"=\xf3rl\x05\x00" + body, object_hook=hook) == [f"hooked {first}", f"hooked {second}"]
    assert seen == asked


def test_a_hook_sees_whole_objects_and_its_errors_pass() -> None:
    seen = []

    def hook(found: PerlObject) -> object:
        seen.append((found.class_name, dict(found.value)))
        return found

    loads(dumps(PerlObject("Out", {"in": PerlObject("In", {"x": 1})})), object_hook=hook)
    assert [name for name, _ in seen] == ["In", "Out"]

    def failing(found: PerlObject) -> object:
        raise KeyError(found.class_name)

    with pytest.raises(KeyError, match="Foo"):
        loads(dumps(PerlObject("Foo", {})), object_hook=failing)


def test_a_hook_is_not_asked_for_booleans_and_patterns() -> None:
    def never(found: PerlObject) -> object:
        raise AssertionError(found)

    assert loads(dumps([True, PerlRegexp("a")], booleans="json-pp"), object_hook=never) == [True, PerlRegexp("a")]


def test_depth_without_recursion() -> None:
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    limits = Limits(max_depth=100_000)
    found = loads(dumps(deep, limits=limits), limits=limits)
    levels = 0
    while found:
        found = found[0]
        levels += 1
    assert levels == 50_000
