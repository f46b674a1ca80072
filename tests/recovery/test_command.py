"""``jobwire recover``, run in this process."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis

from jobwire import cli
from tests.support.faces import entries
from tests.support.victims import leave_behind, mark


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Any:
    monkeypatch.setenv("JOBWIRE_URL", redis_url)

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = cli.main(["recover", *words])
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_what_dead_workers_left_of_both_kinds(run: Any, raw: redis.Redis) -> None:
    leave_behind(raw, "w", "a")
    mark(raw, "r", "b")
    code, out, _ = run("--dry-run")
    assert (code, sorted(out.splitlines())) == (
        0,
        ["a  would return  jobs::pending  worker w", "b  would return  jobs::pending  worker r"],
    )
    assert not raw.exists("jobs::pending")
    code, out, _ = run("--json")
    assert code == 0
    assert sorted(json.loads(out), key=lambda done: done["job_id"]) == [
        {"job_id": "a", "worker": "w", "queue": "jobs::pending", "outcome": "returned"},
        {"job_id": "b", "worker": "r", "queue": "jobs::pending", "outcome": "returned"},
    ]
    assert entries(raw, "jobs::pending") == [b"b", b"a"] or entries(raw, "jobs::pending") == [b"a", b"b"]
    assert run()[1] == "nothing was left behind\n"


def test_losses_are_counted(run: Any, raw: redis.Redis) -> None:
    leave_behind(raw, "w", "a")
    assert "a  dead  jobs::pending" in run("--max-losses", "1")[1]
    assert entries(raw, "jobs::dead") == [b"a"]


def test_the_shared_list_needs_an_age_and_a_yes(run: Any, raw: redis.Redis) -> None:
    raw.hset("job::a", "_started", str(time.time() - 7200))
    raw.lpush("jobs::processing", "a")
    code, out, err = run("--shared")
    assert (code, out) == (2, "")
    assert "--older-than" in err
    assert run("--shared", "--older-than", "3h")[1] == "nothing was left behind\n"
    code, out, _ = run("--shared", "--older-than", "90m")
    assert out == "a  would return  jobs::pending\n1 in all; nothing was changed (--yes does it)\n"
    assert entries(raw, "jobs::processing") == [b"a"]
    assert json.loads(run("--shared", "--older-than", "1h", "--json")[1])[0]["outcome"] == "would return"
    code, out, _ = run("--shared", "--older-than", "1h", "--yes", "--queue", "again")
    assert out == "a  returned  jobs::again\n"
    assert entries(raw, "jobs::again") == [b"a"]


def test_unmarked_jobs_need_an_age_and_a_yes(run: Any, raw: redis.Redis) -> None:
    raw.hset("job::a", mapping={"_reply_to": "c", "_queued": "1"})
    assert run("--adopt-unmarked")[0] == 2
    assert "would return" in run("--adopt-unmarked", "--older-than", "1d")[1]
    assert not raw.exists("jobs::pending")
    assert "a  returned" in run("--adopt-unmarked", "--older-than", "1d", "--yes")[1]
    assert entries(raw, "jobs::pending") == [b"a"]


@pytest.mark.parametrize(
    "words",
    [
        ["--shared", "--adopt-unmarked", "--older-than", "1"],
        ["--yes"],
        ["--older-than", "5"],
        ["--shared", "--older-than", "soon"],
        ["--shared", "--older-than", "-1"],
        ["--shared", "--older-than", "nan"],
        ["--shared", "--older-than", "1", "--yes", "--dry-run"],
        ["--adopt-unmarked", "--older-than", "1", "--unknown-age"],
        ["--max-losses", "0"],
    ],
)
def test_what_cannot_be_meant_is_refused(run: Any, raw: redis.Redis, words: list[str]) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err
    assert raw.keys("*") == []


def test_hostile_names_stay_on_their_line(run: Any, raw: redis.Redis) -> None:
    leave_behind(raw, "w\x1b[2J", "a\nforged  returned")
    out = run()[1]
    assert len(out.splitlines()) == 1
    assert "\x1b" not in out
