"""Modes: which commands carry a job. The registry of those that there are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from jobwire.wire.modes.base import Mode
from jobwire.wire.modes.cluster import SpreadRecoverable, SpreadReliable
from jobwire.wire.modes.recoverable import Recoverable
from jobwire.wire.modes.reliable import Reliable
from jobwire.wire.modes.simple import Simple

__all__ = ["CLUSTER_MODES", "MODES"]

MODES: Mapping[str, type[Mode]] = MappingProxyType({mode.name: mode for mode in (Simple, Recoverable, Reliable)})
"""The three modes by name."""

CLUSTER_MODES: Mapping[str, type[Mode]] = MappingProxyType(
    {mode.name: mode for mode in (Simple, SpreadRecoverable, SpreadReliable)}
)
"""The same names on a Redis Cluster, where lists and hashes live on several servers."""
