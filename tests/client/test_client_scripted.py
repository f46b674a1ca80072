"""The client against a server of answers: what it sends, in which order, and what it makes of every loss."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from jobwire import (
    Client,
    ClosedError,
    ConnectError,
    ConnectionLost,
    JobCancelled,
    JobLost,
    JobTimeout,
    ServerError,
    TraceEvent,
)
from jobwire.testing.scripted import LOST, SILENT
from jobwire.wire import Keyspace, Reliable
from jobwire.wire.lifecycle import after
from jobwire.wire.server_clock import ServerClock
from tests.support.faces import until, within

Connect = Callable[..., Any]


@pytest.fixture
def server(played: Any) -> Any:
    return played


def submission(command: tuple[bytes, ...]) -> dict[bytes, bytes]:
    return dict(zip(command[2::2], command[3::2], strict=True))


# -- what is sent


async def test_it_listens_before_it_is_started(server: Any, connect: Connect) -> None:
    client = await connect(id="me")
    assert server.notices.commands == [(b"SUBSCRIBE", b"client::me")]
    assert server.commands.commands == []
    assert client.outstanding == 0


async def test_the_whole_exchange_is_six_commands(server: Any, connect: Connect) -> None:
    client = await connect(id="me", accept="")
    server.answers[b"HMGET"] = [b"Tcba"]
    handle = client.submit({"text": "abc"}, id="j")
    await until(lambda: server.sent(b"LPUSH"))
    written, pushed = server.commands.commands
    assert written[:2] == (b"HMSET", b"job::j")
    fields = submission(written)
    assert float(fields.pop(b"_queued")) > 1e9
    assert fields == {b"_reply_to": b"me", b"text_text": b"abc"}
    assert pushed == (b"LPUSH", b"jobs::pending", b"j")
    assert server.commands.writes == [(written, pushed)]
    server.tell("j", client)
    assert await handle == "cba"
    await until(lambda: server.sent(b"DEL"))
    assert server.commands.commands[2:] == [(b"HMGET", b"job::j", b"result"), (b"DEL", b"job::j")]
    assert len(server.transport.commands) == 5


async def test_a_transaction_is_one_write(server: Any, connect: Connect) -> None:
    client = await connect(use_multi=True, accept="")
    server.answers |= {b"HMSET": b"QUEUED", b"LPUSH": b"QUEUED", b"EXEC": [b"OK", 7]}
    client.submit({}, id="j")
    await until(lambda: client.queue_length == 7)
    assert [command[0] for command in server.commands.writes[0]] == [b"MULTI", b"HMSET", b"LPUSH", b"EXEC"]


async def test_what_is_submitted_in_one_turn_leaves_in_few_writes(server: Any, connect: Connect) -> None:
    client = await connect()
    for _ in range(50):
        client.submit({"a": 1})
    await until(lambda: len(server.sent(b"LPUSH")) == 3)
    # The first one may be alone, and goes at once; what comes behind it is joined, 32 at a time.
    assert [len(push) - 2 for push in server.sent(b"LPUSH")] == [1, 32, 17]
    pushed = tuple(entry for push in server.sent(b"LPUSH") for entry in push[2:])
    assert pushed == tuple(command[1].removeprefix(b"job::") for command in server.sent(b"HMSET"))
    # 32 submissions are written before the turn is over: workers are at them while more are made.
    assert [len(write) for write in server.commands.writes] == [2 + 33, 18]
    await client.submit_many([{"a": 1}] * 100)
    await until(lambda: len(server.sent(b"LPUSH")) == 7)
    assert [len(write) for write in server.commands.writes] == [2 + 33, 18, 33, 33, 33, 5]


async def test_a_simple_job_is_one_push_and_nothing_else(server: Any, connect: Connect) -> None:
    client = await connect(mode="simple", id="me")
    handle = client.submit({"a": 1}, id="j")
    await until(lambda: server.sent(b"LPUSH"))
    server.notices.push([b"message", b"client::me", b'{"id":"j","result":[1,null]}'])
    assert await handle == [1, None]
    with pytest.raises(JobTimeout):
        await client.submit({}, timeout=0.01)
    client.submit({}).cancel()
    names = {command[0] for command in server.commands.commands}
    assert names == {b"LPUSH", b"LLEN", b"SCARD", b"SCAN"}


@pytest.mark.parametrize(
    ("option", "field"), [({"expires_in": 0}, b"_expires"), ({"traceparent": "00-1"}, b"_traceparent")]
)
async def test_extensions_are_sent_where_they_are_given(
    server: Any, connect: Connect, option: dict[str, Any], field: bytes
) -> None:
    client = await connect()
    client.submit({}, **option)
    client.submit({}, meta={"_mine": "x"})
    await until(lambda: len(server.sent(b"HMSET")) == 2)
    # A job with ``_expires`` asks for the server's clock first, so the other may be faster.
    first, second = sorted(map(submission, server.sent(b"HMSET")), key=lambda fields: b"_mine" in fields)
    assert field in first
    assert second[b"_mine"] == b"x"
    assert first[b"_accept"] == second[b"_accept"] == b"E,V"
    assert b"_mine" not in first


@pytest.mark.parametrize("dialect", ["0.001", "0.002"])
async def test_no_tags_are_asked_for_in_a_dialect_without_tags(server: Any, connect: Connect, dialect: str) -> None:
    client = await connect(dialect=dialect, mode="reliable")
    client.submit({})
    await until(lambda: server.sent(b"HMSET"))
    assert b"_accept" not in submission(server.sent(b"HMSET")[0])


# -- connections that are lost


def there(command: tuple[bytes, ...]) -> list[bytes | None]:
    """The fields of a job that is there, and not begun."""
    return [b"me" if field == b"_reply_to" else None for field in command[2:]]


async def test_submissions_that_were_not_answered_are_looked_for_together_and_in_bounded_looks(
    server: Any, connect: Connect
) -> None:
    client = await connect(max_outstanding=10_000)
    inside = {b"inside%d" % n for n in range(3)}
    server.answers |= {
        b"LPUSH": SILENT,
        # A long queue, and three that stand where the first look does not look.
        b"LLEN": 200_000,
        b"LPOS": lambda command: (
            7 if command[1] == b"jobs::pending" and (command[2] not in inside or b"50000" in command) else None
        ),
        b"HMGET": lambda command: [None] * 5 if command[1] == b"job::lost" else there(command),
    }
    for n in range(1500):
        client.submit({"n": n}, id=f"j{n}")
    for name in sorted(inside):
        client.submit({}, id=name)
    client.submit({}, id="lost")
    await until(lambda: sum(len(push) - 2 for push in server.sent(b"LPUSH")) == 1504)
    server.answers[b"LPUSH"] = 1
    before = len(server.sent(b"LPUSH"))
    server.commands.lose()
    await until(lambda: len(server.sent(b"LPUSH")) > before)
    await within(client.stop())
    assert [push[2:] for push in server.sent(b"LPUSH")[before:]] == [(b"lost",)], "the others have arrived"
    looks = server.sent(b"LPOS")
    assert all(int(look[look.index(b"MAXLEN") + 1]) <= 50_000 for look in looks), "no look goes through a list"
    deep = [look for look in looks if b"50000" in look]
    assert {look[2] for look in deep} == inside
    assert len(looks) == 4 * (1504 + 3), "four looks a job, all but these short"


async def test_a_submission_in_doubt_is_looked_for_where_the_first_look_did_not_look(
    server: Any, connect: Connect
) -> None:
    await connect_and_lose(server, connect)
    server.answers |= {b"LPUSH": 1, b"LLEN": 200_000, b"HMGET": there}
    await until(lambda: len(server.sent(b"LPUSH")) == 2)
    assert {look[-1] for look in server.sent(b"LPOS")} == {b"500", b"50000"}
    assert server.commands.commands[-1] == (b"LPUSH", b"jobs::pending", b"j"), "it is in no list, so it goes again"


async def test_a_submission_that_expires_is_sent_again_where_the_clock_has_to_be_asked_anew(
    server: Any, connect: Connect
) -> None:
    server.answers |= {b"TIME": [b"1000", b"0"]}
    client = await connect_and_lose(server, connect, expires_in=60)
    client._collector._clock = ServerClock()
    server.answers |= {b"LPUSH": 1}
    await until(lambda: len(server.sent(b"LPUSH")) == 2)


async def connect_and_lose(server: Any, connect: Connect, **options: Any) -> Client:
    """A client whose submission of ``j`` was not answered when the connection broke."""
    client = await connect()
    server.answers[b"LPUSH"] = SILENT
    client.submit({}, id="j", **options)
    await until(lambda: server.sent(b"LPUSH"))
    server.commands.lose()
    return client


async def test_a_submission_that_was_not_answered_and_did_not_arrive_is_sent_again(
    server: Any, connect: Connect
) -> None:
    client = await connect()
    server.answers |= {b"HMSET": LOST, b"EXISTS": 0}
    handle = client.submit({"a": 1}, id="j")
    await until(lambda: len(server.transport.links) == 4)
    server.answers[b"HMSET"] = b"OK"
    await until(lambda: len(server.sent(b"LPUSH")) == 2)
    again = server.commands.commands
    assert [command[0] for command in again if command[0] in (b"HMGET", b"HMSET", b"LPUSH")] == [
        b"HMGET",
        b"HMSET",
        b"LPUSH",
    ]
    assert not handle.done()
    server.answers[b"HMGET"] = [b"Tdone"]
    server.tell("j", client)
    assert await handle == "done"


async def test_a_submission_that_arrived_unanswered_is_not_sent_again(server: Any, connect: Connect) -> None:
    client = await connect()
    server.answers |= {b"LPUSH": LOST, b"LPOS": lambda command: 0 if command[1] == b"jobs::pending" else None}
    server.answers[b"HMGET"] = there
    handle = client.submit({"a": 1}, id="j")
    await until(lambda: len(server.transport.links) == 4)
    server.answers[b"LPUSH"] = 1
    await until(lambda: server.sent(b"LPOS") and len(server.sent(b"HMGET")) >= 2)
    assert len(server.sent(b"LPUSH")) == 1
    server.answers[b"HMGET"] = [b"Tdone"]
    server.tell("j", client)
    assert await handle == "done"


async def test_a_submission_that_ran_unanswered_is_collected(server: Any, connect: Connect) -> None:
    client = await connect()
    server.answers |= {b"LPUSH": LOST, b"HMGET": lambda command: [b"Tdone"] + [None] * (len(command) - 3)}
    assert await client.submit({"a": 1}, id="j") == "done"
    await until(lambda: server.sent(b"DEL"))
    assert len(server.sent(b"LPUSH")) == 1


async def test_jobs_submitted_without_connection_wait_for_one_and_are_not_asked_for(
    server: Any, connect: Connect
) -> None:
    states: list[str] = []
    client = await connect(on_state=lambda state, error: states.append(state), reconnect_delay=0.01)
    server.commands.lose()
    await until(lambda: states == ["up", "down"])
    handles = [client.submit({"n": n}, id=f"j{n}") for n in range(20)]
    handles[3].cancel()
    await until(lambda: states == ["up", "down", "up"])
    await until(lambda: server.sent(b"LPUSH"))
    # They were never sent, so there is nothing to look for: no LPOS over a long queue for each of them.
    assert server.sent(b"LPOS") == []
    assert [push[2:] for push in server.sent(b"LPUSH")] == [tuple(b"j%d" % n for n in range(20) if n != 3)]


async def test_simple_never_sends_twice(server: Any, connect: Connect) -> None:
    client = await connect(mode="simple")
    server.answers[b"LPUSH"] = LOST
    with pytest.raises(ConnectionLost, match="whether job 'j' was submitted is not known"):
        await client.submit({}, id="j")
    server.answers[b"LPUSH"] = 1
    await until(lambda: len(server.transport.links) == 4)
    client.submit({}, id="k")
    await until(lambda: len(server.sent(b"LPUSH")) == 2)
    assert b'"j"' in server.sent(b"LPUSH")[0][2]
    assert b'"k"' in server.sent(b"LPUSH")[1][2]


async def test_simple_keeps_what_it_could_not_send(server: Any, connect: Connect) -> None:
    client = await connect(mode="simple", id="me")
    # The connection is broken, and the client has not yet been told.
    server.commands.connection.fail("broken by the test")
    handle = client.submit({}, id="j")
    await until(lambda: server.sent(b"LPUSH"))
    server.notices.push([b"message", b"client::me", b'{"id":"j","result":1}'])
    assert await handle == 1


async def test_a_completion_whose_notice_was_lost_is_found_after_reconnecting(server: Any, connect: Connect) -> None:
    client = await connect()
    handle = client.submit({}, id="j")
    await until(lambda: client.queue_length == 1)
    server.answers[b"HMGET"] = [b"Tdone"]
    server.notices.lose()
    assert await handle == "done"
    assert len(server.transport.links) == 4


async def test_the_sweep_finds_what_no_notice_told(
    server: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobwire.client.outstanding._SWEEP_EVERY", 0.01)
    client = await connect()
    handle = client.submit({}, id="j")
    await until(lambda: client.queue_length == 1)
    server.answers[b"HMGET"] = [b"Tdone"]
    assert await handle == "done"


async def test_a_result_whose_fetch_was_lost_is_fetched_again(server: Any, connect: Connect) -> None:
    client = await connect()
    handle = client.submit({}, id="j")
    await until(lambda: client.queue_length == 1)
    server.answers[b"HMGET"] = LOST
    server.tell("j", client)
    await until(lambda: len(server.transport.links) == 4)
    server.answers[b"HMGET"] = [b"Tdone"]
    assert await handle == "done"


async def test_a_deletion_that_was_lost_is_said_again(server: Any, connect: Connect) -> None:
    client = await connect()
    handle = client.submit({}, id="j")
    await until(lambda: client.queue_length == 1)
    server.answers |= {b"HMGET": [b"Tdone"], b"DEL": LOST}
    server.tell("j", client)
    assert await handle == "done"
    await until(lambda: len(server.transport.links) == 4)
    server.answers[b"DEL"] = 1
    await until(lambda: len(server.sent(b"DEL")) >= 2)
    assert server.commands.commands[0] == (b"DEL", b"job::j")


async def test_both_connections_are_renewed_and_none_is_left_open(server: Any, connect: Connect) -> None:
    client = await connect()
    original = server.transport.connect
    refused = 0

    async def second_fails(**options: Any) -> Any:
        nonlocal refused
        if options["name"].startswith("jobwire-notices") and refused < 5:
            refused += 1
            raise ConnectError("max number of clients reached")
        return await original(**options)

    server.transport.connect = second_fails
    server.notices.lose()
    await until(lambda: refused == 5)
    assert client.outstanding == 0
    await until(lambda: len([link for link in server.transport.links if not link.connection.closed]) == 2)
    await until(lambda: server.notices.commands)
    assert len([link for link in server.transport.links if not link.connection.closed]) == 2


async def test_a_client_gives_up_when_told_to(server: Any, connect: Connect) -> None:
    states: list[Any] = []
    client = await connect(max_reconnects=3, on_state=lambda state, error: states.append((state, str(error))))
    handle = client.submit({}, id="j")
    server.transport.refuse(3)
    server.commands.lose()
    with pytest.raises(ConnectError, match="refused by the test"):
        await handle
    assert [state for state, _ in states] == ["up", "down", "closed"]
    with pytest.raises(ClosedError, match="gave up"):
        client.submit({})


async def test_a_state_hook_that_raises_ends_nothing(
    server: Any, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(state: str, error: Exception | None) -> None:
        raise ValueError(f"hook at {state}")

    client = await connect(on_state=hook)
    server.commands.lose()
    await until(lambda: len(server.transport.links) == 4 and server.notices.commands)
    client.submit({})
    await until(lambda: server.sent(b"LPUSH"))
    assert any("on_state" in record.message for record in caplog.records)


# -- errors that Redis answers


@pytest.mark.parametrize("multi", [False, True])
async def test_out_of_memory(server: Any, connect: Connect, multi: bool) -> None:
    client = await connect(use_multi=multi)
    oom = ServerError("OOM command not allowed when used memory > 'maxmemory'.")
    server.answers |= {b"HMSET": oom, b"LPUSH": oom, b"EXEC": ServerError("EXECABORT Transaction discarded")}
    with pytest.raises(ServerError, match="OOM"):
        await client.submit({}, id="j")
    assert client.outstanding == 0
    assert server.sent(b"DEL", b"LREM") == []


async def test_a_queue_of_the_wrong_type_leaves_no_hash(server: Any, connect: Connect) -> None:
    client = await connect()
    server.answers[b"LPUSH"] = ServerError("WRONGTYPE Operation against a key holding the wrong kind of value")
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await client.submit({}, id="j")
    await until(lambda: server.sent(b"DEL"))
    assert server.sent(b"DEL") == [(b"DEL", b"job::j")]


@pytest.mark.parametrize("multi", [False, True])
async def test_a_job_key_that_is_somebody_elses_is_not_deleted(server: Any, connect: Connect, multi: bool) -> None:
    client = await connect(use_multi=multi)
    wrong = ServerError("WRONGTYPE Operation against a key holding the wrong kind of value")
    if multi:
        server.answers |= {b"HMSET": b"QUEUED", b"LPUSH": b"QUEUED", b"EXEC": [wrong, 1]}
    else:
        server.answers |= {b"HMSET": wrong}
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await client.submit({}, id="j")
    await until(lambda: server.sent(b"LREM"))
    assert server.sent(b"DEL", b"LREM") == [(b"LREM", b"jobs::pending", b"1", b"j")]


async def test_a_busy_server_ends_no_job(server: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobwire.client.outstanding._SWEEP_EVERY", 0.01)
    client = await connect()
    handle = client.submit({}, id="j")
    await until(lambda: client.queue_length == 1)
    server.answers[b"HMGET"] = ServerError("BUSY Redis is busy running a script.")
    server.tell("j", client)
    await until(lambda: len(server.sent(b"HMGET")) >= 2)
    assert not handle.done()
    server.answers[b"HMGET"] = [b"Tdone"]
    assert await handle == "done"


async def test_a_result_in_a_key_of_the_wrong_type(server: Any, connect: Connect) -> None:
    client = await connect()
    handle = client.submit({}, id="j")
    await until(lambda: client.queue_length == 1)
    server.answers[b"HMGET"] = ServerError("WRONGTYPE Operation against a key holding the wrong kind of value")
    server.tell("j", client)
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await handle


# -- notices


async def test_notices_of_jobs_that_are_not_ours_are_ignored(server: Any, connect: Connect) -> None:
    client = await connect()
    handle = client.submit({}, id="mine")
    await until(lambda: client.queue_length == 1)
    for foreign in (b"theirs", b"", b"\xff\x00", b"{}", b"x" * 100_000):
        server.tell(foreign, client)
    server.tell("mine", client)  # forged: there is no result
    await until(lambda: server.sent(b"EXISTS"))
    assert {command[1] for command in server.sent(b"HMGET", b"EXISTS", b"DEL")} == {b"job::mine"}
    assert server.sent(b"DEL") == []
    assert not handle.done()
    server.answers[b"HMGET"] = [b"Tdone"]
    server.tell("mine", client)
    server.tell("mine", client)
    assert await handle == "done"
    await until(lambda: server.sent(b"DEL"))
    server.tell("mine", client)
    await asyncio.sleep(0.01)
    assert len(server.sent(b"DEL")) == 1


@pytest.mark.parametrize(
    "payload", [b"j", b"{", b"[]", b'{"id":5}', b'{"id":"j"}', b"\xff", b'{"id":"other","result":1}']
)
async def test_simple_survives_replies_that_are_none(server: Any, connect: Connect, payload: bytes) -> None:
    client = await connect(mode="simple", id="me")
    handle = client.submit({}, id="j")
    await until(lambda: client.queue_length == 1)
    server.notices.push([b"message", b"client::me", payload])
    server.notices.push([b"message", b"client::me", b'{"id":"j","result":"T"}'])
    assert await handle == "T"


async def test_a_hash_that_is_gone_is_a_lost_job(server: Any, connect: Connect) -> None:
    client = await connect()
    handle = client.submit({}, id="j")
    await until(lambda: client.queue_length == 1)
    server.answers[b"EXISTS"] = 0
    server.tell("j", client)
    with pytest.raises(JobLost, match="'j' is gone"):
        await handle
    assert server.sent(b"DEL") == []


# -- giving up


async def test_cancelling_withdraws(server: Any, connect: Connect) -> None:
    client = await connect()
    handle = client.submit({}, id="j")
    assert handle.cancel()
    assert not handle.cancel()
    with pytest.raises(JobCancelled) as caught:
        await handle
    assert caught.value.job_id == "j"
    await until(lambda: server.sent(b"EVAL"))
    assert server.sent(b"EVAL") == list(Reliable(Keyspace()).withdraw(b"j", b"jobs::pending"))


async def test_a_withdrawal_that_was_lost_is_said_again(server: Any, connect: Connect) -> None:
    client = await connect()
    handle = client.submit({}, id="j")
    server.answers[b"EVAL"] = LOST
    handle.cancel()
    await until(lambda: len(server.transport.links) == 4)
    server.answers[b"EVAL"] = 1
    await until(lambda: len(server.sent(b"EVAL")) >= 2)
    assert server.commands.commands[0][0] == b"EVAL"


async def test_the_late_result_of_a_cancelled_job_is_deleted(server: Any, connect: Connect) -> None:
    client = await connect()
    handle = client.submit({}, id="j")
    server.answers[b"EVAL"] = 0  # a worker has it already
    handle.cancel()
    await until(lambda: server.sent(b"EVAL"))
    assert server.sent(b"DEL") == []
    server.tell("j", client)
    await until(lambda: server.sent(b"DEL"))
    assert server.sent(b"DEL") == [(b"DEL", b"job::j")]


async def test_a_late_result_whose_notice_was_lost_is_deleted_too(server: Any, connect: Connect) -> None:
    client = await connect()
    handle = client.submit({}, id="j")
    server.answers[b"EVAL"] = 0
    handle.cancel()
    await until(lambda: server.sent(b"EVAL"))
    server.answers[b"HMGET"] = [b"Tlate"]
    server.notices.lose()
    await until(lambda: server.sent(b"DEL"))
    assert server.sent(b"DEL") == [(b"DEL", b"job::j")]


async def test_a_server_that_hangs_does_not_keep_a_deadline(
    server: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobwire.client.outstanding._LOOK_WITHIN", 0.05)
    client = await connect()
    handle = client.submit({}, timeout=0.05)
    await until(lambda: client.queue_length == 1)
    server.answers[b"HMGET"] = SILENT
    with pytest.raises(JobTimeout, match="Redis does not answer"):
        await asyncio.wait_for(handle, 2)


async def test_a_deadline_without_connection(server: Any, connect: Connect) -> None:
    client = await connect(reconnect_delay=0.05)
    server.transport.refuse(1000)
    server.commands.lose()
    await until(lambda: server.commands.connection.closed)
    with pytest.raises(JobTimeout, match=r"within 0\.05 s: there is no connection to Redis"):
        await client.submit({}, timeout=0.05)


async def test_a_deadline_comes_whatever_redis_answers(server: Any, connect: Connect) -> None:
    client = await connect()
    server.answers |= {b"LLEN": b"nonsense", b"HMGET": [None], b"SCAN": b"?"}
    with pytest.raises(JobTimeout):
        await client.submit({}, id="j", timeout=0.01)


async def test_a_timeout_leaves_the_job_and_cleans_up_its_result(server: Any, connect: Connect) -> None:
    client = await connect()
    with pytest.raises(JobTimeout) as caught:
        await client.submit({}, id="j", timeout=0.01)
    assert isinstance(caught.value, TimeoutError)
    assert server.sent(b"EVAL", b"DEL") == []
    server.tell("j", client)
    await until(lambda: server.sent(b"DEL"))


async def test_one_wait_that_ends_early_does_not_disturb_the_others(server: Any, connect: Connect) -> None:
    client = await connect()
    handle = client.submit({}, id="j")

    async def wait() -> Any:
        return await handle

    tasks = [asyncio.create_task(wait()) for _ in range(3)]
    await until(lambda: client.queue_length == 1)
    tasks[0].cancel()
    server.answers[b"HMGET"] = [b"Tdone"]
    server.tell("j", client)
    assert await asyncio.gather(*tasks[1:]) == ["done", "done"]
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_nothing_is_reported_for_jobs_that_were_taken_back(
    server: Any, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    import gc

    client = await connect()
    client.submit({}).cancel()
    client.submit({})
    await client.stop()
    gc.collect()
    assert [record for record in caplog.records if "never retrieved" in record.message] == []


# -- the trace


async def test_the_trace_follows_the_life_cycle(server: Any, connect: Connect) -> None:
    events: list[TraceEvent] = []
    client = await connect(trace=events.append)
    server.answers[b"HMGET"] = [b"Tdone"]
    handle = client.submit({}, id="j")
    await until(lambda: client.queue_length == 1)
    server.tell("j", client)
    await handle
    assert [event.event for event in events] == ["write", "push", "collect"]
    assert {(event.role, event.job_id) for event in events} == {("client", "j")}
    state = "new"
    for event in ("write", "push"):
        state = after(state, event, mode="reliable")  # type: ignore[arg-type]  # names from the table
    assert state == "queued"


async def test_the_trace_tells_how_waits_end(server: Any, connect: Connect) -> None:
    events: list[TraceEvent] = []
    client = await connect(trace=events.append, mode="simple", id="me")
    client.submit({}, id="a").cancel()
    with pytest.raises(JobTimeout):
        await client.submit({}, id="b", timeout=0.01)
    assert [(event.event, event.job_id) for event in events] == [
        ("push", "a"),
        ("cancel", "a"),
        ("push", "b"),
        ("timeout", "b"),
    ]


async def test_a_trace_that_raises_is_logged(server: Any, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: TraceEvent) -> None:
        raise ValueError("trace")

    client = await connect(trace=broken)
    server.answers[b"HMGET"] = [b"Tdone"]
    handle = client.submit({}, id="j")
    await until(lambda: client.queue_length == 1)
    server.tell("j", client)
    assert await handle == "done"
    assert any("trace hook raised" in record.message for record in caplog.records)


def test_options_are_checked() -> None:
    for options, words in [
        ({"mode": "fast"}, "unknown mode 'fast'; there are"),
        ({"dialect": "9"}, "unknown dialect '9'"),
        ({"dialect": "auto"}, "a client speaks as one dialect"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"max_outstanding": 0}, "max_outstanding is 0"),
        ({"reconnect_delay": 0}, "reconnect_delay is 0"),
        ({"strings": "guess"}, "guess"),
        ({"url": "http://x"}, "redis://"),
        ({"nested": "yaml"}, "yaml"),
        ({"queue": ""}, "queue"),
    ]:
        with pytest.raises(ValueError, match=words) as caught:
            Client(**options)  # type: ignore[arg-type]  # wrong on purpose
        assert type(caught.value).__name__ == "ConfigError", options
