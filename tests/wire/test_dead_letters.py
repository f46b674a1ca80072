"""What puts jobs and entries back does it whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from jobwire.testing.server import RedisServer
from jobwire.wire import Keyspace
from jobwire.wire.commands import Command
from jobwire.wire.dead_letters import drop_dead, requeue_dead, requeue_rejected

JOBS = Keyspace("jobs")
PENDING = b"jobs::pending"


@pytest.fixture(scope="module")
def server() -> Iterator[redis.Redis]:
    with RedisServer() as running, redis.Redis(port=running.port) as connection:
        yield connection


@pytest.fixture(params=["dead", "rejected"])
def kind(server: redis.Redis, request: pytest.FixtureRequest) -> str:
    server.flushall()
    kind: str = request.param
    return kind


def requeue(kind: str, *, newest: bool = False) -> Command:
    if kind == "dead":
        return requeue_dead(JOBS, b"j", PENDING, newest=newest)
    return requeue_rejected(JOBS, b"j", b"j", PENDING, newest=newest)[-1]


@pytest.mark.parametrize("newest", [True, False])
def test_it_is_found_from_either_end_and_taken_once(server: redis.Redis, kind: str, newest: bool) -> None:
    server.lpush(f"jobs::{kind}", "a", "j", "b", "j", "c")
    server.lpush(PENDING, "x")
    assert server.execute_command(*requeue(kind, newest=newest)) == 1
    assert server.lrange(PENDING, 0, -1) == [b"j", b"x"]
    left = [b"c", b"b", b"j", b"a"] if newest else [b"c", b"j", b"b", b"a"]
    assert server.lrange(f"jobs::{kind}", 0, -1) == left


@pytest.mark.parametrize("others", [[], ["a", "b"]])
def test_what_is_not_there_changes_nothing(server: redis.Redis, kind: str, others: list[str]) -> None:
    if others:
        server.lpush(f"jobs::{kind}", *others)
    server.lpush(PENDING, "j", "x")
    assert server.execute_command(*requeue(kind)) == 0
    assert server.lrange(PENDING, 0, -1) == [b"x", b"j"], "the ID that waits there already stays where it is"
    assert server.llen(f"jobs::{kind}") == len(others)


@pytest.mark.parametrize("broken", ["list", "queue"])
def test_a_key_that_is_no_list_changes_nothing(server: redis.Redis, kind: str, broken: str) -> None:
    server.lpush(f"jobs::{kind}", "j")
    server.set(f"jobs::{kind}" if broken == "list" else PENDING, "no list")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        server.execute_command(*requeue(kind))
    assert server.exists(PENDING) == int(broken == "queue")
    assert broken == "list" or server.lrange(f"jobs::{kind}", 0, -1) == [b"j"]


@pytest.mark.parametrize("newest", [True, False])
def test_a_dropped_job_is_gone_from_either_end(server: redis.Redis, newest: bool) -> None:
    server.flushall()
    server.lpush("jobs::dead", "j", "a", "j")
    server.hset("job::j", "_reply_to", "c")
    assert [server.execute_command(*command) for command in drop_dead(JOBS, b"j", newest=newest)][-1] == 1
    assert server.lrange("jobs::dead", 0, -1) == ([b"a", b"j"] if newest else [b"j", b"a"])
    assert not server.exists("job::j")
