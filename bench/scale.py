"""``python -m bench.scale [--against PATH]``: what large numbers cost, before (the checkout at PATH) and now.

Each figure is measured in a process of its own, against a fresh server, with the jobwire of one checkout. What counts
is the time of the one thread of Redis that everybody shares, and how long it, or an event loop, was held at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import io
import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import redis

HERE = Path(__file__).resolve().parents[1]
Figures: TypeAlias = dict[str, str]
_GIVE_UP = 60.0
_MIDDLE = f"{500_000:036d}"
_SETUP = ("config", "info", "slowlog", "client", "hello", "command")


class Watch:
    """The time of Redis between ``reset`` and now."""

    def __init__(self, raw: redis.Redis) -> None:
        self.raw = raw
        raw.config_set("slowlog-log-slower-than", 2000)
        self.reset()

    def reset(self) -> None:
        self.raw.config_resetstat()
        self.raw.slowlog_reset()
        self.begun = time.monotonic()

    def calls(self, *names: str) -> int:
        return sum(facts["calls"] for name, facts in self._stats() if not names or name in names)

    def seconds(self) -> float:
        return sum(facts["usec"] for _, facts in self._stats()) / 1e6

    def longest(self) -> str:
        """Milliseconds of the longest command."""
        slow = [entry["duration"] / 1000 for entry in self.raw.slowlog_get(10_000)]
        return f"{max(slow):,.1f}" if slow else "< 2"

    def _stats(self) -> list[tuple[str, Any]]:
        stats: dict[str, Any] = self.raw.info("commandstats")
        named = [(name.removeprefix("cmdstat_").split("|")[0], facts) for name, facts in stats.items()]
        # What a script calls is part of the script's own time.
        nested = {"lpos", "lrem", "hset", "publish", "sadd", "hdel"} if stats.get("cmdstat_eval") else set()
        return [(name, facts) for name, facts in named if name not in _SETUP and name not in nested]


def fill(raw: redis.Redis, key: str, many: int) -> None:
    for first in range(0, many, 10_000):
        raw.lpush(key, *(f"{number:036d}" for number in range(first, min(many, first + 10_000))))


@contextlib.asynccontextmanager
async def stalls() -> AsyncIterator[list[float]]:
    """The longest turn of the event loop, in seconds of the processor's time: a busy machine is nobody's fault."""
    worst = [0.0]

    async def turn() -> None:
        while True:
            begun = time.thread_time()
            await asyncio.sleep(0)
            worst[0] = max(worst[0], time.thread_time() - begun)

    task = asyncio.create_task(turn())
    try:
        yield worst
    finally:
        task.cancel()


def resident() -> float:
    """MiB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# -- the client


async def deadlines(url: str, watch: Watch) -> Figures:
    """100,000 deadlines within a second or two, and the client afterwards."""
    from jobwire import Client, JobwireError

    many = 100_000
    async with Client(url, timeout=75.0) as client:  # between two sweeps, each 30 s
        begun = time.monotonic()
        handles = await client.submit_many({"n": number} for number in range(many))
        waiting = [asyncio.ensure_future(_end(handle, JobwireError)) for handle in handles]
        await handles[-1].submitted()
        await asyncio.sleep(begun + 74.0 - time.monotonic())
        assert client.outstanding == many, "submitting took too long"
        watch.reset()
        async with stalls() as worst:
            while client.outstanding:  # noqa: ASYNC110 - nobody tells when the last has gone
                await asyncio.sleep(0.05)
            await asyncio.wait(waiting)
            while True:  # until Redis has answered all that was asked
                before = watch.calls()
                await asyncio.sleep(0.5)
                if watch.calls() - before < 100:
                    break
        told = {
            "100,000 deadlines at once: until all is answered, s": f"{time.monotonic() - watch.begun - 1.0:.1f}",
            "… longest turn of the client's event loop, s": f"{worst[0]:.2f}",
            "… time of Redis, s": f"{watch.seconds():.2f}",
        }
        watch.reset()
        await asyncio.sleep(62)
        return told | {"… commands a second of the idle client after it": f"{watch.calls() / 62:.1f}"}


