"""The compiled code says what the plain Python code says, or nothing."""

from __future__ import annotations

import importlib
import math
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import hiredis
import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from jobwire import fast
from jobwire.errors import JobwireError, ServerError
from jobwire.limits import Limits
from jobwire.transport.outbox import new_outbox
from jobwire.wire import DIALECTS, Failure, Keyspace, Reliable, Result, Submission, Success, Taken
from jobwire.wire.codec.expansion import too_large
from jobwire.wire.codec.json import decode_json, decode_json_strictly, encode_json
from jobwire.wire.codec.plain import to_plain
from jobwire.wire.codec.typed import converter
from jobwire.wire.commands import Command

pytestmark = pytest.mark.skipif(
    not fast.available("wire"), reason="the compiled code is not built: install a C compiler, then ci/setup test"
)

TAKEN = Taken(b"jobs::pending", b"j\xff")
MOMENTS = (
    st.floats(allow_nan=True, allow_infinity=True) | st.floats(1e9, 9e9) | st.integers(10**9, 9 * 10**9).map(float)
)


@pytest.fixture(autouse=True)
def _left_on() -> Iterator[None]:
    yield
    fast.turn_on()


def both(function: Callable[[], Any]) -> tuple[Any, Any]:
    """What the plain and the compiled code answer, or raise."""
    answers = []
    for turn in (fast.turn_off, fast.turn_on):
        turn()
        try:
            answers.append(function())
        except (JobwireError, ServerError) as error:
            answers.append((type(error), str(error)))
    return answers[0], answers[1]


def mode(dialect: str | None = "0.004", **options: Any) -> Reliable:
    known = None if dialect is None else DIALECTS[dialect]
    return Reliable(Keyspace("jobs"), dialect=known, own_list=True, processing=b"own", **options)


def read(side: Reliable, reply: Any) -> Any:
    """The job, as a worker reads it: by compiled code, or else by plain Python."""
    (job,) = side.jobs([TAKEN.entry], [reply])
    return side.read(TAKEN, reply) if job is NotImplemented else job


NAMES = st.text(max_size=6) | st.sampled_from(["_reply_to", "_accept", "a\n", "op", "_x", "result"])
SCALARS = st.text() | st.binary() | st.integers() | st.floats() | st.booleans() | st.none()
VALUES = SCALARS | st.lists(st.integers(), max_size=2) | st.just("\ud800")
METAS = st.dictionaries(NAMES | st.sampled_from(["_accept", "_expires", "x"]), st.text(max_size=5), max_size=3)


@given(
    data=st.dictionaries(NAMES | st.binary(max_size=4), VALUES, max_size=4),
    meta=METAS,
    queued=MOMENTS,
    dialect=st.sampled_from([*DIALECTS]),
    nested=st.sampled_from(["sereal", "json"]),
)
@example(data={"a": 2**63, "b": -(2**63), "c": 2**64, "d": 0}, meta={}, queued=1e9, dialect="0.004", nested="json")
@example(data={"_x": 1, "x": 2}, meta={"_x": "y"}, queued=8e9, dialect="0.004", nested="json")
@example(data={"\ud800": "x"}, meta={"_accept": "E,V"}, queued=1.5, dialect="0.004", nested="sereal")
def test_submissions(data: Any, meta: Any, queued: float, dialect: str, nested: Any) -> None:
    submission = Submission(id=b"j", data=data, reply_to=b"c", queued=queued, meta=meta)
    plain, compiled = both(lambda: mode(dialect, nested=nested).submit(submission, b"q"))
    assert plain == compiled


_PLAIN = b"text_a text_b json_a sereal_a _reply_to _queued _started _processed _accept _x result Other text_ x_a"
FIELDS = st.sampled_from([*_PLAIN.split(), b"", b"\xff", b"text_a\n", b"text_\xff", b"_\xff"])
CONTENTS = (
    st.binary(max_size=8) | st.text(max_size=8).map(str.encode) | st.sampled_from([b"1795434940.5", b"nan", b"[1]"])
)


@given(
    fields=st.dictionaries(FIELDS, CONTENTS, max_size=7),
    dialect=st.sampled_from([None, *DIALECTS]),
    strings=st.sampled_from(["auto", "exact", "bytes", "utf-8"]),
    limits=st.sampled_from([Limits(), Limits(max_bytes=3), Limits(max_fields=2), Limits(max_bytes=2**70)]),
)
@example(fields={b"_reply_to": b"c", b"text_a": b"1"}, dialect=None, strings="auto", limits=Limits())
@example(fields={b"_reply_to": b"c", b"_queued": b"x", b"a": b"1"}, dialect=None, strings="auto", limits=Limits())
@example(
    fields={b"_reply_to": b"c", b"text_a": b"1", b"json_a": b"[]"}, dialect="0.004", strings="auto", limits=Limits()
)
def test_jobs(fields: dict[bytes, bytes], dialect: str | None, strings: Any, limits: Limits) -> None:
    reply = [item for pair in fields.items() for item in pair]
    plain, compiled = both(lambda: read(mode(dialect, strings=strings, limits=limits), reply))
    assert plain == compiled
    # And again, when the fields are known.
    assert both(lambda: read(mode(dialect, strings=strings, limits=limits), reply)) == (plain, plain)


