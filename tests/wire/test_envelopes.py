"""Envelopes of mode ``simple`` (WIRE §6)."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobwire.errors import DecodeError, EncodeError, JobDecodeError, MismatchError, ResultDecodeError
from jobwire.limits import Limits
from jobwire.sereal import PerlObject
from jobwire.wire import (
    Failure,
    decode_job_envelope,
    decode_reply_envelope,
    encode_job_envelope,
    encode_reply_envelope,
)
from jobwire.wire.codec.extensions import RESERVED

text = st.text(st.characters(exclude_categories=["Cs"]))
names = text.filter(lambda name: "\n" not in name and name.encode() not in RESERVED)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=10,
)


@given(text, text, st.dictionaries(names, values, max_size=4))
def test_round_trip_of_a_job(job_id: str, reply_to: str, data: dict[str, Any]) -> None:
    envelope = decode_job_envelope(
        encode_job_envelope(job_id, data, reply_to=reply_to, queued=1.5, expires=2.5, traceparent="00-1")
    )
    assert (envelope.id, envelope.reply_to, envelope.data) == (job_id, reply_to, data)
    assert (envelope.queued, envelope.expires, envelope.traceparent) == (1.5, 2.5, "00-1")


@given(text, values)
def test_round_trip_of_a_reply(job_id: str, value: Any) -> None:
    reply = decode_reply_envelope(encode_reply_envelope(job_id, value=value, started=1.0, processed=2.0))
    assert (reply.id, reply.result, reply.error, reply.started, reply.processed) == (job_id, value, None, 1.0, 2.0)


def test_a_failed_job() -> None:
    raw = encode_reply_envelope("id", failure=Failure("OSError", "file \udcff"))
    assert json.loads(raw) == {"id": "id", "error": {"type": "OSError", "message": "file \\udcff"}}
    assert decode_reply_envelope(raw).error == Failure("OSError", "file \\udcff")


def test_a_job_on_the_wire() -> None:
    assert (
        encode_job_envelope(b"i", {"☺": [1, None]}, reply_to="c", queued=1795434940.837412)
        == '{"id":"i","_reply_to":"c","_queued":1795434940.83741,"data":{"☺":[1,null]}}'.encode()
    )


def test_a_reply_on_the_wire() -> None:
    assert encode_reply_envelope("i", value=None) == b'{"id":"i","result":null}'
    assert decode_reply_envelope(b'{"id":"i","result":null}').result is None


envelope_like = st.builds(
    lambda head, body: head + body,
    st.sampled_from([b"{", b'{"id":"', b'{"id":"a","data":{', b'{"id":"a","result":', b'{"id":"a","error":{']),
    st.binary(),
)


@given(st.binary() | envelope_like | values.map(lambda value: json.dumps(value).encode()))
@example(b'{"id":"\xff","data":{}}')
@example(b'{"id":"\\ud800","data":{}}')
@example(b'{"id":"a","data":{"a":' + b"[" * 100_000)
@example(b'{"id":"a","result":' + b"[" * 100_000)
@example(b'{"id":"\xff","result":1}')
def test_arbitrary_bytes_raise_decode_error_and_nothing_else(raw: bytes) -> None:
    for decode in (decode_job_envelope, decode_reply_envelope):
        with contextlib.suppress(DecodeError):
            decode(raw)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.uuids() | st.just(object()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text() | st.binary() | st.integers() | st.tuples(st.binary()), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.text() | st.binary(), anything, anything)
@example("a", {"a": 10**5000}, 10**5000)
def test_encoding_raises_encode_error_and_nothing_else(job_id: Any, data: Any, value: Any) -> None:
    with contextlib.suppress(EncodeError):
        decode_job_envelope(encode_job_envelope(job_id, data, reply_to="c"))
    with contextlib.suppress(EncodeError):
        decode_reply_envelope(encode_reply_envelope(job_id, value=value))


class Holder(msgspec.Struct):
    raw: bytes


@pytest.mark.parametrize(
    "value",
    [
        b"x",
        bytearray(b"x"),
        pytest.param(memoryview(b"x"), id="memoryview"),
        [b"x"],
        {"a": {"b": (b"x",)}},
        {b"k": 1},
        Holder(b"x"),
        {1: {b"k"}},
    ],
    ids=repr,
)
def test_bytes_are_refused_wherever_they_are(value: object) -> None:
    with pytest.raises(EncodeError, match="no place") as caught:
        encode_job_envelope("i", {"v": value}, reply_to="c")
    assert caught.value.field == "v"
    with pytest.raises(EncodeError, match="no place") as caught:
        encode_reply_envelope("i", value=value)
    assert caught.value.field == "result"


def test_bytes_that_are_not_utf8_are_no_ids() -> None:
    for arguments in ({"job_id": b"\xff", "reply_to": "c"}, {"job_id": "i", "reply_to": b"\xff"}):
        with pytest.raises(EncodeError, match="not UTF-8"):
            encode_job_envelope(data={}, **arguments)  # type: ignore[arg-type]  # both are Text
    with pytest.raises(EncodeError, match="not UTF-8"):
        encode_job_envelope("i", {}, reply_to="c", traceparent=b"\xff")
    with pytest.raises(EncodeError, match="not UTF-8"):
        encode_reply_envelope(b"\xff")


def test_names_are_checked_as_in_a_hash() -> None:
    for data, message in (
        ({"_reply_to": 1}, "reserved"),
        ({"a\nb": 1}, "newline"),
        ({"a": 1, b"a": 2}, "have this name"),
        ({1: 2}, "str or bytes"),
    ):
        with pytest.raises(EncodeError, match=message):
            encode_job_envelope("i", data, reply_to="c")


@pytest.mark.parametrize(
    "value", [pytest.param(object(), id="object"), PerlObject("A", {}), "\ud800", {(1, 2): 3}], ids=repr
)
def test_what_has_no_json_form_is_refused(value: object) -> None:
    with pytest.raises(EncodeError):
        encode_job_envelope("i", {"v": value}, reply_to="c")
    with pytest.raises(EncodeError):
        encode_reply_envelope("i", value=value)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(EncodeError):
        encode_reply_envelope("i", value=value)


# -- mismatches


@pytest.mark.parametrize("entry", [b"0580be68-7697-49ac-1adb-e7c38c52d85b", b"", b"[]", b"\xff\n", b"17"])
def test_an_id_where_an_envelope_should_be_is_a_mismatch(entry: bytes) -> None:
    with pytest.raises(MismatchError, match="mode 'reliable' or 'recoverable'") as caught:
        decode_job_envelope(entry, key=b"jobs::pending")
    assert (caught.value.key, caught.value.raw) == (b"jobs::pending", entry)
    with pytest.raises(MismatchError, match="mode 'reliable' or 'recoverable'") as caught:
        decode_reply_envelope(entry)
    assert caught.value.raw == entry


@pytest.mark.parametrize("entry", [b"{", b"{}", b'{"id":1,"data":{}}', b'{"id":"a"}', b'{"id":"a","data":[]}'])
def test_an_object_that_is_no_job(entry: bytes) -> None:
    with pytest.raises(JobDecodeError, match="not a job envelope") as caught:
        decode_job_envelope(entry, key=b"jobs::pending")
    assert (caught.value.key, caught.value.raw) == (b"jobs::pending", entry)


@pytest.mark.parametrize("entry", [b"{", b"{}", b'{"id":"a"}', b'{"id":"a","error":null}', b'{"id":"a","error":{}}'])
def test_an_object_that_is_no_reply(entry: bytes) -> None:
    with pytest.raises(ResultDecodeError, match="reply") as caught:
        decode_reply_envelope(entry)
    assert caught.value.raw == entry


def test_unknown_fields_are_left_for_later_versions() -> None:
    assert decode_job_envelope(b'{"id":"a","data":{},"_new":1}').data == {}
    assert decode_reply_envelope(b'{"id":"a","result":1,"_new":1}').result == 1


def test_limits_of_an_envelope() -> None:
    job, reply = b'{"id":"a","data":{"v":[[1,2]]}}', b'{"id":"a","result":[[1,2]]}'
    for limits in (Limits(max_bytes=10), Limits(max_depth=1), Limits(max_items=4)):
        with pytest.raises(JobDecodeError, match="limit"):
            decode_job_envelope(job, limits=limits)
        with pytest.raises(ResultDecodeError, match="limit"):
            decode_reply_envelope(reply, limits=limits)
