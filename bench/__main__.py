"""``python -m bench [--quick]``: run everything interleaved, print and store medians and ratios."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from bench import micro, report
from bench.measure import Sample, measure, medians
from bench.systems import PACKAGES, Load, System, floor_in_c, ours, perl, queues, versions
from jobwire import fast
from jobwire.testing.server import RedisServer

FLOOR = "floor, Python, uvloop"
JOBWIRE = "jobwire, uvloop"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="jobwire, the floor and Perl alone, short phases")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 64, 1000], help="jobs outstanding")
    parser.add_argument("--seconds", type=float, help="of each measurement (2; 1 with --quick)")
    parser.add_argument("--repeats", type=int, help="of each measurement (3; 1 with --quick)")
    parser.add_argument("--only", nargs="+", help="parts of names: measure these systems alone")
    parser.add_argument("--parts", nargs="+", choices=[*PARTS], default=[*PARTS], help="what to run")
    parser.add_argument("--scaling", action="store_true", help="1 to 8 worker processes as well")
    parser.add_argument("--output", type=Path, default=Path("bench-results"), help="folder for Markdown, JSON and SVG")
    told = parser.parse_args()
    told.seconds = told.seconds or (1.0 if told.quick else 2.0)
    told.repeats = told.repeats or (1 if told.quick else 3)
    return told


def systems(told: argparse.Namespace) -> list[System]:
    in_c = floor_in_c()
    others = [] if told.quick and not told.only else queues(PACKAGES)
    found = [*([] if in_c is None else [in_c]), *ours(), *perl(), *others]
    return [system for system in found if not told.only or any(part in system.name for part in told.only)]


def interleaved(
    found: Iterable[System], loads: Iterable[Load], repeats: int, server: RedisServer
) -> dict[Load, dict[str, Sample]]:
    """Measure every system in turn, again and again, so that a disturbance of the machine disturbs all of them."""
    samples: dict[Load, dict[str, list[Sample]]] = {}
    found, loads = list(found), list(loads)
    for repeat in range(repeats):
        for load in loads:
            for system in found:
                try:
                    sample = measure(system, load, server)
                except RuntimeError as error:
                    print(f"LEFT OUT: {system.name} at {load.concurrency}: {error}", file=sys.stderr)
                    continue
                samples.setdefault(load, {}).setdefault(system.name, []).append(sample)
                print(f"{repeat + 1}/{repeats} {load.concurrency:>5} {system.name:40} {sample.rate:>10,.0f} jobs/s")
    return {load: {name: medians(many) for name, many in by.items()} for load, by in samples.items()}


def comparison(told: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    loads = [Load(concurrency, told.seconds) for concurrency in told.concurrency]
    results = interleaved(systems(told), loads, told.repeats, server)
    for load, by_name in results.items():
        yield f"### {load.concurrency} jobs outstanding\n\n{report.load_table(by_name, FLOOR)}"
        rates = {name: sample.rate for name, sample in by_name.items()}
        chart = report.bars(f"{load.concurrency} jobs outstanding", rates)
        (told.output / f"rates-{load.concurrency}.svg").write_text(chart)
    stored = {load.concurrency: {name: asdict(s) for name, s in by.items()} for load, by in results.items()}
    (told.output / "comparison.json").write_text(json.dumps(stored, indent=1))


def payloads(told: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    pair = [system for system in ours() if system.name in (FLOOR, JOBWIRE)]
    loads = [Load(64, told.seconds / 2, kind=kind, size=size) for kind in ("text", "json", "sereal") for size in SIZES]
    results = interleaved(pair[1:], loads, told.repeats, server)
    floor = interleaved(pair[:1], [load for load in loads if load.kind == "text"], told.repeats, server)
    rows = []
    for load, by_name in results.items():
        reference = floor.get(load, {}).get(FLOOR)
        for name, sample in by_name.items():
            ratio = f"{sample.rate / reference.rate:.3f}" if reference else ""
            cpu = f"{sample.client_cpu + sample.worker_cpu + sample.redis_cpu:,.0f}"
            rows.append((name, load.kind, f"{load.size:,}", f"{sample.rate:,.0f}", ratio, f"{sample.p50:.1f}", cpu))
    head = ("system", "payload", "bytes there and back", "jobs/s", "ratio to the floor", "p50 ms", "CPU µs a job")
    yield f"### Payloads, 64 jobs outstanding\n\n{report.table(head, rows)}"


SIZES = (20, 2_000, 200_000)


def many_outstanding(told: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    pair = [system for system in ours() if system.name in (FLOOR, JOBWIRE)]
    results = interleaved(pair, [Load(10_000, told.seconds)], told.repeats, server)
    for load, by_name in results.items():
        yield f"### {load.concurrency:,} jobs outstanding\n\n{report.load_table(by_name, FLOOR)}"


def small_things(told: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    head = ("dialect", *(f"{what} {way}" for what in ("job", "nested job", "result", "nested result") for way in "↑↓"))
    yield f"### Codec, CPU µs a call (↑ encode, ↓ decode)\n\n{report.table(head, micro.codec(quick=told.quick))}"
    head = ("in a fresh process", "CPU ms", "MiB of the process")
    yield f"### Import\n\n{report.table(head, micro.imports())}"
    rows = [(s.name, f"{1e3 * micro.cold_start(s, server.port):.0f}") for s in ours() if s.name == JOBWIRE]
    rows += [("bytes of the client for each outstanding job", f"{micro.memory_of_a_job(server.port):,.0f}")]
    yield "### Start and memory\n\n" + report.table(("what", "ms until a worker takes jobs, or bytes"), rows)


def scaling(told: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    if not told.scaling:
        return
    one = [system for system in ours() if system.name == JOBWIRE]
    loads = [replace(Load(1000, told.seconds), workers=workers) for workers in (1, 2, 4, 8)]
    results = interleaved(one, loads, told.repeats, server)
    rows = [(str(load.workers), f"{s.rate:,.0f}") for load, by in results.items() for s in by.values()]
    yield "### Worker processes\n\n" + report.table(("processes", "jobs/s, 1000 outstanding, one client"), rows)


PARTS = {
    "comparison": comparison,
    "payloads": payloads,
    "many": many_outstanding,
    "small": small_things,
    "scaling": scaling,
}


def main() -> None:
    told = options()
    told.output.mkdir(parents=True, exist_ok=True)
    parts = [f"## Results\n\n{_machine()}"]
    with RedisServer() as server:
        parts[0] += f" Redis {server.version}."
        for name in told.parts:
            for part in PARTS[name](told, server):
                parts.append(part)
                (told.output / "results.md").write_text("\n\n".join(parts) + "\n")
    print("\n\n".join(parts))
    print(f"stored in {told.output}", file=sys.stderr)


def _machine() -> str:
    others = ", ".join(f"{name} {version}" for name, version in versions().items())
    code = "built" if fast.available("wire") else "NOT built (install a C compiler, then ci/setup test)"
    cores = len(os.sched_getaffinity(0))
    return (
        f"Python {platform.python_version()}, {cores} cores, {platform.system()} {platform.machine()}. {others}. "
        f"Compiled code: {code}. "
        "Rates and ratios are medians of interleaved runs; CPU in µs a job; ratios are to the floor in Python."
    )


if __name__ == "__main__":
    main()
