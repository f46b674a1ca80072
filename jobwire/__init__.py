"""jobwire: the Redis wire protocol of Perl's Job::Async::Redis, for Python.

Names are loaded on first use (PEP 562), so that ``import jobwire.wire`` and ``import jobwire.sereal`` load neither
Redis client nor event loop.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from jobwire import errors
from jobwire.errors import *  # noqa: F403 - the whole tree, which errors.__all__ lists
from jobwire.version import __version__ as __version__

if TYPE_CHECKING:
    # Imported under the same name, so that type checkers take the names for exported.
    from jobwire import rpc as rpc
    from jobwire import sereal as sereal
    from jobwire import sync as sync
    from jobwire import wire as wire
    from jobwire.client import Client
    from jobwire.client.handle import JobHandle, Submitting
    from jobwire.events import Trace, TraceEvent
    from jobwire.limits import Limits
    from jobwire.wire import Job, Keyspace
    from jobwire.wire.states import JobState
    from jobwire.worker import Worker
    from jobwire.worker.handlers import current_job
    from jobwire.worker.hooks import Call
    from jobwire.worker.worker import WorkerHealth

_HOME = {
    "Call": "jobwire.worker.hooks",
    "Client": "jobwire.client",
    "Job": "jobwire.wire",
    "JobHandle": "jobwire.client.handle",
    "JobState": "jobwire.wire.states",
    "Keyspace": "jobwire.wire",
    "Limits": "jobwire.limits",
    "Submitting": "jobwire.client.handle",
    "Trace": "jobwire.events",
    "TraceEvent": "jobwire.events",
    "Worker": "jobwire.worker",
    "WorkerHealth": "jobwire.worker.worker",
    "current_job": "jobwire.worker.handlers",
}

_MODULES = frozenset({"rpc", "sereal", "sync", "wire"})
"""Modules with public names of their own: ``jobwire.rpc`` is there without an import, too."""

__all__ = ["Call", "Client", "Job", "JobHandle", "JobState", "Keyspace", "Limits", "Submitting", "Trace", "TraceEvent"]
__all__ += ["Worker", "WorkerHealth", "__version__", "current_job"]
__all__ += errors.__all__


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"jobwire.{name}")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
