"""Keys, queues, channels, IDs (WIRE §1), and records of rejected entries."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobwire.errors import DecodeError, EncodeError
from jobwire.wire import DIALECTS, Keyspace, channel, job_key, new_id
from jobwire.wire.codec.ids import check_id
from jobwire.wire.dead_letters import decode_rejected, encode_rejected


def test_names_of_the_default_prefix() -> None:
    names = Keyspace()
    assert names.queue("pending") == b"jobs::pending"
    assert names.queue("processing") == b"jobs::processing"
    assert names.own_list("w1") == b"jobs::processing::w1"
    assert names.workers == b"jobs::workers"
    assert names.worker("w1") == b"jobs::worker::w1"
    assert (names.dead, names.rejected, names.attempts) == (b"jobs::dead", b"jobs::rejected", b"jobs::attempts")


@pytest.mark.parametrize("prefix", ["", b""])
def test_with_an_empty_prefix_all_names_stand_bare(prefix: str | bytes) -> None:
    names = Keyspace(prefix)
    assert names.queue("pending") == b"pending"
    assert names.own_list("w1") == b"processing::w1"
    assert (names.workers, names.worker("w"), names.dead, names.rejected, names.attempts) == (
        b"workers",
        b"worker::w",
        b"dead",
        b"rejected",
        b"attempts",
    )


@pytest.mark.parametrize("prefix", ["0", b"0"])
def test_0_is_a_legal_prefix(prefix: str | bytes) -> None:
    assert Keyspace(prefix).queue("pending") == b"0::pending"


def test_prefixes_and_queues_may_be_any_bytes() -> None:
    assert Keyspace("é").queue(b"\xff") == "é".encode() + b"::\xff"
    assert Keyspace(b"\xe9").queue("é") == b"\xe9::" + "é".encode()


def test_the_dialect_without_prefix_ignores_it() -> None:
    assert DIALECTS["0.001"].keyspace("jobs").queue("pending") == b"pending"
    assert DIALECTS["0.002"].keyspace("jobs").queue("pending") == b"jobs::pending"


@given(st.binary())
def test_job_hashes_and_channels_are_never_prefixed(name: bytes) -> None:
    assert job_key(name) == b"job::" + name
    assert channel(name) == b"client::" + name


def test_our_ids_are_uuids_and_differ() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(uuid.UUID(value).version == 4 for value in ids)


@given(st.binary(min_size=1).filter(lambda raw: raw != b"0"))
def test_ids_of_any_shape_are_ids(raw: bytes) -> None:
    assert check_id(raw) == raw


@pytest.mark.parametrize("value", ["", "0", b"", b"0"])
def test_ids_that_perl_takes_for_false_are_refused(value: str | bytes) -> None:
    with pytest.raises(EncodeError, match="takes it for false"):
        check_id(value)


@pytest.mark.parametrize("value", ["00", "0.0", " ", "\n", b"\xff", b"\0", "é"])
def test_ids_that_only_look_false_are_ids(value: str | bytes) -> None:
    assert check_id(value) == (value.encode() if isinstance(value, str) else value)


@given(st.binary(), st.binary(), st.text() | st.binary(), st.text())
def test_a_rejected_entry_is_kept_whole(entry: bytes, queue: bytes, worker: str | bytes, reason: str) -> None:
    raw = encode_rejected(entry, queue=queue, worker=worker, reason=reason, at=1.5)
    assert set(json.loads(raw)) == {"at", "worker", "queue", "entry", "reason"}
    record = decode_rejected(raw)
    assert record.raw == entry
    assert record.at == 1.5
    assert record.reason == reason.encode(errors="backslashreplace").decode()


def test_a_reason_with_a_lone_surrogate_is_written_all_the_same() -> None:
    raw = encode_rejected(b"e", queue=b"q", worker="w", reason="file \udcff", at=1.5)
    assert decode_rejected(raw).reason == "file \\udcff"


@given(st.binary())
def test_a_record_that_cannot_be_read_is_a_decode_error(raw: bytes) -> None:
    with pytest.raises(DecodeError, match="not a record"):
        decode_rejected(raw)


@pytest.mark.parametrize("encoded", ["*", "QQ", "QQ=", "é"])
def test_an_entry_that_is_no_base64_is_a_decode_error(encoded: str) -> None:
    record = {"at": 1, "worker": "w", "queue": "q", "entry": {"$bytes": encoded}, "reason": "r"}
    with pytest.raises(DecodeError, match="not a record"):
        decode_rejected(json.dumps(record).encode())


def test_no_cache_keeps_long_names() -> None:
    """Anybody may write ``_reply_to`` and ``_accept``."""
    import tracemalloc

    from jobwire.wire.codec.extensions import parse_accept
    from jobwire.wire.keys import channel, channel_to

    tracemalloc.start()
    for number in range(50):
        name = f"{number}" + "x" * 1_000_000
        assert channel_to(name) == channel(name)
        assert parse_accept(name) == frozenset()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 5_000_000