async def _end(handle: Any, errors: type[Exception]) -> None:
    with contextlib.suppress(errors):
        await handle


async def deep_queue(url: str, watch: Watch) -> Figures:
    """Deadlines and cancellations of jobs behind which a million wait."""
    from jobwire import Client, JobwireError

    told: Figures = {}
    async with Client(url) as client:
        for what, timeout in (("a deadline", 1.0), ("cancel", None)):
            handles = [client.submit({}, timeout=timeout or 1000.0) for _ in range(50)]
            await handles[-1].submitted()
            fill(watch.raw, "jobs::pending", 1_000_000 - watch.raw.llen("jobs::pending"))
            watch.reset()
            if timeout is None:
                for handle in handles:
                    handle.cancel()
            await asyncio.wait([asyncio.ensure_future(_end(handle, JobwireError)) for handle in handles])
            while not watch.calls("lpos", "lrem", "eval", "lrange"):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.1)
            await asyncio.sleep(3.0)
            told[f"{what}, 1,000,000 queued: ms of Redis"] = f"{1000 * watch.seconds() / len(handles):.3f}"
    return told


async def different_timeouts(url: str, watch: Watch) -> Figures:
    """200,000 jobs, each with a time-out of its own, all done."""
    from jobwire import Client, Worker

    many, at_once = 200_000, 1000
    worker = Worker(url, max_concurrent_jobs=64)
    worker.handler(_nothing)
    del watch
    async with worker, Client(url) as client:
        await asyncio.gather(*(_result(client, 3600.0) for _ in range(at_once)))
        gc.collect()
        before = resident()
        for first in range(0, many, at_once):
            await asyncio.gather(*(_result(client, 3600.0 + (first + n) / 1e6) for n in range(at_once)))
        gc.collect()
        return {"200,000 jobs with time-outs of different lengths: MiB that stay": f"{resident() - before:.0f}"}


async def _nothing(job: Any) -> None:
    del job


async def _result(client: Any, timeout: float) -> Any:
    return await client.submit({}, timeout=timeout)


# -- the fleet


async def fleet(url: str, watch: Watch) -> Figures:
    """50 workers that look after a set of 1,000 for 20 s, a beat each second."""
    from jobwire import Worker

    with watch.raw.pipeline(transaction=False) as pipeline:
        for number in range(950):
            pipeline.sadd("jobs::workers", f"w{number}")
            pipeline.hset("jobs::queues", f"w{number}", "jobs::pending")
            pipeline.set(f"jobs::worker::w{number}", "n")
        pipeline.execute()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(50):
            worker = Worker(url, heartbeat=1.0, heartbeat_ttl=10.0, max_concurrent_jobs=1)
            worker.handler(_nothing)
            await stack.enter_async_context(worker)
        await asyncio.sleep(8)
        watch.reset()
        await asyncio.sleep(20)
        return {
            "50 of 1,000 workers, a beat a second: EXISTS, EVAL a second": f"{watch.calls('exists', 'eval') / 20:,.0f}",
            "… time of Redis, ms a second": f"{1000 * watch.seconds() / 20:.1f}",
        }


