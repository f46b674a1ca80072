"""jobwire: the Redis wire protocol of Perl's Job::Async::Redis, for Python.

Names are loaded on first use (PEP 562), so that ``import jobwire.wire`` and ``import jobwire.sereal``
load neither Redis client nor event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobwire.errors import JobwireError as JobwireError

_HOME = {"JobwireError": "jobwire.errors"}

__all__ = ["JobwireError"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
