"""Results: tags, and what stands behind them (WIRE §4, §5)."""

from __future__ import annotations

import contextlib
import datetime
import math
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobwire.errors import DecodeError, EncodeError, MismatchError, ResultDecodeError
from jobwire.limits import Limits
from jobwire.sereal import PerlObject, PerlRegexp, ScalarRef, string_reader
from jobwire.wire import DIALECTS, Failure, Success, decode_result, encode_failure, encode_result
from jobwire.wire.codec.results import encode_outcome

pytestmark = pytest.mark.usefixtures("either_code")

TAGGED = [name for name, dialect in DIALECTS.items() if dialect.tagged_results]
UNTAGGED = [name for name, dialect in DIALECTS.items() if not dialect.tagged_results]
V = frozenset("V")
E = frozenset("E")
NOTHING: frozenset[str] = frozenset()

text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = text | st.binary().map(string_reader("auto"))
containers = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=15,
).filter(lambda value: isinstance(value, list | dict))


# -- round trips


@pytest.mark.parametrize("dialect", DIALECTS)
@given(value=scalars)
def test_round_trip_of_text(dialect: str, value: str | bytes) -> None:
    assert decode_result(encode_result(value, dialect=dialect), dialect=dialect) == Success(value)


@pytest.mark.parametrize("dialect", TAGGED)
@given(value=containers)
def test_round_trip_of_containers(dialect: str, value: Any) -> None:
    raw = encode_result(value, dialect=dialect)
    assert raw[:1] == b"J"
    assert decode_result(raw, dialect=dialect) == Success(value)


@given(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | scalars
    | containers
)
def test_round_trip_of_any_value_where_v_is_accepted(value: Any) -> None:
    read = decode_result(encode_result(value, accept=V))
    assert read == Success(value)
    assert isinstance(read, Success)
    assert type(read.value) is type(value)


@given(st.text(), st.text(), st.none() | st.text())
def test_round_trip_of_failures(type_: str, message: str, traceback: str | None) -> None:
    def escaped(value: str) -> str:
        return value.encode(errors="backslashreplace").decode()

    assert decode_result(encode_failure(Failure(type_, message, traceback))) == Failure(
        escaped(type_), escaped(message), None if traceback is None else escaped(traceback)
    )


# -- arbitrary input


@given(
    st.binary() | st.builds(lambda tag, body: tag + body, st.sampled_from([b"T", b"J", b"V", b"E"]), st.binary()),
    st.sampled_from(list(DIALECTS)),
    st.sampled_from(["auto", "exact", "latin-1", "utf-8", "bytes"]),
)
@example(b'E{"type":"\xff","message":""}', "0.004", "auto")
@example(b'J["\xff"]', "0.004", "auto")
@example(b"E" + b"[" * 100_000, "0.004", "auto")
@example(b'E{"type":"a","message":"b","c":' + b"[" * 100_000, "0.004", "auto")
def test_arbitrary_bytes_raise_decode_error_and_nothing_else(raw: bytes, dialect: str, strings: Any) -> None:
    with contextlib.suppress(DecodeError):
        assert isinstance(decode_result(raw, dialect=dialect, strings=strings), Success | Failure)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.uuids() | st.just(object()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(
            st.text() | st.binary() | st.integers() | st.none() | st.tuples(st.integers()), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(anything, st.sampled_from(list(DIALECTS)), st.sampled_from([NOTHING, V]))
@example(10**5000, "0.004", V)
@example([10**5000], "0.004", V)
def test_encoding_raises_encode_error_and_nothing_else(value: Any, dialect: str, accept: frozenset[str]) -> None:
    with contextlib.suppress(EncodeError):
        decode_result(encode_result(value, dialect=dialect, accept=accept), dialect=dialect)


# -- §4: tags


class Sum(msgspec.Struct):
    total: int


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ("", b"T"),
        (None, b"T"),
        (True, b"T1"),
        (False, b"T"),
        (42, b"T42"),
        (3.25, b"T3.25"),
        (0.1 + 0.2, b"T0.3"),
        (math.inf, b"TInf"),
        (math.nan, b"TNaN"),
        ("☺", "T☺".encode()),
        (b"\xe9", b"T\xe9"),
        (bytearray(b"\xe9"), b"T\xe9"),
        ("J[]", b"TJ[]"),
        ([], b"J[]"),
        ({}, b"J{}"),
        ((1, 2), b"J[1,2]"),
        ({"a": [1, None, True]}, b'J{"a":[1,null,true]}'),
        ([b"\xe9", math.nan], 'J["é",null]'.encode()),
        (Sum(3), b'J{"total":3}'),
        ({1}, b"J[1]"),
        (datetime.date(2026, 1, 2), b"T2026-01-02"),
    ],
    ids=repr,
)
def test_t_for_scalars_and_j_for_containers(value: object, raw: bytes) -> None:
    for dialect in TAGGED:
        assert encode_result(value, dialect=dialect) == raw
    for dialect in UNTAGGED:
        assert encode_result(value, dialect=dialect) == raw[1:]


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (None, b"Vnull"),
        (True, b"Vtrue"),
        (False, b"Vfalse"),
        (42, b"V42"),
        (0.1 + 0.2, b"V0.30000000000000004"),
        ("text", b"Ttext"),
        (b"\xff", b"T\xff"),
        (bytearray(b"\xff"), b"T\xff"),
        ([1], b"J[1]"),
        (math.nan, b"TNaN"),
        (math.inf, b"TInf"),
        (uuid.UUID(int=1), b"T00000000-0000-0000-0000-000000000001"),
    ],
    ids=repr,
)
def test_v_tells_scalars_apart_where_it_is_read(value: object, raw: bytes) -> None:
    assert encode_result(value, accept=V) == raw
    assert encode_result(value, accept=V, dialect="0.002")[:1] != b"V"


