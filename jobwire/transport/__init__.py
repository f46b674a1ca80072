"""The one seam to Redis: run these commands, pop, subscribe.

``open_transport(url)`` gives a ``Transport``; its ``connect()`` gives a ``Connection``. Both are Protocols, so that
tests can put ``jobwire.testing.scripted.ScriptedTransport`` in their place.
"""

from __future__ import annotations

from jobwire.transport.backoff import Backoff
from jobwire.transport.direct import DirectTransport, open_transport
from jobwire.transport.protocols import (
    Command,
    Connection,
    OnLost,
    OnPush,
    OnReplies,
    Replies,
    Reply,
    Transport,
)

__all__ = [
    "Backoff",
    "Command",
    "Connection",
    "DirectTransport",
    "OnLost",
    "OnPush",
    "OnReplies",
    "Replies",
    "Reply",
    "Transport",
    "open_transport",
]
