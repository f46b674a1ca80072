"""Recover the jobs of dead workers, by hand or from a program: the public face of ``jobwire.worker.rescuer``."""

from __future__ import annotations

from jobwire.worker.rescuer import Recovered, Recovery

__all__ = ["Recovered", "Recovery"]
