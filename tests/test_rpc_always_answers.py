"""Whatever happens in a method, its caller gets a reply, and at once."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import redis

import jobwire
from jobwire import rpc

NOTHING = "{}"


@asynccontextmanager
async def serving(url: str, server: Any, **options: Any) -> AsyncIterator[jobwire.Client]:
    worker = jobwire.Worker(url, **{"max_concurrent_jobs": 4, "job_poll_interval": 0.2, **options})
    server(rpc.Server(worker))
    async with worker, jobwire.Client(url, timeout=20) as client:
        yield client
        assert worker.counts.keys() <= {"done"}
        await worker.stop(grace=0)


async def reply_of(client: jobwire.Client, method: str, params: str = NOTHING) -> dict[str, Any]:
    async with asyncio.timeout(5):
        reply: dict[str, Any] = json.loads(await client.submit({"name": method, "params": params}))
    return reply


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


RAISED: list[Any] = [
    ValueError("no luck"),
    asyncio.CancelledError(),
    asyncio.CancelledError("by hand"),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    BaseException("of its own kind"),
    TimeoutError("of its own"),
    StopAsyncIteration(),
    RecursionError(),
    Wordless(),
    ValueError("\udcff"),
    rpc.RpcError("Odd", "odd", object()),
    rpc.RpcError("Odd", "odd", [1]),
    rpc.RpcError("Odd", "odd", "text"),
    rpc.RpcError("Odd", "\udcff"),
    jobwire.ResultDecodeError("of a call that the method made"),
    jobwire.JobTimeout("of a call that the method made", job_id="x"),
]
POLICIES: list[dict[str, Any]] = [{"on_failure": "leave"}, {"on_failure": "retry"}, {"on_failure": "reply"}]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy["on_failure"])
async def test_whatever_a_method_raises_is_an_internal_error(redis_url: str, policy: dict[str, Any]) -> None:
    def methods(server: rpc.Server) -> None:
        for number, error in enumerate(RAISED):

            async def soon(job: jobwire.Job, error: BaseException = error) -> None:
                raise error

            def plain(job: jobwire.Job, error: BaseException = error) -> None:
                raise error

            server.method(f"async {number}")(soon)
            server.method(f"plain {number}")(plain)

        @server.method("iteration")
        def iteration(job: jobwire.Job) -> None:
            next(iter(()))

    async with serving(redis_url, methods, **policy) as client:
        names = [f"{kind} {number}" for kind in ("async", "plain") for number in range(len(RAISED))]
        for name in [*names, "iteration"]:
            reply = await reply_of(client, name)
            assert reply["error"]["code"] == "InternalServerError", (name, reply)
            assert reply["result"]["error"]["message_to_client"].startswith("Sorry")
        assert (await reply_of(client, "async 3"))["error"]["message"] == "SystemExit: 3"
        assert (await reply_of(client, "ping"))["result"] == "pong"


def test_a_blocking_worker_answers_too(redis_url: str) -> None:
    worker = jobwire.sync.Worker(redis_url, job_poll_interval=0.2, timeout=0.2)
    server = rpc.Server(worker)

    @server.method("exit")
    def leave(job: jobwire.Job) -> None:
        raise SystemExit

    @server.method("slow")
    def slow(job: jobwire.Job) -> None:
        time.sleep(0.5)

    with worker, jobwire.sync.Client(redis_url, timeout=20) as client:
        for name, code in (("exit", "InternalServerError"), ("slow", "RequestTimeout"), ("no", "UnrecognisedRequest")):
            with pytest.raises(rpc.RpcError, match=code):
                rpc.decode_reply(client.submit(rpc.encode_call(name)).result(timeout=5))


async def test_a_method_that_cancels_itself_is_answered(redis_url: str) -> None:
    def methods(server: rpc.Server) -> None:
        @server.method("now")
        async def now(job: jobwire.Job) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(60)

        @server.method("soon")
        async def soon(job: jobwire.Job) -> str:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(0.05, task.cancel)
            await asyncio.sleep(60)
            return "never"

    async with serving(redis_url, methods) as client:
        for name in ("now", "soon"):
            assert (await reply_of(client, name))["error"]["code"] == "InternalServerError"


async def test_a_worker_that_stops_hands_the_job_back(redis_url: str) -> None:
    """Somebody else answers it; a reply that it was cancelled would be no answer."""
    began = asyncio.Event()

    def methods(server: rpc.Server) -> None:
        @server.method("slow")
        async def slow(job: jobwire.Job) -> str:
            began.set()
            await asyncio.sleep(60)
            return "never"

    first, second = (jobwire.Worker(redis_url, job_poll_interval=0.2) for _ in range(2))
    methods(rpc.Server(first))
    rpc.Server(second).method("slow")(lambda job: "the other one")
    async with jobwire.Client(redis_url, timeout=20) as client:
        async with first:
            call = asyncio.ensure_future(rpc.call(client, "slow"))
            async with asyncio.timeout(5):
                await began.wait()
            await first.stop(grace=0)
        assert first.counts == {"returned": 1}
        async with second, asyncio.timeout(5):
            assert await call == "the other one"


ABANDON = """
import asyncio, sys
import jobwire

