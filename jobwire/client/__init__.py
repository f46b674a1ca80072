"""Submit jobs and await their results."""

from __future__ import annotations

from jobwire.client.client import Client

__all__ = ["Client"]
