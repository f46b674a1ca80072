"""Take jobs, run their handlers, report their results; recover the jobs of dead workers."""

from __future__ import annotations

from jobwire.worker.worker import Worker

__all__ = ["Worker"]
