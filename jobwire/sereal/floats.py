"""Floating point formats that Python's ``struct`` does not know, read as the nearest ``float``."""

from __future__ import annotations

import math

__all__ = ["read_float_128", "read_long_double"]


def _scaled(mantissa: int, exponent: int, negative: bool) -> float:
    """Return ``mantissa * 2**exponent``, rounded once to the nearest float; infinite beyond its range."""
    try:
        # int / int rounds correctly; a mantissa of 113 bits through float() and ldexp would round twice.
        value = float(mantissa << exponent) if exponent >= 0 else mantissa / (1 << -exponent)
    except OverflowError:
        value = math.inf
    return -value if negative else value


def read_long_double(raw: bytes) -> float:
    """x86's 80-bit format in 16 bytes (the upper 6 are padding), little endian."""
    mantissa = int.from_bytes(raw[:8], "little")
    top = int.from_bytes(raw[8:10], "little")
    negative, exponent = bool(top >> 15), top & 0x7FFF
    if exponent == 0x7FFF:
        return _special(mantissa & (2**63 - 1), negative)
    return _scaled(mantissa, max(exponent, 1) - 16383 - 63, negative)


def read_float_128(raw: bytes) -> float:
    """IEEE binary128, little endian."""
    number = int.from_bytes(raw, "little")
    mantissa = number & (2**112 - 1)
    negative, exponent = bool(number >> 127), (number >> 112) & 0x7FFF
    if exponent == 0x7FFF:
        return _special(mantissa, negative)
    if exponent:
        mantissa |= 2**112
    return _scaled(mantissa, max(exponent, 1) - 16383 - 112, negative)


def _special(mantissa: int, negative: bool) -> float:
    if mantissa:
        return math.nan
    return -math.inf if negative else math.inf
