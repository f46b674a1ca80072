"""Figures of a worker for Prometheus (extra ``prometheus``).

::

    jobwire.metrics.observe_worker(worker)

Names, labels and meanings are in docs/OBSERVING.md.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from jobwire import sync
from jobwire.errors import ConfigError
from jobwire.wire.text import Text
from jobwire.worker.hooks import Call, Proceed
from jobwire.worker.worker import Worker

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
except ModuleNotFoundError as missing:
    raise ConfigError("metrics need the extra prometheus: pip install 'jobwire[prometheus]'") from missing

__all__ = ["observe_worker"]

AnyWorker: TypeAlias = Worker | sync.Worker

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_WORKER = ("prefix", "mode")


class _Workers:
    """All workers of this process that one registry shows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.workers: WeakSet[Worker] = WeakSet()
        self.seconds = Histogram(
            "jobwire_job_seconds",
            "How long handlers took.",
            ("prefix", "queue", "outcome"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.delay = Histogram(
            "jobwire_job_wait_seconds",
            "How long jobs had waited, from submission to the call of the handler, by the clocks of both sides.",
            ("prefix", "queue"),
            buckets=_SECONDS,
            registry=registry,
        )
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The counters and gauges of this moment."""
        jobs = CounterMetricFamily("jobwire_jobs", "Jobs that ended, by how.", labels=(*_WORKER, "outcome"))
        gauges = {
            "running": GaugeMetricFamily("jobwire_worker_running_jobs", "Jobs in hand now.", labels=_WORKER),
            "slots": GaugeMetricFamily("jobwire_worker_slots", "Jobs that may be in hand at a time.", labels=_WORKER),
            "ready": GaugeMetricFamily("jobwire_workers_ready", "Workers that take jobs.", labels=_WORKER),
            "workers": GaugeMetricFamily("jobwire_workers", "Workers of this process.", labels=_WORKER),
        }
        for labels, counts, figures in self._figures():
            for outcome, count in sorted(counts.items()):
                jobs.add_metric((*labels, outcome), count)
            for name, value in figures.items():
                gauges[name].add_metric(labels, value)
        yield jobs
        yield from gauges.values()

    def _figures(self) -> Iterator[tuple[tuple[str, str], dict[str, int], dict[str, int]]]:
        counts: dict[tuple[str, str], dict[str, int]] = {}
        figures: dict[tuple[str, str], dict[str, int]] = {}
        for worker in list(self.workers):
            health = worker.health
            labels = (_words(health.prefix), health.mode)
            total, now = counts.setdefault(labels, {}), figures.setdefault(labels, {})
            for outcome, count in worker.counts.items():
                total[outcome] = total.get(outcome, 0) + count
            for name, value in (
                ("running", health.running),
                ("slots", health.slots),
                ("ready", int(health.ready)),
                ("workers", 1),
            ):
                now[name] = now.get(name, 0) + value
        for labels, total in counts.items():
            yield labels, total, figures[labels]


_known: WeakKeyDictionary[CollectorRegistry, _Workers] = WeakKeyDictionary()
_lock = threading.Lock()


def observe_worker(worker: AnyWorker, *, registry: CollectorRegistry | None = None) -> None:
    """Show ``worker`` in ``registry`` (``prometheus_client.REGISTRY``); workers of one prefix and mode are added up."""
    registry = REGISTRY if registry is None else registry
    observed = worker.asynchronous if isinstance(worker, sync.Worker) else worker
    with _lock:
        workers = _known.get(registry)
        if workers is None:
            workers = _known[registry] = _Workers(registry)
    if observed in workers.workers:
        return
    workers.workers.add(observed)
    prefix = _words(observed.health.prefix)
    seconds, delay = workers.seconds, workers.delay

    async def measure(call: Call, proceed: Proceed) -> Any:
        queue = _words(call.queue)
        if call.job.queued is not None:
            delay.labels(prefix, queue).observe(max(0.0, call.started - call.job.queued))
        try:
            return await proceed()
        finally:
            if call.outcome is not None and call.seconds is not None:
                seconds.labels(prefix, queue, call.outcome).observe(call.seconds)

    observed.middleware(measure)


def _words(value: Text) -> str:
    return value if isinstance(value, str) else value.decode(errors="backslashreplace")
