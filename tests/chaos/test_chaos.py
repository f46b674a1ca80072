"""The chaos harness: a short run for real, and whether its accounts would notice what must not be."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jobwire_conformance.chaos import Settings, run_chaos
from jobwire_conformance.chaos_accounts import Happened, Leftovers, Submitted, render, settle
from jobwire_conformance.chaos_plan import make_plan
from jobwire_conformance.chaos_worker import Entry, Journal, read_journal
from jobwire_conformance.registry import MissingPeer, resolve

NOTHING = Leftovers(hashes={}, lists={})
COUNTS: Any = {"kill": 3, "stop": 2, "storm": 1, "restart": 2}


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


def test_recovery_is_timed_where_the_heartbeat_alone_decides() -> None:
    journal = [ran("a", 1, 10), ran("a", 2, 13), ran("b", 1, 10), ran("b", 1, 10.5, "end"), ran("b", 2, 99)]
    kill = Happened(kind="kill", at=11, until=11, pid=1)
    jobs = [job("a", outcome="result"), job("b", outcome="result")]
    assert settle(1, jobs, journal, [kill], NOTHING).recovery_times == [2.0]
    restart = Happened(kind="restart", at=12, until=12)
    assert settle(1, jobs, journal, [kill, restart], NOTHING).recovery_times == []


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