@given(reply=st.none() | st.integers() | st.binary() | st.lists(st.none() | st.integers() | st.binary(), max_size=5))
def test_replies_that_are_no_hash(reply: Any) -> None:
    plain, compiled = both(lambda: read(mode(), reply))
    assert plain == compiled


def test_jobs_that_come_together() -> None:
    side = mode(None)
    hashes: list[Any] = [[b"_reply_to", b"c", b"_queued", b"1.5", b"text_a", b"1"], [], None, [b"_reply_to", b"c"]]
    side.read(TAKEN, hashes[0])  # from here on its fields are known
    expected = read(side, hashes[0])
    found = side.jobs([b"j\xff"] * 4, hashes)
    assert found == [expected, *[NotImplemented] * 3]
    assert side.jobs([b"a"], tuple(hashes[:1])) == [NotImplemented]
    assert side.jobs([], []) == []


@given(
    whole=st.integers(0, 10**15 - 1),
    point=st.integers(0, 14),
    mark=st.sampled_from(["", "-", "+", " ", "e1", "_", "."]),
)
@example(whole=176443000012345, point=5, mark="")
def test_moments(whole: int, point: int, mark: str) -> None:
    digits = str(whole).rjust(point + 1, "0")
    raw = f"{mark}{digits[: len(digits) - point]}.{digits[len(digits) - point :]}".encode()
    reply = [b"_reply_to", b"c", b"_queued", b"1.5", b"_started", raw]
    plain, compiled = both(lambda: read(mode(), reply))
    assert plain == compiled


ACCEPTS = st.sampled_from([None, "", "E", "V", "E,V", "V,E", "E, V", " V", "EV", "VV,V", "v", ",V,", "x", "É,V"])


@given(value=VALUES, accept=ACCEPTS, started=MOMENTS, at=MOMENTS)
@example(value=True, accept="V", started=1e9, at=1e9 + 0.5)
@example(value=7, accept="V", started=1e9 - 1e-7, at=7_999_999_999.999_999)
@example(value="\ud800", accept=None, started=math.inf, at=math.nan)
def test_completions(value: Any, accept: str | None, started: float, at: float) -> None:
    fields = [b"_reply_to", b"c", b"_queued", b"1.5", *([] if accept is None else [b"_accept", accept.encode()])]

    def complete(dialect: str) -> Any:
        speaking = mode(dialect)
        job = read(speaking, fields)
        assert job is not None
        outcomes: list[Result] = [Success(value), Failure("Oops", "no")]
        return [speaking.complete(job, TAKEN, outcomes[0], started=started, at=at)]

    for dialect in DIALECTS:
        plain, compiled = both(lambda dialect=dialect: complete(dialect))
        assert plain == compiled


@given(
    sizes=st.lists(st.sampled_from([0, 1, 20, 40_000, 70_000]), max_size=70),
    dialects=st.lists(st.sampled_from(["0.003", "0.004", "0.004", "0.004"]), min_size=70, max_size=70),
    clients=st.lists(st.sampled_from([b"c", b"c", b"d", b"longer"]), min_size=70, max_size=70),
)
@example(sizes=[1] * 65, dialects=["0.004"] * 70, clients=[b"c"] * 70)
@example(sizes=[1, 40_000, 40_000, 1, 70_000], dialects=["0.004"] * 70, clients=[b"c", b"d"] * 35)
def test_joined_completions(sizes: list[int], dialects: list[str], clients: list[bytes]) -> None:
    speaking = mode(None)
    completions = []
    for size, dialect, client in zip(sizes, dialects, clients, strict=False):
        job = mode(dialect).read(TAKEN, [b"_reply_to", client, b"_queued", b"1.5"])
        assert job is not None
        completions.append(speaking.complete(job, TAKEN, Success("x" * size), started=1e9, at=1e9))
    plain, compiled = both(lambda: speaking.complete_many(completions))
    assert plain == compiled
    assert both(lambda: speaking.complete_many(tuple(completions))) == (plain, plain)
    assert sum(count for _, count in plain) == len(completions)


class Record(msgspec.Struct):
    whole: int = 0
    part: float = 0.0
    flag: bool = False
    text: str = ""
    maybe: int | None = None
    raw: bytes = b""
    more: dict[str, int] = {}


