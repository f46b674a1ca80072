"""The strategies make what they say: it all survives the wire."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobwire import sereal
from jobwire.testing import strategies as s
from jobwire.wire import (
    DIALECTS,
    Result,
    decode_job,
    decode_job_envelope,
    decode_reply_envelope,
    decode_result,
    encode_job,
    encode_job_envelope,
    encode_reply_envelope,
)
from jobwire.wire.codec.extensions import check_parameter_name
from jobwire.wire.codec.ids import check_id

slow = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@given(s.ids())
def test_ids(job_id: str | bytes) -> None:
    assert check_id(job_id)


@given(s.parameter_names())
def test_parameter_names(name: str) -> None:
    check_parameter_name(name.encode())


@slow
@given(st.data())
@pytest.mark.parametrize("name", list(DIALECTS))
def test_job_data_comes_back(name: str, data: st.DataObject) -> None:
    parameters = data.draw(s.job_data(name))
    fields = encode_job(parameters, reply_to="me", queued=1.5e9, dialect=name)
    assert decode_job("id", fields, dialect=name).data == parameters


@slow
@given(st.data())
@pytest.mark.parametrize("name", list(DIALECTS))
def test_hashes_are_read(name: str, data: st.DataObject) -> None:
    parameters, fields = data.draw(s.job_hashes(name))
    assert all(isinstance(item, bytes) for pair in fields.items() for item in pair)
    assert decode_job("id", fields, dialect=name).data == parameters


@slow
@given(s.result_fields())
def test_results_are_read(pair: tuple[Result, bytes]) -> None:
    result, raw = pair
    assert decode_result(raw) == result


@slow
@given(s.values())
def test_values_survive_sereal(value: Any) -> None:
    assert sereal.loads(sereal.dumps(value)) == value


@slow
@given(s.json_values(), s.ids(raw=False))
def test_json_values_survive_envelopes(value: Any, job_id: str) -> None:
    job = decode_job_envelope(encode_job_envelope(job_id, {"value": value}, reply_to="me"))
    assert (job.id, job.data) == (job_id, {"value": value})
    assert decode_reply_envelope(encode_reply_envelope(job_id, value=value)).result == value


@given(s.dialects())
def test_dialects(dialect: object) -> None:
    assert dialect in DIALECTS.values()
