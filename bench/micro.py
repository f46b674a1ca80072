"""Measurements without load: the codec, import times, memory, the start of a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import redis

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


def _python(code: str, root: Path | None = None) -> str:
    """Run ``code`` in a fresh process, with the jobwire of the checkout ``root`` where one is named."""
    environment = {**os.environ, **({} if root is None else {"PYTHONPATH": str(root.resolve())})}
    python = None if root is None else root / ".venv" / "bin" / "python"
    program = str(python) if python is not None and python.exists() else sys.executable
    told = subprocess.run([program, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return told.stdout.strip()


_MEMORY = "int(open('/proc/self/statm').read().split()[1]) * __import__('os').sysconf('SC_PAGE_SIZE')"
_MEASURED = """
import time
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
import asyncio, jobwire
async def main():
    async with jobwire.Client("redis://127.0.0.1:%d", prefix="outstanding", max_outstanding=JOBS) as client:
        await (await client.submit_many([{"a": 1, "b": 7}] * 100))[-1].submitted()
        before = MEMORY
        handles = await client.submit_many({"a": n, "b": 7} for n in range(JOBS - 100))
        await handles[-1].submitted()
        print((MEMORY - before) / len(handles))
asyncio.run(main())
"""
OUTSTANDING = 100_000


class Memory(NamedTuple):
    """Bytes for each of ``OUTSTANDING`` jobs that no worker takes."""

    client: float
    redis: float


def memory_of_a_job(port: int, root: Path | None = None) -> Memory:
    """Return the growth of the resident set of a client (of the checkout ``root``), and of the memory of Redis."""
    control: Any = redis.Redis(port=port)
    control.flushall()
    before = control.info("memory")["used_memory"]
    program = _OUTSTANDING.replace("MEMORY", _MEMORY).replace("JOBS", str(OUTSTANDING)) % port
    client = float(_python(program, root))
    used = control.info("memory")["used_memory"] - before
    control.flushall()
    return Memory(client, used / OUTSTANDING)


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
