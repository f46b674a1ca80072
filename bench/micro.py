"""Measurements without load: the codec, import times, memory, the start of a worker."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from bench.systems import Load, System
from jobwire.wire import DIALECTS, decode_job, decode_result, encode_job, encode_result

_NESTED = {"list": [{"id": number, "name": f"item {number}"} for number in range(20)]}


def microseconds(function: Callable[[], object], *, quick: bool) -> float:
    """Return the CPU time of a call, the best of several rounds: disturbances can only add to it."""
    count, rounds = (500, 3) if quick else (3000, 9)
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(count):
            function()
        best = min(best, time.process_time() - began)
    return 1e6 * best / count


def codec(*, quick: bool) -> list[tuple[str, ...]]:
    """Return a row for each dialect: a job of two scalars, a job with a nested value, and their results, both ways."""
    rows = []
    for name, dialect in DIALECTS.items():
        scalars, nested = {"a": 1, "b": "two"}, {"a": 1, "data": _NESTED}
        row = [name]
        for data in (scalars, nested):
            fields = encode_job(data, reply_to="c", queued=1795434940.5, dialect=dialect)
            row.append(_time(encode_job, data, quick=quick, reply_to="c", queued=1795434940.5, dialect=dialect))
            row.append(_time(decode_job, b"j", fields, quick=quick, dialect=dialect))
        for value in (42, _NESTED):
            raw = encode_result(value, dialect=dialect)
            row.append(_time(encode_result, value, quick=quick, dialect=dialect))
            row.append(_time(decode_result, raw, quick=quick, dialect=dialect))
        rows.append(tuple(row))
    return rows


def _time(function: Any, *words: Any, quick: bool, **options: Any) -> str:
    return f"{microseconds(lambda: function(*words, **options), quick=quick):.2f}"


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


_MEMORY = "int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()"
_MEASURED = """
import resource, time
began = time.process_time()
{code}
print(time.process_time() - began, {memory})
"""


def imports() -> list[tuple[str, ...]]:
    """CPU time of an import in a fresh process, and the memory of that process."""
    rows = []
    for what in ("pass", "import jobwire.wire", "import jobwire; jobwire.Client", "import jobwire; jobwire.Worker"):
        runs = [tuple(map(float, _python(_MEASURED.format(code=what, memory=_MEMORY)).split())) for _ in range(5)]
        rows.append(
            (f"`{what}`", f"{1e3 * min(run[0] for run in runs):.0f}", f"{median(run[1] for run in runs) / 1024**2:.0f}")
        )
    return rows


_OUTSTANDING = """
import asyncio, resource, jobwire
async def main():
    async with jobwire.Client("redis://127.0.0.1:%d", prefix="outstanding") as client:
        before = MEMORY
        handles = await client.submit_many({"a": n, "b": 7} for n in range(10_000))
        await client.state(handles[-1].id)
        print((MEMORY - before) / 10_000)
asyncio.run(main())
"""


def memory_of_a_job(port: int) -> float:
    """Bytes of the client for each outstanding job, at 10,000 of them."""
    return float(_python(_OUTSTANDING.replace("MEMORY", _MEMORY) % port))


def cold_start(system: System, port: int) -> float:
    """Seconds from the start of a worker's process until it takes jobs."""
    runs = []
    for _ in range(3):
        began = time.perf_counter()
        process = subprocess.Popen(
            system.worker(port, Load(1)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        runs.append(time.perf_counter() - began)
        process.kill()
        process.wait()
        process.stdout.close()
    return min(runs)
