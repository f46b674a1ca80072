"""The accounts of a chaos run: the fate of every job, and who ran it how often, and why more than once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import msgspec

from endurance.chaos.losses import Happened, Losses, Moment
from endurance.chaos.plan import KINDS
from endurance.chaos.recovery import Returned, Watch, allowed, late, run_again
from endurance.chaos.worker import Entry

__all__ = ["NOT_KNOWN", "Account", "Happened", "Leftovers", "Submitted", "render", "settle", "time_returns"]


NOT_KNOWN = "told that nobody knows whether it was submitted"
"""The outcome of a job whose client was told so; it says nothing where submissions are sent again."""


class Submitted(msgspec.Struct, kw_only=True):
    """One job as its client knows it. ``outcome``: ``result``, ``wrong result``, the name of an error, or empty;
    ``given_up``: its client waits no longer.
    """

    id: str
    client: str
    at: float
    acknowledged: bool = False
    resent: bool = False
    outcome: str = ""
    given_up: bool = False
    client_died: bool = False


class Leftovers(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of Redis at the end: the hashes with whether they hold a result, and the lists."""

    hashes: Mapping[str, bool]
    lists: Mapping[str, Sequence[str]]


class Account(msgspec.Struct, kw_only=True):
    """The result of a run; ``ok`` is the promise.

    ``lost``: without a cause; ``lost_to``: where a mode may lose, by cause; ``sheltered``: how many of its jobs met no
    fault that could be such a cause. ``slots``: of so many, how many took a job at the end.
    """

    seed: int
    jobs: int = 0
    outcomes: dict[str, int] = {}
    lost: list[str] = []
    lost_to: dict[str, int] = {}
    sheltered: int | None = None
    slots: tuple[int, int] | None = None
    wrong: int = 0
    twice: dict[str, int] = {}
    unexplained: list[str] = []
    swept_alive: int = 0
    rows: list[dict[str, Any]] = []
    recovery_times: list[float] = []
    recovery_near: list[float] = []
    recovery_bound: float = 0.0
    late: list[str] = []
    held_up: int = 0
    longest: tuple[float, int] | None = None
    stray_hashes: int = 0
    settings: dict[str, Any] = {}
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        kept = not self.lost and not self.wrong and not self.unexplained and not self.swept_alive and not self.late
        return kept and (self.slots is None or self.slots[0] == self.slots[1])


def settle(
    seed: int,
    jobs: Sequence[Submitted],
    journal: Iterable[Entry],
    faults: Sequence[Happened],
    left: Leftovers,
    *,
    at_most_once: bool = False,
) -> Account:
    """Add it all up. ``at_most_once``: a job may be lost, if there is a cause, and none is a cause to run it twice."""
    account = Account(seed=seed, jobs=len(jobs))
    listed = {job: name for name, entries in left.lists.items() for job in entries}
    outcomes: Counter[str] = Counter()
    runs: dict[str, list[Entry]] = defaultdict(list)
    ended: dict[tuple[str, int], float] = {}
    for entry in journal:
        if entry.what == "begin":
            runs[entry.job].append(entry)
        elif entry.what == "end":
            ended[entry.job, entry.pid] = entry.at
    lost: list[Submitted] = []
    for job in jobs:
        if job.outcome == NOT_KNOWN and not at_most_once:
            job.outcome = ""
        place = _outcome(job, left, listed, ran=any((job.id, run.pid) in ended for run in runs[job.id]))
        if place == "lost":
            lost.append(job)
        else:
            outcomes[place] += 1
    if at_most_once:
        _blame(account, jobs, lost, runs=runs, ended=ended, faults=faults)
    else:
        account.lost = [job.id for job in lost]
    outcomes.update({f"lost: {_WORDS[kind]}": count for kind, count in account.lost_to.items()})
    outcomes.update({"lost": len(account.lost)} if account.lost else {})
    account.outcomes = dict(outcomes)
    account.wrong = outcomes["wrong result"]
    known = {job.id for job in jobs}
    account.stray_hashes = sum(1 for job in left.hashes if job not in known)
    if at_most_once:
        _explain(account, (), runs, ())
    else:
        _explain(account, {job.id for job in jobs if job.resent}, runs, faults)
    _fill_rows(account, faults)
    return account