async def dead_fleet(url: str, watch: Watch) -> Figures:
    """10,000 workers that died together with a job each; then a look at those that are known to be gone."""
    from jobwire.options import build_mode
    from jobwire.transport import open_transport
    from jobwire.worker.rescuer import Recovery

    with watch.raw.pipeline(transaction=False) as pipeline:
        for number in range(10_000):
            pipeline.sadd("jobs::workers", f"w{number}")
            pipeline.hset("jobs::queues", f"w{number}", "jobs::pending")
            pipeline.lpush(f"jobs::processing::w{number}", f"j{number}")
            pipeline.hset(f"job::j{number}", "_reply_to", "c")
        pipeline.execute()
    transport = open_transport(url)
    mode = build_mode(
        "reliable", dialect="0.004", prefix="jobs", use_multi=False, strings="auto", limits=_limits(), spread=False
    )
    recovery = Recovery(await transport.connect(), mode)
    logging.disable(logging.CRITICAL)
    told: Figures = {}
    for what in ("10,000 workers die with a job each", "… each look at them afterwards"):
        watch.reset()
        begun = time.monotonic()
        await recovery.run()
        told[f"{what}: done after, s"] = f"{time.monotonic() - begun:.1f}"
        told[f"{what}: ms of Redis"] = f"{1000 * watch.seconds():.0f}"
    return told


def _limits() -> Any:
    from jobwire.limits import DEFAULT_LIMITS

    return DEFAULT_LIMITS


async def recoverable(url: str, watch: Watch) -> Figures:
    """One of five workers of mode recoverable dies among 100,000 job hashes; what the four others read for it."""
    from jobwire import Worker

    with watch.raw.pipeline(transaction=False) as pipeline:
        for number in range(100_000):
            pipeline.hset(f"job::{number:036d}", mapping={"_reply_to": "c", "text_n": number})
        pipeline.sadd("jobs::workers", "dead")
        pipeline.hset("jobs::queues", "dead", "\0jobs::other")
        pipeline.hset(f"job::{7:036d}", mapping={"_worker": "dead", "_queue": "jobs::other"})
        pipeline.execute()
    watch.reset()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            worker = Worker(url, mode="recoverable", heartbeat=1.0, heartbeat_ttl=10.0)
            worker.handler(_nothing)
            await stack.enter_async_context(worker)
        await asyncio.sleep(25)
        assert watch.raw.llen("jobs::other") == 1
        return {"a worker of recoverable dies, 100,000 jobs, 4 live workers: hashes read": f"{watch.calls('hmget'):,}"}


# -- the commands


async def dead_letters(url: str, watch: Watch) -> Figures:
    """100,000 dead jobs, and as many rejected entries."""
    from jobwire.wire.dead_letters import encode_rejected

    many, told = 100_000, Figures()
    for command in (["dead", "requeue", "--all"], ["dead", "drop", "--all"], ["rejected", "requeue", "--all"]):
        watch.raw.flushall()
        with watch.raw.pipeline(transaction=False) as pipeline:
            for number in range(many):
                name = f"{number:036d}"
                pipeline.hset(f"job::{name}", mapping={"_reply_to": "c", "_error": "x", "text_a": "b"})
                pipeline.lpush("jobs::dead", name)
                record = encode_rejected(name.encode(), queue=b"jobs::pending", worker="w", reason="r", at=1.0)
                pipeline.lpush("jobs::rejected", record)
                if number % 5000 == 4999:
                    pipeline.execute()
        watch.reset()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = await asyncio.to_thread(_command, [*command, "--url", url])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        left = watch.raw.llen(f"jobs::{command[0]}")
        shown = f"{took:.1f}" if not left else f"{many - left:,} done in {took:.0f}"
        name = " ".join(command)
        told[f"`jobwire {name}`, 100,000: s"] = shown
        told["… processor, s" + " " * len(told)] = f"{processor:.1f}"
        told["… longest command of Redis, ms" + " " * len(told)] = watch.longest()
    return told


