"""One conversion from what the wire holds to what a type says."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobwire.wire import Success, decode_job, decode_result, encode_job, encode_result
from jobwire.wire.codec.plain import parameters_of, to_plain
from jobwire.wire.codec.typed import converter


class Node(msgspec.Struct):
    payload: bytes = b""
    children: list[Node] = []
    by_name: dict[str, Node] = {}


class Pair(NamedTuple):
    key: bytes
    count: int = 0


@dataclasses.dataclass
class Data:
    raw: bytes
    flag: bool = False
    inner: Data | None = None


class Options(TypedDict, total=False):
    raw: bytes
    level: int


class Card(msgspec.Struct, tag="card"):
    number: str
    raw: bytes = b""


class Cash(msgspec.Struct, tag="cash"):
    amount: int


class First(msgspec.Struct, tag=1):
    n: int


class Second(msgspec.Struct, tag=2):
    n: str


class Row(msgspec.Struct, tag="row", array_like=True):
    n: int
    raw: bytes = b""


class Line(msgspec.Struct, tag="line", array_like=True):
    flag: bool


class Renamed(msgspec.Struct, rename="camel"):
    is_open: bool


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Name(enum.Enum):
    ONE = "1"
    OTHER = "other"


RIGHT: list[tuple[Any, Any, Any]] = [
    # The bytes of a string, wherever they are asked for; "abcd" is base64 too.
    (bytes, "abcd", b"abcd"),
    (bytearray, "abcd", bytearray(b"abcd")),
    (list[bytes], ["abcd", b"\xff"], [b"abcd", b"\xff"]),
    (set[bytes], ["abcd"], {b"abcd"}),
    (frozenset[bytes], ["abcd"], frozenset({b"abcd"})),
    (tuple[bytes, ...], ["abcd"], (b"abcd",)),
    (tuple[bytes, int], ["abcd", "1"], (b"abcd", 1)),
    (tuple[str, tuple[bytes, bool]], ["abcd", ["abcd", ""]], ("abcd", (b"abcd", False))),
    (Sequence[bytes], ["abcd"], [b"abcd"]),
    (dict[bytes, bytes], {"abcd": "abcd"}, {b"abcd": b"abcd"}),
    (dict[bytes, int], {"abcd": "5"}, {b"abcd": 5}),
    (Mapping[str, bytes], {"a": "abcd"}, {"a": b"abcd"}),
    (bytes | list[bytes], "abcd", b"abcd"),
    (bytes | list[bytes], ["abcd"], [b"abcd"]),
    (dict[str, bytes] | list[bytes] | bytes, {"a": "abcd"}, {"a": b"abcd"}),
    (bytes | int, "12", b"12"),
    (bytes | None, "", b""),
    (Annotated[bytes, msgspec.Meta(max_length=4)], "abcd", b"abcd"),
    (Pair, ["abcd", "2"], Pair(b"abcd", 2)),
    (Data, {"raw": "abcd", "inner": {"raw": "abcd", "flag": "1"}}, Data(b"abcd", inner=Data(b"abcd", True))),
    (Options, {"raw": "abcd", "level": "3"}, {"raw": b"abcd", "level": 3}),
    (
        Node,
        {"payload": "abcd", "children": [{"payload": "abcd"}], "by_name": {"x": {"payload": "abcd"}}},
        Node(b"abcd", [Node(b"abcd")], {"x": Node(b"abcd")}),
    ),
    (bytes, 12, b"12"),
    # Unions of types that the value itself tells apart.
    (Card | Cash, {"type": "card", "number": 5, "raw": "abcd"}, Card("5", b"abcd")),
    (Card | Cash, {"type": "cash", "amount": "5"}, Cash(5)),
    (First | Second, {"type": "1", "n": "5"}, First(5)),
    (First | Second, {"type": 2, "n": 5}, Second("5")),
    (First, {"type": "1", "n": "5"}, First(5)),
    (Row | Line, ["row", "5", "abcd"], Row(5, b"abcd")),
    (Row | Line | None, ["line", ""], Line(False)),
    (Row | Line | None, "", None),
    (Card | list[int], ["5"], [5]),
    (dict[str, int] | bool, {"a": "5"}, {"a": 5}),
    # A number is text where the type says so.
    (str, 5, "5"),
    (str, 2**64, str(2**64)),
    (str, 0.1, "0.1"),
    (str, 1e15, "1e+15"),
    (str, 0.1 + 0.2, "0.30000000000000004"),
    (str, float("inf"), "Inf"),
    (str, True, "1"),
    (str, False, ""),
    (list[str], [1, "2", 2.5], ["1", "2", "2.5"]),
    (dict[str, str], {"a": 5}, {"a": "5"}),
    (str | None, 5, "5"),
    (list[str | None], [5, None, ""], ["5", None, ""]),
    (Literal["1", "2"], 1, "1"),
    (Name, 1, Name.ONE),
    # Perl's truth, and booleans that are numbers to it.
    (bool, 1, True),
    (bool, 0, False),
    (bool, 1.0, True),
    (list[bool], [1, "", True, "0"], [True, False, True, False]),
    (Renamed, {"isOpen": ""}, Renamed(False)),
    (int, True, 1),
    (int, False, 0),
    (float, True, 1.0),
    (bool | int, "1", 1),
    # Numbers.
    (int, 5.0, 5),
    (int, 2.0**53, 2**53),
    (int, 1e18, 10**18),
    (int, "1e+15", 10**15),
    (int, b"5", 5),
    (float, b"1.5", 1.5),
    (bool, b"", False),
    (dict[int, float], {"5": ".5"}, {5: 0.5}),
    (Level, "2", Level.HIGH),
    (Level, 2.0, Level.HIGH),
    (Literal[1, "a"], "1", 1),
    (Literal[1, "a"] | None, "", None),
    (Decimal, "0.1", Decimal("0.1")),
    (Decimal, " 1e3\n", Decimal("1e3")),
    (Decimal, 0.1, Decimal("0.1")),
    (datetime, "1700000000", datetime.fromtimestamp(1700000000, UTC)),
    (datetime, 1700000000.5, datetime.fromtimestamp(1700000000.5, UTC)),
    (datetime, "2020-01-01T00:00:00Z", datetime(2020, 1, 1, tzinfo=UTC)),
    (timedelta, "1.5", timedelta(seconds=1.5)),
    # Perl's undef as a result.
    (int | None, "", None),
    (datetime | None, "", None),
    (Node | None, "", None),
    (Level | None, "", None),
    (bool | None, "", False),
    (str | None, "", ""),
    # Nothing to read.
    (Any, "5", "5"),
    (object, {"a": "5"}, {"a": "5"}),
    (list[Any], ["", "5", 1.5], ["", "5", 1.5]),
    (Iterable[int], ["5"], ["5"]),
]


@pytest.mark.parametrize(("wanted", "value", "right"), RIGHT)
def test_values_are_read_as_their_type_says(wanted: Any, value: Any, right: Any) -> None:
    found = converter(wanted)(value)
    assert found == right
    assert type(found) is type(right)
    assert repr(found) == repr(right)


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (bool, "true"),
        (bool, "2"),
        (bool, 2),
        (bool, None),
        (int, ""),
        (int, "5.5"),
        (int, "9.22337203685478e+18"),  # Perl has cut off its last digits
        (int, "1e+20"),
        (int, "1e999999999"),
        (int, "9" * 5000),
        (int, 2.0**63),
        (int, 5.5),
        (int, float("nan")),
        (float, ""),
        (str, None),
        (str, b"\xff"),
        (list[str], [["5"]]),
        (bytes, None),
        (bytes, ["abcd"]),
        (Annotated[bytes, msgspec.Meta(max_length=3)], "abcd"),
        (Card | Cash, {"type": "cheque"}),
        (Card | Cash, {"type": ["card"]}),
        (Card | Cash, {}),
        (Row | Line, []),
        (Row | Line, [["row"]]),
        (Level, "3"),
        (Literal["a"], "b"),
        (dict[int, int], {"5": 1, "05": 2}),
        (int | None, "null"),
    ],
)
def test_the_rest_is_refused(wanted: Any, value: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        converter(wanted)(value)


@pytest.mark.parametrize(
    ("wanted", "value", "right"),
    [
        (int, "5", 5),
        (bool, "1", True),
        (bool, "false", False),
        (float | None, "null", None),
        (bytes, "abcd", b"abcd"),
        (dict[bytes, tuple[bytes, int]], {"abcd": ["abcd", "1"]}, {b"abcd": (b"abcd", 1)}),
        (Node, {"payload": "abcd", "children": [{"payload": "abcd"}]}, Node(b"abcd", [Node(b"abcd")])),
    ],
)
def test_strict_is_what_msgspec_does_but_bytes_are_bytes(wanted: Any, value: Any, right: Any) -> None:
    assert converter(wanted, strict=True)(value) == right


@pytest.mark.parametrize(
    ("wanted", "value"),
    [(bool, ""), (str, 5), (list[str], [5]), (int | None, ""), (int, " 5"), (int, "0 but true"), (int, True)],
)
def test_strict_takes_nothing_for_something_else(wanted: Any, value: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        converter(wanted, strict=True)(value)


# -- what comes out is what went in, however bytes travelled


@given(st.recursive(st.binary(), lambda inner: st.lists(inner, max_size=3), max_leaves=5).filter(bool))
def test_bytes_come_back_from_results_as_they_were(value: Any) -> None:
    wanted: Any = bytes
    for _ in range(_depth(value)):
        wanted = bytes | list[wanted]
    result = decode_result(encode_result(value))
    assert isinstance(result, Success)
    characters: Any = "latin-1" if isinstance(value, list) else "utf-8"
    assert converter(wanted)(result.value, characters) == value


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


@given(
    st.binary(), st.lists(st.binary()), st.dictionaries(st.binary().filter(lambda key: b"\n" not in key), st.binary())
)
def test_bytes_come_back_from_parameters_as_they_were(one: bytes, many: list[bytes], named: dict[bytes, bytes]) -> None:
    class Params(msgspec.Struct):
        one: bytes
        many: list[bytes]
        named: dict[bytes, bytes]

    data = decode_job("id", encode_job({"one": one, "many": many, "named": named}, reply_to="c")).data
    assert converter(Params)(data) == Params(one, many, named)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()


@given(st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_value_is_converted_or_refused(value: Any) -> None:
    for wanted in (int, bool | None, str, bytes, list[str] | dict[str, int], Node, Card | Cash, Row | Line | str):
        try:
            converter(wanted)(value)
        except msgspec.ValidationError:
            continue


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_float_loses_a_digit_on_its_way_through_text(value: float) -> None:
    assert float(converter(str)(value)) == value
    try:
        whole = converter(int)(value)
    except msgspec.ValidationError:
        return
    assert whole == value


@given(st.integers())
def test_no_integer_loses_a_digit_on_its_way_through_text(value: int) -> None:
    assert converter(int)(converter(str)(value)) == value


# -- types


class Checked(msgspec.Struct):
    amount: int

    def __post_init__(self) -> None:
        assert self.amount >= 0, "negative"
        {1: 1}[self.amount]


def test_whatever_a_type_raises_is_a_refusal() -> None:
    assert converter(Checked)({"amount": "1"}) == Checked(1)
    for value, words in (({"amount": -1}, "AssertionError: negative"), ({"amount": 2}, "KeyError: 2")):
        with pytest.raises(msgspec.ValidationError, match=words) as caught:
            converter(Checked)(value)
        assert caught.value.__cause__ is not None


def test_a_value_that_contains_itself_is_a_refusal() -> None:
    node: dict[str, Any] = {"payload": "x"}
    node["children"] = [node]
    with pytest.raises(msgspec.ValidationError, match="nested too deeply"):
        converter(Node)(node)


class Model(pydantic.BaseModel):
    count: int = pydantic.Field(gt=3)
    name: str = pydantic.Field(default="x", alias="the-name")
    at: date | None = None


class Holder(msgspec.Struct):
    models: list[Model] = []
    maybe: Model | None = None


@pydantic.dataclasses.dataclass
class PydanticDataclass:
    count: int = pydantic.Field(gt=3)


@attrs.define
class Validated:
    count: int = attrs.field(validator=attrs.validators.gt(3))
    name: str = "x"


@attrs.define
class Converting:
    name: str = attrs.field(converter=str.upper)


def test_a_pydantic_model_validates_by_itself() -> None:
    model = converter(Model)({"count": "5", "the-name": "y", "at": "2026-01-02"})
    assert model == Model(count=5, **{"the-name": "y"}, at=date(2026, 1, 2))
    assert converter(dict[str, Model | None])({"a": {"count": 4}, "b": ""}) == {"a": Model(count=4), "b": None}
    assert converter(Holder)({"models": [{"count": "7"}], "maybe": ""}) == Holder([Model(count=7)], None)
    with pytest.raises(msgspec.ValidationError, match=r"^count: Input should be greater than 3; the-name: .* string"):
        converter(Model)({"count": 1, "the-name": []})
    with pytest.raises(msgspec.ValidationError, match=r"count: Field required.*models"):
        converter(Holder)({"models": [{}]})


def test_attrs_classes_are_made_with_their_validators() -> None:
    assert converter(Validated)({"count": "5"}) == Validated(5)
    with pytest.raises(msgspec.ValidationError, match="must be > 3"):
        converter(Validated)({"count": 1})


def test_models_and_attrs_classes_go_out() -> None:
    model = Model(count=5, **{"the-name": "y"}, at=date(2026, 1, 2))
    assert to_plain([model]) == [{"count": 5, "the-name": "y", "at": "2026-01-02"}]
    assert parameters_of(model)["the-name"] == "y"
    assert parameters_of(Validated(5)) == {"count": 5, "name": "x"}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("int", "not supported"),
        (5, "not supported"),
        (list[int] | set[int], "more than one array-like"),
        (Node | Data, "more than one"),
        (complex, "msgspec.Struct"),
        (list[complex], "msgspec.Struct"),
        (PydanticDataclass, "would be made without pydantic's checks"),
        (list[PydanticDataclass], "would be made without pydantic's checks"),
        (Converting, r"the converters of Converting \(name\) would not be called"),
    ],
)
def test_types_that_cannot_be_made_are_refused_at_once(wanted: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        converter(wanted)


def test_types_are_compiled_once_and_need_not_be_hashable() -> None:
    assert converter(list[int]) is converter(list[int])
    assert converter(list[int]) is not converter(list[int], strict=True)
    assert converter(Annotated[int, {"not": "hashable"}])("5") == 5


def test_what_comes_in_is_left_alone() -> None:
    value = {"payload": "abcd", "children": [{"payload": "abcd"}]}
    converter(Node)(value)
    assert value == {"payload": "abcd", "children": [{"payload": "abcd"}]}


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Place:
    x: float
    name: str = ""


class Settings(TypedDict, total=False):
    level: int
    loud: bool


class Item(msgspec.Struct):
    """Of scalars, records and arrays alone: msgspec makes it without being told more."""

    count: int = 0
    name: str = ""
    price: float | None = None
    ready: bool = False
    colour: Colour | None = None
    tags: list[str] = []
    pair: tuple[int, str] | None = None
    seen: set[int] = set()
    place: Place | None = None
    settings: Settings | None = None
    child: Item | None = None


class ItemAndBytes(Item):
    """The same, which msgspec has to be told more about."""

    raw: bytes = b""
    child: ItemAndBytes | None = None


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.sampled_from(["12", "007", "red", "1", "", "true", "null", "5.0", "1e3"]),
)
names = st.sampled_from([*Item.__struct_fields__, *Place.__annotations__, *Settings.__annotations__])
shapes = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)


def fields_or_fault(wanted: Any, value: Any) -> Any:
    try:
        made = converter(wanted)(value)
    except msgspec.ValidationError as error:
        return str(error)
    return msgspec.to_builtins(made)


def without_raw(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: without_raw(value) for name, value in found.items() if name != "raw"}
    return found


@given(st.dictionaries(st.sampled_from(Item.__struct_fields__), leaves | shapes, min_size=1, max_size=3))
def test_a_plain_type_is_made_as_every_other(value: dict[str, Any]) -> None:
    assert without_raw(fields_or_fault(Item, value)) == without_raw(fields_or_fault(ItemAndBytes, value))
