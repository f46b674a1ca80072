"""The command ``jobwire-conformance``."""

from __future__ import annotations

from jobwire_conformance.cli.main import main

__all__ = ["main"]
