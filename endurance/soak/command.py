"""``jobwire-conformance soak``: a mixed fleet under a steady load for an hour, and whether its memory stays flat.

It starts a Redis of its own with an append-only file, Python clients and workers in the three modes, a Perl client and
a Perl worker. Jobs have sizes from bytes to a megabyte; some fail and are tried again, some time out, some are
cancelled. Now and then a connection is cut, a worker is restarted or killed, and a client dies with jobs outstanding,
whose results expire. Every few seconds it writes down memory, descriptors, keys, lengths of lists and latency, as JSON
lines, and at the end says whether every job had the end that it had to have, and whether anything grew.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import redis

from endurance.soak.fleet import MORTAL, Fleet
from endurance.soak.graph import draw
from endurance.soak.samples import Event, Footer, Header, Line, Sample, encode, measure, read_samples
from endurance.soak.verdict import BOUND, Soak, collect, judge, ok, render
from jobwire.testing.server import RedisServer
from jobwire_conformance.driver.process import PeerFault
from jobwire_conformance.driver.text import one_line
from jobwire_conformance.peers.registry import MissingPeer, resolve
from jobwire_conformance.report.verdicts import Exit

__all__ = ["Settings", "configure", "main", "run_soak"]


DYING = MORTAL.replace(" ", "-").encode()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``cuts``, ``restarts`` and ``deaths`` are the seconds between them; 0 for none."""

    seed: int = 1
    minutes: float = 60.0
    rate: float = 250.0
    every: float = 5.0
    warm_up: float = 15.0
    cuts: float = 60.0
    restarts: float = 150.0
    deaths: float = 45.0
    expire: float = 30.0
    perl: int = 1
    hoard: int = 0


class _Run:
    def __init__(self, settings: Settings, server: RedisServer, fleet: Fleet, out: BinaryIO) -> None:
        self.settings = settings
        self.server = server
        self.fleet = fleet
        self._out = out
        self._began = time.monotonic()
        self._dice = random.Random(settings.seed)  # noqa: S311 - to be repeated, not to be secret
        self._restarts = 0
        # redis-py annotates replies with all that they might ever be.
        self._raw: Any = redis.Redis(port=server.port, protocol=2)

    def write(self, line: Line) -> None:
        self._out.write(encode(line))
        self._out.flush()

    def begin(self) -> None:
        """The time of samples and events counts from here."""
        self._began = time.monotonic()

    @property
    def t(self) -> float:
        return round(time.monotonic() - self._began, 2)

    async def work(self) -> None:
        settings = self.settings
        every: dict[Callable[[], Any], float] = {
            self.sample: settings.every,
            self._cut: settings.cuts,
            self._restart: settings.restarts,
            self._die: settings.deaths,
        }
        due = {does: seconds for does, seconds in every.items() if seconds}
        while self.t < settings.minutes * 60:
            does, at = min(due.items(), key=lambda item: item[1])
            await asyncio.sleep(max(0.0, at - self.t))
            due[does] = max(at + every[does], self.t)
            await does()

    # -- faults

    async def _cut(self) -> None:
        """One connection of a client or worker of mode reliable; a cut costs the other modes jobs, as documented."""
        names = ("client-reliable", "worker-reliable", "worker-of-failures", "worker-that-is-restarted")
        found = [one for one in self._raw.client_list() if any(name in one["name"] for name in names)]
        if found:
            one = self._dice.choice(found)
            self._raw.client_kill_filter(_id=one["id"])
            self.write(Event(t=self.t, what="connection cut", whom=one["name"]))

    async def _restart(self) -> None:
        self._restarts += 1
        number, what = (signal.SIGKILL, "worker killed") if self._restarts % 2 else (signal.SIGTERM, "worker restarted")
        self.write(Event(t=self.t, what=what, whom="reliable"))
        await self.fleet.restart_worker(number)

    async def _die(self) -> None:
        self.write(Event(t=self.t, what="client killed", whom="reliable"))
        await self.fleet.replace_client()

    # -- observations

    async def sample(self) -> None:
        fleet = self.fleet
        fleet.check()
        if fleet.perl_client is not None:
            fleet.perl_client.look()
        blocks = {one.name: one.report.blocks for one in (*fleet.clients, *fleet.workers)}
        pids = {**fleet.pids, "redis": self.server.pid}
        measured = {name: measure(pid, blocks.get(name, 0)) for name, pid in pids.items()}
        reports = fleet.reports
        self.write(
            Sample(
                t=self.t,
                processes={name: one for name, one in measured.items() if one is not None},
                used_memory=self._raw.info("memory")["used_memory"],
                keys=self._raw.dbsize() - self._told_the_dying(),
                lists=self._lists(),
                latency={name: one.latency for name, one in reports.items() if one.latency is not None},
                submitted=sum(one.submitted for one in (*reports.values(), *fleet.past)),
                outstanding=sum(one.outstanding for one in reports.values()),
            )
        )

    def _lists(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for key in self._raw.keys("soak*"):
            if self._raw.type(key) == b"list":
                _, name, *_own = key.decode().split("::")
                found[name] += self._raw.llen(key)
        return dict(found)

    def _left(self) -> dict[str, int]:
        hashes = sum(1 for _ in self._raw.scan_iter("job::*", count=1000))
        return {**self._lists(), "job hashes": hashes - self._told_the_dying()}

    def _told_the_dying(self) -> int:
        """Results that do not expire: their client was listening, and was killed before it had collected them."""
        found = 0
        for key in self._raw.scan_iter("job::*", count=1000):
            reply_to, result = self._raw.hmget(key, "_reply_to", "result")
            dying = reply_to is not None and reply_to.startswith(DYING)
            found += dying and result is not None and self._raw.ttl(key) == -1
        return found

    async def finish(self) -> None:
        """Until everything is answered, every list empty and everything that expires gone, or time is up."""
        await self.fleet.finish()
        end = time.monotonic() + 90
        while any(self._left().values()) and time.monotonic() < end:  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.5)
        reports = [*self.fleet.reports.values(), *self.fleet.past]
        ended, unexpected = Counter[str](), Counter[str]()
        for report in reports:
            ended.update(report.ended)
            unexpected.update(report.unexpected)
        self.write(
            Footer(
                seconds=self.t,
                submitted=sum(report.submitted for report in reports),
                ended=dict(ended),
                unexpected=dict(unexpected),
                unanswered=sum(report.outstanding for report in self.fleet.reports.values()),
                died_with=self.fleet.died_with,
                left=self._left(),
                told_the_dying=self._told_the_dying(),
            )
        )