async def main():
    began = asyncio.Event()
    worker = jobwire.Worker(sys.argv[1], job_poll_interval=0.2)

    @jobwire.rpc.Server(worker).method("slow")
    async def slow(job):
        began.set()
        await asyncio.sleep(60)

    await worker.start()
    client = jobwire.Client(sys.argv[1])
    await client.start()
    client.submit(jobwire.rpc.encode_call("slow"), id="abandoned")
    async with asyncio.timeout(10):
        await began.wait()

asyncio.run(main())
"""


def test_an_event_loop_that_ends_answers_nothing(redis_url: str) -> None:
    """Its tasks are cancelled, one and all; the jobs are somebody else's to answer."""
    subprocess.run([sys.executable, "-c", ABANDON, redis_url], check=True, timeout=30, capture_output=True)
    with redis.Redis.from_url(redis_url) as raw:
        assert raw.hget("job::abandoned", "text_name") == b"slow"
        assert raw.hget("job::abandoned", "result") is None


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy["on_failure"])
async def test_what_takes_too_long_is_a_request_timeout(redis_url: str, policy: dict[str, Any]) -> None:
    def methods(server: rpc.Server) -> None:
        @server.method("async")
        async def waits(job: jobwire.Job) -> None:
            await asyncio.sleep(60)

        @server.method("stubborn")
        async def stubborn(job: jobwire.Job) -> str:
            for _ in range(40):
                try:
                    await asyncio.sleep(0.1)
                except asyncio.CancelledError:
                    continue
            return "late"

        @server.method("plain")
        def plain(job: jobwire.Job) -> None:
            time.sleep(4)

        @server.method("own", timeout=0.05)
        async def own(job: jobwire.Job) -> None:
            await asyncio.sleep(60)

        @server.method("patient", timeout=None)
        async def patient(job: jobwire.Job) -> str:
            await asyncio.sleep(0.6)
            return "done"

        @server.method("its own TimeoutError")
        async def its_own(job: jobwire.Job) -> None:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)

    async with serving(redis_url, methods, timeout=0.3, **policy) as client:
        for name, seconds in (("async", 0.3), ("stubborn", 0.3), ("plain", 0.3), ("own", 0.05)):
            began = time.monotonic()
            reply = await reply_of(client, name)
            assert seconds <= time.monotonic() - began < 3, name
            assert reply["error"] == {"code": "RequestTimeout", "message": f"the method took longer than {seconds} s"}
            assert reply["result"]["error"]["code"] == "RequestTimeout"
        assert (await reply_of(client, "patient"))["result"] == "done"
        assert (await reply_of(client, "its own TimeoutError"))["error"]["code"] == "InternalServerError"
        with pytest.raises(rpc.RpcError) as caught:
            await rpc.call(client, "own")
        assert caught.value.code == "RequestTimeout"


async def test_a_time_is_checked(redis_url: str) -> None:
    server = rpc.Server(jobwire.Worker(redis_url))
    with pytest.raises(jobwire.ConfigError, match="timeout"):
        server.method("x", timeout=0)


async def test_what_the_type_of_the_params_raises_is_the_caller_s(redis_url: str) -> None:
    def methods(server: rpc.Server) -> None:
        @server.method("check")
        async def check(params: Checked) -> int:
            return params.amount

    async with serving(redis_url, methods) as client:
        assert (await reply_of(client, "check", '{"amount": "5"}'))["result"] == 5
        reply = await reply_of(client, "check", '{"amount": -1}')
        assert reply["error"]["code"] == "InputValidationFailed"
        assert "AssertionError: negative" in reply["error"]["message"]


class Checked(msgspec.Struct):
    amount: int

    def __post_init__(self) -> None:
        assert self.amount >= 0, "negative"


# -- ping


async def test_ping_is_there_without_a_method(redis_url: str) -> None:
    async with serving(redis_url, lambda server: None) as client:
        assert await rpc.call(client, "ping") == "pong"
        assert await rpc.call(client, b"ping", {"args": {}}) == "pong"
        with pytest.raises(rpc.RpcError, match="UnrecognisedRequest: there is no method 'pong'; there are 'ping'"):
            await rpc.call(client, "pong")