def _fill_rows(account: Account, faults: Sequence[Happened]) -> None:
    for kind in KINDS:
        done = [fault for fault in faults if fault.kind == kind]
        if not done and kind not in _ALWAYS:
            continue
        account.rows.append(
            {
                "fault": kind,
                "times": len(done),
                "jobs under way": sum(fault.under_way for fault in done),
                "lost": account.lost_to.get(kind, 0),
                "run twice": account.twice.get(kind, 0),
            }
        )


def _blame(
    account: Account,
    jobs: Sequence[Submitted],
    lost: Sequence[Submitted],
    *,
    runs: Mapping[str, Sequence[Entry]],
    ended: Mapping[tuple[str, int], float],
    faults: Sequence[Happened],
) -> None:
    """Tie every lost job to the fault that it met, and count those that met none that could be blamed."""
    queued: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for job in sorted(jobs, key=lambda job: job.at):
        begun = runs.get(job.id)
        queued[job.client].append((job.at, begun[0].at if begun else float("inf")))
    losses = Losses(faults, queued)

    def moments(job: Submitted) -> Iterator[Moment]:
        """When it was lost; of one that was not, when it could have been."""
        run = next(iter(runs.get(job.id, ())), None)
        end = None if run is None else ended.get((job.id, run.pid))
        yield losses.waiting(job.client, job.at) if run is None else Moment(begun=job.at, over=run.at)
        if run is not None and end is None:
            yield Moment(begun=run.at, over=float("inf"), pid=run.pid, running=True)
        elif run is not None and end is not None:
            yield Moment(begun=job.at if end - job.at > _SLOW else end, over=end, pid=run.pid)

    for job in lost:
        cause = losses.cause(list(moments(job))[-1])
        if cause is None:
            account.lost.append(job.id)
        else:
            account.lost_to[cause] = account.lost_to.get(cause, 0) + 1
    account.sheltered = sum(all(losses.cause(moment) is None for moment in moments(job)) for job in jobs)


def _outcome(job: Submitted, left: Leftovers, listed: Mapping[str, str], *, ran: bool) -> str:
    if job.outcome:
        return job.outcome
    if left.hashes.get(job.id):
        return "result in Redis, its client is gone"
    if job.id in listed and job.id in left.hashes:
        return f"in Redis: {listed[job.id]}"
    if not job.acknowledged:
        return "never acknowledged to its client"
    # A Perl client deletes the hash before it tells us; one that we end in between cannot tell.
    return "run for a client that was then ended" if job.client_died and ran else "lost"


def _explain(
    account: Account, resent: Container[str], runs: Mapping[str, list[Entry]], faults: Sequence[Happened]
) -> None:
    """Tie every run beyond the first to the fault that took the job from the run before it."""
    twice: Counter[str] = Counter()
    for job, entries in runs.items():
        for before, again in pairwise(entries):
            cause = _cause(before, again, faults)
            if cause is None and job in resent:
                cause = "resent"
            if cause is None:
                own = [f"{fault.kind} {fault.at:.3f}–{fault.until:.3f}" for fault in faults if fault.pid == before.pid]
                account.unexplained.append(
                    f"{job}: {before.worker} at {before.at:.3f} ({', '.join(own) or 'no fault'}), "
                    f"{again.worker} at {again.at:.3f}"
                )
                account.swept_alive += before.pid != again.pid
            else:
                twice[cause] += 1
    account.twice = dict(twice)


def _cause(before: Entry, again: Entry, faults: Sequence[Happened]) -> str | None:
    victims = [
        fault for fault in faults if fault.pid == before.pid and before.at <= fault.until and fault.at <= again.at
    ]
    for kind in ("kill", "stop", "term"):
        if any(fault.kind == kind for fault in victims):
            return kind
    # One that was stopped between taking a job and beginning it begins a job that was given to another meanwhile.
    late = any(
        fault.kind == "stop" and fault.pid == again.pid and fault.at <= again.at <= fault.until for fault in faults
    )
    return "stop" if late else None


def time_returns(
    account: Account,
    watch: Watch,
    faults: Sequence[Happened],
    journal: Iterable[Entry],
    *,
    heartbeat: float,
    ttl: float,
) -> None:
    """How long the jobs of the killed stood in their lists, and those that stood there for too long."""
    victims = watch.victims
    others = [(fault.at, fault.until) for fault in faults if fault.kind not in _OF_ONE] + watch.held_up
    account.held_up = len(watch.held_up)
    bound = account.recovery_bound = allowed(Returned(worker="", died=0.0), (), heartbeat=heartbeat, ttl=ttl)
    for victim in victims:
        if victim.held:
            alone = allowed(victim, others, heartbeat=heartbeat, ttl=ttl) < bound + 0.01
            times = account.recovery_times if alone else account.recovery_near
            times.append(round(victim.seconds, 3))
    begun: dict[str, list[float]] = defaultdict(list)
    for entry in journal:
        if entry.what == "begin":
            begun[entry.job].append(entry.at)
    account.longest = run_again(victims, begun)
    account.late = late(victims, others, heartbeat=heartbeat, ttl=ttl)


