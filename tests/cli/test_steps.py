"""No command of a tool holds the server for long: counted by what each one touches, never by a clock."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_py

from jobwire.cli.common import work_off

Run = Callable[..., Any]

MANY = 3000
LONGEST = 1000
"""Entries that one command may read of a list."""
SEARCHED = 50_000
"""Entries that one command may compare with one."""
#: Commands whose cost does not grow with what stands under their key, or that take steps by themselves.
SHORT = set(
    b"AUTH CLIENT COMMAND CONFIG DEL EVAL EXISTS GET HDEL HELLO HGET HGETALL HLEN HMGET HSCAN HSET HSTRLEN INFO LINDEX "
    b"LLEN LMOVE LPUSH PING PTTL ROLE RPUSH SCAN SELECT SET SLOWLOG SREM SSCAN TIME TYPE".split()
)


@pytest.fixture
def commands(redis: redis_py.Redis) -> Iterator[Callable[[], list[list[bytes]]]]:
    """Everything that has been asked of the server since the last time, by scripts too, in its order."""
    before = {name: redis.config_get(name)[name] for name in ("slowlog-log-slower-than", "slowlog-max-len")}
    redis.config_set("slowlog-log-slower-than", 0)
    redis.config_set("slowlog-max-len", 100_000)

    def asked() -> list[list[bytes]]:
        found = [entry["command"].split(b" ") for entry in reversed(redis.slowlog_get(100_000))]
        redis.slowlog_reset()
        return found

    yield asked
    for name, value in before.items():
        redis.config_set(name, value)
    redis.slowlog_reset()


def record(entry: bytes) -> str:
    return json.dumps(
        {
            "at": 1.5,
            "worker": "w",
            "queue": "jobs::high",
            "entry": {"$bytes": b64encode(entry).decode()},
            "reason": "unreadable",
        },
        separators=(",", ":"),
    )


@pytest.fixture
def full(redis: redis_py.Redis) -> None:
    ids = [f"{number:036}" for number in range(MANY)]
    for key in ("jobs::dead", "jobs::processing", "jobs::processing::gone", "jobs::processing::alive", "jobs::pending"):
        redis.lpush(key, *ids)
    redis.lpush("jobs::rejected", *(record(name.encode()) for name in ids))
    redis.sadd("jobs::workers", "gone", "alive", *ids)
    redis.hset("jobs::queues", mapping=dict.fromkeys(["gone", "alive"], "jobs::pending"))
    redis.set("jobs::worker::alive", "nonce")
    pipe = redis.pipeline(transaction=False)
    for name in ids:
        pipe.hset(f"job::{name}", mapping={"_reply_to": "c", "_queued": "1500000000", "text_a": "b"})
    pipe.hset("job::nowhere", "_reply_to", "c")
    pipe.execute()


@pytest.mark.parametrize(
    "words",
    [
        "dead list --limit 3000",
        "dead requeue --all",
        "dead drop --all --yes",
        "rejected list --limit 3000",
        "rejected requeue --all",
        "recover --dry-run",
        "recover",
        "recover --shared --older-than 1h",
        "recover --shared --older-than 1h --yes",
        "recover --adopt-unmarked --older-than 1h",
        "jobs --limit 3000",
        "job nowhere",
        "top --once",
    ],
)
def test_no_command_touches_much(
    run: Run, redis: redis_py.Redis, full: None, commands: Callable[[], list[list[bytes]]], words: str
) -> None:
    lists = {key: redis.lrange(key, 0, -1) for key in (b"jobs::dead", b"jobs::rejected", b"jobs::processing")}
    commands()
    assert run(*words.split()).code == 0
    asked = commands()
    for command in asked:
        check(command, lists)
    read = Counter(command[0] for command in asked)
    if words not in ("job nowhere", "top --once", "recover"):
        assert read[b"LRANGE"] >= MANY / LONGEST, "it has read a list of this length"


def check(command: list[bytes], lists: dict[bytes, list[bytes]]) -> None:
    """``lists`` are what stands in them; what a command removes is removed there, too."""
    name, *args = command
    if name == b"LRANGE":
        first, last = map(int, args[1:])
        assert (first < 0) == (last < 0), command
        assert last - first < LONGEST, command
    elif name == b"LPOS" and b"MAXLEN" in args:
        assert int(args[args.index(b"MAXLEN") + 1]) <= SEARCHED
    elif name == b"LPOS":
        from_the_right = b"RANK" in args
        assert lists[args[0]][-1 if from_the_right else 0].startswith(args[1][:60]), "the first that it looks at"
    elif name == b"LREM":
        key, count, entry, *_ = args
        assert lists[key].pop(-1 if count == b"-1" else 0).startswith(entry[:60]), "the first that it looks at"
    else:
        assert name in SHORT, command


def test_large_entries_are_few_at_a_time(
    run: Run, redis: redis_py.Redis, commands: Callable[[], list[list[bytes]]]
) -> None:
    redis.lpush("jobs::rejected", *(record(b"%d" % number + b"x" * 200_000) for number in range(60)))
    commands()
    assert run("rejected", "list").code == run("rejected", "requeue", "--all").code == 0
    spans = [int(last) - int(first) + 1 for name, _, first, last in reads(commands())]
    assert max(spans) == 16, "at first nothing is known of them"
    assert all(span <= 4 for span in spans if span != 16), "then 1 MiB"
    assert redis.llen("jobs::high") == 60


def reads(asked: list[list[bytes]]) -> list[list[bytes]]:
    return [command for command in asked if command[0] == b"LRANGE"]


def test_a_job_inside_of_a_long_list_is_found_in_pieces(
    run: Run, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobwire.wire.states.SEARCHED", 100)
    monkeypatch.setattr("jobwire.cli.job.SEARCHED", 100)
    for place, key in (("queued", "jobs::pending"), ("started", "jobs::processing"), ("dead", "jobs::dead")):
        redis.rpush(key, *(f"{key}{number}" for number in range(3000)), place, *(f"{key}r{n}" for n in range(700)))
        redis.hset(f"job::{place}", "_reply_to", "c")
        state = json.loads(run("job", place, "--json").out)["state"]
        assert (state["place"], state["queue_length"]) == (place, 3701)
        assert state["ahead"] == (700 if place == "queued" else None)
    redis.hset("job::nowhere", "_reply_to", "c")
    assert json.loads(run("job", "nowhere", "--json").out)["state"]["place"] == "unknown"


async def test_entries_that_are_left_make_the_steps_smaller() -> None:
    """Each entry behind them is looked for past all of them."""
    asked: list[tuple[int, int]] = []
    left = 100_000

    class Link:
        async def execute(self, command: tuple[bytes, ...]) -> Any:
            if command[0] == b"LLEN":
                return left + 3000
            first, last = int(command[2]), int(command[3])
            asked.append((-last - 1, last - first + 1))
            return [b"x"] * (last - first + 1)

    async def act(entries: list[bytes]) -> int:
        return len(entries)

    link: Any = Link()
    assert await work_off(link, b"k", act, step=500) == left + 3000
    assert max(many for _, many in asked) == 500
    assert all(passed * many <= 500_000 for passed, many in asked), "about 5 ms of the server"


@pytest.mark.parametrize("action", [("requeue",), ("drop", "--yes")])
@pytest.mark.parametrize(("at", "count"), [(0, b"1"), (1000, b"1"), (2000, b"-1"), (2999, b"-1")])
def test_a_named_job_is_removed_from_the_nearer_end(
    run: Run,
    redis: redis_py.Redis,
    full: None,
    commands: Callable[[], list[list[bytes]]],
    action: Any,
    at: int,
    count: bytes,
) -> None:
    name = redis.lrange("jobs::dead", at, at)[0]
    redis.delete("jobs::pending")
    commands()
    assert run("dead", *action, name.decode()).code == 0
    assert [words[1:] for words in commands() if words[0] == b"LREM"] == [[b"jobs::dead", count, name]]
    assert redis.llen("jobs::dead") == MANY - 1
    assert redis.lrange("jobs::pending", 0, -1) == ([name] if action == ("requeue",) else [])
    again = run("dead", *action, name.decode())
    assert (again.code, again.out) == (1, f"{name.decode()}: not among the dead\n")


@pytest.mark.parametrize(("at", "count"), [(0, b"1"), (2, b"-1")])
def test_a_record_is_removed_from_the_nearer_end(
    run: Run, redis: redis_py.Redis, commands: Callable[[], list[list[bytes]]], at: int, count: bytes
) -> None:
    redis.lpush("jobs::rejected", *(record(b"%d" % number) for number in range(4)))
    commands()
    assert run("rejected", "requeue", str(at)).code == 0
    assert [words[1:3] for words in commands() if words[0] == b"LREM"] == [[b"jobs::rejected", count]]
    assert redis.lrange("jobs::high", 0, -1) == [b"%d" % (3 - at)]
