"""The worker against a server of answers: its commands are exactly those of its mode, in their order."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from typing import Any

import pytest

from jobwire import ConfigError, Job, ServerError, Worker
from jobwire.testing.scripted import LOST, SILENT, Outcome, ScriptedTransport
from jobwire.wire.commands import Command
from jobwire.wire.scripts import COMPLETE
from tests.support.faces import until, within

HASH = [b"_reply_to", b"me", b"_queued", b"1.5", b"text_text", b"abc"]


class Played:
    """Gives out ``queued`` entries, then stays silent as a blocking pop does."""

    def __init__(self, *queued: bytes) -> None:
        self.queued = deque(queued)
        self.answers: dict[bytes, Any] = {}
        self.transport = ScriptedTransport(self._answer)

    def _answer(self, command: Command) -> Outcome:
        answer = self.answers.get(command[0])
        if answer is not None:
            return answer(command) if callable(answer) else answer
        match command[0]:
            case b"BRPOPLPUSH":
                return self.queued.popleft() if self.queued else SILENT
            case b"BRPOP":
                return [command[1], self.queued.popleft()] if self.queued else SILENT
            case b"RPOPLPUSH" | b"RPOP":
                return self.queued.popleft() if self.queued else None
            case b"HGETALL":
                return list(HASH)
            case b"EVALSHA" | b"EVAL" | b"LREM" | b"PUBLISH":
                return 1
            case b"LRANGE":
                return []
            case b"CLIENT":
                if command[1] == b"UNBLOCK":
                    popping = self.link("jobwire-popping")
                    if popping._blocked:
                        popping.answer(None)
                    return 1
                return b""
        return b"OK"

    def link(self, name: str) -> Any:
        return [link for link in self.transport.links if link.name.startswith(name)][-1]

    def sent(self, *names: bytes) -> list[Command]:
        return [command for command in self.transport.commands if command[0] in names]


@pytest.fixture
async def started() -> AsyncIterator[Any]:
    workers: list[Worker] = []

    async def start(server: Played, handler: Any = None, **options: Any) -> Worker:
        worker = Worker(transport=server.transport, **{"reconnect_delay": 0.001, "id": "w", **options})
        worker.handler(handler or (lambda job: str(job.data["text"])[::-1]))
        await worker.start()
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        await worker.stop(0)


def fields(command: Command) -> dict[bytes, bytes]:
    return dict(zip(command[2::2], command[3::2], strict=True))


@pytest.mark.parametrize("multi", [False, True])
async def test_a_shared_list_is_served_as_perl_does(started: Any, multi: bool) -> None:
    server = Played(b"j")
    if multi:
        queued = b"QUEUED"
        server.answers = {b"EXEC": [b"OK", 1, 1], b"LREM": queued, b"PUBLISH": queued}
    worker = await started(server, processing_queue="processing", use_multi=multi)
    await until(lambda: worker.counts == Counter(done=1) and len(server.link("jobwire-popping").commands) == 2)
    assert [command[0] for command in server.link("jobwire-popping").commands] == [b"BRPOPLPUSH"] * 2
    assert server.link("jobwire-popping").commands[0] == (b"BRPOPLPUSH", b"jobs::pending", b"jobs::processing", b"3")
    load, start, *completion = server.link("jobwire-worker").commands
    assert load == (b"HGETALL", b"job::j")
    assert start[:2] == (b"HMSET", b"job::j")
    assert list(fields(start)) == [b"_started"]
    if multi:
        assert completion[0] == (b"MULTI",)
        assert completion.pop() == (b"EXEC",)
        del completion[0]
    written, published, removed = completion
    assert written[:2] == (b"HMSET", b"job::j")
    assert fields(written).keys() == {b"_processed", b"result"}
    assert fields(written)[b"result"] == b"Tcba"
    assert published == (b"PUBLISH", b"client::me", b"j")
    assert removed == (b"LREM", b"jobs::processing", b"1", b"j")
    await worker.stop()
    assert server.sent(b"EVAL", b"EVALSHA", b"SCRIPT", b"SADD", b"SET") == []


async def test_recoverable_marks_and_completes(started: Any) -> None:
    server = Played(b"j")
    server.answers[b"EVAL"] = 1
    worker = await started(server, mode="recoverable", pending_queues=["a", "b"], job_poll_interval=7)
    await until(lambda: worker.counts == Counter(done=1))
    assert server.link("jobwire-popping").commands[0] == (b"BRPOP", b"jobs::a", b"jobs::b", b"7")
    load, start, written, published = server.link("jobwire-worker").commands[:4]
    assert load == (b"HGETALL", b"job::j")
    assert fields(start).keys() == {b"_started", b"_worker", b"_queue"}
    assert fields(start)[b"_worker"] == b"w"
    assert fields(start)[b"_queue"] == b"jobs::a"
    assert fields(written)[b"result"] == b"Tcba"
    assert published == (b"PUBLISH", b"client::me", b"j")
    assert server.sent(b"LREM") == []


async def test_simple_publishes_and_nothing_else(started: Any) -> None:
    server = Played(b'{"id":"j","_reply_to":"me","data":{"text":"abc"}}')
    worker = await started(server, mode="simple")
    await until(lambda: worker.counts == Counter(done=1))
    (published,) = server.link("jobwire-worker").commands
    assert published[:2] == (b"PUBLISH", b"client::me")
    assert b'"result":"cba"' in published[2]


@pytest.mark.parametrize("slots", [1, 5, 200])
async def test_into_an_own_list_two_pops_wait_and_completion_is_fenced(started: Any, slots: int) -> None:
    server = Played()
    worker = await started(server, processing_queue=None, max_concurrent_jobs=slots)
    popping = server.link("jobwire-popping")
    await until(lambda: popping._blocked)
    assert popping.commands == [(b"BRPOPLPUSH", b"jobs::pending", b"jobs::processing::w", b"3")] * min(slots, 2)
    popping.answer(b"j")
    await until(lambda: worker.counts == Counter(done=1))
    (completion,) = server.sent(b"EVALSHA")
    assert completion[1:6] == (COMPLETE.sha, b"2", b"jobs::processing::w", b"job::j", b"j")
    assert completion[6] == b"client::me"
    await until(lambda: len(popping.commands) == min(slots, 2) + 1)


async def test_a_completion_of_a_job_that_was_given_away_counts_as_that(started: Any) -> None:
    server = Played(b"j")
    server.answers[b"EVALSHA"] = 0
    worker = await started(server, processing_queue=None)
    await until(lambda: worker.counts == Counter({"given_away": 1}))


async def test_a_server_that_forgot_the_script(started: Any) -> None:
    server = Played(b"j")
    answers = deque([ServerError("NOSCRIPT No matching script. Please use EVAL."), 1])
    server.answers[b"EVALSHA"] = lambda command: answers.popleft()
    worker = await started(server, processing_queue=None)
    await until(lambda: worker.counts == Counter(done=1))
    assert len(server.sent(b"SCRIPT")) == 2 * 3, "all that there are, before the first job and again"
    assert len(server.sent(b"EVALSHA")) == 2


@pytest.mark.parametrize("word", ["MISCONF", "BUSY", "NOPERM"])
async def test_a_refused_completion_is_tried_again(started: Any, word: str) -> None:
    server = Played(b"j")
    answers = deque([ServerError(f"{word} no"), ServerError(f"{word} no"), 1])
    server.answers[b"EVALSHA"] = lambda command: answers.popleft()
    worker = await started(server, processing_queue=None)
    await until(lambda: worker.counts == Counter(done=1))


async def test_out_of_memory_is_tried_again(started: Any) -> None:
    server = Played(b"j")
    server.answers[b"EVALSHA"] = refused = ServerError("OOM command not allowed")
    answers = deque([refused, 1])
    server.answers[b"EVAL"] = lambda command: answers.popleft() if command[1].endswith(COMPLETE.source) else 1
    worker = await started(server, processing_queue=None)
    await until(lambda: worker.counts == Counter(done=1))
    assert not answers


async def test_a_start_that_was_refused_is_not_said_after_the_end(started: Any) -> None:
    """It could come when the client has deleted the hash, and would make one that nobody deletes."""
    server, go_on = Played(b"j"), asyncio.Event()
    server.answers[b"HMSET"] = SILENT

    async def handle(job: Job) -> str:
        await go_on.wait()
        return "done"

    worker = await started(server, handle)
    commands = server.link("jobwire-worker")
    await until(lambda: commands._blocked)
    go_on.set()
    await until(lambda: any(COMPLETE.sha in command for command in commands.commands))
    commands.answer(ServerError("OOM command not allowed"))
    await until(lambda: worker.counts["done"] == 1)
    await worker.stop()  # whatever was on its way has arrived
    assert not [command for command in server.sent(b"EVAL") if b"_started" in command]


@pytest.mark.parametrize("own", [None, "processing"], ids=["own list", "shared list"])
@pytest.mark.parametrize("word", ["WRONGTYPE", "BUSY", "MISCONF", "NOPERM", "OOM", "LOADING", "ERR"])
async def test_refused_pops_do_not_multiply(
    started: Any, word: str, own: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """However many are in flight: one is tried again at a time, and the log says once how things stand."""
    server = Played()
    server.answers[b"BRPOPLPUSH"] = server.answers[b"EVAL"] = ServerError(f"{word} no")
    if word != "OOM":
        del server.answers[b"EVAL"]
    else:
        server.answers[b"EVAL"] = lambda command: None if b"unpack(KEYS)" in command[1] else 1
    worker = await started(server, processing_queue=own, max_concurrent_jobs=64)
    await asyncio.sleep(1.5)
    pops = len(server.sent(b"BRPOPLPUSH"))
    assert pops <= (2 if own is None else 1) + 20  # pauses of 0.1, 0.2, 0.4 … s in the mean
    assert len([line for line in caplog.messages if "cannot take jobs" in line]) == 1
    server.queued.extend([b"a", b"b"])
    del server.answers[b"BRPOPLPUSH"]
    await until(lambda: worker.counts == Counter(done=2))
    assert len([line for line in caplog.messages if "can take jobs from jobs::pending again" in line]) == 1
    if own is None:
        await until(lambda: len(server.link("jobwire-popping").commands) >= pops + 2)  # both wait again
    assert len([line for line in caplog.messages if "cannot take jobs" in line]) == 1


async def test_refused_completions_do_not_fill_the_log(started: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = Played(*(b"%d" % number for number in range(64)))
    server.answers[b"EVALSHA"] = ServerError("MISCONF Errors writing to the AOF file")
    worker = await started(server, processing_queue=None, max_concurrent_jobs=64)
    await asyncio.sleep(1.5)
    assert len(server.sent(b"EVALSHA")) <= 64 * 20
    assert len([line for line in caplog.messages if "cannot complete jobs" in line]) == 1
    server.answers[b"EVALSHA"] = 1
    await until(lambda: worker.counts == Counter(done=64))
    assert len([line for line in caplog.messages if "can complete jobs again" in line]) == 1


async def test_a_completion_that_was_not_answered_is_looked_for(started: Any) -> None:
    server = Played(b"j")
    server.answers[b"EVALSHA"] = LOST
    ran: list[Any] = []
    worker = await started(server, lambda job: ran.append(job.id), processing_queue=None)
    await until(lambda: server.sent(b"EVALSHA"))
    server.answers[b"HGETALL"] = [*HASH, b"result", b"T"]
    server.answers[b"EVALSHA"] = 1
    await until(lambda: worker.counts == Counter(done=1))
    assert len(server.sent(b"EVALSHA")) == 1
    assert ran == ["j"]


async def test_a_completion_that_did_not_arrive_is_sent_again(started: Any) -> None:
    server = Played(b"j")
    server.answers[b"EVALSHA"] = LOST
    ran: list[Any] = []
    worker = await started(server, lambda job: ran.append(job.id), processing_queue=None)
    await until(lambda: len([link for link in server.transport.links if link.name == "jobwire-worker-w"]) == 2)
    server.answers[b"EVALSHA"] = 1
    await until(lambda: worker.counts == Counter(done=1))
    assert len(server.sent(b"EVALSHA")) == 2
    assert ran == ["j"]


async def test_a_load_that_was_refused_and_then_lost_begins_once(started: Any) -> None:
    server = Played(b"j")
    server.answers[b"HGETALL"] = ServerError("BUSY Redis is busy running a script.")
    ran: list[Any] = []
    # In a shared list the entry stays in hand; from a list of its own the worker would find it there and return it.
    worker = await started(server, lambda job: ran.append(job.id), processing_queue="processing")
    await until(lambda: server.sent(b"HGETALL"))
    server.answers[b"HGETALL"] = list(HASH)
    server.link("jobwire-worker").lose()
    await until(lambda: worker.counts["done"] == 1)
    assert ran == ["j"]


async def test_what_comes_while_stopping_goes_back_with_the_oldest_next(started: Any) -> None:
    server = Played()
    worker = await started(server, processing_queue="processing", max_concurrent_jobs=4)
    popping = server.link("jobwire-popping")
    await until(lambda: popping._blocked)
    server.answers[b"RPOPLPUSH"] = SILENT
    popping.answer(b"a")
    await until(lambda: len(popping.commands) == 4)
    import asyncio

    stopping = asyncio.create_task(worker.stop())
    await asyncio.sleep(0)
    server.answers[b"RPOPLPUSH"] = lambda command: {0: b"c", 1: b"d"}.get(2 - len(popping._waiting))
    popping.answer(b"b")
    await within(stopping)
    given_back = [command[-1] for command in server.sent(b"EVAL")]
    # RPUSH puts each where it is taken next, so the oldest has to be the last.
    assert given_back == sorted(given_back, reverse=True)
    assert given_back[-1] == b"b"
    assert worker.counts["returned"] == len(given_back)


async def test_connections_that_cannot_be_made_leave_none_open(started: Any) -> None:
    server = Played()
    worker = await started(server, processing_queue="processing")
    server.transport.refuse(3)
    server.link("jobwire-worker").lose()
    await until(lambda: len([link for link in server.transport.links if not link.connection.closed]) == 2)
    await until(lambda: len(server.transport.links) >= 4)
    open_names = sorted(link.name[:14] for link in server.transport.links if not link.connection.closed)
    assert open_names == ["jobwire-poppin", "jobwire-worker"]
    assert worker.running == 0


async def test_handlers_of_every_shape(started: Any) -> None:
    from functools import partial

    class Callable:
        def __call__(self, job: Job) -> str:
            return "instance"

    async def two(prefix: str, job: Job) -> str:
        return prefix

    for handler, expected in [(Callable(), b"Tinstance"), (partial(two, "partial"), b"Tpartial")]:
        server = Played(b"j")
        worker = await started(server, handler, processing_queue="processing")
        await until(lambda worker=worker: worker.counts == Counter(done=1))
        assert fields(server.sent(b"HMSET")[-1])[b"result"] == expected


# -- a server that is too old to recover


def asked(server: Played) -> list[Command]:
    return server.sent(b"COMMAND")


async def test_a_server_without_lmove_is_refused_at_start(started: Any) -> None:
    server = Played(b"j1")
    server.answers[b"COMMAND"] = lambda _command: [None]
    with pytest.raises(ConfigError, match=r"no LMOVE: it is older than Redis 6\.2.*processing_queue"):
        await started(server)
    assert asked(server) == [(b"COMMAND", b"INFO", b"LMOVE")]
    assert server.sent(b"BRPOPLPUSH", b"RPOPLPUSH") == [], "nothing was taken"


@pytest.mark.parametrize(
    "options",
    [{"processing_queue": "processing"}, {"mode": "recoverable", "pending_queues": ["a", "b"]}, {"mode": "simple"}],
    ids=lambda options: next(iter(options.values())),
)
async def test_a_worker_that_needs_no_lmove_does_not_ask(started: Any, options: dict[str, Any]) -> None:
    server = Played()
    server.answers[b"COMMAND"] = lambda _command: [None]
    await started(server, **options)
    assert asked(server) == []


@pytest.mark.parametrize(
    "answer", [[[b"lmove", 5, [b"write"], 1, 2, 1]], ServerError("NOPERM this user has no permissions"), b"OK"]
)
async def test_a_server_that_knows_or_does_not_say_is_taken(started: Any, answer: Any) -> None:
    server = Played()
    server.answers[b"COMMAND"] = lambda _command: answer
    await started(server)
    assert len(asked(server)) == 1


async def test_the_server_is_asked_once(started: Any) -> None:
    server = Played()
    await started(server)
    for link in list(server.transport.links):
        if link.name.startswith("jobwire-worker"):
            link.lose()
    await until(lambda: len([link for link in server.transport.links if link.name.startswith("jobwire-worker")]) > 1)
    await until(lambda: server.sent(b"BRPOPLPUSH") != [])
    assert len(asked(server)) == 1
