"""Job hashes: what a client writes and how it is read (WIRE §1–§3)."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobwire import sereal
from jobwire.errors import ConfigError, DecodeError, EncodeError, JobDecodeError
from jobwire.limits import Limits
from jobwire.sereal import PerlObject
from jobwire.wire import DIALECTS, Dialect, Job, decode_job, dialect_named, dialect_of, encode_job
from jobwire.wire.codec.extensions import RESERVED
from jobwire.wire.codec.fields import Nested

pytestmark = pytest.mark.usefixtures("either_code")

TYPED = [dialect for dialect in DIALECTS.values() if dialect.typed_fields]
UNTYPED = [dialect for dialect in DIALECTS.values() if not dialect.typed_fields]

text = st.text(st.characters(exclude_categories=["Cs"]))
names = text.filter(lambda name: "\n" not in name and name.encode() not in RESERVED)
# What the policy `auto` gives back as it was: text, and bytes that are not UTF-8.
scalars = text | st.binary().map(sereal.string_reader("auto"))


def keys_of_perl(mapping: dict[Any, Any]) -> set[str]:
    """``"é"`` and ``b"\xe9"`` are one key for Perl, and refused beside each other."""
    return {key.decode("latin-1") if isinstance(key, bytes) else key for key in mapping}


nested_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(scalars, inner, max_size=4).filter(lambda found: len(keys_of_perl(found)) == len(found))
    ),
    max_leaves=10,
)
parameters = st.dictionaries(names, nested_values, max_size=5)


def as_text_fields_read(value: object) -> object:
    """What a parameter is after the wire: top-level numbers have become their printed form, if that says them."""
    printed = encode_job({"v": value}, reply_to="").get(b"text_v")
    return printed.decode() if printed is not None and _is_number(value) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# -- round trips


@pytest.mark.parametrize("dialect", TYPED, ids=lambda dialect: dialect.name)
@given(data=parameters, reply_to=scalars, queued=st.floats(1e9, 2e9))
def test_round_trip_of_typed_dialects(
    dialect: Dialect, data: dict[str, Any], reply_to: str | bytes, queued: float
) -> None:
    fields = encode_job(data, reply_to=reply_to, queued=queued, dialect=dialect)
    job = decode_job("id", fields, dialect=dialect)
    assert job.data == {name: as_text_fields_read(value) for name, value in data.items()}
    assert job.reply_to == reply_to
    assert job.dialect is dialect
    assert job.meta == {}
    assert job.result is None
    if dialect.timing_fields:
        assert job.queued is not None
        assert math.isclose(job.queued, queued, rel_tol=1e-14)
    else:
        assert job.queued is None


plain_names = names.filter(lambda name: not name.startswith("_") and name != "result")


@pytest.mark.parametrize("dialect", UNTYPED, ids=lambda dialect: dialect.name)
@given(data=st.dictionaries(plain_names, scalars | st.integers() | st.lists(st.integers())))
def test_round_trip_of_the_untyped_dialect(dialect: Dialect, data: dict[str, Any]) -> None:
    fields = encode_job(data, reply_to="c", queued=1.0, dialect=dialect)
    assert fields.keys() == {b"_reply_to", *(name.encode() for name in data)}
    read = decode_job("id", fields, dialect=dialect).data
    for name, value in data.items():
        if isinstance(value, list):
            assert json.loads(read[name]) == value  # type: ignore[arg-type]  # text, or json.loads complains
        else:
            assert read[name] == (str(value) if isinstance(value, int) else value)


@pytest.mark.parametrize("dialect", TYPED, ids=lambda dialect: dialect.name)
@given(
    data=st.dictionaries(names, st.dictionaries(text, text | st.lists(st.integers(-(2**63), 2**64 - 1))), max_size=4)
)
def test_round_trip_of_references_as_json(dialect: Dialect, data: dict[str, Any]) -> None:
    fields = encode_job(data, reply_to="c", dialect=dialect, nested="json")
    assert all(field.startswith((b"_", b"json_")) for field in fields)
    assert decode_job("id", fields, dialect=dialect).data == data


@given(st.binary())
def test_an_id_of_any_shape_is_kept(job_id: bytes) -> None:
    job = decode_job(job_id, {b"_reply_to": job_id})
    assert (job.id if isinstance(job.id, bytes) else job.id.encode()) == job_id
    assert (job.reply_to if isinstance(job.reply_to, bytes) else job.reply_to.encode()) == job_id
    assert job.id == sereal.string_reader("auto")(job_id)


# -- arbitrary input


field_names = st.binary(max_size=12) | st.builds(
    lambda kind, name: kind + name,
    st.sampled_from([b"text_", b"json_", b"sereal_", b"_", b"result", b"Text_"]),
    st.binary(max_size=4),
)
field_values = (
    st.binary() | st.builds(lambda body: b"=\xf3rl\x03\x00" + body, st.binary()) | nested_values.map(sereal.dumps)
)


@given(
    fields=st.dictionaries(field_names, field_values, max_size=5),
    dialect=st.sampled_from([*DIALECTS, None]),
    strings=st.sampled_from(["auto", "exact", "latin-1", "utf-8", "bytes"]),
)
@example(fields={b"json_a": b'["\xff"]'}, dialect="0.004", strings="auto")
@example(fields={b"json_a": b"[" * 5000}, dialect="0.004", strings="auto")
@example(fields={b"text_\xff": b"\xff"}, dialect="0.004", strings="utf-8")
def test_arbitrary_bytes_raise_decode_error_and_nothing_else(
    fields: dict[bytes, bytes], dialect: str | None, strings: Any
) -> None:
    with contextlib.suppress(DecodeError):
        job = decode_job(b"\xff", fields, dialect=dialect, strings=strings)
        assert isinstance(job, Job)
        assert isinstance(job.accept, frozenset)
        assert job.expires is None or math.isfinite(job.expires)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.uuids()
    | st.just(object()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.text() | st.binary() | st.integers() | st.none() | st.tuples(st.integers()), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(
    data=st.dictionaries(st.text() | st.binary() | st.integers(), anything, max_size=4) | anything,
    dialect=st.sampled_from(list(DIALECTS)),
    nested=st.sampled_from(["sereal", "json"]),
)
@example(data={"v": 10**5000}, dialect="0.004", nested="sereal")
@example(data={"v": [10**5000]}, dialect="0.004", nested="json")
def test_encoding_raises_encode_error_and_nothing_else(data: Any, dialect: str, nested: Nested) -> None:
    with contextlib.suppress(EncodeError):
        fields = encode_job(data, reply_to="c", queued=1.0, dialect=dialect, nested=nested)
        assert len(fields) == len(data) + 1 + (dialect in ("0.004", "master"))
        # What is written can be read.
        decode_job("id", fields, dialect=dialect)


# -- §2: what stands on the wire


def test_a_submission_as_perl_writes_it() -> None:
    assert encode_job({"op": "add", "first": 2, "second": 40}, reply_to="client", queued=1795434940.837412) == {
        b"_reply_to": b"client",
        b"_queued": b"1795434940.83741",
        b"text_op": b"add",
        b"text_first": b"2",
        b"text_second": b"40",
    }


@pytest.mark.parametrize("name", ["0.001", "0.002", "0.003"])
def test_dialects_without_timing_write_no_queued(name: str) -> None:
    assert encode_job({}, reply_to="c", queued=1.0, dialect=name) == {b"_reply_to": b"c"}


def test_an_underscore_parameter_travels_with_its_type() -> None:
    fields = encode_job({"_x": "1"}, reply_to="c")
    assert fields[b"text__x"] == b"1"
    assert decode_job("id", fields).data == {"_x": "1"}


def test_the_empty_name_is_a_name() -> None:
    fields = encode_job({"": "v"}, reply_to="c")
    assert fields[b"text_"] == b"v"
    assert decode_job("id", fields).data == {"": "v"}


@pytest.mark.parametrize("value", [None, True, False])
def test_none_and_booleans_travel_as_sereal_scalars(value: object) -> None:
    for nested in ("sereal", "json"):
        fields = encode_job({"v": value}, reply_to="c", nested=nested)  # type: ignore[arg-type]  # both are Literals
        assert sereal.loads(fields[b"sereal_v"]) is value
        assert decode_job("id", fields).data["v"] is value


EXACT_IN_TEXT = [0.0, 0.1, 2.5, -7.25, 1e15, 1e100, 5e-324 * 2**30, float("inf"), float("-inf")]
INEXACT_IN_TEXT = [0.1 + 0.2, 1 / 3, 52.520008123456789, 1700000000.1234567, 1e15 + 0.3, 2.0**53 - 1, -1 / 3]


@pytest.mark.parametrize("nested", ["sereal", "json"])
@pytest.mark.parametrize("dialect", TYPED, ids=lambda dialect: dialect.name)
def test_floats_that_15_digits_do_not_say_travel_as_sereal_scalars(dialect: Dialect, nested: Any) -> None:
    """NUM-10."""
    for value in EXACT_IN_TEXT:
        assert encode_job({"v": value}, reply_to="c", dialect=dialect, nested=nested)[b"text_v"] == (
            b"%.15g" % value
        ).replace(b"inf", b"Inf")
    for value in INEXACT_IN_TEXT:
        fields = encode_job({"v": value}, reply_to="c", dialect=dialect, nested=nested)
        assert b"text_v" not in fields
        assert sereal.loads(fields[b"sereal_v"]) == value
        assert decode_job("id", fields, dialect=dialect).data["v"] == value


@given(st.floats(allow_nan=False))
def test_any_float_arrives_as_it_was(value: float) -> None:
    for dialect in DIALECTS.values():
        read = decode_job("id", encode_job({"v": value}, reply_to="c", dialect=dialect), dialect=dialect).data["v"]
        assert float(read) == value  # type: ignore[arg-type]  # text or a number


class Amount(float):
    """A float by another name."""


def test_floats_of_other_types_are_exact_too() -> None:
    assert sereal.loads(encode_job({"v": Amount(1 / 3)}, reply_to="c")[b"sereal_v"]) == 1 / 3
    assert encode_job({"v": Amount(0.5)}, reply_to="c")[b"text_v"] == b"0.5"


def test_without_field_types_a_float_has_all_the_digits_it_needs() -> None:
    fields = encode_job({"a": 1 / 3, "b": 0.1}, reply_to="c", dialect="0.001")
    assert (fields[b"a"], fields[b"b"]) == (b"0.3333333333333333", b"0.1")


def test_references_travel_as_sereal_version_3_uncompressed() -> None:
    document = encode_job({"v": {"a": [1, None]}}, reply_to="c")[b"sereal_v"]
    assert document[:5] == b"=\xf3rl\x03"


def test_str_goes_out_as_utf8_and_bytes_as_they_are() -> None:
    fields = encode_job({"café": "☺", b"caf\xe9": b"\xe9\xff\x80"}, reply_to="c")
    assert fields["text_café".encode()] == "☺".encode()
    assert fields[b"text_caf\xe9"] == b"\xe9\xff\x80"
    assert decode_job("id", fields).data == {"café": "☺", b"caf\xe9": b"\xe9\xff\x80"}


class Colour(enum.Enum):
    RED = 7


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "printed"),
    [(datetime.date(2026, 1, 2), b"2026-01-02"), (Colour.RED, b"7"), (Level.HIGH, b"3"), (1.5, b"1.5")],
    ids=repr,
)
@pytest.mark.parametrize("dialect", ["0.001", "0.004"])
def test_scalars_of_other_types_travel_as_text(value: object, printed: bytes, dialect: str) -> None:
    prefix = b"text_" if dialect == "0.004" else b""
    assert encode_job({"v": value}, reply_to="c", dialect=dialect)[prefix + b"v"] == printed


class Add(msgspec.Struct, tag="add", tag_field="op"):
    first: int
    second: int


@dataclasses.dataclass
class Echo:
    value: list[int]


def test_structs_and_dataclasses_are_parameters() -> None:
    assert decode_job("id", encode_job(Add(2, 40), reply_to="c")).data == {"op": "add", "first": "2", "second": "40"}
    assert decode_job("id", encode_job(Echo([1, 2]), reply_to="c")).data == {"value": [1, 2]}


def test_perl_objects_travel_in_sereal_and_are_refused_in_json() -> None:
    value = PerlObject("Foo", {"a": 1})
    assert decode_job("id", encode_job({"v": value}, reply_to="c")).data["v"] == value
    assert decode_job("id", encode_job({"v": value}, reply_to="c", nested="json")).data["v"] == value
    with pytest.raises(EncodeError):
        encode_job({"v": [value]}, reply_to="c", nested="json")


# -- names


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_reserved_names_are_refused(name: bytes) -> None:
    for key in (name, name.decode()):
        with pytest.raises(EncodeError, match="reserved") as caught:
            encode_job({key: "x"}, reply_to="c")
        assert caught.value.field == name


@pytest.mark.parametrize("name", ["a\n", "\na", "a\nb", "\n"])
def test_a_name_with_a_newline_is_refused(name: str) -> None:
    with pytest.raises(EncodeError, match="newline"):
        encode_job({name: "x"}, reply_to="c")


@pytest.mark.parametrize("name", ["_x", "result", "_reply_to"])
def test_the_untyped_dialect_refuses_names_that_are_its_own(name: str) -> None:
    with pytest.raises(EncodeError, match=r"cannot have this name|reserved"):
        encode_job({name: "x"}, reply_to="c", dialect="0.001")


def test_the_untyped_dialect_cannot_say_none() -> None:
    with pytest.raises(EncodeError, match="cannot say None"):
        encode_job({"a": None}, reply_to="c", dialect="0.001")


def test_a_parameter_called_result_is_typed_and_so_stays() -> None:
    fields = encode_job({"result": "x"}, reply_to="c")
    assert decode_job("id", fields).data == {"result": "x"}


@pytest.mark.parametrize("values", [("x", "y"), ("x", ["y"])])
def test_one_name_as_str_and_as_bytes_is_refused_not_merged(values: tuple[object, object]) -> None:
    with pytest.raises(EncodeError, match="same name"):
        encode_job({"a": values[0], b"a": values[1]}, reply_to="c")


def test_the_error_names_the_parameter() -> None:
    for value in (object(), {"deep": object()}, "\ud800", {1: 2}, 10**5000):
        with pytest.raises(EncodeError, match="'v'") as caught:
            encode_job({"v": value}, reply_to="c")
        assert caught.value.field == b"v"


# -- meta fields


def test_meta_fields_travel_untouched_and_stay_out_of_the_data() -> None:
    fields = encode_job({"a": "1"}, reply_to="c", meta={"_accept": "E,V", b"_b\xff": b"\xff"})
    job = decode_job("id", fields)
    assert fields[b"_accept"] == b"E,V"
    assert job.meta == {"_accept": "E,V", b"_b\xff": b"\xff"}
    assert job.data == {"a": "1"}
    assert job.accept == {"E", "V"}


@pytest.mark.parametrize("name", ["_reply_to", "_queued", "_started", "_processed"])
def test_the_fields_of_the_protocol_itself_are_no_meta_fields(name: str) -> None:
    with pytest.raises(EncodeError, match="written by the protocol itself"):
        encode_job({}, reply_to="c", meta={name: "x"})


def test_a_meta_field_has_an_underscore() -> None:
    with pytest.raises(EncodeError, match="start with '_'"):
        encode_job({}, reply_to="c", meta={"x": "y"})


def test_a_meta_field_never_hides_a_parameter() -> None:
    for value in ("x", [1]):
        with pytest.raises(EncodeError, match="Perl would see the meta field alone"):
            encode_job({"_x": value}, reply_to="c", meta={"_x": "y"})


def test_the_extensions_are_read() -> None:
    fields = {b"_expires": b"12.5", b"_queue": b"jobs::low", b"_worker": b"w1", b"_accept": b" E, X,J,"}
    job = decode_job("id", fields)
    assert (job.expires, job.queue, job.worker, job.accept) == (12.5, b"jobs::low", "w1", {"E"})
    assert decode_job("id", {b"_expires": b"soon"}).expires is None
    bare = decode_job("id", {})
    assert (bare.expires, bare.queue, bare.worker, bare.accept) == (None, None, None, frozenset())


def test_times_and_a_result_that_is_there() -> None:
    job = decode_job("id", {b"_queued": b"1.5", b"_started": b"2", b"_processed": b"?", b"result": b"Tx"})
    assert (job.queued, job.started, job.processed, job.result) == (1.5, 2.0, None, b"Tx")
    assert job.data == {}


# -- §3: how Perl reads the hash


@pytest.mark.parametrize("field", [b"Text_a", b"0", b"-a", b"\xe9", b"", b"\ntext_a", b"A"])
def test_fields_that_do_not_begin_with_a_lower_case_letter_are_dropped(field: bytes) -> None:
    assert decode_job("id", {b"text_a": b"1", field: b"x"}).data == {"a": "1"}


@pytest.mark.parametrize(
    "field", [b"text", b"op", b"texta_", b"text-a", b"sereal", b"blob_a", b"text_a\nb", b"text_\n\n", b"result\n"]
)
def test_fields_without_a_known_type_are_an_error_that_names_them(field: bytes) -> None:
    with pytest.raises(JobDecodeError, match="another dialect") as caught:
        decode_job("the id", {b"text_a": b"1", field: b"x"})
    assert (caught.value.key, caught.value.field, caught.value.raw) == (b"job::the id", field, b"x")


@pytest.mark.parametrize(("field", "name"), [(b"text_a\n", "a"), (b"text_\n", ""), (b"json_b\n", "b")])
def test_one_newline_at_the_end_of_a_name_is_dropped(field: bytes, name: str) -> None:
    assert list(decode_job("id", {field: b"[]"}).data) == [name]


def test_everything_but_newline_may_stand_in_a_name() -> None:
    name = bytes(byte for byte in range(256) if byte != 10)
    assert list(decode_job("id", {b"text_" + name: b""}).data) == [name]


@pytest.mark.parametrize(
    "document", [b"1", b'"text"', b"null", b"true", b"", b"{", b'{"a":1,"a":2}', b'["\xff"]', b"[NaN]"]
)
def test_json_fields_hold_containers_and_nothing_else(document: bytes) -> None:
    with pytest.raises(JobDecodeError) as caught:
        decode_job("id", {b"json_v": document})
    assert (caught.value.field, caught.value.raw) == (b"json_v", document)


def test_json_fields_are_read() -> None:
    assert decode_job("id", {b"json_v": '{"☺":[1,null,true]}'.encode()}).data == {"v": {"☺": [1, None, True]}}


@pytest.mark.parametrize("value", [None, 1, "text", [1], {"a": {}}])
def test_sereal_fields_hold_scalars_too(value: object) -> None:
    assert decode_job("id", {b"sereal_v": sereal.dumps(value)}).data == {"v": value}


def test_a_broken_sereal_field_names_itself_and_the_offset() -> None:
    with pytest.raises(JobDecodeError) as caught:
        decode_job("id", {b"sereal_v": b"=\xf3rl\x03\x00\x2b"})
    assert caught.value.field == b"sereal_v"
    assert caught.value.offset is not None
    assert caught.value.key == b"job::id"


def test_a_parameter_in_two_types_is_an_error() -> None:
    with pytest.raises(JobDecodeError, match="two types"):
        decode_job("id", {b"text_a": b"1", b"json_a": b"[]"})
    with pytest.raises(JobDecodeError, match="two types"):
        decode_job("id", {b"text_a": b"1", b"text_a\n": b"2"})


def test_untyped_fields_are_all_parameters() -> None:
    fields = {b"_reply_to": b"c", b"op": b"echo", b"UPPER": b"1", b"text_a": b"2", b"": b"3", b"result": b"r"}
    job = decode_job("id", fields, dialect="0.001")
    assert job.data == {"op": "echo", "UPPER": "1", "text_a": "2", "": "3"}
    assert job.result == b"r"


# -- strings


@pytest.mark.parametrize(
    ("policy", "name", "value"),
    [
        ("auto", "é", b"\xe9"),
        ("exact", "é".encode(), b"\xe9"),
        ("latin-1", "Ã©", "é"),
        ("bytes", "é".encode(), b"\xe9"),
    ],
)
def test_names_and_values_are_read_by_the_policy(policy: Any, name: object, value: object) -> None:
    for dialect, field in (("0.004", "text_é".encode()), ("0.001", "é".encode())):
        assert decode_job("id", {field: b"\xe9"}, strings=policy, dialect=dialect).data == {name: value}


def test_the_policy_holds_inside_sereal() -> None:
    document = sereal.dumps([b"\xe9"])
    assert decode_job("id", {b"sereal_v": document}, strings="latin-1").data == {"v": ["é"]}


@pytest.mark.parametrize("fields", [{b"text_a": b"\xff"}, {b"text_\xff": b"a"}, {b"sereal_a": sereal.dumps(b"\xff")}])
def test_the_policy_utf8_is_an_error_where_it_is_not(fields: dict[bytes, bytes]) -> None:
    with pytest.raises(JobDecodeError):
        decode_job("id", fields, strings="utf-8")


# -- limits


def test_limits_of_a_hash() -> None:
    for fields, limits in (
        ({b"text_a": b"1", b"text_b": b"2"}, Limits(max_fields=1)),
        ({b"text_a": b"12"}, Limits(max_bytes=1)),
        ({b"json_a": b"[[[]]]"}, Limits(max_depth=2)),
        ({b"sereal_a": sereal.dumps([[[]]])}, Limits(max_depth=2)),
        ({b"json_a": b"[1,2,3]"}, Limits(max_items=2)),
    ):
        with pytest.raises(JobDecodeError) as caught:
            decode_job("id", fields, limits=limits)
        assert caught.value.key == b"job::id"


# -- dialects


def test_the_dialects_are_the_releases_and_the_default_is_0_004() -> None:
    assert list(DIALECTS) == ["0.001", "0.002", "0.003", "0.004", "master"]
    assert dialect_named("0.004") is DIALECTS["0.004"]
    assert dialect_named(DIALECTS["0.001"]) is DIALECTS["0.001"]
    with pytest.raises(ConfigError, match=r"0\.001, 0\.002, 0\.003, 0\.004, master"):
        dialect_named("0.005")


def test_the_facts_of_the_dialects() -> None:
    def those(fact: str) -> list[str]:
        return [dialect.name for dialect in DIALECTS.values() if getattr(dialect, fact)]

    assert those("prefixed_queues") == ["0.002", "0.003", "0.004", "master"]
    assert those("typed_fields") == ["0.002", "0.003", "0.004", "master"]
    assert those("tagged_results") == ["0.003", "0.004", "master"]
    assert those("timing_fields") == ["0.004", "master"]
    assert those("poll_forever") == ["0.001", "0.002", "0.003"]
    assert those("drops_plain_beside_references") == ["0.001"]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({b"_reply_to": b"c", b"_queued": b"1", b"text_a": b"1"}, "0.004"),
        ({b"_reply_to": b"c", b"op": b"1"}, "0.001"),
        ({b"_reply_to": b"c", b"op": b"1", b"result": b"x"}, "0.001"),
        ({b"_reply_to": b"c", b"text_a": b"1"}, "0.002"),
        ({b"_reply_to": b"c"}, "0.002"),
    ],
)
def test_auto_takes_the_dialect_that_the_submission_shows(fields: dict[bytes, bytes], name: str) -> None:
    assert dialect_of(fields, default=DIALECTS["0.002"]).name == name


def test_auto_is_spelled_none_and_falls_back_to_0_004() -> None:
    assert decode_job("id", {b"op": b"1"}, dialect=None).data == {"op": "1"}
    assert decode_job("id", {b"text_op": b"1"}, dialect=None).dialect.name == "0.004"
