"""The compiled code for what every job passes, where it was built (``python -m jobwire.build``) and is not turned off.

It knows jobs and results that are text, bytes and whole numbers, and answers None for everything else, errors included;
the plain Python code is the reference and does the rest. ``JOBWIRE_WIRE_PURE=1`` in the environment turns it off
for the process, :func:`turn_off` and :func:`turn_on` at run time, for what is made afterwards.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

__all__ = ["available", "compiled", "turn_off", "turn_on"]

_module: ModuleType | None = None
if not os.environ.get("JOBWIRE_WIRE_PURE"):
    try:
        _module = importlib.import_module("jobwire.wire._speedups")
    except ImportError:  # not built: plain Python it is
        _module = None

compiled: Any = None
"""The compiled module while it is on, else None; ``jobwire/wire/_speedups.c`` says what is in it."""


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
