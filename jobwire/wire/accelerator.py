"""The compiled code for what every job passes, where it was built (``python -m jobwire.build``) and is not turned off.

It knows jobs and results that are text, bytes and whole numbers, can measure nested ones, and answers None for
everything else, errors included; the plain Python code is the reference and does the rest. ``JOBWIRE_WIRE_PURE=1``
in the environment turns it off for the process, :func:`turn_off` and :func:`turn_on` at run time, for what is made
afterwards.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any, NamedTuple

__all__ = ["Shape", "available", "compiled", "shape", "turn_off", "turn_on"]

_module: ModuleType | None = None
if not os.environ.get("JOBWIRE_WIRE_PURE"):
    try:
        _module = importlib.import_module("jobwire.wire._speedups")
    except ImportError:  # not built: plain Python it is
        _module = None

compiled: Any = None
"""The compiled module while it is on, else None; ``jobwire/wire/_speedups.c`` says what is in it."""


class Shape(NamedTuple):
    """What a nested value is like, everything that is shared counted wherever it stands."""

    levels: int
    """Containers within one another; 0 for a scalar."""
    pairs: int
    """Those of all dicts together."""
    is_json: bool
    """Nothing but what JSON says as it is: no bytes, no NaN, no key but text, no integer of more than 64 bits."""


def shape(
    value: object, *, max_levels: int = sys.maxsize, max_items: int = sys.maxsize, max_size: int = sys.maxsize
) -> Shape | None:
    """The shape of a value made of dicts, lists, texts, bytes, numbers, booleans and None.

    None for other values, for one of more than ``max_levels``, ``max_items`` (a pair is two) or ``max_size`` characters
    and bytes in all texts, and without compiled code.
    """
    found = None if compiled is None else compiled.shape(value, max_levels, max_items, max_size)
    return None if found is None else Shape(*found)


def available() -> bool:
    """Whether the compiled code was built and found."""
    return _module is not None


def turn_on() -> None:
    """Use the compiled code; does nothing where there is none."""
    global compiled  # noqa: PLW0603 - one switch a process
    compiled = _module


def turn_off() -> None:
    """Use plain Python alone."""
    global compiled  # noqa: PLW0603 - one switch a process
    compiled = None


turn_on()
