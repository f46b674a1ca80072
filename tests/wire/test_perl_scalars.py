"""Typed values beside Perl's own words: every string of the table, in every type."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from jobwire.wire.codec.typed import Converter, converter
from jobwire_conformance.peers.perl import stacks_folder
from jobwire_conformance.peers.perl_roots import SUITES, PerlRoot
from tests.support.perl_scalars import NO_MODULES, STRINGS, Scalar, ask_perl, recorded, run_script

REFUSED = object()


def outcome(convert: Converter, value: object) -> Any:
    try:
        return convert(value)
    except msgspec.ValidationError:
        return REFUSED


def same(found: Any, wanted: Any) -> bool:
    """Equal in value and type, wherever they stand; not-a-number is like itself."""
    if found is wanted:
        return True
    if type(found) is not type(wanted):
        return False
    if isinstance(wanted, dict):
        return same([*found.items()], [*wanted.items()])
    if isinstance(wanted, list | tuple):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return bool(found == wanted or (wanted != wanted and found != found))


# -- the right answers, from Perl's row alone

#: Not-a-number and infinity in forms that no Perl on this system prints, and that are left to it.
ODD = re.compile(rb"\s*[+-]?(nan.+|1\.?#.*)", re.IGNORECASE)


def as_float(row: Scalar) -> Any:
    return float(row.number) if row.looks else REFUSED


def as_int(row: Scalar) -> Any:
    """Perl's integer, where none of its digits was cut off or made up."""
    if not row.looks:
        return REFUSED
    text = Decimal(0) if row.string == b"0 but true" else Decimal(row.string.strip().decode())
    if not text.is_finite() or text != text.to_integral_value():
        return REFUSED
    if b"e" not in row.string.lower():
        assert not re.fullmatch(r"-?[0-9]+", row.printed) or int(row.printed) == text
        return int(text)  # digits have no bound in Python
    _, digits, exponent = text.normalize().as_tuple()
    if int(exponent) <= 0 and -(2**63) <= text < 2**64:
        return int(text)  # the text says every digit, though Perl has a double of it
    perl_has_it = re.fullmatch(r"-?[0-9]+", row.printed)
    return int(row.printed) if perl_has_it and len(digits) < 15 else REFUSED


def as_bool(row: Scalar) -> Any:
    return row.true if row.string in {b"", b"0", b"1"} else REFUSED


def as_text(row: Scalar) -> Any:
    return row.string.decode()


def or_none(read: Callable[[Scalar], Any]) -> Callable[[Scalar], Any]:
    return lambda row: None if row.string == b"" else read(row)


def as_int_or_float(row: Scalar) -> Any:
    whole = as_int(row)
    return as_float(row) if whole is REFUSED else whole


def as_literal(row: Scalar) -> Any:
    if row.string == b"yes":
        return "yes"
    whole = as_int(row)
    return whole if whole in {0, 1, 5} else REFUSED


def inside(wrap: Callable[[Any], Any], read: Callable[[Scalar], Any]) -> Callable[[Scalar], Any]:
    def read_inside(row: Scalar) -> Any:
        value = read(row)
        return REFUSED if value is REFUSED else wrap(value)

    return read_inside


def pair(row: Scalar) -> Any:
    flag = as_bool(row)
    return REFUSED if flag is REFUSED else (flag, row.string)


class Fields(msgspec.Struct):
    v: int


TYPES: list[tuple[Any, Callable[[Any], Any], Callable[[Scalar], Any]]] = [
    (bool, lambda text: text, as_bool),
    (int, lambda text: text, as_int),
    (float, lambda text: text, as_float),
    (str, lambda text: text, as_text),
    (bytes, lambda text: text, lambda row: row.string),
    (bool | None, lambda text: text, as_bool),
    (int | None, lambda text: text, or_none(as_int)),
    (float | None, lambda text: text, or_none(as_float)),
    (str | None, lambda text: text, as_text),
    (bytes | None, lambda text: text, lambda row: row.string),
    (int | float, lambda text: text, as_int_or_float),
    (int | str, lambda text: text, as_text),
    (Literal[0, 1, 5, "yes"], lambda text: text, as_literal),
    (list[int], lambda text: [text], inside(lambda value: [value], as_int)),
    (list[str], lambda text: [text], inside(lambda value: [value], as_text)),
    (tuple[bool, bytes], lambda text: [text, text], pair),
    (dict[str, float | None], lambda text: {"a": text}, inside(lambda value: {"a": value}, or_none(as_float))),
    (dict[int, bool], lambda text: {text: "1"}, inside(lambda value: {value: True}, as_int)),
    (Fields, lambda text: {"v": text}, inside(Fields, as_int)),
]


@pytest.fixture(scope="module", params=["recorded", "perl", *SUITES])
def table(request: pytest.FixtureRequest) -> list[Scalar]:
    """What Perl says: as it was recorded, as the Perl here says it now, and those of other releases of Debian."""
    if request.param in SUITES:
        root = PerlRoot(request.param, stacks_folder())
        if why := root.missing("0.004"):
            pytest.skip(f"NO PERL: {why}")
        said = ask_perl(root.command("perl"))
    else:
        said = recorded() if request.param == "recorded" else ask_perl()
    if said is None:
        pytest.skip("PERL MISSING: no perl on PATH, or not all of it, so the recorded table alone was used")
    rows: list[Scalar] = said[1]
    return rows


def test_the_table_is_large_and_whole(table: list[Scalar]) -> None:
    assert [row.string for row in table] == STRINGS
    assert len(STRINGS) >= 200
    assert 100 <= sum(row.looks for row in table) <= len(STRINGS) - 100


@pytest.mark.parametrize(("wanted", "wrap", "right"), TYPES, ids=[str(wanted) for wanted, *_ in TYPES])
def test_every_string_is_read_as_perl_reads_it(
    table: list[Scalar], wanted: Any, wrap: Callable[[Any], Any], right: Callable[[Scalar], Any]
) -> None:
    convert = converter(wanted)
    wrong = []
    for row in table:
        if ODD.fullmatch(row.string):
            continue
        found, answer = outcome(convert, wrap(row.string.decode())), right(row)
        if not same(found, answer):
            wrong.append((row, found, answer))
    assert wrong == []


def test_numbers_are_text_as_perl_prints_them(table: list[Scalar]) -> None:
    """A string that was used as a number comes as one; as text it is again what Perl would print, no digit less."""
    for row in table:
        if not row.looks:
            continue
        for number in {float(row.number), *([int(row.printed)] if re.fullmatch(r"-?\d+", row.printed) else [])}:
            text = converter(str)(number)
            assert text == row.printed or (math.isfinite(number) and float(text) == number), row


def test_what_was_recorded_is_what_this_perl_says() -> None:
    here = ask_perl()
    if here is None:
        pytest.skip("PERL MISSING: no perl on PATH, or not all of it, so the recorded table was not compared")
    version, rows = recorded()
    if here[0] != version:
        pytest.skip(f"the table was recorded with Perl {version}, here is {here[0]}")
    assert here[1] == rows


def test_a_perl_without_its_modules_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "JSON").mkdir()
    (tmp_path / "JSON" / "PP.pm").write_text("die 'not installed'\n")
    done = run_script(f"-I{tmp_path}")
    if done is None:
        pytest.skip("PERL MISSING: no perl on PATH")
    assert done.returncode == NO_MODULES
    assert done.stdout == ""
    assert done.stderr.startswith("scalars.pl: the module JSON::PP cannot be loaded: install all of Perl")