DIGITS = st.sampled_from(
    ["0", "7", "007", "-7", "+7", "1" * 18, "1" * 19, "1" * 5000, "٣", "²", "", " 7", "1e3", "1.5"]
)


@given(
    data=st.dictionaries(
        st.sampled_from(["whole", "part", "flag", "text", "maybe", "raw", "more", "other"]),
        DIGITS | SCALARS | st.dictionaries(st.text(max_size=2), DIGITS, max_size=2),
    ),
    strict=st.booleans(),
)
def test_members_of_records(data: dict[str, Any], strict: bool) -> None:
    before = dict(data)

    def made() -> Any:
        try:
            return repr(converter(Record, strict=strict)(data))
        except msgspec.ValidationError as error:
            return str(error)

    plain, compiled = both(made)
    assert plain == compiled
    assert repr(data) == repr(before)


def test_members_are_copied_only_where_they_change() -> None:
    reads = (("a", int, frozenset({int}), True), ("b", str.upper, frozenset({bytes}), False))
    untouched = {"a": 1, "b": b"x", "c": "y"}
    assert fast.members(untouched, reads) is untouched
    assert fast.members({"a": "12", "b": "x"}, reads) == {"a": 12, "b": "X"}
    assert fast.members([], reads) is None
    with pytest.raises(ValueError, match="invalid literal"):
        fast.members({"a": "x"}, reads)


@given(replies=st.lists(st.integers() | st.none() | st.booleans() | st.binary(), max_size=6), count=st.integers(0, 5))
def test_gathered_replies(replies: list[Any], count: int) -> None:
    def gathered() -> Any:
        left, found = iter([*replies, False]), [b"before"]
        complete = fast.gather(lambda: next(left), found, count)
        return complete, found, list(left)

    plain, compiled = both(gathered)
    assert plain == compiled


@given(raw=st.binary(max_size=24) | st.from_regex(rb"[TV](-?[0-9]{0,22}|null|true)", fullmatch=True))
@example(raw=b"V-0")
@example(raw=b"V007")
@example(raw=b"V999999999999999999")
@example(raw=b"V9999999999999999999")
@example(raw=b"T\xff")
@example(raw=b"V-")
def test_results(raw: bytes) -> None:
    replies: list[Any] = [[b"Tx"], [raw], [None], [], [raw, raw], None, ServerError("WRONGTYPE x"), [b"V5"]]
    for strings in ("auto", "bytes"):
        for limits in (Limits(), Limits(max_bytes=2), Limits(max_bytes=2**70)):
            for dialect in (None, "0.002"):
                side = mode(strings=strings, limits=limits, dialect=dialect)
                plain, compiled = both(lambda side=side: side.values(replies))
                assert set(plain) == {NotImplemented}
                assert len(plain) == len(compiled) == len(replies)
                for reply, value in zip(replies, compiled, strict=True):
                    if value is not NotImplemented:
                        result = side.collected(b"j", reply)
                        assert (result, type(result.value)) == (Success(value), type(value))


@given(values=st.lists(VALUES | st.builds(dict) | st.just(IntEnum("Odd", "a").a), max_size=4))
def test_flat_parameters(values: list[Any]) -> None:
    data = dict(enumerate(values))
    plain, compiled = both(lambda: fast.is_flat(data))
    assert plain is compiled is all(type(value) in (str, bytes, int, float, bool, type(None)) for value in values)
    assert both(lambda: fast.is_flat(OrderedDict(data))) == (False, False)


def test_whole_numbers_and_texts_are_results_that_compiled_code_reads() -> None:
    assert mode().values([[b"V-12"], [b"T5"], [b"V1.5"]]) == [-12, "5", NotImplemented]
    assert mode().values(()) == []


KEYS = st.text(max_size=3) | st.sampled_from(["\ud800", b"k", 1, 1.5, None, True, math.inf])
LEAVES = SCALARS | st.sampled_from([2**63, 2**64, -(2**63) - 1, -0.0, "\ud800", (1, 2), frozenset({1}), object()])
NESTED: st.SearchStrategy[Any] = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
LIMITS = st.sampled_from([Limits(), Limits(max_items=3), Limits(max_bytes=6), Limits(max_items=2**70)])


@given(value=NESTED, again=st.integers(1, 3), limits=LIMITS)
@example(value={"a": [1, 2.5, None, True, "x", {}]}, again=2, limits=Limits())
@example(value=[math.nan], again=1, limits=Limits())
def test_nested_values(value: Any, again: int, limits: Limits) -> None:
    value = [value] * again  # shared
    for function in (
        lambda: encode_json(value, limits=limits),
        lambda: too_large(value, limits),
        lambda: repr(to_plain(value)),
        lambda: to_plain(value) is value,
    ):
        plain, compiled = both(function)
        assert plain == compiled