async def run_soak(settings: Settings, samples: Path) -> Soak:
    """One run, written to ``samples`` as it goes.

    Raises ``MissingPeer`` where Perl is wanted and cannot be had; ``PeerFault`` where a process ends that must not.
    """
    perl = resolve("perl")[0] if settings.perl else None
    with (
        tempfile.TemporaryDirectory(prefix="jobwire-soak-") as folder,
        RedisServer(appendonly=True) as server,
        samples.open("wb") as out,
    ):
        fleet = Fleet(
            server.url,
            Path(folder),
            rate=settings.rate,
            perl=perl,
            report=settings.every,
            hoard=settings.hoard,
            expire=settings.expire,
        )
        run = _Run(settings, server, fleet, out)
        run.write(_header(settings, server, fleet))
        try:
            await fleet.start()
            run.begin()
            await run.work()
            await run.finish()
        finally:
            await fleet.close()
    return collect(read_samples(samples))


def _header(settings: Settings, server: RedisServer, fleet: Fleet) -> Header:
    return Header(
        at=time.time(),
        seconds=settings.minutes * 60,
        every=settings.every,
        warm_up=settings.warm_up * 60,
        rate=settings.rate,
        judged=fleet.judged,
        server=f"{server.binary.name} {server.version}",
        settings={name: f"{value:g}" for name, value in msgspec.structs.asdict(settings).items()},
    )


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    about = {
        "seed": "settles the jobs, and which connections are cut",
        "minutes": "how long",
        "rate": "jobs a second, of all clients together",
        "every": "seconds between samples",
        "warm_up": "minutes that are not judged",
        "cuts": "seconds between connections cut",
        "restarts": "seconds between restarts of a worker, every other one a kill -9",
        "deaths": "seconds between deaths of a client",
        "expire": "seconds until a result goes that nobody was listening for",
        "perl": "0 leaves out the Perl client and the Perl worker",
        "hoard": "bytes that one client keeps of every job: a leak, to see whether it is found",
    }
    defaults = Settings()
    for name, words in about.items():
        default = getattr(defaults, name)
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(default), default=default, help=f"{words} ({default:g})")
    parser.add_argument("--samples", type=Path, default=Path("soak.jsonl"), help="where the samples go (soak.jsonl)")
    parser.add_argument("--graph", type=Path, metavar="FILE", help="draw it there, as SVG")
    parser.add_argument("--bound", type=float, default=BOUND / 2**20, help="MiB that memory may grow (%(default)g)")
    parser.add_argument("--again", action="store_true", help="judge and draw the samples of a run that was made before")


def main(options: argparse.Namespace) -> int:
    """Run, judge, draw; 0 where nothing was lost and nothing grew."""
    settings = Settings(**{name: getattr(options, name) for name in Settings.__struct_fields__})
    try:
        if options.again:
            soak = collect(read_samples(options.samples))
        else:
            soak = asyncio.run(run_soak(settings, options.samples))
    except (MissingPeer, PeerFault, OSError, ValueError) as fault:
        sys.stderr.write(one_line(f"jobwire-conformance soak: {fault}") + "\n")
        return Exit.ENVIRONMENT
    trends = judge(soak, options.bound * 2**20)
    if options.graph is not None:
        options.graph.write_text(draw(soak))
    sys.stdout.write(render(soak, trends))
    return Exit.CONFORMANT if ok(soak, trends) else Exit.NOT_CONFORMANT
