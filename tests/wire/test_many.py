"""Many at once: joined submissions, entries taken and jobs completed by one script, on data and on a real server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from jobwire import Job, ServerError
from jobwire.errors import DecodeError
from jobwire.testing.server import RedisServer
from jobwire.wire import DIALECTS, Failure, Mode, Submission, Success, Taken
from jobwire.wire.commands import Command
from jobwire.wire.keys import Keyspace
from jobwire.wire.modes.cluster import SpreadReliable
from jobwire.wire.modes.recoverable import Recoverable
from jobwire.wire.modes.reliable import COMPLETED_AT_ONCE, Reliable
from jobwire.wire.modes.simple import Simple
from jobwire.wire.scripts import COMPLETE, COMPLETE_MANY, TAKE_MANY

JOBS = Keyspace()
OWN = JOBS.own_list("w")
PENDING = b"jobs::pending"


def own(kind: type[Reliable] = Reliable, **options: Any) -> Reliable:
    return kind(JOBS, processing=OWN, own_list=True, owner="w", **options)


def submitted(mode: Mode, *names: bytes, queue: bytes = PENDING) -> list[tuple[Command, ...]]:
    return [
        mode.submit(Submission(id=name, data={"a": name.decode()}, reply_to=b"c", queued=1.0), queue) for name in names
    ]


def completion(
    mode: Reliable, name: bytes, result: Any = 1, dialect: str = "0.004", *, client: str = "c"
) -> tuple[Command, ...]:
    job = Job(id=name.decode(), data={}, reply_to=client, dialect=DIALECTS[dialect], meta={"_accept": "E"})
    outcome = result if isinstance(result, Failure) else Success(result)
    return mode.complete(job, Taken(PENDING, name), outcome, started=1.0, at=2.0)


# -- as data


def test_submissions_are_joined_by_one_push_in_their_order() -> None:
    mode = Reliable(JOBS)
    apart = submitted(mode, b"a", b"b", b"c")
    joined = mode.join(apart)
    assert joined == (*(commands[0] for commands in apart), (b"LPUSH", PENDING, b"a", b"b", b"c"))
    refused = ServerError("WRONGTYPE x")
    assert mode.apart([b"OK", refused, b"OK", 7], 3) == [[b"OK", 5], [refused, 6], [b"OK", 7]]
    assert mode.apart([b"OK", b"OK", refused], 2) == [[b"OK", refused]] * 2


def test_envelopes_are_joined_as_well() -> None:
    mode = Simple(JOBS)
    apart = submitted(mode, b"a", b"b")
    assert mode.join(apart) == ((b"LPUSH", PENDING, apart[0][0][2], apart[1][0][2]),)
    assert mode.apart([9], 2) == [[8], [9]]


@pytest.mark.parametrize(
    "mode", [Reliable(JOBS, use_multi=True), Recoverable(JOBS, use_multi=True), SpreadReliable(JOBS)]
)
def test_transactions_and_jobs_of_several_servers_stay_apart(mode: Mode) -> None:
    assert mode.join(submitted(mode, b"a", b"b")) is None


def test_only_into_an_own_list_many_are_taken() -> None:
    assert own().take_many(PENDING, 5) == (b"EVALSHA", TAKE_MANY.sha, b"2", PENDING, OWN, b"5")
    for other in (Reliable(JOBS), Recoverable(JOBS), Simple(JOBS)):
        assert other.take_many(PENDING, 5) is None
        assert not other.joins_completions
    assert own(SpreadReliable).take_many(PENDING, 5) is not None, "the lists are in one slot"
    assert not own(SpreadReliable).joins_completions
    mode = own()
    assert mode.taken_many([b"a", b"b"], PENDING) == [Taken(PENDING, b"a"), Taken(PENDING, b"b")]
    with pytest.raises(ServerError, match="NOSCRIPT"):
        mode.taken_many(ServerError("NOSCRIPT"), PENDING)
    with pytest.raises(DecodeError):
        mode.taken_many([1], PENDING)


def test_completions_are_joined_within_limits() -> None:
    mode = own()
    one = completion(mode, b"a")
    assert mode.complete_many([one]) == [(one[0], 1)]
    old = completion(mode, b"b", "x", "0.003")
    ((command, count),) = mode.complete_many([one, old])
    assert count == 2
    assert command == (
        *(b"EVALSHA", COMPLETE_MANY.sha, b"3", OWN, b"job::a", b"job::b"),
        *(b"client::c", b"T1", b"1", b"2"),
        *(b"", b"Tx", b"", b""),  # the channel of the job before
    )
    many = [completion(mode, b"j%d" % n) for n in range(COMPLETED_AT_ONCE + 1)]
    assert [count for _, count in mode.complete_many(many)] == [COMPLETED_AT_ONCE, 1]
    large = [completion(mode, b"j%d" % n, "x" * (40_000 if n in (1, 2) else 10)) for n in range(5)]
    assert [count for _, count in mode.complete_many(large)] == [2, 3]
    assert [command[1] for command, _ in mode.complete_many(large[1:3])] == [COMPLETE.sha] * 2


# -- on a server


@pytest.fixture(scope="module")
def server(server_binary: Path) -> Iterator[redis.Redis]:
    with RedisServer(binary=server_binary) as running, redis.Redis(port=running.port) as connection:
        yield connection


@pytest.fixture
def run(server: redis.Redis) -> Iterator[Any]:
    server.flushall()
    for script in (COMPLETE, COMPLETE_MANY, TAKE_MANY):
        server.execute_command(*script.load())
    yield server.execute_command
    server.config_set("maxmemory", "0")
    server.flushall()


def take(run: Any, count: int) -> list[bytes]:
    return [taken.entry for taken in own().taken_many(run(*own().take_many(PENDING, count)), PENDING)]


def test_taking_many_is_so_many_pops(run: Any) -> None:
    run(b"LPUSH", PENDING, *[b"j%d" % n for n in range(5)])
    run(b"LPUSH", OWN, b"old")
    assert take(run, 3) == [b"j0", b"j1", b"j2"]
    assert run(b"LRANGE", OWN, b"0", b"-1") == [b"j2", b"j1", b"j0", b"old"]
    assert run(b"LRANGE", PENDING, b"0", b"-1") == [b"j4", b"j3"]
    assert take(run, 64) == [b"j3", b"j4"]
    assert take(run, 64) == []
    assert run(b"LLEN", OWN) == 6


@pytest.mark.parametrize("wrong", [PENDING, OWN])
def test_what_cannot_be_taken_stays_where_it_is(run: Any, wrong: bytes) -> None:
    run(b"LPUSH", PENDING, b"a", b"b")
    run(b"SET", wrong, b"x")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        take(run, 2)
    if wrong == OWN:
        assert run(b"LRANGE", PENDING, b"0", b"-1") == [b"b", b"a"]


def test_nobody_is_left_with_an_entry_in_two_lists(run: Any, server: redis.Redis) -> None:
    """Where the last step is forbidden, the first ones are undone."""
    run(b"LPUSH", PENDING, b"a", b"b")
    run(b"LPUSH", OWN, b"old")
    server.acl_setuser("limited", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-rpop"])
    port = server.connection_pool.connection_kwargs["port"]
    other = redis.Redis(port=port, username="limited", password="x")
    try:
        with pytest.raises(redis.RedisError):
            other.execute_command(*(own().take_many(PENDING, 2) or ()))
        assert run(b"LRANGE", OWN, b"0", b"-1") == [b"old"]
        assert run(b"LRANGE", PENDING, b"0", b"-1") == [b"b", b"a"]
    finally:
        other.close()
        server.acl_deluser("limited")


def complete(run: Any, names: Sequence[bytes], **results: Any) -> list[Any]:
    mode = own()
    ((command, count),) = mode.complete_many([completion(mode, name, results.get(name.decode(), 1)) for name in names])
    assert count == len(names)
    return list(run(*command))


@pytest.mark.parametrize("order", [[b"a", b"b", b"c"], [b"c", b"a", b"b"], [b"b", b"c"]], ids=str)
def test_completing_many(run: Any, server: redis.Redis, order: list[bytes]) -> None:
    for name in (b"a", b"b", b"c"):
        run(b"HSET", b"job::" + name, b"_reply_to", b"c")
    run(b"LPUSH", OWN, b"a", b"b", b"c", b"d")
    with server.pubsub() as listener:
        listener.subscribe("client::c")
        assert listener.get_message(timeout=2)
        assert complete(run, order) == [2] * len(order)
        heard = [listener.get_message(timeout=2) for _ in order]
        assert [message["data"] for message in heard if message] == order
    done = {b"_reply_to": b"c", b"_started": b"1", b"_processed": b"2", b"result": b"T1"}
    assert [server.hgetall(b"job::" + name) for name in order] == [done] * len(order)
    assert sorted(server.lrange(OWN, 0, -1)) == sorted({b"a", b"b", b"c", b"d"} - set(order))
    assert complete(run, order) == [0] * len(order), "they were given away meanwhile"


def test_every_client_hears_of_its_own_jobs(run: Any, server: redis.Redis) -> None:
    """A channel is said once for jobs in a row, also where the first of them was given away."""
    clients = {b"a": "one", b"b": "one", b"c": "two", b"d": "two", b"e": "one", b"f": "one"}
    run(b"LPUSH", OWN, *[name for name in clients if name not in (b"c", b"e")])
    mode = own()
    ((command, _),) = mode.complete_many([completion(mode, name, client=client) for name, client in clients.items()])
    with server.pubsub() as listener:
        listener.subscribe("client::one", "client::two")
        assert [listener.get_message(timeout=2) for _ in range(2)]
        assert run(*command) == [2, 2, 0, 2, 0, 2]
        heard = [listener.get_message(timeout=2) for _ in range(4)]
    assert [(message["channel"], message["data"]) for message in heard if message] == [
        *[(b"client::one", b"a"), (b"client::one", b"b")],
        *[(b"client::two", b"d"), (b"client::one", b"f")],
    ]


def test_the_errors_of_a_job_are_its_own(run: Any, server: redis.Redis) -> None:
    run(b"SET", b"job::b", b"no hash")
    run(b"LPUSH", OWN, b"a", b"b", b"d", b"e")
    codes = complete(run, [b"a", b"b", b"c", b"d", b"e"], d=Failure("E", "no"))
    assert [codes[at] for at in (0, 2, 3, 4)] == [1, 0, 1, 1]
    assert "WRONGTYPE" in str(codes[1])
    assert server.hget("job::d", "result") == b'E{"type":"E","message":"no"}'
    assert not server.exists("job::c")


def test_a_full_server_takes_completions(run: Any, server: redis.Redis) -> None:
    """An entry is removed before anything is written, and no write but the first is refused."""
    run(b"LPUSH", OWN, b"a", b"b", b"c", b"d")
    run(b"LPUSH", PENDING, b"p")
    server.config_set("maxmemory", "1")
    assert complete(run, [b"a", b"b"]) == [1, 1]
    assert complete(run, [b"d", b"c"]) == [1, 1]
    with pytest.raises(redis.RedisError, match=r"maxmemory|OOM|OutOfMemory"):
        take(run, 2)
    server.config_set("maxmemory", "0")
    assert run(b"LLEN", OWN) == 0
    assert run(b"LRANGE", PENDING, b"0", b"-1") == [b"p"]
