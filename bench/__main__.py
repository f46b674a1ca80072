"""``python -m bench [--against PATH]``: run everything interleaved, print and store medians, ratios and plots.

The whole takes 20 to 25 minutes, the first time longer: each of the other queues gets an environment of its own. With
``--against`` the build of another checkout (compiled) is measured in pairs with this one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from bench import micro, report
from bench.measure import Sample, idle, measure, medians
from bench.systems import PACKAGES, Load, System, floor_in_c, interpreter_of, ours, pair, perl, queues, versions
from jobwire import fast
from jobwire.testing.server import RedisServer

FLOOR = "floor, Python, uvloop"
JOBWIRE = "jobwire, uvloop"
OTHER = "huey"
"""The fastest of the other queues: an open loop submits at parts of what it can do at best."""
PARTS_OF_BEST = (0.5, 0.8)
PAIRS = 5


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="jobwire, the floor and Perl alone, short phases")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 64, 1000], help="jobs outstanding")
    parser.add_argument("--seconds", type=float, help="of each measurement (2; 1 with --quick)")
    parser.add_argument("--repeats", type=int, help="of each measurement (3; 1 with --quick)")
    parser.add_argument("--only", nargs="+", help="parts of names: measure these systems alone")
    parser.add_argument("--parts", nargs="+", choices=[*PARTS], default=[*PARTS], help="what to run")
    parser.add_argument("--scaling", action="store_true", help="1 to 8 worker processes, and not only 1 and 2")
    parser.add_argument("--against", type=Path, metavar="PATH", help="another checkout, measured in pairs with this")
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
        draw(told, f"rates-{load.concurrency}", report.bars(f"{load.concurrency} jobs outstanding", rates, "jobs/s"))
    stored = {load.concurrency: {name: asdict(s) for name, s in by.items()} for load, by in results.items()}
    (told.output / "comparison.json").write_text(json.dumps(stored, indent=1))


def draw(told: argparse.Namespace, name: str, chart: str) -> None:
    (told.output / f"{name}.svg").write_text(chart)


def pairs(told: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    """Each run of this build next to one of the other, and the medians of the ratios within such pairs."""
    if told.against is None:
        return
    before, now = pair(told.against)
    rows = []
    ratios: dict[str, float] = {}
    for concurrency in told.concurrency:
        load = Load(concurrency, told.seconds)
        runs = [(measure(before, load, server), measure(now, load, server)) for _ in range(PAIRS)]
        rate = median(new.rate / old.rate for old, new in runs)
        cpu = median(new.cpu / old.cpu for old, new in runs)
        ratios[f"rate, {concurrency} outstanding"], ratios[f"CPU, {concurrency} outstanding"] = rate, cpu
        olds, news = (medians([run[which] for run in runs]) for which in (0, 1))
        costs = [" + ".join(f"{part:.1f}" for part in one.cpu_parts) for one in (olds, news)]
        rows.append((str(concurrency), f"{olds.rate:,.0f}", f"{news.rate:,.0f}", f"{rate:.2f}", *costs, f"{cpu:.2f}"))
    draw(told, "pairs", report.bars("This build beside the one before", ratios, "ratio"))
    head = ("outstanding", "before, jobs/s", "now", "ratio", "before, CPU client + worker + Redis", "now", "ratio")
    yield f"### Against {_build(told.against)}, {PAIRS} pairs, 64 slots\n\n{report.table(head, rows)}"


def open_loop(told: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    """Submit at fixed rates, which are parts of the best that another queue can do."""
    found = [*(system for system in ours() if system.name == JOBWIRE), *queues([OTHER])]
    if told.against is not None:
        found.insert(0, pair(told.against)[0])
    other = found[-1]
    if other.name != OTHER:
        return
    best = max(measure(other, Load(concurrency, told.seconds), server).rate for concurrency in (64, 1000))
    loads = [Load(1, 2 * told.seconds, rate=part * best) for part in PARTS_OF_BEST]
    results = interleaved(found, loads, told.repeats, server)
    rows, curves = [], {}
    for load, by_name in results.items():
        for name, one in by_name.items():
            latencies = (one.p50, one.p99, one.p999)
            rows.append((name, f"{load.rate:,.0f}", f"{one.rate:,.0f}", *(f"{value:.2f}" for value in latencies)))
            curves.setdefault(name, []).extend(latencies)
    across = [f"{what} at {100 * part:.0f} %" for part in PARTS_OF_BEST for what in ("p50", "p99", "p99.9")]
    draw(told, "latency", report.lines(f"Latency at parts of the best rate of {OTHER}", across, curves, "ms"))
    head = ("system", "submitted a second", "done", "p50 ms", "p99 ms", "p99.9 ms")
    yield (
        f"### Open loop: {' and '.join(f'{100 * part:.0f} %' for part in PARTS_OF_BEST)} of the best rate of {OTHER}"
        f" ({best:,.0f} jobs/s)\n\n{report.table(head, rows)}"
    )


def without_jobs(told: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    """What waits, and costs all the same: idle workers, outstanding jobs."""
    builds = [("now", None)] if told.against is None else [("before", told.against), ("now", None)]
    systems_ = {name: pair(Path.cwd() if root is None else root)[0] for name, root in builds}
    idles = {name: idle(system, Load(1), server) for name, system in systems_.items()}
    rows = [(n, f"{one.commands:.2f}", f"{one.worker_cpu:.2f}", f"{one.redis_cpu:.2f}") for n, one in idles.items()]
    draw(told, "idle", report.bars("Idle worker", {n: one.commands for n, one in idles.items()}, "commands/s"))
    head = ("build", "commands a second", "worker, CPU ms a second", "Redis, CPU ms a second")
    yield f"### An idle worker, 64 slots\n\n{report.table(head, rows)}"
    held = {name: micro.memory_of_a_job(server.port, root) for name, root in builds}
    rows = [(name, f"{one.client:,.0f}", f"{one.redis:,.0f}") for name, one in held.items()]
    sizes = {f"{side}, {name}": size for name, one in held.items() for side, size in one._asdict().items()}
    draw(told, "memory", report.bars(f"{micro.OUTSTANDING:,} outstanding jobs", sizes, "bytes a job"))
    head = ("build", "client (resident set), bytes a job", "Redis, bytes a job")
    yield f"### {micro.OUTSTANDING:,} outstanding jobs\n\n{report.table(head, rows)}"


def payloads(told: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    both = [system for system in ours() if system.name in (FLOOR, JOBWIRE)]
    loads = [Load(64, told.seconds / 2, kind=kind, size=size) for kind in ("text", "json", "sereal") for size in SIZES]
    results = interleaved(both[1:], loads, told.repeats, server)
    floor = interleaved(both[:1], [load for load in loads if load.kind == "text"], told.repeats, server)
    rows = []
    for load, by_name in results.items():
        reference = floor.get(load, {}).get(FLOOR)
        for name, sample in by_name.items():
            ratio = f"{sample.rate / reference.rate:.3f}" if reference else ""
            cpu = f"{sample.cpu:,.0f}"
            rows.append((name, load.kind, f"{load.size:,}", f"{sample.rate:,.0f}", ratio, f"{sample.p50:.1f}", cpu))
    head = ("system", "payload", "bytes there and back", "jobs/s", "ratio to the floor", "p50 ms", "CPU µs a job")
    yield f"### Payloads, 64 jobs outstanding\n\n{report.table(head, rows)}"


SIZES = (20, 2_000, 200_000)


def many_outstanding(told: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    both = [system for system in ours() if system.name in (FLOOR, JOBWIRE)]
    results = interleaved(both, [Load(10_000, told.seconds)], told.repeats, server)
    for load, by_name in results.items():
        yield f"### {load.concurrency:,} jobs outstanding\n\n{report.load_table(by_name, FLOOR)}"


def small_things(told: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    head = ("dialect", *(f"{what} {way}" for what in ("job", "nested job", "result", "nested result") for way in "↑↓"))
    yield f"### Codec, CPU µs a call (↑ encode, ↓ decode)\n\n{report.table(head, micro.codec(quick=told.quick))}"
    head = ("in a fresh process", "CPU ms", "MiB of the process")
    yield f"### Import\n\n{report.table(head, micro.imports())}"
    rows = [(s.name, f"{1e3 * micro.cold_start(s, server.port):.0f}") for s in ours() if s.name == JOBWIRE]
    yield "### Start\n\n" + report.table(("what", "ms until a worker takes jobs"), rows)


def scaling(told: argparse.Namespace, server: RedisServer) -> Iterator[str]:
    one = [system for system in ours() if system.name == JOBWIRE]
    loads = [
        replace(Load(1000, told.seconds), workers=workers) for workers in ((1, 2, 4, 8) if told.scaling else (1, 2))
    ]
    results = interleaved(one, loads, told.repeats, server)
    rows = [(str(load.workers), f"{s.rate:,.0f}") for load, by in results.items() for s in by.values()]
    rates = {f"{load.workers} processes": s.rate for load, by in results.items() for s in by.values()}
    draw(told, "scaling", report.bars("Worker processes", rates, "jobs/s"))
    yield "### Worker processes\n\n" + report.table(("processes", "jobs/s, 1000 outstanding, one client"), rows)


PARTS = {
    "comparison": comparison,
    "pairs": pairs,
    "open": open_loop,
    "waiting": without_jobs,
    "payloads": payloads,
    "many": many_outstanding,
    "small": small_things,
    "scaling": scaling,
}


def main() -> None:
    told = options()
    if find_spec("pygal") is None:
        raise SystemExit("the plots need pygal: .venv/bin/python -m pip install --editable '.[bench]'")
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


def _build(checkout: Path) -> str:
    """The revision of another checkout, and whether what is measured there is compiled code."""
    revision = _told(["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]) or checkout.name
    ask = "from jobwire import fast; print(fast.available('wire'))"
    compiled = _told([interpreter_of(checkout), "-c", ask], PYTHONPATH=str(checkout.resolve())) == "True"
    return f"{revision} (compiled code: {'built' if compiled else 'NOT built'})"


def _told(command: list[str], **environment: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    return done.stdout.strip()


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
