"""The compiled code, where it was built (``python -m jobwire.sereal.build``) and is not turned off.

It knows the common part of Sereal and answers ``NotImplemented`` for everything else, errors
included; the plain Python code is the reference and does the rest. ``JOBWIRE_SEREAL_PURE=1`` in the
environment turns it off for the process, :func:`turn_off` and :func:`turn_on` at run time.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, get_args

from jobwire.sereal.values import StringPolicy

__all__ = ["POLICIES", "available", "turn_off", "turn_on"]

POLICIES: tuple[str, ...] = get_args(StringPolicy)
"""In the order of the C code's numbers."""

_module: ModuleType | None = None
if not os.environ.get("JOBWIRE_SEREAL_PURE"):
    try:
        _module = importlib.import_module("jobwire.sereal._speedups")
    except ImportError:  # not built: plain Python it is
        _module = None

decode: Callable[..., Any] | None = None
encode: Callable[..., Any] | None = None


def available() -> bool:
    """Whether the compiled code was built and found."""
    return _module is not None


def turn_on() -> None:
    """Use the compiled code; does nothing where there is none."""
    global decode, encode
    if _module is not None:
        decode, encode = _module.decode, _module.encode


def turn_off() -> None:
    """Use plain Python alone."""
    global decode, encode
    decode, encode = None, None


turn_on()
