"""The suite's own RESP decoder: both directions, any split, raw bytes kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobwire_conformance.record.resp import Decoder, Map, Push, RespError, pack


def decode(data: bytes) -> list[Any]:
    return [frame.value for frame in Decoder().feed(data)]


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        (b"+OK\r\n", b"OK"),
        (b"-ERR no\r\n", RespError(b"ERR no")),
        (b":42\r\n", 42),
        (b"$-1\r\n", None),
        (b"$5\r\na\r\nbc\r\n", b"a\r\nbc"),
        (b"$0\r\n\r\n", b""),
        (b"*-1\r\n", None),
        (b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", [b"a", [1]]),
        (b"_\r\n", None),
        (b"#t\r\n", True),
        (b",1.5\r\n", 1.5),
        (b"(18446744073709551616\r\n", 2**64),
        (b"=8\r\ntxt:text\r\n", b"text"),
        (b"!5\r\nERR x\r\n", RespError(b"ERR x")),
        (b"%1\r\n+a\r\n:1\r\n", Map([(b"a", 1)])),
        (b"~2\r\n:1\r\n:2\r\n", [1, 2]),
        (b">2\r\n+message\r\n+x\r\n", Push([b"message", b"x"])),
        (b"|1\r\n+ttl\r\n:3\r\n+OK\r\n", b"OK"),
        (b"PING hello\r\n", [b"PING", b"hello"]),
    ],
)
def test_every_type(wire: bytes, value: Any) -> None:
    assert decode(wire) == [value]


@pytest.mark.parametrize("wire", [b"$x\r\n", b"*2\r\n$1\r\nab\r\n", b"#maybe\r\n", b"$\r\n\r\n", b",one\r\n"])
def test_what_is_not_resp_is_said_and_kept(wire: bytes) -> None:
    decoder = Decoder()
    assert decoder.feed(b"+OK\r\n" + wire)[0].value == b"OK"
    assert decoder.broken is not None
    assert decoder.rest() == wire
    assert decoder.feed(b"+OK\r\n") == [], "nothing can be said of what follows"


def test_a_nest_without_end_is_refused() -> None:
    decoder = Decoder()
    assert decoder.feed(b"*1\r\n" * 100) == []
    assert decoder.broken == "nested too deeply"


words = st.lists(st.binary(max_size=40), min_size=1, max_size=6)


@given(st.lists(words, min_size=1, max_size=5), st.data())
@settings(max_examples=200)
def test_any_split_gives_the_same_frames_and_the_same_bytes(commands: list[list[bytes]], data: st.DataObject) -> None:
    whole = b"".join(pack(command) for command in commands)
    decoder = Decoder()
    frames = []
    rest = whole
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        frames += decoder.feed(rest[:size])
        rest = rest[size:]
    assert [frame.value for frame in frames] == commands
    assert b"".join(frame.raw for frame in frames) == whole
    assert decoder.pending == 0


def test_one_byte_at_a_time() -> None:
    wire = b"*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n+OK\r\n"
    decoder = Decoder()
    frames = [frame for byte in wire for frame in decoder.feed(bytes([byte]))]
    assert [frame.value for frame in frames] == [[b"foo", b"bar"], b"OK"]


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    decoder = Decoder()
    decoder.feed(data)
    decoder.feed(data)
