"""A side writes nothing that the limits of the other side refuse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobwire import sereal
from jobwire.errors import DecodeError, EncodeError
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.wire import Keyspace, Reliable, Simple, Submission, Success, Taken
from jobwire.wire.codec.envelopes import decode_job_envelope, encode_job_envelope, encode_reply_envelope
from jobwire.wire.codec.jobs import Job, decode_job, encode_job
from jobwire.wire.codec.results import decode_result, encode_result

FEW = Limits(max_bytes=40, max_items=10, max_fields=12)
VALUES = st.recursive(
    st.text(max_size=60) | st.binary(max_size=60) | st.integers(-(2**63), 2**64 - 1) | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=14,
)


@given(data=st.dictionaries(st.text("abc", min_size=1), VALUES, max_size=6), nested=st.sampled_from(["sereal", "json"]))
def test_what_is_written_is_within_the_limits_of_its_reader(data: Any, nested: Any) -> None:
    try:
        fields = encode_job(data, reply_to="c", queued=1.5, nested=nested, limits=FEW)
    except EncodeError:
        return
    decode_job("j", fields, limits=FEW)


@given(data=st.dictionaries(st.text("abc", min_size=1), VALUES, max_size=6))
def test_what_a_reader_takes_is_written(data: Any) -> None:
    fields = encode_job(data, reply_to="c", queued=1.5)
    try:
        decode_job("j", fields | {b"_later%d" % n: b"" for n in range(7)}, limits=FEW)
    except DecodeError:
        with pytest.raises(EncodeError):
            encode_job(data, reply_to="c", queued=1.5, limits=FEW)
    else:
        assert encode_job(data, reply_to="c", queued=1.5, limits=FEW) == fields


@given(value=VALUES, accept=st.sampled_from([frozenset[str](), frozenset("V")]))
def test_results_are_within_the_limits_of_their_reader(value: Any, accept: frozenset[str]) -> None:
    limits = Limits(max_bytes=20, max_items=10)
    try:
        raw = encode_result(value, accept=accept, limits=limits)
    except EncodeError:
        return
    decode_result(raw, limits=limits)


@given(value=st.text(max_size=40) | st.lists(st.integers(), max_size=8))
def test_envelopes_are_within_the_limits_of_their_reader(value: Any) -> None:
    limits = Limits(max_bytes=60, max_items=20)
    try:
        raw = encode_job_envelope("j", {"a": value}, reply_to="c", limits=limits)
    except EncodeError:
        return
    decode_job_envelope(raw, limits=limits)


def submission(**data: object) -> Submission:
    return Submission(id=b"j", data=data, reply_to=b"c", queued=1.5)


@pytest.mark.parametrize("mode", [Reliable(Keyspace("jobs")), Simple(Keyspace("jobs"))], ids=["reliable", "simple"])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"small": 1, "long": "x" * (64 << 20) + "x"}, "67108864.*max_bytes"),
        ({"long": "x" * (64 << 20) + "é"}, "67108864.*max_bytes"),
        ({"many": [0] * 4_000_001}, "4000000 items.*max_items"),
        ({f"p{n}": "" for n in range(10_001)}, "10000.*max_fields"),
    ],
    ids=["ascii", "utf-8", "items", "fields"],
)
def test_a_client_refuses_what_no_worker_would_read(mode: Any, data: dict[str, Any], words: str) -> None:
    if mode.name == "simple" and "max_fields" in words:
        assert mode.submit(submission(**data), b"q")  # an envelope has no fields to count
        return
    with pytest.raises(EncodeError, match=words):
        mode.submit(submission(**data), b"q")


def test_the_largest_text_is_sent_and_read() -> None:
    longest = "x" * (64 << 20)
    (_, _, *pairs), _ = Reliable(Keyspace("jobs")).submit(submission(a=longest), b"q")
    fields: dict[bytes, Any] = dict(zip(pairs[::2], pairs[1::2], strict=True))
    assert decode_job("j", fields).data == {"a": longest}


@pytest.mark.parametrize("own_list", [True, False])
def test_a_worker_refuses_a_result_that_no_client_would_read(own_list: bool) -> None:
    mode = Reliable(Keyspace("jobs"), own_list=own_list, processing=b"own")
    for value in ("x" * (64 << 20), b"x" * (64 << 20), ["x" * (64 << 20)]):
        with pytest.raises(EncodeError, match=r"67108864.*max_bytes.*result"):
            mode.complete(Job(id="j", data={}), Taken(b"q", b"j"), Success(value), started=1.0, at=2.0)
    mode.complete(Job(id="j", data={}), Taken(b"q", b"j"), Success("x" * ((64 << 20) - 1)), started=1.0, at=2.0)


def test_whoever_raises_the_limits_sends_more() -> None:
    raised = Limits(max_bytes=100 << 20, max_fields=20_000)
    data = {f"p{n}": "" for n in range(10_001)} | {"long": "x" * (65 << 20)}
    commands = Reliable(Keyspace("jobs"), limits=raised).submit(submission(**data), b"q")
    assert len(commands[0]) == 2 + 2 * (2 + len(data))


def test_lower_limits_on_input_bound_no_output() -> None:
    mode = Reliable(Keyspace("jobs"), limits=Limits(max_bytes=3, max_items=1, max_fields=1))
    assert mode.written == DEFAULT_LIMITS
    assert mode.submit(submission(a="longer", b=[1, 2]), b"q")


def test_what_is_shared_counts_once_in_sereal() -> None:
    shared = [0] * 8
    data = {"v": [shared, shared, shared]}
    limits = Limits(max_items=11)
    fields = encode_job(data, reply_to="c", limits=limits)
    assert sereal.loads(fields[b"sereal_v"], limits=limits) == data["v"]


def test_an_envelope_is_measured_as_it_is_sent() -> None:
    with pytest.raises(EncodeError, match="max_bytes"):
        encode_reply_envelope("j", value="\x00" * 20, limits=Limits(max_bytes=100))