@pytest.mark.parametrize(
    "value",
    [
        PerlObject("A", {}),
        ScalarRef(1),
        PerlRegexp("x"),
        [PerlObject("A", {})],
        pytest.param(object(), id="object"),
        "\ud800",
        {"a": "\ud800"},
    ],
    ids=repr,
)
def test_what_perls_json_refuses_is_refused(value: object) -> None:
    with pytest.raises(EncodeError):
        encode_result(value)


def test_depth_512_is_written_and_513_refused() -> None:
    value: list[Any] = []
    for _ in range(511):
        value = [value]
    assert decode_result(encode_result(value)) == Success(value)
    with pytest.raises(EncodeError, match="512"):
        encode_result([value])


# -- §5: reading


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_empty_result_is_the_empty_string(dialect: str) -> None:
    assert decode_result(b"", dialect=dialect) == Success("")


@pytest.mark.parametrize("dialect", UNTAGGED)
@given(st.binary())
def test_dialects_without_tags_cut_nothing_off(dialect: str, raw: bytes) -> None:
    assert decode_result(raw, dialect=dialect, strings="bytes") == Success(raw)


@given(st.binary(min_size=1).filter(lambda raw: raw[:1] not in b"TJVE"))
def test_an_unknown_tag_is_never_eaten(raw: bytes) -> None:
    with pytest.raises(MismatchError, match=r"unknown tag .* dialect='0\.002'") as caught:
        decode_result(raw, key="job::x")
    assert (caught.value.key, caught.value.field, caught.value.offset, caught.value.raw) == ("job::x", "result", 0, raw)


@pytest.mark.parametrize(
    "raw", [b"J", b"J{", b"Jx", b'J["\xff"]', b"VNaN", b"E", b"E[]", b"E{}", b'E{"type":1,"message":""}']
)
def test_what_cannot_be_read_says_where_and_carries_the_bytes(raw: bytes) -> None:
    with pytest.raises(ResultDecodeError) as caught:
        decode_result(raw, key=b"job::x")
    assert (caught.value.key, caught.value.field, caught.value.raw) == (b"job::x", "result", raw)
    assert "policy" not in str(caught.value)


def test_a_scalar_behind_j_is_read_though_perl_never_resolves_it() -> None:
    assert decode_result(b"Jtrue") == Success(value=True)


@pytest.mark.parametrize(
    ("policy", "value"), [("auto", b"\xe9"), ("exact", b"\xe9"), ("latin-1", "é"), ("bytes", b"\xe9")]
)
def test_text_is_read_by_the_policy(policy: Any, value: object) -> None:
    assert decode_result(b"T\xe9", strings=policy) == Success(value)
    assert decode_result(b"\xe9", strings=policy, dialect="0.002") == Success(value)


@pytest.mark.parametrize(("dialect", "raw"), [("0.004", b"Tab\xe9"), ("0.002", b"abc\xe9")])
def test_the_policy_utf8_names_the_byte_that_is_none(dialect: str, raw: bytes) -> None:
    with pytest.raises(ResultDecodeError, match="policy") as caught:
        decode_result(raw, dialect=dialect, strings="utf-8")
    assert caught.value.offset == 3


def test_limits_of_a_result() -> None:
    for raw, limits in (
        (b"Tab", Limits(max_bytes=2)),
        (b"J[[]]", Limits(max_depth=1)),
        (b"J[1,2,3]", Limits(max_items=2)),
        (b'E{"type":"a","message":"b"}', Limits(max_items=3)),
    ):
        with pytest.raises(ResultDecodeError) as caught:
            decode_result(raw, limits=limits)
        assert caught.value.raw == raw


# -- failures


def test_a_failure_on_the_wire() -> None:
    assert encode_failure(Failure("ValueError", "no")) == b'E{"type":"ValueError","message":"no"}'
    assert decode_result(b'E{"type":"A","message":"b","traceback":"c","more":1}') == Failure("A", "b", "c")


def test_a_failure_is_told_whatever_its_message_holds() -> None:
    assert decode_result(encode_failure(Failure("OSError", "file \udcff"))) == Failure("OSError", "file \\udcff")


def test_an_outcome_is_either() -> None:
    assert encode_outcome(Success(1), dialect="0.004", accept=V) == b"V1"
    assert encode_outcome(Success(1), dialect="0.002", accept=V) == b"1"
    assert encode_outcome(Failure("A", "b"), dialect="0.004", accept=E) == encode_failure(Failure("A", "b"))


@pytest.mark.parametrize(("dialect", "accept"), [("0.004", NOTHING), ("0.004", V), ("0.002", E), ("0.001", E)])
def test_a_failure_is_never_written_where_it_would_be_read_as_a_result(dialect: str, accept: frozenset[str]) -> None:
    with pytest.raises(EncodeError, match="does not read failures"):
        encode_outcome(Failure("A", "b"), dialect=dialect, accept=accept)