_SLOW = 8.0
"""Seconds after which a job is late because of something that came before its end."""
_ALWAYS = frozenset({"kill", "stop", "storm", "restart"})
_OF_ONE = frozenset({"kill", "stop", "term", "clock", "client"})
_WORDS: dict[str, str] = {
    "kill": "kill -9 of a worker",
    "stop": "SIGSTOP, SIGCONT of a worker",
    "storm": "all connections cut",
    "restart": "Redis restarted",
    "term": "SIGTERM of a worker",
    "half": "one of everybody's connections cut",
    "flush": "SCRIPT FLUSH in a loop",
    "memory": "no memory left for a while",
    "pause": "CLIENT PAUSE",
    "replica": "REPLICAOF for a while",
    "proxy": "a way that holds, cuts, drops",
    "clock": "a worker's clock jumps by a day",
    "client": "kill -9 of a client",
    "trickle": "a way that passes bytes a few at a time",
    "double": "notices that come twice",
    "late": "notices that come late",
    "slot": "the lists move to another node",
    "resent": "submission sent again after a cut",
}


def render(account: Account) -> str:
    """The table, for a terminal."""
    lines = [f"seed {account.seed}: {account.jobs} jobs, {account.seconds:.0f} s; {_settings(account)}", ""]
    lines.append(f"{'fault':<42}{'times':>7}{'jobs under way':>16}{'lost':>7}{'run twice':>11}")
    for row in account.rows:
        times, under_way, lost, twice = (row[name] for name in ("times", "jobs under way", "lost", "run twice"))
        lines.append(f"{_WORDS[row['fault']]:<42}{times:>7}{under_way:>16}{lost:>7}{twice:>11}")
    others = {cause: count for cause, count in account.twice.items() if cause not in KINDS}
    lines += [f"{_WORDS.get(cause, cause):<42}{'':>7}{'':>16}{'':>7}{count:>11}" for cause, count in others.items()]
    lines.append(f"{'without a cause':<42}{'':>7}{'':>16}{len(account.lost):>7}{len(account.unexplained):>11}")
    lines += ["", "what became of the jobs"]
    lines += [f"  {count:>8}  {name}" for name, count in sorted(account.outcomes.items(), key=lambda item: -item[1])]
    lines.append(f"  {sum(account.outcomes.values()):>8}  in all")
    if account.sheltered is not None:
        lines.append(f"  {account.sheltered:>8}  of these met no fault that can cost a job; no such one may be lost")
    lines += _returns(account)
    if account.slots is not None:
        lines.append("slots that take a job at the end: {} of {}".format(*account.slots))
    lines.append(
        f"live work swept: {account.swept_alive}; hashes of submissions that nobody knows: {account.stray_hashes}"
    )
    lines.append(
        ("nothing lost" if account.sheltered is None else "nothing lost without a cause, nothing run twice")
        if account.ok
        else f"NOT OK: lost {account.lost[:5]}, twice {account.unexplained[:5]}, late {account.late[:5]}"
    )
    return "\n".join(lines) + "\n"


def _returns(account: Account) -> list[str]:
    lines = [
        f"back in the queue after a kill -9{where}: median {median(times):.2f} s, longest {max(times):.2f} s, "
        f"{allowed_in} ({len(times)} kills)"
        for where, times, allowed_in in (
            ("", account.recovery_times, f"allowed {account.recovery_bound:.2f} s"),
            (", near a cut or restart", account.recovery_near, "allowed that after the last of these"),
        )
        if times
    ]
    lines += [f"  too late: {len(account.late)}"] if lines else []
    if account.held_up:
        lines.append(f"  {account.held_up} times the machine gave nobody the processor; more is allowed near those")
    if account.longest is not None:
        seconds, lost = account.longest
        lines.append(f"run again after a kill -9: longest {seconds:.2f} s, of a job that lost {lost} workers meanwhile")
    return lines


def _settings(account: Account) -> str:
    return ", ".join(f"{name} {value}" for name, value in account.settings.items())
