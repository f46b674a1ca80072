"""The one seam to Redis: run these commands, pop, subscribe.

``open_transport(url)`` gives a ``Transport``; its ``connect()`` gives a ``Connection``. Both are Protocols, so that
tests can put ``jobwire.testing.scripted.ScriptedTransport`` in their place.
"""

from __future__ import annotations

from jobwire.transport.address import Address
from jobwire.transport.backoff import Backoff
from jobwire.transport.cluster import ClusterTransport
from jobwire.transport.dial import DialOptions
from jobwire.transport.direct import DirectTransport
from jobwire.transport.factory import open_transport
from jobwire.transport.insistence import call_insisting, execute_insisting
from jobwire.transport.pieces import Pace, entries_of, first_entries
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
from jobwire.transport.sentinel import SentinelAddress, SentinelTransport

__all__ = [
    "Address",
    "Backoff",
    "ClusterTransport",
    "Command",
    "Connection",
    "DialOptions",
    "DirectTransport",
    "OnLost",
    "OnPush",
    "OnReplies",
    "Pace",
    "Replies",
    "Reply",
    "SentinelAddress",
    "SentinelTransport",
    "Transport",
    "call_insisting",
    "entries_of",
    "execute_insisting",
    "first_entries",
    "open_transport",
]
