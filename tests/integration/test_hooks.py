"""Code of the application around its handlers: middleware, error hooks, start and end."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any

import pytest
import redis

from jobwire import Call, ConfigError, Job, JobFailed, Worker, current_job, rpc
from jobwire.worker.hooks import Proceed
from tests.support.faces import Faces, entries, eventually, within

WORD: contextvars.ContextVar[str] = contextvars.ContextVar("word")


def fails(job: Job) -> str:
    if "fail" in job.data:
        raise ValueError("wrong")
    return "fine"


async def fails_in_loop(job: Job) -> str:
    return fails(job)


@pytest.mark.parametrize("handler", [fails, fails_in_loop])
async def test_middleware_sees_the_call_before_and_after(faces: Faces, way: dict[str, Any], handler: Any) -> None:
    seen: list[tuple[Any, ...]] = []
    worker = faces.unstarted(handler, **way)

    @worker.middleware
    async def look(call: Call, proceed: Proceed) -> Any:
        assert (call.outcome, call.exception, call.seconds) == (None, None, None)
        assert current_job() is call.job
        try:
            return await proceed()
        finally:
            assert call.seconds is not None
            assert call.seconds >= 0
            seen.append((call.job.id, call.queue, call.worker, call.outcome, type(call.exception)))

    async with worker:
        client = await faces.client(mode=way["mode"])
        good = client.submit({}, id="good")
        assert await within(good) == "fine"
        with pytest.raises(JobFailed, match="ValueError: wrong"):
            await within(client.submit({"fail": "1"}, id="bad"))
        await eventually(lambda: len(seen) == 2)
    assert seen == [
        ("good", "pending", worker.id, "done", type(None)),
        ("bad", "pending", worker.id, "failed", ValueError),
    ]


async def test_the_first_registered_is_outermost_and_each_may_change_the_end(faces: Faces) -> None:
    worker = faces.unstarted(fails)

    @worker.middleware
    async def outer(call: Call, proceed: Proceed) -> Any:
        return f"outer({await proceed()})"

    @worker.middleware
    async def inner(call: Call, proceed: Proceed) -> Any:
        try:
            return f"inner({await proceed()})"
        except ValueError:
            return "forgiven"

    @worker.middleware
    async def refuses(call: Call, proceed: Proceed) -> Any:
        if "refuse" in call.job.data:
            raise PermissionError("not you")
        return await proceed()

    async with worker:
        client = await faces.client()
        assert await within(client.submit({})) == "outer(inner(fine))"
        assert await within(client.submit({"fail": "1"})) == "outer(forgiven)"
        with pytest.raises(JobFailed, match="PermissionError: not you"):
            await within(client.submit({"refuse": "1"}))


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_a_handler_has_the_context_of_its_middleware(faces: Faces, threaded: bool) -> None:
    async def in_loop(job: Job) -> str:
        return WORD.get()

    worker = faces.unstarted((lambda job: WORD.get()) if threaded else in_loop)

    @worker.middleware
    async def sets(call: Call, proceed: Proceed) -> Any:
        WORD.set(str(call.job.id))
        return await proceed()

    async with worker:
        client = await faces.client()
        handles = [client.submit({}, id=f"job {number}") for number in range(20)]
        assert [await within(handle) for handle in handles] == [handle.id for handle in handles]


async def test_middleware_may_call_the_handler_again(faces: Faces) -> None:
    calls = 0

    async def third_time(job: Job) -> int:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ConnectionResetError
        return calls

    worker = faces.unstarted(third_time)

    @worker.middleware
    async def insists(call: Call, proceed: Proceed) -> Any:
        while True:
            try:
                return await proceed()
            except ConnectionResetError:
                assert call.outcome == "failed"

    async with worker:
        assert await within((await faces.client()).submit({})) == 3


async def test_a_time_limit_is_seen_as_a_failure(faces: Faces) -> None:
    calls: list[Call] = []
    worker = faces.unstarted(lambda job: asyncio.sleep(60), timeout=0.05)

    @worker.middleware
    async def look(call: Call, proceed: Proceed) -> Any:
        calls.append(call)
        return await proceed()

    async with worker:
        with pytest.raises(JobFailed, match="TimeoutError"):
            await within((await faces.client()).submit({}))
    assert calls[0].outcome == "failed"
    assert isinstance(calls[0].exception, TimeoutError)


async def test_a_handler_that_does_not_end_in_time_is_cancelled(faces: Faces) -> None:
    calls: list[Call] = []
    worker = faces.unstarted(lambda job: asyncio.sleep(60))

    @worker.middleware
    async def look(call: Call, proceed: Proceed) -> Any:
        calls.append(call)
        return await proceed()

    await worker.start()
    (await faces.client()).submit({})
    await eventually(lambda: calls)
    await asyncio.sleep(0)
    await worker.stop(0.0)
    await eventually(lambda: calls[0].outcome == "cancelled")


async def test_calls_of_rpc_are_seen_too(faces: Faces) -> None:
    calls: list[Call] = []
    worker = faces.unstarted(None)
    server = rpc.Server(worker)

    @server.method("divide")
    async def divide(params: dict[str, Any]) -> float:
        return 1 / int(params["by"])

    @worker.middleware
    async def look(call: Call, proceed: Proceed) -> Any:
        calls.append(call)
        return await proceed()

    async with worker:
        client = await faces.client()
        assert await within(rpc.call(client, "divide", {"by": 2})) == 0.5
        with pytest.raises(rpc.RpcError):
            await within(rpc.call(client, "divide", {"by": 0}))
    assert [(call.outcome, type(call.exception)) for call in calls] == [
        ("done", type(None)),
        ("failed", ZeroDivisionError),
    ]


@pytest.mark.parametrize("function", [fails, lambda call, proceed: None])
def test_a_middleware_is_async(function: Any) -> None:
    with pytest.raises(ConfigError, match="async function"):
        Worker().middleware(function)


# -- error hooks


async def test_error_hooks_are_told_each_failure_with_its_traceback(
    faces: Faces, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[Any, ...]] = []
    worker = faces.unstarted(fails, on_failure="retry", max_attempts=2, retry_delay=0.001)

    @worker.on_error
    def report(call: Call, error: BaseException) -> None:
        assert error.__traceback__ is not None
        told.append((current_job().id, call.job.attempts, call.queue, call.outcome, str(error)))
        raise RuntimeError("a hook that fails")

    @worker.on_error
    async def later(call: Call, error: BaseException) -> None:
        await asyncio.sleep(0.05)
        told.append(("later", call.exception is error))
        raise RuntimeError("one that fails later")

    async with worker:
        client = await faces.client(accept="")
        client.submit({"fail": "1"}, id="bad")
        client.submit({})
        await eventually(lambda: entries(raw, "jobs::dead") == [b"bad"])
    assert told[0] == ("bad", 0, "pending", "failed", "wrong")
    assert ("bad", 1, "pending", "failed", "wrong") in told
    assert told.count(("later", True)) == 2
    assert [record.message for record in caplog.records].count("an error hook raised") == 4


# -- start and end


async def test_start_and_end_surround_all_jobs(faces: Faces) -> None:
    story: list[str] = []
    loops = set()

    async def work(job: Job) -> None:
        loops.add(asyncio.get_running_loop())
        story.append("job")

    worker = faces.unstarted(work)

    @worker.on_startup
    async def open_pool() -> None:
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)
        story.append("open")

    worker.on_startup(lambda: story.append("second"))
    worker.on_shutdown(lambda: story.append("close"))

    @worker.on_shutdown
    async def last_registered_first_called() -> None:
        story.append("flush")

    async with worker:
        await within((await faces.client()).submit({}))
    assert story == ["open", "second", "job", "flush", "close"]
    assert len(loops) == 1


async def test_a_start_that_fails_takes_no_job(faces: Faces, raw: redis.Redis) -> None:
    story: list[str] = []
    worker = faces.unstarted(fails)
    worker.on_startup(lambda: 1 / 0)
    worker.on_startup(lambda: story.append("never"))
    worker.on_shutdown(lambda: story.append("close"))
    with pytest.raises(ZeroDivisionError):
        await worker.start()
    assert story == ["close"]
    assert raw.keys("jobs::worker*") == []


async def test_an_end_that_fails_keeps_nobody(faces: Faces, caplog: pytest.LogCaptureFixture) -> None:
    story: list[str] = []
    worker = faces.unstarted(fails)
    worker.on_shutdown(lambda: story.append("close"))
    worker.on_shutdown(lambda: 1 / 0)
    async with worker:
        pass
    assert story == ["close"]
    assert [record.levelno for record in caplog.records if "on_shutdown" in record.message] == [logging.ERROR]


# -- tracebacks


def raise_group(job: Job) -> None:
    try:
        try:
            raise OSError("the cause")
        except OSError as cause:
            raise ValueError("the failure") from cause
    except ValueError as error:
        raise ExceptionGroup("several", [error, KeyError("member")]) from None


async def test_a_client_is_sent_a_traceback_only_where_the_worker_says_so(faces: Faces, way: dict[str, Any]) -> None:
    client = await faces.client(mode=way["mode"])
    for send in (False, True):
        worker = faces.unstarted(raise_group, **way, send_tracebacks=send)
        async with worker:
            with pytest.raises(JobFailed, match="ExceptionGroup: several") as caught:
                await within(client.submit({}))
        story = caught.value.traceback
        if not send:
            assert story is None
            continue
        assert story is not None
        for words in ("raise_group", "the cause", "the failure", "member", "direct cause"):
            assert words in story
        assert any(words in "".join(caught.value.__notes__) for words in ("raise_group",))


async def test_a_long_traceback_is_cut_to_its_end(faces: Faces) -> None:
    def deep(job: Job) -> None:
        try:
            raise ValueError("first " + "x" * 50_000)
        except ValueError as error:
            raise KeyError("the last word") from error

    worker = faces.unstarted(deep, send_tracebacks=True)
    async with worker:
        with pytest.raises(JobFailed) as caught:
            await within((await faces.client()).submit({}))
    story = caught.value.traceback
    assert story is not None
    assert len(story) < 8_200
    assert story.startswith("… (the last 8000 of ")
    assert story.endswith("KeyError: 'the last word'")


async def test_dead_jobs_keep_the_traceback_and_their_reason_apart(
    faces: Faces, raw: redis.Redis, kept_way: dict[str, Any]
) -> None:
    await faces.worker(raise_group, **kept_way)
    client = await faces.client(mode=kept_way["mode"], accept="")
    handle = client.submit({}, id="bad", timeout=0.5)
    await eventually(lambda: entries(raw, "jobs::dead") == [b"bad"])
    state = await client.state("bad")
    assert state.error == "ExceptionGroup: several (2 sub-exceptions)"
    assert isinstance(state.traceback, str)
    assert "the cause" in state.traceback
    assert "member" in state.traceback
    # Clients are told the reason alone (SEC-6).
    with pytest.raises(Exception, match="several") as caught:
        await handle
    assert "raise_group" not in str(caught.value)


async def test_the_log_has_causes_and_members(faces: Faces, caplog: pytest.LogCaptureFixture) -> None:
    await faces.worker(raise_group)
    with pytest.raises(JobFailed):
        await within((await faces.client()).submit({}))
    (record,) = [record for record in caplog.records if "failed" in record.getMessage()]
    assert record.levelno == logging.ERROR
    shown = logging.Formatter().format(record)
    for words in ("the cause", "the failure", "member"):
        assert words in shown


async def test_a_hostile_traceback_moves_no_cursor() -> None:
    error = JobFailed("x", job_id="1", type="E", traceback="\x1b[2J first\nsecond")
    assert "\x1b" not in error.__notes__[0]
    assert error.traceback == "\x1b[2J first\nsecond"
