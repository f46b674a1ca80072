"""Text, bytes and numbers at the border of the wire."""

from __future__ import annotations

import enum
import math
import shutil
import struct
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobwire.errors import EncodeError
from jobwire.wire.text import epoch, parse_epoch, perl_number, readable, scalar_bytes, wire_bytes


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_str_goes_out_as_utf8(text: str) -> None:
    assert wire_bytes(text) == text.encode()
    assert readable(wire_bytes(text)) == text


@given(st.binary())
def test_bytes_go_out_as_they_are_and_come_back(raw: bytes) -> None:
    assert wire_bytes(raw) is raw
    assert wire_bytes(readable(raw)) == raw


def test_a_lone_surrogate_is_refused_with_its_place() -> None:
    with pytest.raises(EncodeError, match="lone surrogate at character 3"):
        wire_bytes("abc\ud800")


@pytest.mark.parametrize("value", [None, 1, 1.5, ["a"], bytearray(b"x")])
def test_what_is_neither_str_nor_bytes_is_refused(value: object) -> None:
    with pytest.raises(EncodeError, match="str or bytes are wanted here"):
        wire_bytes(value)  # type: ignore[arg-type]  # the point of the test


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0, b"0"),
        (-7, b"-7"),
        (2**64 - 1, b"18446744073709551615"),
        (-(2**63), b"-9223372036854775808"),
        (0.1, b"0.1"),
        (0.1 + 0.2, b"0.3"),
        (1e15, b"1e+15"),
        (1e14, b"100000000000000"),
        (1e-5, b"1e-05"),
        (3.25, b"3.25"),
        (2.0, b"2"),
        (float(2**64), b"1.84467440737096e+19"),
        (math.inf, b"Inf"),
        (-math.inf, b"-Inf"),
        (math.nan, b"NaN"),
        (-0.0, b"0"),
        (True, b"1"),
        (False, b""),
        (None, b""),
        ("é", b"\xc3\xa9"),
        (b"\xe9", b"\xe9"),
        (bytearray(b"\xe9"), b"\xe9"),
        (memoryview(b"ab"), b"ab"),
        (Level.HIGH, b"3"),
    ],
)
def test_scalars_print_as_in_perl(value: object, printed: bytes) -> None:
    assert scalar_bytes(value) == printed


@pytest.mark.parametrize("value", [[], {}, (), set(), object()])
def test_what_is_no_scalar_has_no_printed_form(value: object) -> None:
    assert scalar_bytes(value) is None


def test_an_integer_too_long_to_print_is_refused() -> None:
    with pytest.raises(EncodeError, match="4300 digits"):
        scalar_bytes(10**5000)


def test_an_integer_beyond_64_bits_keeps_all_its_digits() -> None:
    assert scalar_bytes(2**70) == b"1180591620717411303424"


def _needs_perl() -> None:
    if shutil.which("perl") is None:
        pytest.skip("PERL MISSING: no perl on PATH, so number formatting was not compared with the real thing")


def _perl_prints(floats: list[float], integers: list[int]) -> list[str]:
    lines = [f"d {struct.pack('<d', value).hex()}" for value in floats]
    lines += [f"{'q' if value < 0 else 'Q'} {value & (2**64 - 1):016x}" for value in integers]
    program = r"""
        my ($kind, $hex) = split ' ';
        my $value = $kind eq 'd' ? unpack('d<', pack('H*', $hex)) : unpack("$kind>", pack('H*', $hex));
        print "$value\n";
    """
    done = subprocess.run(["perl", "-ne", program], input="\n".join(lines), capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.perl
def test_numbers_print_as_real_perl_prints_them() -> None:
    _needs_perl()
    edges = [
        0.0,
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        5e-324,
        1.7976931348623157e308,
        0.1,
        1e15,
        1e16,
        123456789012345.6,
    ]
    edges += [sign * 10.0**power for power in range(-20, 25) for sign in (1, -1)]
    edges += [float(value) for value in (2**53, 2**63, 2**64, -(2**63))]
    whole = [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)]
    assert _perl_prints(edges, whole) == [perl_number(value) for value in (*edges, *whole)]


@pytest.mark.perl
@settings(max_examples=5, deadline=None)  # each example starts a process
@given(st.lists(st.floats(), min_size=300, max_size=300))
def test_any_float_prints_as_real_perl_prints_it(floats: list[float]) -> None:
    _needs_perl()
    assert _perl_prints(floats, []) == [perl_number(value) for value in floats]


@given(st.floats(0, 4e9))
def test_a_moment_survives_to_its_fifteenth_digit(seconds: float) -> None:
    read = parse_epoch(epoch(seconds))
    assert read is not None
    assert math.isclose(read, seconds, rel_tol=1e-14)


def test_a_moment_is_printed_as_time_hires_prints_it() -> None:
    assert epoch(1795434940.837412) == b"1795434940.83741"
    assert epoch(1795434940.5) == b"1795434940.5"
    assert epoch(1795434940) == b"1795434940"


@given(st.binary())
def test_reading_a_moment_never_fails(raw: bytes) -> None:
    read = parse_epoch(raw)
    assert read is None or math.isfinite(read)


@pytest.mark.parametrize("raw", [None, b"", b"soon", b"nan", b"inf", b"-inf", b"1e999", b"\xff"])
def test_a_moment_that_is_no_finite_number_is_none(raw: bytes | None) -> None:
    assert parse_epoch(raw) is None
