"""Snappy in both framings, zlib, Zstandard; with and without libraries; bombs."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobwire.sereal import Limits, SerealDecodeError, SerealEncodeError, dumps, loads
from jobwire.sereal import snappy as plain_snappy
from jobwire.sereal.header import write_varint

VALUE = {"text": "abc" * 2000, "list": list(range(500)), "keys": [{"name": 1}, {"name": 2}]}
KINDS = [
    ("snappy", 1, 2), ("snappy-old", 1, 1), ("snappy", 2, 2), ("snappy", 3, 2), ("zlib", 3, 3), ("snappy", 4, 2),
    ("zlib", 4, 3), ("zstd", 4, 4), ("snappy", 5, 2), ("zlib", 5, 3), ("zstd", 5, 4),
]  # fmt: skip


ZSTANDARD = ("zstandard", "compression.zstd")
"""The package, and the module of Python 3.14."""


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make these modules missing."""
    real = importlib.import_module

    def refuse(name: str, *rest: Any) -> Any:
        if name in names:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", refuse)


@pytest.fixture
def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "cramjam", *ZSTANDARD)


@pytest.fixture(params=ZSTANDARD)
def zstandard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each library alone."""
    hide(monkeypatch, *(name for name in ZSTANDARD if name != request.param))
    return pytest.importorskip(request.param, reason="needs the extra jobwire[sereal], the other one Python 3.14")


def need(compression: str) -> None:
    if compression == "zstd" and not any(map(importlib.util.find_spec, ("zstandard", "compression"))):
        pytest.skip("Zstandard needs Python 3.14 or the extra: pip install jobwire[sereal]")


def zstd_frame(library: Any, body: bytes, *, with_size: bool = True) -> bytes:
    if library.__name__ == "zstandard":
        return bytes(library.ZstdCompressor(write_content_size=with_size).compress(body))
    flag = library.CompressionParameter.content_size_flag
    return bytes(library.compress(body, options={flag: int(with_size)}))


@pytest.mark.parametrize(("compression", "version", "kind"), KINDS)
def test_round_trip(compression: Any, version: int, kind: int) -> None:
    need(compression)
    document = dumps(VALUE, compression=compression, version=version)
    assert document[4] == version | kind << 4
    assert len(document) < len(dumps(VALUE, version=version)) / 2
    assert loads(document) == VALUE
    if version > 1:
        document = dumps(VALUE, compression=compression, version=version, header={"to": "you"})
        assert loads(document, with_header=True) == (VALUE, {"to": "you"})


@pytest.mark.parametrize("compression", ["snappy", "snappy-old"])
@pytest.mark.usefixtures("without_libraries")
def test_snappy_in_plain_python(compression: Any) -> None:
    document = dumps(VALUE, compression=compression, version=1)
    assert len(document) < len(dumps(VALUE, version=1)) / 2
    assert loads(document) == VALUE


@pytest.mark.parametrize("compression", ["snappy", "snappy-old"])
def test_the_library_and_plain_python_read_each_other(compression: Any, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("cramjam", reason="Snappy in C needs the extra: pip install jobwire[sereal]")
    by_library = dumps(VALUE, compression=compression, version=1)
    request.getfixturevalue("without_libraries")
    by_python = dumps(VALUE, compression=compression, version=1)
    assert loads(by_library) == VALUE
    request.getfixturevalue("monkeypatch").undo()
    assert loads(by_python) == VALUE


@given(
    st.one_of(st.tuples(st.binary(max_size=300), st.just(1)), st.tuples(st.binary(max_size=9), st.integers(0, 40000)))
)
@settings(deadline=None)  # plain Python takes its time on a busy machine
def test_snappy_returns_what_went_in(repeated: tuple[bytes, int]) -> None:
    piece, times = repeated
    data = piece * times
    assert plain_snappy.decompress(plain_snappy.compress(data)) == data


@pytest.mark.parametrize(
    "blob",
    [
        b"", b"\x80", b"\x80\x80\x80\x80\x80\x80", b"\x05", b"\x05\x10abc", b"\x01\x04ab", b"\x05\xf0", b"\x05\xf4\x01",
        b"\x05\x01", b"\x05\x02\x01", b"\x05\x03\x01\x00", b"\x05\x05\x00", b"\x05\x00a\x05\x02",
        b"\x04\x00a\x12\x00\x00", b"\x09\x00a\x05\x01",
    ],
)  # fmt: skip
def test_broken_snappy(blob: bytes) -> None:
    with pytest.raises(plain_snappy.SnappyError):
        plain_snappy.decompress(blob)
    with pytest.raises(SerealDecodeError):
        loads(b"=srl\x22\x00"[:4] + b"\x22\x00" + write_varint(len(blob)) + blob)


def test_small_bodies_stay_as_they_are() -> None:
    assert dumps([1], compression="zlib")[4] == 3
    assert dumps([1], compression="zlib", compress_threshold=0)[4] == 0x33


@pytest.mark.usefixtures("without_libraries")
def test_what_to_install_is_said() -> None:
    with pytest.raises(SerealEncodeError, match=r"jobwire\[sereal\]"):
        dumps(VALUE, compression="zstd", version=4)
    with pytest.raises(SerealDecodeError, match=r"jobwire\[sereal\]"):
        loads(b"=\xf3rl\x44\x00\x01x")


def packed(kind: int, blob: bytes, *lengths: int) -> bytes:
    magic = b"=srl" if kind < 3 else b"=\xf3rl"
    version = 1 if kind == 1 else 2 if kind == 2 else 4
    return magic + bytes([version | kind << 4, 0]) + b"".join(write_varint(length) for length in lengths) + blob


SMALL = Limits(max_inflated=100_000)


def test_zip_bombs_are_not_inflated() -> None:
    body = b"\x26" + write_varint(50_000_000) + bytes(50_000_000)
    blob = zlib.compress(body, 9)
    for announced in (len(body), 1000):
        with pytest.raises(SerealDecodeError):
            loads(packed(3, blob, announced, len(blob)), limits=SMALL)
    bomb = packed(3, blob, len(body), len(blob))
    assert loads(bomb, strings="bytes") == bytes(50_000_000)
    with pytest.raises(SerealDecodeError, match="max_inflated"):
        loads(bomb, limits=SMALL)
    snappy = plain_snappy.compress(body[:1_000_000])
    for kind in (1, 2):
        with pytest.raises(SerealDecodeError, match="max_inflated"):
            loads(packed(kind, snappy, *[len(snappy)] * (kind == 2)), limits=SMALL)


def test_each_zstandard_library(zstandard: Any) -> None:
    del zstandard
    document = dumps(VALUE, compression="zstd", version=4)
    assert loads(document) == VALUE
    for end in (len(document) - 1, len(document) - 8, 40):
        with pytest.raises(SerealDecodeError):
            loads(document[:end])


@pytest.mark.parametrize("cut", [1, 4, 30])
def test_a_zstandard_frame_that_is_cut_off(zstandard: Any, cut: int) -> None:
    blob = zstd_frame(zstandard, dumps(VALUE)[6:])[:-cut]
    with pytest.raises(SerealDecodeError):
        loads(packed(4, blob, len(blob)))


@pytest.mark.parametrize("with_size", [True, False])
def test_a_zstandard_bomb(zstandard: Any, with_size: bool) -> None:
    blob = zstd_frame(zstandard, bytes(50_000_000), with_size=with_size)
    with pytest.raises(SerealDecodeError, match="max_inflated"):
        loads(packed(4, blob, len(blob)), limits=SMALL)


@pytest.mark.parametrize(
    "document",
    [
        packed(3, zlib.compress(b"\x01"), 2, len(zlib.compress(b"\x01"))),
        packed(3, zlib.compress(b"\x01\x02"), 1, len(zlib.compress(b"\x01\x02"))),
        packed(3, zlib.compress(b"\x01") + b"x", 1, len(zlib.compress(b"\x01")) + 1),
        packed(3, b"rubbish", 1, 7),
        packed(3, zlib.compress(b"\x01")[:-2], 1, len(zlib.compress(b"\x01")) - 2),
        packed(3, b"", 1, 50),
        packed(4, b"rubbish", 7),
        packed(4, b"", 0),
        packed(4, b"", 1 << 62),
        packed(2, b"\x01\x00\x01", 3)[:-1],
        packed(2, b"\x02\x04\x01\x02", 4),  # two bytes where one value stands
        packed(2, b"\x00", 1),
        packed(1, b""),
        b"=\xf3rl\x33\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ],
)
def test_broken_compressed_documents(document: bytes) -> None:
    if document[4] == 0x44:
        need("zstd")
    with pytest.raises(SerealDecodeError):
        loads(document)


@pytest.mark.parametrize(
    "start",
    [b"=srl\x12\x00", b"=\xf3rl\x13\x00", b"=srl\x32\x00", b"=srl\x42\x00", b"=\xf3rl\x53\x00", b"=\xf3rl\xf5\x00"],
)
def test_types_that_the_version_does_not_know(start: bytes) -> None:
    with pytest.raises(SerealDecodeError, match="compression type"):
        loads(start + b"\x01\x01\x01")


def test_nothing_is_imported_before_it_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        assert name not in {"cramjam", "zstandard"}
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert loads(dumps(VALUE, compression="zlib")) == VALUE