@pytest.mark.parametrize("depth", [511, 512, 513, 599, 600, 1000, 1001, 20_000])
def test_deep_values(depth: int) -> None:
    value: Any = "end"
    for _ in range(depth):
        value = {"a": value} if depth % 2 else [value]
    raw = b"[" * depth + b"]" * depth
    for function in (
        lambda: encode_json(value),
        lambda: too_large(value),
        lambda: to_plain(value) is value,
        lambda: decode_json(raw, limits=Limits()) == decode_json_strictly(raw, limits=Limits()),
    ):
        plain, compiled = both(function)
        assert plain == compiled


def test_what_contains_itself_has_an_end() -> None:
    value: Any = [1]
    value.append({"again": value})
    assert fast.shape(value) is None
    plain, compiled = both(lambda: encode_json(value))
    assert plain == compiled


_DOCUMENTS = st.recursive(
    st.sampled_from(["1", "null", "true", '"x"', "1e400", "18446744073709551616", "NaN"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(["a", "b", ":"]), inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f'"{key}":{item}' for key, item in pairs) + "}"
        )
    ),
)


@given(document=_DOCUMENTS, limits=st.sampled_from([Limits(), Limits(max_depth=2), Limits(max_items=4)]))
@example(document='{"a":1,"a":2}', limits=Limits())
@example(document='[{":":1},{"b":1,"b":2}]', limits=Limits())
def test_documents(document: str, limits: Limits) -> None:
    raw = document.encode()
    for function in (decode_json, decode_json_strictly):
        plain, compiled = both(lambda function=function: function(raw, limits=limits))
        assert plain == compiled


@given(value=NESTED)
def test_shapes(value: Any) -> None:
    shape = fast.shape(value)
    assume(shape is not None)
    assert shape is not None
    assert fast.shape(value, max_levels=shape.levels) == shape
    if shape.levels:
        assert fast.shape(value, max_levels=shape.levels - 1) is None


@given(pool=st.binary(min_size=16, max_size=64), data=st.data())
def test_ids(pool: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(pool) - 16))
    plain, compiled = both(lambda: fast.spell_id(pool, at))
    assert plain == compiled
    assert uuid.UUID(plain).version == 4
    for beyond in (-1, len(pool) - 15):
        for turn in (fast.turn_off, fast.turn_on):
            turn()
            with pytest.raises(ValueError, match="sixteen"):
                fast.spell_id(pool, beyond)


COMMANDS = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=12).map(tuple), max_size=8)


@given(batches=st.lists(COMMANDS, max_size=5), big=st.integers(0, 40_000))
def test_packing(batches: list[list[Command]], big: int) -> None:
    pack: Any = hiredis.pack_command
    batches = [*batches, [(b"SET", b"x" * big)]]
    for turn in (fast.turn_off, fast.turn_on):
        turn()
        outbox = new_outbox()
        for batch in batches:
            assert outbox.add(batch) == len(batch)
            assert outbox.add(tuple(batch)) == len(batch)
        assert len(outbox) == 2 * sum(map(len, batches))
        assert outbox.take() == b"".join(pack(command) for batch in batches for command in (*batch, *batch))
        assert (len(outbox), outbox.take()) == (0, b"")
        outbox.add([(b"PING",)])
        outbox.clear()
        assert (len(outbox), outbox.take()) == (0, b"")


@pytest.mark.parametrize("bad", [[(b"A",), "B"], [(b"A", "text")], [(b"A", None)], [()], [[b"A"]]])
def test_what_is_no_command_adds_nothing(bad: Any) -> None:
    outbox = new_outbox()
    outbox.add([(b"PING",)])
    with pytest.raises(TypeError, match="tuple of bytes"):
        outbox.add(bad)
    assert outbox.take() == b"*1\r\n$4\r\nPING\r\n"


def test_turned_off_there_is_nothing() -> None:
    fast.turn_off()
    assert fast.shape([1]) is None
    assert fast.scalar_results([[b"Tx"]], 9) is None
    assert fast.outbox() is None
    fast.turn_on()
    assert fast.shape([1]) == (1, 0, True)
    assert fast.scalar_results([[b"Tx"]], 9) == ["x"]
    assert fast.outbox() is not None


@pytest.mark.parametrize(
    "function",
    [
        "hash_fields",
        "jobs",
        "members",
        "completion",
        "joined",
        "gather",
        "scalar_results",
        "spell_id",
        "shape",
    ],
)
def test_wrong_calls_are_errors(function: str) -> None:
    with pytest.raises(TypeError, match="takes"):
        getattr(importlib.import_module("jobwire.wire._speedups"), function)(1)