def _undisturbed(raw: redis.Redis) -> None:
    """Put the server before all other programs, where that is permitted: else its commands wait for them."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(raw.info("server")["process_id"], os.SCHED_RR, os.sched_param(1))


def _jobs(raw: redis.Redis, many: int, **fields: str) -> None:
    mapping: dict[Any, Any] = {"_reply_to": "c", "_queued": "1500000000", **fields}
    with raw.pipeline(transaction=False) as pipeline:
        for number in range(many):
            pipeline.hset(f"job::{number:036d}", mapping=mapping)
            if number % 5000 == 4999:
                pipeline.execute()
        pipeline.execute()


def _dead(raw: redis.Redis) -> None:
    fill(raw, "jobs::dead", 100_000)
    _jobs(raw, 100_000, _error="x" * 300)


def _rejected(raw: redis.Redis) -> None:
    from jobwire.wire.dead_letters import encode_rejected

    names = [b"%036d" % number for number in range(100_000)]
    records = [encode_rejected(name, queue=b"jobs::pending", worker="w", reason="r" * 100, at=1.0) for name in names]
    for first in range(0, len(records), 10_000):
        raw.lpush("jobs::rejected", *records[first : first + 10_000])


def _left_behind(raw: redis.Redis) -> None:
    fill(raw, "jobs::processing::w", 1_000_000)
    raw.sadd("jobs::workers", "w")
    raw.hset("jobs::queues", "w", "jobs::pending")


def _dead_workers(raw: redis.Redis) -> None:
    with raw.pipeline(transaction=False) as pipeline:
        for number in range(10_000):
            pipeline.sadd("jobs::workers", f"{number:036d}")
            pipeline.hset("jobs::queues", f"{number:036d}", "jobs::pending")
            pipeline.lpush(f"jobs::processing::{number:036d}", f"j{number}")
        pipeline.execute()


def _million(key: str, many_jobs: int = 0) -> Callable[[redis.Redis], None]:
    def filled(raw: redis.Redis) -> None:
        fill(raw, key, 1_000_000)
        _jobs(raw, many_jobs)
        raw.hset(f"job::{_MIDDLE}", "_reply_to", "c")

    return filled


_TOOLS: tuple[tuple[str, str, Callable[[redis.Redis], None]], ...] = (
    ("dead requeue --all", "100,000", _dead),
    ("dead drop --all --yes", "100,000", _dead),
    ("dead list --limit 100000", "100,000", _dead),
    ("rejected requeue --all", "100,000", _rejected),
    ("rejected list --limit 100000", "100,000", _rejected),
    (f"dead requeue {_MIDDLE}", "in the middle of 1,000,000", _million("jobs::dead")),
    (f"dead drop --yes {_MIDDLE}", "in the middle of 1,000,000", _million("jobs::dead")),
    ("recover --dry-run", "1,000,000 in the list of a dead worker", _left_behind),
    ("recover", "10,000 dead workers", _dead_workers),
    ("recover --shared --older-than 1h --unknown-age", "1,000,000", _million("jobs::processing")),
    ("recover --adopt-unmarked --older-than 1h", "1,000,000 queued", _million("jobs::pending", 2000)),
    ("jobs --limit 100000", "1,000,000 queued", _million("jobs::pending", 2000)),
    ("jobs", "10,000 workers", _dead_workers),
    ("top --once", "10,000 workers", _dead_workers),
    (f"job {_MIDDLE}", "in the middle of 1,000,000", _million("jobs::pending")),
)


async def tools(url: str, watch: Watch) -> Figures:
    """The longest command of each tool: of three runs the least, for what else runs on the machine is not its own."""
    _undisturbed(watch.raw)
    watch.raw.config_set("slowlog-log-slower-than", 200)
    told: Figures = {}
    for words, what, filled in _TOOLS:
        longest = []
        for _ in range(3):
            watch.raw.flushall()
            filled(watch.raw)
            watch.reset()
            await asyncio.to_thread(_command, [*words.split(), "--url", url])
            longest.append(max((entry["duration"] / 1000 for entry in watch.raw.slowlog_get(1000)), default=0.0))
        name = words.replace(_MIDDLE, "ID")
        told[f"`{name}`, {what}: longest command, ms"] = f"{min(longest):.1f}" if min(longest) else "< 0.2"
    return told


class _Way:
    """A way to the server that can hold its answers back, and be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self.holds = False

    async def opened(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, requests]
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pass(reader, requests), self._pass(answers, writer, back=True))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool = False) -> None:
        while some := await reader.read(1 << 16):
            if not (back and self.holds):
                writer.write(some)
                await writer.drain()

    def cut(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers.clear()


async def unanswered(url: str, watch: Watch) -> Figures:
    """A connection breaks with 5,000 unanswered submissions before 1,000,000 others."""
    from jobwire import Client

    many, told = 5000, Figures()
    _undisturbed(watch.raw)
    watch.raw.config_set("slowlog-log-slower-than", 100)
    fill(watch.raw, "jobs::pending", 1_000_000)
    way = _Way(int(url.rsplit(":", 1)[1].partition("/")[0]))
    server = await asyncio.start_server(way.opened, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    async with server, Client(f"redis://127.0.0.1:{port}", max_outstanding=2 * many, reconnect_delay=0.5) as client:
        for what, lost, others in (
            ("all arrived", 0, 0),
            ("20,000 of others behind them", 0, 20_000),
            ("64 lost", 64, 0),
        ):
            length, way.holds = watch.raw.llen("jobs::pending"), True
            handles = [client.submit({"n": number}) for number in range(many)]
            while watch.raw.llen("jobs::pending") < length + many:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.05)
            watch.raw.ltrim("jobs::pending", lost, -1)
            fill(watch.raw, "jobs::pending", others)
            length = watch.raw.llen("jobs::pending")
            watch.reset()
            way.holds = False
            way.cut()
            await asyncio.gather(*(handle.submitted() for handle in handles))
            name = f"5,000 unanswered submissions, {what}"
            told[f"{name}: s of Redis"] = f"{watch.seconds():.2f}"
            told[f"{name}: longest command, ms"] = watch.longest()
            assert watch.raw.llen("jobs::pending") - length == lost, "none is lost, and none is pushed twice"
            for handle in handles:
                handle.cancel()
            await asyncio.sleep(3)
    return told


def _command(words: list[str]) -> float:
    begun = time.monotonic()
    code = "import sys; from jobwire.cli import main; sys.exit(main())"
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            [sys.executable, "-P", "-c", code, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_GIVE_UP,
            check=False,
        )
    return time.monotonic() - begun


Part: TypeAlias = Callable[[str, Watch], Awaitable[Figures]]
PARTS: dict[str, Part] = {
    part.__name__: part
    for part in (
        deadlines,
        deep_queue,
        different_timeouts,
        fleet,
        dead_fleet,
        recoverable,
        dead_letters,
        tools,
        unanswered,
    )
}


def measure_here(name: str) -> Figures:
    from jobwire.testing.server import RedisServer

    logging.disable(logging.CRITICAL)
    with RedisServer() as server, redis.Redis(port=server.port, protocol=2) as raw:
        return asyncio.run(PARTS[name](server.url, Watch(raw)))  # type: ignore[arg-type]  # a coroutine each


def measure_in(checkout: Path, name: str) -> Figures:
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, str(Path(__file__).resolve()), "--here", name]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {}
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def rows(told: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    checkouts = [HERE] if told.against is None else [told.against.resolve(), HERE]
    for name in told.only:
        measured = [measure_in(checkout, name) for checkout in checkouts]
        for what in dict.fromkeys(what for figures in measured for what in figures):
            row = (what.rstrip(), *(figures.get(what, "failed") for figures in measured))
            print("  ".join(row), file=sys.stderr, flush=True)
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--against", type=Path, metavar="PATH", help="a checkout to compare with")
    parser.add_argument("--only", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--here", choices=[*PARTS], help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.here:
        with contextlib.redirect_stdout(io.StringIO()):
            figures = measure_here(told.here)
        print(json.dumps(figures))
        return
    head = ("what", "now") if told.against is None else ("what", "before", "now")
    found = list(rows(told))
    for row in (head, ("---",) * len(head), *found):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
