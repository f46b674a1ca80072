"""The chaos harness: a short run for real, and whether its accounts would notice what must not be."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from endurance.chaos.accounts import Happened, Leftovers, Submitted, render, settle, time_returns
from endurance.chaos.command import Settings, run_chaos
from endurance.chaos.plan import FAULTS, make_plan
from endurance.chaos.recovery import Returned, Watch, late, run_again
from endurance.chaos.worker import Clock, Entry, Journal, read_journal
from jobwire.testing.server import RedisServer
from jobwire_conformance.peers.registry import MissingPeer, resolve

NOTHING = Leftovers(hashes={}, lists={})
COUNTS: Any = {"kill": 3, "stop": 2, "storm": 1, "restart": 2}


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """One that stays would look for its server for ever, and find that of another test."""
    yield
    left = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if _is_worker_of_ours(path)]
    assert not left


def _is_worker_of_ours(path: Path) -> bool:
    try:
        parent = (path.parent / "stat").read_text().rpartition(")")[2].split()[1]
        return parent == str(os.getpid()) and b"endurance.chaos.worker" in path.read_bytes()
    except OSError:
        return False


def perl_clients() -> int:
    try:
        resolve("perl")
    except MissingPeer:
        return 0
    return 1 if shutil.which("perl") else 0


async def test_a_short_run_loses_nothing() -> None:
    """The long one: jobwire-conformance chaos (20,000 jobs, 200 kill -9, 20 storms, 5 restarts)."""
    said: list[str] = []
    settings = Settings(
        seed=7,
        jobs=500,
        kills=5,
        stops=1,
        storms=2,
        restarts=1,
        workers=3,
        perl=perl_clients(),
        heartbeat=0.3,
        ttl=1.5,
        patience=60,
    )
    account = await run_chaos(settings, log=said.append)
    report = render(account) + "\n".join(said)
    assert account.ok, report
    assert account.jobs >= 450, report
    assert [row["times"] for row in account.rows] == [5, 1, 2, 1], report


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_two_faults_at_once_lose_nothing(mode: Any) -> None:
    """Each of the thirteen kinds meets another one. The long one: jobwire-conformance chaos --pairs 91 --mode MODE."""
    said: list[str] = []
    settings = Settings(
        seed=5,
        jobs=400,
        mode=mode,
        kills=0,
        stops=0,
        storms=0,
        restarts=0,
        pairs=13,
        workers=3,
        perl=0,
        heartbeat=0.3,
        ttl=1.5,
        patience=60,
    )
    account = await run_chaos(settings, log=said.append)
    report = render(account) + "\n".join(said)
    assert account.ok, report
    assert {row["fault"] for row in account.rows} == set(FAULTS), report


def test_pairs_are_all_kinds_and_no_turn_is_like_another() -> None:
    plan = make_plan(seed=1, jobs=1000, counts={}, ttl=2.0, pairs=13 * 13)
    pairs = {(fault.kind, fault.second.kind) for fault in plan.faults if fault.second is not None}
    assert pairs == {(one, other) for one in FAULTS for other in FAULTS}
    assert {fault.after for fault in plan.faults} == {0.0, 0.05, 0.3, 2.4}


def test_a_clock_jumps_by_a_day_there_and_back() -> None:
    clock = Clock()
    clock.jump()
    assert 86_399 < clock.time() - time.time() < 86_401
    clock.jump()
    assert abs(clock.time() - time.time()) < 1


def test_the_seed_settles_everything() -> None:
    plan = make_plan(seed=3, jobs=500, counts=COUNTS, ttl=2.0)
    assert plan == make_plan(seed=3, jobs=500, counts=COUNTS, ttl=2.0)
    assert plan != make_plan(seed=4, jobs=500, counts=COUNTS, ttl=2.0)
    assert sorted(fault.kind for fault in plan.faults) == ["kill"] * 3 + ["restart"] * 2 + ["stop"] * 2 + ["storm"]
    assert [fault.at for fault in plan.faults] == sorted(fault.at for fault in plan.faults)
    assert {operation for operation, _ in plan.jobs} == {"echo", "sleep", "block", "spin"}


def job(name: str, **more: Any) -> Submitted:
    return Submitted(id=name, client="c", at=0.0, acknowledged=True, **more)


def ran(name: str, pid: int, at: float, what: str = "begin") -> Entry:
    return Entry(what=what, worker=f"w{pid}", pid=pid, at=at, job=name)


def test_every_place_a_job_can_be_in() -> None:
    jobs = [
        job("a", outcome="result"),
        job("b", outcome="JobFailed"),
        job("c"),
        job("d"),
        job("e"),
        job("f", client_died=True),
        Submitted(id="g", client="c", at=0.0),
    ]
    left = Leftovers(hashes={"c": True, "d": False, "stray": False}, lists={"jobs::dead": ["d"]})
    account = settle(1, jobs, [ran("f", 1, 1), ran("f", 1, 2, "end")], [], left)
    assert account.outcomes == {
        "result": 1,
        "JobFailed": 1,
        "result in Redis, its client is gone": 1,
        "in Redis: jobs::dead": 1,
        "lost": 1,
        "collected by a client that was then ended": 1,
        "never acknowledged to its client": 1,
    }
    assert account.lost == ["e"]
    assert account.stray_hashes == 1
    assert not account.ok
    assert "NOT OK" in render(account)


@pytest.mark.parametrize(
    "left", [NOTHING, Leftovers(hashes={"a": False}, lists={}), Leftovers(hashes={}, lists={"l": ["a"]})]
)
def test_a_job_without_result_or_place_is_lost(left: Leftovers) -> None:
    assert settle(1, [job("a")], [], [], left).lost == ["a"]


def test_a_wrong_result_is_not_ok() -> None:
    account = settle(1, [job("a", outcome="wrong result")], [], [], NOTHING)
    assert not account.ok


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Happened(kind="kill", at=1.5, until=1.5, pid=1), "kill"),
        (Happened(kind="stop", at=1.5, until=9, pid=1), "stop"),
        (Happened(kind="kill", at=1.5, until=1.5, pid=2), None),  # another one's death is no reason
        (Happened(kind="kill", at=0.5, until=0.5, pid=1), None),  # before it was begun
        (Happened(kind="kill", at=3.0, until=3.0, pid=1), None),  # after it was begun again
        (Happened(kind="restart", at=1.5, until=1.5), None),  # must not take work from who lives
    ],
)
def test_a_second_run_needs_a_reason(fault: Happened, cause: str | None) -> None:
    account = settle(1, [job("a", outcome="result")], [ran("a", 1, 1), ran("a", 2, 2)], [fault], NOTHING)
    assert account.twice == ({} if cause is None else {cause: 1})
    assert account.ok is (cause is not None)
    assert account.swept_alive == (cause is None)


def test_a_submission_sent_again_is_a_reason() -> None:
    account = settle(1, [job("a", outcome="result", resent=True)], [ran("a", 1, 1), ran("a", 2, 2)], [], NOTHING)
    assert account.twice == {"resent": 1}


def watched(*victims: Returned) -> Watch:
    watch = Watch(redis.Redis())
    watch.victims += victims
    return watch


def victim(name: str, died: float, until: float, *held: str) -> Returned:
    return Returned(worker=name, died=died, until=until, held=set(held))


@pytest.mark.parametrize(
    ("seconds", "others", "is_late"),
    [
        (3.3, (), False),
        (4.1, (), True),  # ttl 2.5 and 1.6 beats of 0.5 s, and some slack
        (4.1, ((90.0, 91.0),), True),  # long before it died
        (4.1, ((101.0, 101.1),), False),
        (8.0, ((102.0, 103.0),), False),  # then everybody connects and waits until the others must have beaten
        (9.0, ((102.0, 103.0),), True),
        (8.0, ((107.0, 107.1),), True),  # it should have been returned before
    ],
)
def test_what_stands_in_a_dead_workers_list_for_too_long_is_not_ok(
    seconds: float, others: tuple[tuple[float, float], ...], is_late: bool
) -> None:
    left = victim("w", 100.0, 100.0 + seconds, "a")
    assert bool(late([left], others, heartbeat=0.5, ttl=2.5)) is is_late
    account = settle(1, [job("a", outcome="result")], [], [], NOTHING)
    faults = [Happened(kind="restart", at=begun, until=over) for begun, over in others]
    time_returns(account, watched(left), faults, [], heartbeat=0.5, ttl=2.5)
    near = any(99 < begun < 105 for begun, _ in others)
    assert (account.recovery_near if near else account.recovery_times) == [seconds]
    assert account.ok is not is_late
    assert ("NOT OK" in render(account)) is is_late


def test_a_job_whose_next_workers_die_as_well_is_not_late() -> None:
    victims = [
        victim("w1", 10.0, 12.8, "a", "b"),
        victim("w2", 13.0, 15.9, "a"),
        victim("w3", 13.5, 16.0, "c"),
        victim("w4", 20.0, 0.0),
    ]
    assert late(victims, (), heartbeat=0.5, ttl=2.5) == []
    assert run_again(victims, {"a": [9.0, 16.0], "b": [12.9], "c": []}) == (6.0, 2)
    assert run_again(victims, {}) is None
    account = settle(1, [], [], [], NOTHING)
    time_returns(account, watched(*victims), [], [ran("a", 1, 9.0), ran("a", 3, 16.0)], heartbeat=0.5, ttl=2.5)
    assert "longest 6.00 s, of a job that lost 2 workers" in render(account)


async def test_a_machine_that_gives_nobody_the_processor_is_no_fault_of_the_workers() -> None:
    with RedisServer() as server:
        watch = Watch(redis.Redis(port=server.port, protocol=2))
        watching = asyncio.ensure_future(watch.run())
        await asyncio.sleep(0.3)
        watch.held_up.clear()  # a machine that is busy now is no matter
        time.sleep(0.6)  # noqa: ASYNC251 - that is the point
        await asyncio.sleep(0.1)
        watching.cancel()
    begun, over = watch.held_up[0]
    assert 0.5 < over - begun < 5
    watch.victims = [victim("w", begun - 1, begun + 4, "a")]
    account = settle(1, [], [], [], NOTHING)
    time_returns(account, watch, [], [], heartbeat=0.5, ttl=2.5)
    assert account.ok
    assert "gave nobody the processor" in render(account)


async def test_the_list_of_a_victim_is_watched_until_it_is_empty(tmp_path: Path) -> None:
    with RedisServer() as server:
        raw: Any = redis.Redis(port=server.port, protocol=2)
        raw.lpush("jobs::processing::w1", "a", "b")
        watch = Watch(raw)
        watch.add("w1", time.time())
        watch.add("w2", time.time())
        watching = asyncio.ensure_future(watch.run())
        await asyncio.sleep(0.2)
        raw.lpush("jobs::processing::w1", "c")
        server.kill()  # it is asked again once it is back
        await asyncio.sleep(0.1)
        server.restart()
        raw.lpush("jobs::processing::w1", "d")
        await asyncio.sleep(0.3)
        raw.delete("jobs::processing::w1")
        await asyncio.sleep(0.3)
        watching.cancel()
        first, second = watch.victims
        raw.close()
    assert first.held >= {"a", "b", "d"}
    assert 0.4 < first.seconds < time.time() - first.died - 0.2
    assert (second.held, second.seconds) == (set(), 0.0)


def test_a_journal_that_was_cut_off_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    journal = Journal(path, "w")
    for number in range(100):
        journal.write("begin", f"j{number}")
    with open(path, "ab") as file:
        file.write(b'{"what":"be')
    assert [entry.job for entry in read_journal(path)] == [f"j{number}" for number in range(100)]
    last = read_journal(path, last=1000)
    assert 3 < len(last) < 20
    assert last[-1].job == "j99"


def test_the_accounts_are_json() -> None:
    account = settle(1, [job("a", outcome="result")], [], [], NOTHING)
    assert msgspec.json.decode(msgspec.json.encode(account))["outcomes"] == {"result": 1}
