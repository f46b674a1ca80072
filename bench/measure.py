"""One measurement: a fresh server's state, worker processes, one client, and the CPU time of each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, cast

import redis

from bench.systems import PEERS, Load, System

_TICK = os.sysconf("SC_CLK_TCK")
_CONTROL = ("config|resetstat", "info", "ping", "flushall")
_IDLE = 60.0
"""Seconds for which an idle worker is watched: several rounds of all that it does by itself."""


@dataclass(frozen=True)
class Sample:
    """Rates a second, latencies in milliseconds, CPU in microseconds a job."""

    rate: float
    p50: float
    p99: float
    p999: float
    client_cpu: float
    worker_cpu: float
    redis_cpu: float
    commands: float
    reads: float
    writes: float

    @property
    def cpu_parts(self) -> tuple[float, float, float]:
        """Client, worker, Redis."""
        return self.client_cpu, self.worker_cpu, self.redis_cpu

    @property
    def cpu(self) -> float:
        return sum(self.cpu_parts)


def medians(samples: list[Sample]) -> Sample:
    rows = [asdict(sample) for sample in samples]
    return Sample(**{name: median(row[name] for row in rows) for name in rows[0]})


def measure(system: System, load: Load, server: Any) -> Sample:
    """Raises ``RuntimeError`` where a process says nothing in time, or something else than it should."""
    control = redis.Redis(port=server.port)
    control.flushall()
    with _processes(system, load, server.port) as workers, _client(system, load, server.port) as client:
        _expect(client, "measuring", load.warmup + 20)
        control.config_resetstat()
        before = _state(control, workers)
        told = json.loads(_line(client, load.seconds + 30))
        after = _state(control, workers)
    jobs = max(1, told["jobs"])
    cost = {name: (after[name] - before[name]) / jobs for name in after}
    return Sample(
        rate=told["jobs"] / told["seconds"],
        p50=1e3 * told["p50"],
        p99=1e3 * told["p99"],
        p999=1e3 * told.get("p999", 0.0),
        client_cpu=1e6 * told["cpu"] / jobs,
        worker_cpu=1e6 * cost["worker"],
        redis_cpu=1e6 * cost["redis"],
        commands=cost["commands"],
        reads=cost["reads"],
        writes=cost["writes"],
    )


@dataclass(frozen=True)
class Idle:
    """What a worker without jobs costs: commands a second, and milliseconds of CPU a second of worker and Redis."""

    commands: float
    worker_cpu: float
    redis_cpu: float


def idle(system: System, load: Load, server: Any) -> Idle:
    """Raises ``RuntimeError`` as ``measure`` does."""
    control = redis.Redis(port=server.port)
    control.flushall()
    with _processes(system, load, server.port) as workers:
        time.sleep(1.0)
        control.config_resetstat()
        before, began = _state(control, workers), time.monotonic()
        time.sleep(_IDLE)
        after, seconds = _state(control, workers), time.monotonic() - began
    cost = {name: (after[name] - before[name]) / seconds for name in after}
    return Idle(cost["commands"], 1e3 * cost["worker"], 1e3 * cost["redis"])


@contextmanager
def _processes(system: System, load: Load, port: int) -> Iterator[list[int]]:
    workers: list[subprocess.Popen[str]] = []
    try:
        workers += [_start(system, system.worker(port, load)) for _ in range(load.workers)]
        for worker in workers:
            _expect(worker, "ready", 30)
        yield [worker.pid for worker in workers]
    finally:
        for worker in workers:
            _end(worker)


@contextmanager
def _client(system: System, load: Load, port: int) -> Iterator[subprocess.Popen[str]]:
    client = _start(system, system.client(port, load))
    try:
        yield client
    finally:
        _end(client)


def _start(system: System, command: list[str]) -> subprocess.Popen[str]:
    root = str(PEERS.parent.parent)
    # ``system.environment`` may name another checkout.
    environment = {**os.environ, "PYTHONPATH": root, **system.environment}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        cwd=PEERS,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[str]) -> None:
    """Its whole session, and at once: some workers take a signal for a beginning of a discussion."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    cast("Any", process.stdout).close()


def _line(process: subprocess.Popen[str], patience: float) -> str:
    watch = threading.Timer(patience, process.kill)
    watch.start()
    try:
        line = cast("str", cast("Any", process.stdout).readline())
    finally:
        watch.cancel()
    if not line:
        raise RuntimeError(f"{process.args!r} said nothing")
    return line.strip()


def _expect(process: subprocess.Popen[str], word: str, patience: float) -> None:
    while (line := _line(process, patience)) != word:
        if line.startswith("{"):
            raise RuntimeError(f"{process.args!r} said {line!r}, not {word!r}")


def _state(control: redis.Redis, workers: list[int]) -> dict[str, float]:
    info = cast("dict[str, Any]", control.info("everything"))
    calls = sum(
        stat["calls"]
        for name, stat in info.items()
        if name.startswith("cmdstat_") and name.removeprefix("cmdstat_") not in _CONTROL
    )
    return {
        "worker": sum(map(_cpu_of_tree, workers)),
        "redis": float(info["used_cpu_user"]) + float(info["used_cpu_sys"]),
        "commands": float(calls),
        "reads": float(info.get("total_reads_processed", 0)),
        "writes": float(info.get("total_writes_processed", 0)),
    }


def _cpu_of_tree(pid: int) -> float:
    """Return the CPU seconds of a process and its children, dead ones included."""
    children: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(words[1]), []).append(int(folder.name))
            used[int(folder.name)] = sum(map(int, words[11:15])) / _TICK
    found, waiting = 0.0, [pid]
    while waiting:
        process = waiting.pop()
        found += used.get(process, 0.0)
        waiting += children.get(process, [])
    return found
