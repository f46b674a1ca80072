"""Fixtures for all tests. Throw-away servers only: loopback, free port, temporary folder."""

from __future__ import annotations

pytest_plugins = ["jobwire.testing.plugin"]