async def test_a_ping_of_one_s_own_wins(redis_url: str) -> None:
    async with serving(redis_url, lambda server: server.method("ping")(lambda job: "mine")) as client:
        assert await rpc.call(client, "ping") == "mine"


# -- results that the proxy would take for something else


class Outcome(msgspec.Struct):
    error: str | None = None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"error": {"code": "X"}}, "'error'"),
        ({"error": None}, "'error'"),
        ({"a": 1, "error": 0}, "'error'"),
        (Outcome(), "'error'"),
        ({"stash": "text"}, "'stash'"),
        ({"stash": ["a"]}, "'stash'"),
        ({"stash": 1}, "'stash'"),
    ],
)
async def test_a_success_that_reads_as_an_error_is_refused_where_it_is_made(
    redis_url: str, value: object, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(jobwire.EncodeError, match=words):
        rpc.encode_success(value)
    async with serving(redis_url, lambda server: server.method("give")(lambda job: value)) as client:
        with caplog.at_level(logging.ERROR, "jobwire.rpc"):
            reply = await reply_of(client, "give")
    assert reply["error"]["code"] == "InternalServerError"
    assert words in caplog.text


@pytest.mark.parametrize(
    "value",
    [{"errors": 1}, {"stash": {"a": 1}}, {"stash": None}, {"a": {"error": 1}}, [{"error": 1}], "error", '"error"', {}],
)
def test_the_rest_is_a_success(value: object) -> None:
    assert rpc.decode_reply(rpc.encode_success(value)) == value


@pytest.mark.parametrize("details", ["text", 5, [1], True, 0.5])
def test_details_are_an_object(details: object) -> None:
    with pytest.raises(jobwire.EncodeError, match="details"):
        rpc.encode_error(rpc.RpcError("X", "x", details))


def test_details_may_be_any_kind_of_object() -> None:
    for details in ({"a": 1}, Outcome("x"), {}):
        with pytest.raises(rpc.RpcError) as caught:
            rpc.decode_reply(rpc.encode_error(rpc.RpcError("X", "x", details)))
        assert caught.value.details == msgspec.to_builtins(details)


# -- business errors and failed calls


async def test_business_errors_in_the_result_alone(redis_url: str) -> None:
    worker = jobwire.Worker(redis_url, max_concurrent_jobs=4, job_poll_interval=0.2)
    server = rpc.Server(worker, business_errors="result")

    @server.method("refuse")
    async def refuse(job: jobwire.Job) -> None:
        raise rpc.RpcError("InsufficientBalance", "Too low.", {"missing": 5})

    @server.method("break")
    async def broken(job: jobwire.Job) -> None:
        raise KeyError("x")

    async with worker, jobwire.Client(redis_url, timeout=20) as client:
        assert await reply_of(client, "refuse") == {
            "result": {
                "error": {
                    "code": "InsufficientBalance",
                    "message_to_client": "Too low.",
                    "details": {"missing": 5},
                }
            }
        }
        for name, params, code, in_result in [
            ("refuse", None, "InsufficientBalance", True),
            ("break", None, "InternalServerError", False),
            ("nope", None, "UnrecognisedRequest", False),
        ]:
            with pytest.raises(rpc.RpcError) as caught:
                await rpc.call(client, name, params)
            assert (caught.value.code, caught.value.in_result) == (code, in_result)
        await worker.stop(grace=0)


async def test_an_unknown_place_for_business_errors(redis_url: str) -> None:
    place: Any = "top"
    with pytest.raises(jobwire.ConfigError, match="both, result"):
        rpc.Server(jobwire.Worker(redis_url), business_errors=place)


# -- types


async def test_params_and_results_have_perl_s_scalars(redis_url: str) -> None:
    def methods(server: rpc.Server) -> None:
        @server.method("lenient")
        async def lenient(params: Flags) -> Any:
            return {"open": 0, "id": 12, "raw": params.raw}

        @server.method("strict", strict=True)
        async def strict(params: Flags) -> Any:
            return ""

    async with serving(redis_url, methods) as client:
        raw = bytes(range(256))
        wanted = Reply(open=False, id="12", raw=raw)
        params = {"urgent": "", "id": 5, "raw": raw}
        assert await rpc.call(client, "lenient", params, result_type=Reply) == wanted
        with pytest.raises(jobwire.ResultDecodeError, match="Expected `str`"):
            await rpc.call(client, "lenient", params, result_type=Reply, strict=True)
        with pytest.raises(rpc.RpcError, match="InputValidationFailed"):
            await rpc.call(client, "strict", params)
        assert await rpc.call(client, "strict", {"urgent": True, "id": "5"}, result_type=int | None) is None


class Flags(msgspec.Struct):
    urgent: bool
    id: str
    raw: bytes = b""


class Reply(msgspec.Struct):
    open: bool
    id: str
    raw: bytes
