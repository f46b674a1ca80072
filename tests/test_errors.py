"""The error tree."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobwire import errors
from jobwire.errors import DecodeError, EncodeError, JobwireError, SerealDecodeError, ServerError, printable

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
}


def documented() -> dict[str, tuple[str, str | None]]:
    """Of each error in the module's docstring: its parent, and the built-in error it also is."""
    assert errors.__doc__ is not None
    tree: dict[str, tuple[str, str | None]] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"    ([│├└─ ]*)(\w+)(?:\s{2,}(.*))?$", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        path[depth:] = [match[2]]
        also = re.search(r"\(also an? (\w+)\)", match[3] or "")
        tree[match[2]] = (path[depth - 1] if depth else "", also[1] if also else None)
    return tree


def test_the_docstring_names_every_error() -> None:
    assert set(documented()) == set(CLASSES)
    assert set(CLASSES) == set(errors.__all__) - {"printable"}


@pytest.mark.parametrize("name", CLASSES)
def test_the_tree_is_that_of_the_docstring(name: str) -> None:
    parent, also = documented()[name]
    kind = CLASSES[name]
    assert [base.__name__ for base in kind.__bases__] == [parent or "Exception", *([also] if also else [])]
    assert issubclass(kind, JobwireError)
    assert kind.__doc__


@pytest.mark.parametrize("name", [name for name, kind in CLASSES.items() if not issubclass(kind, errors.JobError)])
def test_errors_of_the_wire_and_the_transport_can_be_copied_and_sent_to_another_process(name: str) -> None:
    error = CLASSES[name]("a message")
    error.__notes__ = ["seen"]  # any attribute travels
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_a_decode_error_says_where() -> None:
    error = DecodeError("broken", offset=3, raw=b"secret")
    assert str(error) == "offset 3: broken"
    assert error.located(key="job::j", field=b"text_a") is error
    assert error.located(key="other", field="other") is error
    assert str(error) == "key 'job::j', field 'text_a', offset 3: broken"
    assert "secret" not in str(error)
    assert str(DecodeError("broken")) == "broken"


def test_a_sereal_error_names_the_tag() -> None:
    assert str(SerealDecodeError("broken", offset=1, tag=0x2F)) == "offset 1: broken (tag 0x2f)"


def test_an_encode_error_names_the_field_and_keeps_its_reason() -> None:
    error = EncodeError("cannot", field="a")
    assert (str(error), error.reason, error.field) == ("cannot (at 'a')", "cannot", "a")


def test_a_server_error_has_the_code() -> None:
    assert ServerError("WRONGTYPE Operation against a key").code == "WRONGTYPE"


@given(st.text() | st.binary())
def test_printable_is_one_line_of_ascii(value: str | bytes) -> None:
    shown = printable(value)
    assert shown.isascii()
    assert shown.isprintable()


def test_printable_cuts_and_says_so() -> None:
    assert printable(None) == "(none)"
    assert printable("x" * 81).startswith("'" + "x" * 80 + "'")
    assert "81" in printable("x" * 81)
    assert len(printable(b"\xff" * 10_000_000)) < 400
    assert printable("x" * 80) == "'" + "x" * 80 + "'"


def test_errors_of_a_job_travel_with_their_attributes() -> None:
    error = errors.JobFailed("no luck", job_id=b"\xff", type="ValueError", traceback="…")
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is errors.JobFailed
        assert (str(again), vars(again)) == (str(error), vars(error))
