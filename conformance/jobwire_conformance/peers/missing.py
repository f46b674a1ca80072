"""The two ways in which a peer's name cannot be resolved."""

from __future__ import annotations

__all__ = ["MissingPeer", "UsageFault"]


class UsageFault(ValueError):
    """A peer name that means nothing (exit status 2)."""


class MissingPeer(LookupError):
    """A peer that exists in principle but cannot be had here; says how to get it."""
