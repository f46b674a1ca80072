"""Python values down to plain data."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import uuid
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from jobwire.errors import EncodeError
from jobwire.sereal import PerlObject
from jobwire.wire.codec.plain import parameters_of, to_plain

pytestmark = pytest.mark.usefixtures("either_code")


class Circle(msgspec.Struct, tag="circle", rename="camel"):
    half_width: int
    note: str | msgspec.UnsetType = msgspec.UNSET


@dataclasses.dataclass
class Pair:
    left: int
    right: Any


class Word(enum.StrEnum):
    YES = "yes"


ID = uuid.UUID(int=1)


def test_plain_data_comes_back_as_the_same_object() -> None:
    value: dict[str, Any] = {"a": [1, "b", b"c", None, 1.5, True]}
    value["self"] = value
    assert to_plain(value) is value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Pair(1, Pair(2, b"x")), {"left": 1, "right": {"left": 2, "right": b"x"}}),
        ((1, (2, Word.YES)), [1, [2, "yes"]]),
        ({"at": datetime.date(2026, 1, 2)}, {"at": "2026-01-02"}),
        ({ID: ID}, {str(ID): str(ID)}),
        (MappingProxyType({"a": {1}}), {"a": [1]}),
        ([PerlObject("A", {}), ()], [PerlObject("A", {}), []]),
    ],
)
def test_plain_form(value: object, plain: object) -> None:
    assert to_plain(value) == plain


class Link(msgspec.Struct):
    next: Any = None


def _loops() -> list[Any]:
    link = Link()
    link.next = link
    in_tuple: list[Any] = []
    in_tuple.append((in_tuple,))
    deep: tuple[Any, ...] = ()
    for _ in range(5000):
        deep = (deep,)
    return [link, in_tuple, deep]


@pytest.mark.parametrize(
    "value",
    [object(), {"a": object()}, {(1, 2): {1}}, {ID: 1, str(ID): (2,)}, *_loops()],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_plain_form_raises_encode_error_and_nothing_else(value: object) -> None:
    with pytest.raises(EncodeError):
        to_plain(value)


def test_parameters_of_a_struct_are_its_wire_names_and_its_tag() -> None:
    assert parameters_of(Circle(3)) == {"type": "circle", "halfWidth": 3}
    assert parameters_of(Circle(3, "n")) == {"type": "circle", "halfWidth": 3, "note": "n"}


def test_parameters_of_a_dataclass_are_its_fields() -> None:
    assert parameters_of(Pair(1, "x")) == {"left": 1, "right": "x"}


def test_parameters_of_a_mapping_are_the_mapping() -> None:
    data = {"a": 1}
    assert parameters_of(data) is data


@pytest.mark.parametrize("data", [None, [], "text", 1, Pair, Circle])
def test_nothing_else_has_parameters(data: object) -> None:
    with pytest.raises(EncodeError, match="parameters are a mapping"):
        parameters_of(data)
