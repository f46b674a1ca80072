"""What Perl makes of some hundred strings, from Perl itself, and a recorded copy for where there is none.

python -m tests.support.perl_scalars      records it again
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NO_MODULES", "STRINGS", "Scalar", "ask_perl", "recorded", "run_script"]

SCRIPT = Path(__file__).resolve().parents[2] / "perl_fixtures" / "bin" / "scalars.pl"
RECORDED = Path(__file__).with_suffix(".json")

_NUMBERS = """
    0 1 2 5 7 10 42 100 007 00 0000 000.5 0.0 0.1 0.5 1.0 1.5 2.50 3.14159265358979 123.456 .5 .0 .25 5. 0. 100.
    1e0 1e1 1e5 1E5 1e+5 1e-5 1e05 1e+05 12e3 1.5e3 1.5e-3 .5e1 5.e2 1e14 1e15 1e+15 1e16 1e+16 1e18 1e+18 1e19 1e20
    1e+20 1e22 1e100 1e308 1e309 1e400 1e-308 1e-400 1.5e0 15e-1 100e-2 1000e-3 1e-1 1200e-2 1.23e2 1.234e2
    1.23456789012345 1.23456789012345e+14 1.23456789012345e+15 1.23456789012346e+15 1.2345678901234e+15
    9.22337203685478e+18 1.84467440737096e+19 1.8446744073709551615e19 9.00719925474099e+15 9.007199254740992e15
    2147483647 2147483648 4294967295 4294967296 999999999999999 1000000000000000 1000000000000001 9007199254740991
    9007199254740992 9007199254740993 9223372036854775806 9223372036854775807 9223372036854775808 9223372036854775809
    18446744073709551614 18446744073709551615 18446744073709551616 18446744073709551617 99999999999999999999
    123456789012345678901234567890 0.30000000000000004 0.1000000000000000055511151231257827 52.520008123456789
    1234567.875 4503599627370497.5 Inf inf INF Infinity infinity INFINITY NaN nan NAN
"""
_SIGNED = "0 1 5 007 .5 5. 0.0 1.5 1e5 1e+15 1e400 9223372036854775808 9223372036854775809 Inf Infinity NaN"
_SPACED = ["0", "1", "5", "-5", "+5", ".5", "5.", "1e5", "Inf", "NaN", ""]
_SPACES = [" ", "\n", "\t", "\r", "\v", "\f", "  ", " \n\t", "\r\n"]
_TEXTS = """
    a x abc true false True FALSE yes no null undef None on off 5x 5abc x5 1,5 1,000 1_000 0x10 0X1F 0b101 0o17 1e 1e+
    1e- e5 1e5x 1e5.5 1.5.5 1..5 . .. - + -. +. .e5 .x -+5 +-5 --5 ++5 5- 5+ $5 5% 1/2 infx in infin infinite i nax na n
    nanx 0_0 00x 0e 0e0 0E0 0e1 0.0.0 -e5 true1 1true 0.0x 5e5e5 \u0661 \u00bd \uff15 e \u00e9 \u2212\u0035 0truebut
    truefalse 12345678901234567890x 0x 0b -- -0x5 -Infx +infinityx Infinit nan- inf- 1inf 1nan inf5
"""
_PHRASES = ["0 but true", "0 but false", "0 but true ", " 0 but true", "0 BUT TRUE", "1 but true", "0  but true", "5 5"]
_PHRASES += ["- 5", "+ 5", "5\0", "\0005", "\0", "5 x", "1 e5", "1e 5", "\u00a05", "5\u00a0", "\u20035", "5\x85"]
_PHRASES += ["5\x1f", "\x1c5", "a b"]

STRINGS: list[bytes] = list(
    dict.fromkeys(
        text.encode()
        for text in (
            "",
            *_NUMBERS.split(),
            *(sign + number for sign in "+-" for number in _SIGNED.split()),
            *(space + number for space in _SPACES for number in _SPACED),
            *(number + space for space in _SPACES for number in _SPACED),
            *_TEXTS.split(),
            *_PHRASES,
        )
    )
)


@dataclass(frozen=True)
class Scalar:
    """One string, and what Perl says of it (``perl_fixtures/bin/scalars.pl``)."""

    string: bytes
    looks: bool
    true: bool
    number: str
    printed: str


def _read(lines: list[str]) -> tuple[str, list[Scalar]]:
    head, *rows = map(json.loads, lines)
    scalars = [
        Scalar(bytes.fromhex(row["string"]), bool(row["looks"]), bool(row["true"]), row["number"], row["printed"])
        for row in rows
    ]
    return head["perl"], scalars


NO_MODULES = 2
"""Status of the script where Perl's own modules are not there."""


def run_script(*options: str, perl: Sequence[str] = ("perl",)) -> subprocess.CompletedProcess[str] | None:
    """Ask a Perl, by default the one here, with ``options``, about ``STRINGS``; None where there is none."""
    if shutil.which(perl[0]) is None:
        return None
    asked = "".join(f"{string.hex()}\n" for string in STRINGS)
    command = [*perl, *options, "-e", SCRIPT.read_text()]  # a Perl in another root does not see the file
    return subprocess.run(command, input=asked, capture_output=True, text=True, check=False, timeout=60)


def _run(perl: Sequence[str] = ("perl",)) -> list[str] | None:
    done = run_script(perl=perl)
    if done is None or done.returncode == NO_MODULES:
        return None
    done.check_returncode()
    return done.stdout.splitlines()


def ask_perl(perl: Sequence[str] = ("perl",)) -> tuple[str, list[Scalar]] | None:
    """The version of a Perl, by default the one here, and what it says of ``STRINGS``; None where there is no Perl, or
    not all of it."""
    lines = _run(perl)
    return None if lines is None else _read(lines)


def recorded() -> tuple[str, list[Scalar]]:
    """The same of the Perl that was recorded."""
    return _read(RECORDED.read_text().splitlines())


if __name__ == "__main__":
    said = _run()
    if said is None:
        raise SystemExit("there is no perl on PATH, or not all of it")
    RECORDED.write_text("".join(f"{line}\n" for line in said))
