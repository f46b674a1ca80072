"""Sereal as it is today: version 3 with Zstandard, versions 6 and 7, and the one form of an empty string."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobwire.errors import JobDecodeError
from jobwire.limits import Limits
from jobwire.sereal import PerlObject, PerlRegexp, ScalarRef, SerealDecodeError, dumps, iter_loads, loads
from jobwire.wire import Keyspace, Reliable, Taken
from tests.support.sereal_nodes import describe
from tests.support.sereal_peer import SerealPeer

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())["vectors"]
FIFTH = [bytes.fromhex(vector["document"]) for vector in VECTORS]
FIFTH = [document for document in FIFTH if document[4] & 15 == 5]
FIXTURES = Path(__file__).parents[2] / "perl_fixtures" / "lib"
NEWER = Limits(accept_newer=True)


def of_version(document: bytes, version: int) -> bytes:
    """``document``, of version 3 or later, with another version in its header."""
    return document[:4] + bytes([document[4] & 0xF0 | version]) + document[5:]


# -- version 3 with Zstandard --------------------------------------------------------------------


def test_version_3_with_zstandard(perl: SerealPeer) -> None:
    pytest.importorskip("zstandard", reason="needs: pip install jobwire[sereal]")
    value = {"text": "again and again " * 200}
    document = of_version(dumps(value, version=4, compression="zstd", compress_threshold=0), 3)
    assert document[:5] == b"=\xf3rl\x43"
    assert loads(document) == value
    assert perl.describe(document) == describe(value)


def test_zstandard_is_not_known_before() -> None:
    with pytest.raises(SerealDecodeError, match="compression type 4 is not known in version 2"):
        loads(b"=srl\x42\x00\x01")


# -- versions 6 and 7 ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", [6, 7])
def test_newer_versions_are_refused_with_the_remedies(version: int) -> None:
    document = of_version(dumps({"a": 1}), version)
    for read in (loads, lambda document: list(iter_loads(document))):
        with pytest.raises(SerealDecodeError) as caught:
            read(document)
        assert caught.value.offset == 4
        for words in (
            f"version {version}",
            f"Sereal::Encoder {version} writes by default",
            "pin Sereal::Encoder below 6",
            "protocol_version => 5 before Job::Async is loaded",
            "accept_newer",
        ):
            assert words in str(caught.value)


@pytest.mark.parametrize(
    "document", [b"=srl\x06\x00\x01", b"=srl\x07\x00\x01", b"=\xf3rl\x08\x00\x01", b"=\xf3rl\x0f\x00\x01"]
)
@pytest.mark.parametrize("accept_newer", [False, True])
def test_other_versions_are_just_unknown(document: bytes, accept_newer: bool) -> None:
    with pytest.raises(SerealDecodeError, match="jobwire reads versions 1 to 5") as caught:
        loads(document, accept_newer=accept_newer)
    assert "Sereal::Encoder" not in str(caught.value)


@pytest.mark.parametrize("version", [6, 7])
def test_the_tags_of_version_5_are_read(version: int) -> None:
    assert len(FIFTH) > 50
    for document in FIFTH:
        newer, node = of_version(document, version), describe(loads(document))
        assert describe(loads(newer, accept_newer=True)) == node
        assert describe(loads(newer, limits=NEWER)) == node
        assert [describe(value) for value in iter_loads(newer + newer, accept_newer=True)] == [node, node]


@pytest.mark.parametrize("version", [6, 7])
@pytest.mark.parametrize("tag", [0x36, 0x37, 0x3C, 0x3D, 0x3E])
@pytest.mark.parametrize("flag", [0, 0x80])
def test_any_other_tag_is_refused(version: int, tag: int, flag: int) -> None:
    document = of_version(dumps([1]), version)[:6] + bytes([0x42, 0x01, tag | flag, 0x20])
    with pytest.raises(SerealDecodeError, match="no tag") as caught:
        loads(document, accept_newer=True)
    assert (caught.value.offset, caught.value.tag and caught.value.tag & 0x7F) == (8, tag)


@pytest.mark.parametrize("flags", [0x02, 0x03, 0x80, 0xFF])
def test_flags_of_the_header_that_are_not_known_are_refused(flags: int) -> None:
    with pytest.raises(SerealDecodeError, match=f"header flags 0x{flags:02x} of version 7") as caught:
        loads(b"=\xf3rl\x07\x02" + bytes([flags]) + b"\x01" + b"\x01", accept_newer=True)
    assert caught.value.offset == 6


def test_bytes_behind_the_value_are_refused() -> None:
    """A checksum may stand there; where it does is not known."""
    with pytest.raises(SerealDecodeError, match="4 bytes behind"):
        loads(of_version(dumps([1]), 7) + b"\x01\x02\x03\x04", accept_newer=True)


def test_a_job_of_a_newer_encoder() -> None:
    reply = [b"_reply_to", b"c", b"_queued", b"1.5", b"sereal_a", of_version(dumps({"b": [1]}), 7)]
    taken = Taken(b"jobs::pending", b"j")
    with pytest.raises(JobDecodeError, match="pin Sereal::Encoder below 6"):
        Reliable(Keyspace("jobs")).read(taken, list(reply))
    job = Reliable(Keyspace("jobs"), limits=NEWER).read(taken, list(reply))
    assert job is not None
    assert job.data == {"a": {"b": [1]}}


@pytest.mark.parametrize("version", [5, 4, 3])
def test_the_wrapper_keeps_the_encoder_of_job_async_to_a_version(perl: SerealPeer, version: int) -> None:
    del perl  # there is one
    script = "print unpack 'H*', Sereal::Encoder->new->encode({ a => [ 1, 'text', undef ] })"
    command = ["perl", f"-I{FIXTURES}", f"-MJobwire::SerealProtocol={version}", "-e", script]
    document = bytes.fromhex(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert document[4] & 15 == version
    assert loads(document) == {"a": [1, "text", None]}


# -- empty strings -------------------------------------------------------------------------------

EMPTY: list[tuple[Any, bytes]] = [
    ("", b"\x60"),
    (b"", b"\x60"),
    (bytearray(), b"\x60"),
    (type("Word", (str,), {})(), b"\x60"),
    (["", b"", ""], b"\x43\x60\x60\x60"),
    ({"": ""}, b"\x51\x60\x60"),
    ({b"": b""}, b"\x51\x60\x60"),
    (ScalarRef(""), b"\x28\x60"),
    (PerlRegexp("", ""), b"\x2c\x66Regexp\x28\x31\x60\x60"),
    (PerlObject("A", {"": [""]}), b"\x2c\x61A\x51\x60\x41\x60"),
]


@pytest.mark.parametrize(("value", "body"), EMPTY)
@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("options", [{}, {"share_keys": False}, {"dedupe_strings": True}])
def test_an_empty_string_is_one_byte(value: Any, body: bytes, version: int, options: dict[str, bool]) -> None:
    """Perl 5.42.3 garbles memory when it decodes another form of it."""
    assert dumps(value, version=version, **options)[6:] == body


@given(
    value=st.recursive(
        st.sampled_from(["", b"", "a", 1]),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["", "k"]), inner),
    )
)
def test_no_other_form_of_an_empty_string_is_written(value: Any) -> None:
    for options in ({}, {"canonical": True}, {"dedupe_strings": True}):
        document = dumps(value, **options)
        assert b"\x26\x00" not in document
        assert b"\x27\x00" not in document
        assert loads(document) == loads(dumps(loads(document)))
