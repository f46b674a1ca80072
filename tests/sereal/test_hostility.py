"""Malformed and hostile documents: one exception, with offset and tag, in bounded time and memory."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest

from jobwire.sereal import Limits, PerlObject, SerealDecodeError, dumps, loads
from jobwire.sereal.header import write_varint

V1, V3 = b"=srl\x01\x00", b"=\xf3rl\x03\x00"
SHARED = [1]
SOME = dumps(
    {
        "list": [1, -300, 2.5, 0.1, "é", b"\xff", None, True, "x" * 50],
        "objects": [PerlObject("Foo", {"list": []}), PerlObject("Foo", [])],
        "shared": [SHARED, SHARED],
    }
)


@pytest.mark.parametrize(
    ("document", "offset", "message"),
    [
        (b"", 0, "no Sereal document"),
        (b"{}", 0, "no Sereal document"),
        (b"=\xc3\xb3rl\x03\x00\x01", 0, "encoded as UTF-8"),
        (b"=srl", 4, "header ends early"),
        (b"=srl\x03\x00\x01", 4, "version 3"),
        (b"=\xf3rl\x02\x00\x01", 4, "version 2"),
        (b"=\xf3rl\x06\x00\x01", 4, "version 6"),
        (b"=srl\x00\x00\x01", 4, "version 0"),
        (b"=\xf3rl\x03\x05ab", 6, "suffix of 5 bytes"),
        (b"=\xf3rl\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 5, "varint"),
    ],
)
def test_broken_headers(document: bytes, offset: int, message: str) -> None:
    with pytest.raises(SerealDecodeError, match=message) as caught:
        loads(document)
    assert caught.value.offset == offset
    assert caught.value.raw == document


@pytest.mark.parametrize(
    ("body", "tag", "message"),
    [
        (b"", None, "ends early"),
        (b"\x3c\x01\x01\x01", 0x3C, "MANY"),
        (b"\x3d", 0x3D, "PACKET_START"),
        (b"\x3e\x01", 0x3E, "EXTEND"),
        (b"\x36\x00", 0x36, "RESERVED_0"),
        (b"\x37\x00", 0x37, "RESERVED_1"),
        (b"\xbc", 0x3C, "MANY"),
        (b"\x20", None, "ends early"),
        (b"\x20\xff", None, "ends early"),
        (b"\x20" + b"\x80" * 10 + b"\x00", None, "longer than 10"),
        (b"\x20" + b"\xff" * 9 + b"\x02", None, "beyond 64 bits"),
        (b"\x20" + b"\xff" * 5000, None, "longer than 10"),
        (b"\x22\x00", None, "4 bytes announced"),
        (b"\x23\x00", None, "8 bytes announced"),
        (b"\x24\x00", None, "16 bytes announced"),
        (b"\x38\x00", None, "16 bytes announced"),
        (b"\x63ab", None, "3 bytes announced"),
        (b"\x26\xff\xff\xff\xff\x0fab", None, "bytes announced"),
        (b"\x26\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01ab", None, "bytes announced"),
        (b"\x27\x01\xff", 0x27, "not even Perl's"),
        (b"\x27\x02\xc3(", 0x27, "not even Perl's"),
        (b"\x27\x02\xc0\x80", 0x27, "not even Perl's"),
        (b"\x27\x03\xe0\x80\x80", 0x27, "not even Perl's"),
        (b"\x27\x06\xfe\x83\xbf\xbf\xbf\xbf", 0x27, "not even Perl's"),
        (b"\x28", None, "ends early"),
        (b"\x28\x3f\x3f", None, "ends early"),
        (b"\x28\x2b\x05\x01", None, "too few bytes"),
        (b"\x28\x2b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", None, "too few bytes"),
        (b"\x28\x2a\x02\x61a\x01", None, "too few bytes|ends early"),
        (b"\x4f", None, "too few bytes"),
        (b"\x51\x01\x01", 0x01, "POS_1 where a hash key"),
        (b"\x51\x28\x60\x01", 0x28, "REFN where a hash key"),
        (b"\x51\x25\x01", 0x25, "UNDEF where a hash key"),
        (b"\x52\x61a\x01\x61a\x02", None, "twice"),
        (b"\x29\x01", 0x29, "not tracked"),
        (b"\x41\x29\x05", 0x29, "outside"),
        (b"\x42\x01\x29\x02", 0x29, "not tracked"),
        (b"\x41\x29\x00", 0x29, "outside"),
        (b"\x2e\x01", 0x2E, "outside"),
        (b"\x42\x01\x2e\x02", 0x2E, "not tracked"),
        (b"\x2f\x01", 0x2F, "outside"),
        (b"\x41\x2f\x05", 0x2F, "outside"),
        (b"\x41\x2f\x01", 0x2F, "holds a COPY"),
        (b"\x43\x61a\x2f\x02\x2f\x04", 0x2F, "holds a COPY"),
        (b"\x51\x2f\x01\x01", 0x50 + 1, "where a hash key"),
        (b"\x52\x61a\x01\x2f\x02\x05", None, "twice"),
        (b"\x43\x6fa\x2f\x02\x01", None, "bytes announced|does not end before"),
        (b"\x2c\x01\x40", 0x01, "where a class name"),
        (b"\x2c\x63Foo\x01", 0x01, "class name without a reference"),
        (b"\x2c\x63Foo\x2c\x63Bar\x40", 0x2C, "class name without a reference"),
        (b"\x2c\x63Foo\x30\x28\x40", 0x30, "class name without a reference"),
        (b"\x41\x2d\x01\x40", 0x2D, "class name where none was used"),
        (b"\x42\x63Foo\x2d\x02\x40", 0x2D, "class name where none was used"),
        (b"\x32\x63Foo\x50", 0x32, "no list"),
        (b"\x32\x63Foo\x28\x01", 0x32, "no list"),
        (b"\x30\x01", 0x01, "WEAKEN"),
        (b"\x30\x30\x28\x01", 0x30, "WEAKEN"),
        (b"\x28\x31\x01\x60", 0x01, "where a pattern"),
        (b"\x28\x31\x61a\x01", 0x01, "where pattern flags"),
        (b"\x28\x31\x61a\x62i)", 0x31, "flags"),
        (b"\x28\x31\x61a\x61\xff", 0x31, "flags"),
        (b"\x42\x85\x2c\x63Foo\x2e\x02", 0x2E, "class name without a reference"),
    ],
)
def test_broken_bodies(body: bytes, tag: int | None, message: str) -> None:
    document = V3 + body
    with pytest.raises(SerealDecodeError, match=message) as caught:
        loads(document)
    assert caught.value.tag == tag
    assert caught.value.offset is not None
    assert 6 <= caught.value.offset <= len(document)
    assert caught.value.raw == document
    assert f"offset {caught.value.offset}" in str(caught.value)


@pytest.mark.parametrize("version", [1, 3])
def test_every_cut_is_refused(version: int) -> None:
    document = dumps(loads(SOME), version=version)
    for length in range(len(document)):
        with pytest.raises(SerealDecodeError):
            loads(document[:length])


def test_offsets_never_leave_the_body() -> None:
    for tag in (0x29, 0x2D, 0x2E, 0x2F):
        for offset in (0, 2**31, 2**63 - 1, 2**63, 2**64 - 1):
            for start in (V1, V3):
                with pytest.raises(SerealDecodeError):
                    loads(start + b"\x42\x01" + bytes([tag]) + write_varint(offset) + b"\x40")
    for offset in range(6):  # into the header of version 1
        with pytest.raises(SerealDecodeError, match="outside"):
            loads(V1 + b"\x2f" + write_varint(offset))


# -- limits --------------------------------------------------------------------------------------


def test_limits() -> None:
    document = dumps([[1, 2], {"a": 1}])
    assert loads(document, limits=Limits(max_bytes=len(document), max_depth=2, max_items=6)) == [[1, 2], {"a": 1}]
    for limits, name in [
        (Limits(max_bytes=len(document) - 1), "max_bytes"),
        (Limits(max_depth=1), "max_depth"),
        (Limits(max_items=5), "max_items"),
    ]:
        with pytest.raises(SerealDecodeError, match=name):
            loads(document, limits=limits)


@pytest.mark.parametrize("opening", [b"\x28", b"\x41", b"\x28\x2b\x01", b"\x51\x60", b"\x2c\x61F\x41", b"\x3f\x41"])
def test_depth(opening: bytes) -> None:
    for closing in (b"\x01", b""):
        with pytest.raises(SerealDecodeError, match=r"max_depth|ends early"):
            loads(V3 + opening * 200_000 + closing)
    with pytest.raises(SerealDecodeError, match=r"ends early|too few"):
        loads(V3 + opening * 20_000, limits=Limits(max_depth=10**9))


def quick(document: bytes, *, seconds: float = 5.0, megabytes: float = 120, **options: Any) -> None:
    """Either a value or the one exception, soon, and in bounded memory."""
    tracemalloc.start()
    begun = time.perf_counter()
    try:
        loads(document, **options)
    except SerealDecodeError:
        pass
    finally:
        took = time.perf_counter() - begun
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert took < seconds
    assert peak < megabytes * 2**20


def copy_of(offset: int) -> bytes:
    return b"\x2f" + write_varint(offset)


def array(count: int) -> bytes:
    return b"\x28\x2b" + write_varint(count)


def test_copies_of_one_long_string_are_one_string() -> None:
    long = b"\x26" + write_varint(300_000) + b"x" * 300_000
    count = 20_000
    start = array(count + 1)
    quick(V3 + start + long + copy_of(len(start) + 1) * count)
    found = loads(V3 + start + long + copy_of(len(start) + 1) * count)
    assert found[1] is found[count]
    two = start + long + long + b"".join(copy_of(len(start) + 1 + i % 2 * len(long)) for i in range(count - 1))
    quick(V3 + two)
    keys = array(count + 1) + long + b"".join(b"\x51" + copy_of(len(start) + 1) + b"\x01" for _ in range(count))
    quick(V3 + keys)


def test_copies_of_containers_are_counted() -> None:
    inner = array(20_000) + b"\x01" * 20_000
    start = array(20_001)
    with pytest.raises(SerealDecodeError, match="max_items"):
        loads(V3 + start + inner + copy_of(len(start) + 1) * 20_000, limits=Limits(max_items=1_000_000))
    long = array(1) + b"\x26" + write_varint(300_000) + b"x" * 300_000
    quick(V3 + array(5_001) + long + copy_of(len(array(5_001)) + 1) * 5_000)
    padded = array(1) + b"\x3f" * 300_000 + b"\x01"
    quick(V3 + array(5_001) + padded + copy_of(len(array(5_001)) + 1) * 5_000)


def test_nested_counts_do_not_multiply() -> None:
    quick(V3 + b"".join(array(200_000 - 10 * level) for level in range(400)) + b"\x01" * 200_000)
    quick(V3 + b"\x28\x2b" + write_varint(3_999_999) + b"\x01" * 100)


def test_many_references_and_keys() -> None:
    quick(V3 + array(100_001) + b"\x28\xaa\x00" + (b"\x29" + write_varint(len(array(100_001)) + 2)) * 100_000)
    keys = b"".join(b"\x65" + b"%05d" % number + b"\x01" for number in range(60_000))
    quick(V3 + b"\x28\x2a" + write_varint(60_000) + keys)
    alike = b"".join(b"\x64\xc3\xa9" + p + b"\x01" + b"\x27\x04\xc3\xa9" + p + b"\x02" for p in
                     (b"%c%c" % (65 + n % 26, 65 + n // 26 % 26) for n in range(676)))  # fmt: skip
    quick(V3 + b"\x28\x2a" + write_varint(1352) + alike)
    tracked = b"".join(b"\xab\x00" for _ in range(50_000))
    quick(V3 + array(50_000) + tracked)


def test_long_pads() -> None:
    quick(V3 + b"\x3f" * 1_000_000 + b"\x01")
    quick(V3 + array(1000) + (b"\x3f" * 500 + b"\x01") * 1000)
    assert loads(V3 + b"\x3f" * 100_000 + b"\x07") == 7


def test_the_exception_holds_no_payload_in_its_text() -> None:
    with pytest.raises(SerealDecodeError) as caught:
        loads(V3 + b"\x42\x66secret\x37")
    assert "secret" not in str(caught.value)


def refers_to_the_first_of_two(tag: int, items: bytes) -> bytes:
    """A hash with the key ``a`` twice, first for a tracked container, and a REFP to that container."""
    start = bytes([0x28, 0x2A, 3]) + b"\x61a\x28"
    return V3 + start + bytes([0x80 | tag]) + items + b"\x61a\x01\x61b" + bytes([0x29, len(start) + 1])


@pytest.mark.parametrize("length", [0, 1, 3, 100])
@pytest.mark.parametrize("tag", [0x2A, 0x2B])
def test_a_reference_to_a_container_that_its_hash_let_go(tag: int, length: int) -> None:
    keys = [b"\x20" + bytes([0x80 | n % 128, 1]) if tag == 0x2B else b"\x62%02d\x01" % n for n in range(length)]
    document = refers_to_the_first_of_two(tag, bytes([length]) + b"".join(keys))
    kept = []
    for n in range(200):  # others take the place of what was freed too early
        with pytest.raises(SerealDecodeError, match="twice"):
            loads(document)
        kept.append([{"n": n}, {}, [1, 2, 3], list(range(100))])
    assert all(one == {"n": n} and two == {} and len(three) == 3 for n, (one, two, three, _) in enumerate(kept))
