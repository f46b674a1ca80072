"""``python -m bench.tap``: what ``jobwire tap`` costs, as ratios to the same pair without it (docs/TAP.md)."""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from bench import report
from bench.measure import Sample, measure
from bench.systems import Load, ours, perl
from jobwire.testing.server import RedisServer, free_port

WAYS: dict[str, list[str] | None] = {
    "without": None,
    "tap": [],
    "tap --quiet": ["--quiet"],
    "tap --json --values": ["--json", "--values"],
    "tap --quiet --record": ["--quiet", "--record"],
}


class Cost(NamedTuple):
    """CPU in microseconds a job, memory in MiB."""

    cpu: float
    memory: float


@contextmanager
def tapped(way: list[str] | None, port: int) -> Iterator[tuple[Any, list[Cost]]]:
    """Yield the address for the pair, and, once it is over, the cost of the tap."""
    cost: list[Cost] = []
    if way is None:
        yield SimpleNamespace(port=port), cost
        return
    listen = free_port()
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        more = [*way, str(Path(folder) / "record.jsonl")] if "--record" in way else way
        command = [sys.executable, "-m", "jobwire_conformance", "tap", "--listen", f"127.0.0.1:{listen}"]
        command += ["--url", f"redis://127.0.0.1:{port}", *more]
        with said.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        try:
            _answers(listen)
            began = _cpu(process.pid)
            yield SimpleNamespace(port=listen), cost
            used = _cpu(process.pid) - began
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        finally:
            process.terminate()
            process.wait()
        with said.open("rb") as text:
            text.seek(max(0, said.stat().st_size - 4096))
            done = re.findall(rb'(\d+) completed|"jobs_completed":(\d+)', text.read())[-1]
        jobs = max(1, int(done[0] or done[1]))
        cost.append(Cost(1e6 * used / jobs, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))


def _best(samples: list[Sample]) -> Sample:
    return max(samples, key=lambda sample: sample.rate)


def _answers(port: int) -> None:
    for _ in range(400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the tap does not answer")


def _cpu(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:13])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tap", description=__doc__)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pair", nargs="+", default=["jobwire, uvloop", "Perl, client and worker"])
    told = parser.parse_args()
    pairs = [system for system in (*ours(), *perl()) if system.name in told.pair]
    samples: dict[tuple[str, int, str], list[Sample]] = {}
    costs: dict[tuple[str, int, str], list[Cost]] = {}
    with RedisServer() as server:
        for _ in range(told.repeats):
            for system in pairs:
                for concurrency in told.concurrency:
                    for name, way in WAYS.items():
                        key = (system.name, concurrency, name)
                        with tapped(way, server.port) as (place, cost):
                            sample = measure(system, Load(concurrency, told.seconds), place)
                        samples.setdefault(key, []).append(sample)
                        costs.setdefault(key, []).extend(cost)
                        print(f"{system.name} {concurrency} {name}: {sample.rate:,.0f} jobs/s", file=sys.stderr)
    rows = []
    for (system_name, concurrency, name), many in samples.items():
        # The best of each: a disturbance of the machine only ever takes away.
        sample, base = _best(many), _best(samples[system_name, concurrency, "without"])
        cost = costs[system_name, concurrency, name]
        rows.append(
            (
                system_name,
                str(concurrency),
                name,
                f"{sample.rate:,.0f}",
                f"{sample.rate / base.rate:.2f}",
                f"{sample.p50:.2f}",
                f"{sample.client_cpu + sample.worker_cpu + sample.redis_cpu:,.0f}",
                f"{min(one.cpu for one in cost):,.0f}" if cost else "",
                f"{max(one.memory for one in cost):.0f}" if cost else "",
            )
        )
    head = ("pair", "outstanding", "way", "jobs/s", "ratio", "p50 ms", "CPU µs a job: pair, Redis", "tap", "tap MiB")
    print(report.table(head, rows))


if __name__ == "__main__":
    main()
