"""The presence of the compiled part of the codec, and the switch for it, by way of ``jobwire.fast``."""

from __future__ import annotations

from jobwire import fast
from jobwire.fast import turn_off, turn_on

__all__ = ["available", "turn_off", "turn_on"]


def available() -> bool:
    """Return whether the compiled code of the codec was built and found."""
    return fast.available("sereal")
