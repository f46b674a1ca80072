"""A few bytes that stand for very many: what is shared is counted wherever it stands, before it is written out."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Any

import msgspec
import pytest

from jobwire import sereal
from jobwire.errors import EncodeError, JobDecodeError
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.wire import decode_job, encode_result
from jobwire.wire.codec.dialects import dialect_named
from jobwire.wire.codec.envelopes import encode_job_envelope, encode_reply_envelope
from jobwire.wire.codec.expansion import too_large
from jobwire.wire.codec.fields import encode_parameters
from jobwire.wire.codec.json import encode_json
from jobwire.wire.codec.plain import to_plain
from jobwire.worker.handlers import make_handler

pytestmark = pytest.mark.usefixtures("either_code")

FEW = Limits(max_items=100, max_bytes=1000)


class Box(msgspec.Struct):
    first: Any
    second: Any


@dataclasses.dataclass
class Pair:
    first: Any
    second: Any


def laughs(levels: int, join: Any = lambda x: [x, x]) -> Any:
    value: Any = ["lol"]
    for _ in range(levels):
        value = join(value)
    return value


WAYS: dict[str, Any] = {
    "lists": lambda x: [x, x],
    "hashes": lambda x: {"a": x, "b": x},
    "tuples": lambda x: (x, x),
    "structs": lambda x: Box(x, x),
    "dataclasses": lambda x: Pair(x, x),
    "Perl's objects": lambda x: sereal.PerlObject("A", [x, x]),
    "scalar references": lambda x: sereal.ScalarRef([x, x]),
}


@pytest.mark.parametrize("join", WAYS.values(), ids=WAYS)
def test_what_doubles_with_every_level_is_refused_at_once(join: Any) -> None:
    value = [laughs(60, join)]
    bound = Limits(max_items=100_000)
    tracemalloc.start()
    with pytest.raises(EncodeError, match=r"more than 100000 items \(max_items\)"):
        encode_result(value, limits=bound)
    with pytest.raises(EncodeError, match="max_items"):
        encode_json(value, limits=bound)
    with pytest.raises(EncodeError, match="max_items"):
        encode_reply_envelope("j", value=laughs(60), limits=bound)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50 * 2**20


def test_a_long_text_that_stands_everywhere_is_refused() -> None:
    text = "x" * 1_000_000
    for value in ([text] * 100, {str(n): text for n in range(70)}, [[text] * 40] * 40, [{text: 1}] * 100):
        with pytest.raises(EncodeError, match=r"67108864 bytes \(max_bytes\)"):
            encode_result(value)


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        ([1] * 100, None),
        ([1] * 101, "max_items"),
        ([[1] * 50] * 2, "max_items"),  # and two lists
        ([[1] * 49] * 2, None),
        ({n: n for n in range(50)}, None),
        ({n: n for n in range(51)}, "max_items"),
        (["x" * 500] * 2, None),
        (["x" * 501] * 2, "max_bytes"),
        ([b"x" * 501, "x" * 500], "max_bytes"),
        ([{"k" * 501: 1}, {"k" * 500: 1}], "max_bytes"),
        ([{b"k" * 501: 1, 2: 3}, {b"k" * 500: 1}], "max_bytes"),
        (Box([1] * 50, [1] * 50), "max_items"),
        ({1, 2, 3}, None),
        ("x" * 5000, None),  # one scalar is what it is
        (None, None),
        ([], None),
        ({}, None),
    ],
)
def test_the_bounds(value: Any, limit: str | None) -> None:
    reason = too_large(value, FEW)
    assert (reason is None) if limit is None else (reason is not None and limit in reason)


def test_what_is_shared_and_small_passes() -> None:
    shared = {"a": [1, 2, "x"]}
    assert encode_result([shared] * 1000) == b"J[" + b",".join([b'{"a":[1,2,"x"]}'] * 1000) + b"]"
    assert too_large(laughs(15), DEFAULT_LIMITS) is None


def test_what_contains_itself_is_refused_as_before() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(EncodeError, match="nested deeper"):
        encode_result(value)
    mapping: dict[str, Any] = {}
    mapping["a"] = mapping["b"] = mapping
    with pytest.raises(EncodeError):
        encode_result(mapping)


@pytest.mark.parametrize("accelerated", [True, False])
def test_a_document_of_two_hundred_bytes(accelerated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not accelerated:
        monkeypatch.setattr("jobwire.fast.decode", lambda *_: NotImplemented)
    document = sereal.dumps(laughs(60))
    assert len(document) < 400
    job = decode_job(b"j", {b"_reply_to": b"c", b"sereal_value": document})
    with pytest.raises(EncodeError, match="max_items"):
        encode_result(job.data["value"])
    with pytest.raises(EncodeError, match="max_items"):
        encode_result({"echo": job.data["value"], "n": 1})


def test_written_as_sereal_it_stays_small_and_as_json_it_is_refused() -> None:
    known = dialect_named("0.004")
    fields = encode_parameters({"v": laughs(60)}, dialect=known)
    assert len(fields[b"sereal_v"]) < 400
    with pytest.raises(EncodeError, match="max_items"):
        encode_parameters({"v": laughs(60)}, dialect=known, nested="json")
    with pytest.raises(EncodeError, match="max_items"):
        encode_parameters({"v": laughs(60, lambda x: (x, x))}, dialect=known)  # tuples become lists of their own
    with pytest.raises(EncodeError, match="max_items"):
        encode_job_envelope("j", {"v": laughs(60)}, reply_to="c")
    with pytest.raises(EncodeError, match="max_items"):
        to_plain(Box(laughs(60), 1))


class Tree(msgspec.Struct):
    left: Tree | None = None
    right: Tree | None = None


def test_a_typed_handler_is_not_made_to_write_it_out() -> None:
    async def handle(args: Tree) -> int:
        return 1

    def job(levels: int) -> Any:
        value: Any = {}
        for _ in range(levels):
            value = {"left": value, "right": value}
        return decode_job(b"j", {b"_reply_to": b"c", b"sereal_left": sereal.dumps(value)})

    handler = make_handler(handle)
    with pytest.raises(JobDecodeError, match=r"do not fit Tree: more than 4000000 items \(max_items\)"):
        handler.prepare(job(60))
    small = handler.prepare(job(3)).left
    assert small.left.left.left == Tree()


def test_a_copy_counts_each_time_that_it_is_read() -> None:
    """COPY makes new arrays, so it is bounded where it is read; a COPY of what holds a COPY is refused."""
    ones, copy = b"\x4f" + b"\x01" * 15, b"\x2f\x02"
    document = b"=\xf3rl\x03\x00" + b"\x4f" + ones + copy * 14
    assert sereal.loads(document) == [[1] * 15] * 15
    with pytest.raises(sereal.SerealDecodeError, match=r"more than 100 items \(max_items\)"):
        sereal.loads(document, limits=Limits(max_items=100))
