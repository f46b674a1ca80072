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

from endurance.chaos.accounts import NOT_KNOWN, Account, Leftovers, Submitted, render, settle, time_returns
from endurance.chaos.command import Settings, run_chaos
from endurance.chaos.losses import Happened
from endurance.chaos.place import Place
from endurance.chaos.plan import FAULTS, make_plan
from endurance.chaos.recovery import Returned, Watch, late, run_again
from endurance.chaos.worker import Clock, Entry, Journal, read_journal
from jobwire import ConfigError, ConnectError
from jobwire.testing.server import RedisServer
from jobwire_conformance.peers.registry import MissingPeer, resolve
from jobwire_conformance.peers.servers import EnvironmentFault

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


PAIRS: Any = {
    "kills": 0,
    "stops": 0,
    "storms": 0,
    "restarts": 0,
    "workers": 3,
    "perl": 0,
    "heartbeat": 0.3,
    "ttl": 1.5,
    "patience": 60,
    "delay": 3,
}
FORMS: Any = {
    "simple": {"mode": "simple", "seed": 10, "patience": 10},
    "unix": {"over": "unix", "seed": 57},
    "tls": {"over": "tls", "seed": 73},
    "cluster": {"over": "cluster", "seed": 69},
    "valkey": {"redis": "embedded", "seed": 44},
    "plain": {"plain": True, "seed": 51},
}


async def chaos(**settings: Any) -> tuple[Account, str]:
    said: list[str] = []
    try:
        account = await run_chaos(Settings(**PAIRS | settings), log=said.append)
    except EnvironmentFault as fault:
        pytest.skip(f"LEFT OUT: {fault}")
    except ConnectError as error:
        if "tls" not in str(error).lower():
            raise
        pytest.skip(f"LEFT OUT: the server has no TLS: {error}")
    return account, render(account) + "\n".join(said)


@pytest.mark.parametrize("mode", ["reliable", "recoverable"])
async def test_two_faults_at_once_lose_nothing(mode: Any) -> None:
    """Each of the sixteen kinds meets another one. The long one: jobwire-conformance chaos --pairs 128 --mode MODE."""
    account, report = await chaos(seed=5, jobs=400, mode=mode, pairs=16)
    assert account.ok, report
    assert {row["fault"] for row in account.rows} == set(FAULTS), report


@pytest.mark.parametrize("form", FORMS)
async def test_two_faults_at_once_in_every_form(form: str) -> None:
    """A few pairs in each; all of them: ``-m long``."""
    account, report = await chaos(jobs=200, pairs=4, **FORMS[form])
    assert account.ok, report
    assert sum(row["times"] for row in account.rows) == 8, report
    assert account.slots == (32, 32), report


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
async def test_every_fault_meets_every_other_one_in_every_form(form: str) -> None:
    account, report = await chaos(jobs=5000, pairs=64, **FORMS[form])
    assert account.ok, report


async def test_perl_has_no_part_in_some_forms() -> None:
    for form in ({"over": "cluster"}, {"mode": "simple"}):
        with pytest.raises(ConfigError, match="Perl"):
            await run_chaos(Settings(**PAIRS | {"perl": 1} | form))


async def test_two_restarts_that_meet_follow_each_other() -> None:
    with RedisServer(appendonly=True) as server:
        place = Place([server], [], ("", ""))
        await asyncio.gather(*(place.restart(choice, 0.01) for choice in (0.2, 0.8, 0.3, 0.9)))
        with redis.Redis(port=server.port) as raw:
            assert raw.ping()


def test_pairs_are_all_kinds_and_no_turn_is_like_another() -> None:
    plan = make_plan(seed=1, jobs=1000, counts={}, ttl=2.0, pairs=len(FAULTS) ** 2)
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
        "run for a client that was then ended": 1,
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


def simple(*jobs: Submitted, journal: list[Entry], faults: list[Happened]) -> Account:
    return settle(1, jobs, journal, faults, NOTHING, at_most_once=True)


def test_in_simple_nothing_may_run_twice_for_any_reason() -> None:
    faults = [Happened(kind="kill", at=1.5, until=1.5, pid=1)]
    again = [ran("a", 1, 1), ran("a", 2, 2)]
    account = simple(job("a", outcome="result", resent=True), journal=again, faults=faults)
    assert len(account.unexplained) == 1
    assert not account.ok


@pytest.mark.parametrize(
    ("journal", "fault", "cause"),
    [
        # Begun and not ended: with its own worker, and with no other one.
        ([ran("a", 1, 3)], Happened(kind="kill", at=4, until=4, pid=1), "kill"),
        ([ran("a", 1, 3)], Happened(kind="kill", at=4, until=4, pid=2), None),
        ([ran("a", 1, 3)], Happened(kind="storm", at=3, until=4), None),
        # Never begun: popped before the job behind it, which was begun at 20.
        ([], Happened(kind="kill", at=15, until=15, pid=2), "kill"),
        ([], Happened(kind="storm", at=15, until=16), "storm"),
        ([], Happened(kind="storm", at=22, until=23), None),
        ([], Happened(kind="term", at=15, until=16, pid=2), None),
        # Run, and its reply did not arrive.
        ([ran("a", 1, 3), ran("a", 1, 5, "end")], Happened(kind="half", at=5.5, until=5.6), "half"),
        ([ran("a", 1, 3), ran("a", 1, 5, "end")], Happened(kind="half", at=7, until=8), None),
        ([ran("a", 1, 3), ran("a", 1, 5, "end")], Happened(kind="double", at=4, until=8), None),
    ],
)
def test_a_job_of_simple_is_lost_to_a_fault_that_met_it(journal: list[Entry], fault: Happened, cause: Any) -> None:
    behind = Submitted(id="b", client="c", at=2.0, acknowledged=True, outcome="result")
    journal = [*journal, ran("b", 2, 20), ran("b", 2, 20.1, "end")]
    account = simple(job("a"), behind, journal=journal, faults=[fault])
    assert account.lost_to == ({} if cause is None else {cause: 1})
    assert account.lost == ([] if cause else ["a"])
    assert account.ok is (cause is not None)
    assert ("NOT OK" in render(account)) is (cause is None)


def test_a_client_that_was_told_of_its_submission_lost_nothing_where_it_is_not_sent_again() -> None:
    told = job("a", outcome=NOT_KNOWN)
    assert simple(told, journal=[], faults=[]).ok
    assert settle(1, [told], [], [], NOTHING).lost == ["a"]


def test_a_slot_that_takes_no_job_at_the_end_is_not_ok() -> None:
    account = settle(1, [], [], [], NOTHING)
    account.slots = (31, 32)
    assert not account.ok
    assert "31 of 32" in render(account)


def test_a_submission_sent_again_is_a_reason() -> None:
    account = settle(1, [job("a", outcome="result", resent=True)], [ran("a", 1, 1), ran("a", 2, 2)], [], NOTHING)
    assert account.twice == {"resent": 1}


def watched(*victims: Returned) -> Watch:
    watch = Watch(redis.Redis)
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
        watch = Watch(lambda: redis.Redis(port=server.port, protocol=2))
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
        watch = Watch(lambda: raw)
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
