"""Sereal, Perl's serialisation format, for Python: read and written whole, safely, alone.

>>> from jobwire import sereal
>>> sereal.loads(sereal.dumps({"answer": [42, None, True]}))
{'answer': [42, None, True]}

Needs nothing but the standard library; compressed documents may need the extra ``jobwire[sereal]``.
Errors are ``jobwire.errors.SerealDecodeError`` and ``SerealEncodeError``.
"""

from __future__ import annotations

from jobwire.errors import SerealDecodeError, SerealEncodeError
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.sereal.compression import Compression
from jobwire.sereal.documents import dumps, iter_loads, loads
from jobwire.sereal.values import PerlObject, PerlRegexp, ScalarRef, StringPolicy, string_reader

__all__ = [
    "DEFAULT_LIMITS",
    "Compression",
    "Limits",
    "PerlObject",
    "PerlRegexp",
    "ScalarRef",
    "SerealDecodeError",
    "SerealEncodeError",
    "StringPolicy",
    "dumps",
    "iter_loads",
    "loads",
    "string_reader",
]
