"""Types of handlers and results, between real clients and workers."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

import jobwire
from jobwire import Client, ConfigError, Job, JobFailed, ResultDecodeError, sync
from tests.support.faces import WAYS, Faces, within

VALUES: dict[str, Any] = {
    "bytes": b"abcd",
    "many bytes": [b"abcd", b"\xff\xc3\xa9", "é".encode()],
    "true": True,
    "false": False,
    "undef": None,
    "number": 5,
    "numbers": [1, 2.5],
    "balance": {"amount": -1},
    "country": {"code": "zz"},
    "text": "many",
}


@pytest.fixture(params=list(WAYS))
async def served(request: pytest.FixtureRequest, faces: Faces) -> tuple[Faces, dict[str, Any]]:
    way = WAYS[request.param]
    worker = await faces.worker(lambda job: VALUES[job.data["what"]], **way, max_concurrent_jobs=4)
    assert worker is not None
    return faces, way


def kept(way: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in way.items() if name == "mode"}


@pytest.mark.parametrize("accept", ["E,V", "E"])
async def test_results_are_what_the_type_says(served: tuple[Faces, dict[str, Any]], accept: str) -> None:
    faces, way = served
    client = await faces.client(accept=accept, **kept(way))
    cases: list[tuple[str, Any, Any]] = [
        ("true", bool, True),
        ("false", bool, False),
        ("undef", int | None, None),
        ("number", str, "5"),
        ("numbers", list[str], ["1", "2.5"]),
        ("number", float, 5.0),
    ]
    if way["mode"] != "simple":  # whose JSON has no bytes
        cases += [("bytes", bytes, b"abcd"), ("many bytes", list[bytes], VALUES["many bytes"])]
    for what, wanted, right in cases:
        found = await within(client.submit({"what": what}, result_type=wanted))
        assert found == right, (what, wanted)
        assert type(found) is type(right)


class Balance(msgspec.Struct):
    amount: int

    def __post_init__(self) -> None:
        assert self.amount >= 0, "negative balance"


class Country(msgspec.Struct):
    code: str

    def __post_init__(self) -> None:
        {"de": 1}[self.code]


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Silent(msgspec.Struct):
    amount: int

    def __post_init__(self) -> None:
        raise Wordless


class Leaves(msgspec.Struct):
    amount: int

    def __post_init__(self) -> None:
        raise asyncio.CancelledError


class Flags(msgspec.Struct):
    urgent: bool


class Raw(msgspec.Struct):
    raw: bytes
    many: list[bytes]


@pytest.mark.parametrize(
    ("what", "wanted", "words"),
    [
        ("balance", Balance, "negative balance"),
        ("country", Country, "KeyError: 'zz'"),
        ("balance", Leaves, "CancelledError"),
        ("balance", Silent, "Wordless"),
        ("text", int, "Expected `int`"),
        ("undef", int, "Expected `int`"),
    ],
)
async def test_whatever_the_type_raises_is_told_at_once(
    served: tuple[Faces, dict[str, Any]], what: str, wanted: Any, words: str
) -> None:
    faces, way = served
    client = await faces.client(timeout=60, accept="E", **kept(way))
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    with pytest.raises(ResultDecodeError, match=words):
        await within(client.submit({"what": what}, result_type=wanted))
    assert client.outstanding == 0
    assert await within(client.submit({"what": "text"}, result_type=str)) == "many"


@pytest.mark.parametrize("wanted", ["int", 5, list[int] | set[int], complex, list[complex]])
async def test_a_type_that_no_result_can_become_is_refused_before_anything_is_sent(faces: Faces, wanted: Any) -> None:
    client = await faces.client()
    with pytest.raises(ConfigError, match="no result can become"):
        client.submit({}, result_type=wanted)
    assert client.outstanding == 0
    with pytest.raises(ConfigError, match="cannot be given"):
        jobwire.Worker(faces.url).handler(type=wanted)(lambda job: None)
    with pytest.raises(ConfigError, match="no result can become"):
        await jobwire.rpc.call(client, "ping", result_type=wanted)


async def test_strict_is_asked_for(faces: Faces) -> None:
    worker = jobwire.Worker(faces.url, job_poll_interval=0.2, max_concurrent_jobs=4)

    @worker.route("lenient")
    async def lenient(params: Flags) -> Any:
        return params.urgent

    @worker.route("strict", strict=True)
    async def strict(params: Flags) -> Any:
        return params.urgent

    @worker.handler(strict=True)
    async def other(params: Flags) -> str:
        return "5"

    client = await faces.client()
    async with worker:
        assert await within(client.submit({"name": "lenient", "urgent": ""})) is False
        assert await within(client.submit({"name": "strict", "urgent": "1"})) is True
        for name in ("strict", "other"):
            with pytest.raises(JobFailed, match="Expected `bool`, got `str`"):
                await within(client.submit({"name": name, "urgent": ""}))
        assert await within(client.submit({"name": "strict", "urgent": True}, result_type=str)) == "1"
        with pytest.raises(ResultDecodeError, match="Expected `str`, got `bool`"):
            await within(client.submit({"name": "strict", "urgent": True}, result_type=str, strict=True))
        assert await within(client.submit({"name": "x", "urgent": "1"}, result_type=int, strict=True)) == 5


async def test_the_bytes_of_strings_that_were_read_as_latin_1(faces: Faces) -> None:
    worker = jobwire.Worker(faces.url, job_poll_interval=0.2, strings="latin-1")

    @worker.handler
    async def echo(params: Raw) -> bytes:
        assert params.many == [params.raw]
        return params.raw

    client = await faces.client(strings="latin-1")
    async with worker:
        for raw in (b"abcd", b"\xff", "é".encode()):
            assert await within(client.submit({"raw": raw, "many": [raw]}, result_type=bytes)) == raw


# -- handlers whose results are still to be awaited


async def reverse(job: Job) -> str:
    await asyncio.sleep(0)
    return str(job.data["text"])[::-1]


def noted(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


class Service:
    async def handle(self, job: Job) -> str:
        return await reverse(job)

    async def __call__(self, job: Job) -> str:
        return await reverse(job)


async def twice(job: Job) -> Awaitable[str]:
    return reverse(job)


@pytest.mark.parametrize(
    "handler",
    [
        reverse,
        noted(reverse),
        noted(noted(reverse)),
        functools.partial(reverse),
        functools.partial(noted(reverse)),
        lambda job: reverse(job),  # noqa: PLW0108 - what is tested
        Service(),
        Service().handle,
        noted(Service().handle),
        twice,
    ],
    ids=lambda handler: getattr(handler, "__name__", type(handler).__name__),
)
async def test_what_is_awaitable_is_awaited(faces: Faces, handler: Any) -> None:
    await faces.worker(handler)
    client = await faces.client()
    assert await within(client.submit({"text": "abc"})) == "cba"


async def test_the_deadline_holds_for_what_is_awaited_late(faces: Faces) -> None:
    async def slow(job: Job) -> None:
        await asyncio.sleep(60)

    await faces.worker(noted(slow), timeout=0.1)
    client = await faces.client()
    with pytest.raises(JobFailed, match="took longer than"):
        await within(client.submit({}))


# -- handles among futures


async def test_asyncio_wait_takes_handles(faces: Faces) -> None:
    await faces.worker(reverse, max_concurrent_jobs=4)
    client = await faces.client()
    handles = [client.submit({"text": str(number)}) for number in range(5)]
    done, pending = await within(asyncio.wait(handles))  # type: ignore[type-var]  # typed for futures alone
    assert (done, pending) == (set(handles), set())
    assert [handle.exception() for handle in handles] == [None] * 5


async def test_asyncio_wait_for_the_first(faces: Faces) -> None:
    await faces.worker(reverse)
    client = await faces.client()
    good, bad = client.submit({"text": "ab"}), client.submit({"text": "x"}, result_type=int)
    never = client.submit({"text": "x"}, queue="nobody")
    handles: Any = [good, bad, never]
    done, pending = await within(asyncio.wait(handles, return_when=asyncio.FIRST_EXCEPTION))
    assert bad in done
    assert never in pending
    assert isinstance(bad.exception(), ResultDecodeError)
    with pytest.raises(asyncio.InvalidStateError):
        never.exception()
    done, pending = await within(asyncio.wait([never], timeout=0.01))  # type: ignore[type-var]
    assert (done, pending) == (set(), {never})
    assert not never.cancelled()
    never.cancel()
    assert never.cancelled()
    assert isinstance(never.exception(), jobwire.JobCancelled)


async def test_a_callback_that_was_removed_is_not_called(faces: Faces) -> None:
    await faces.worker(reverse)
    client: Client = await faces.client()
    told: list[Any] = []
    handle = client.submit({"text": "ab"})
    assert handle.remove_done_callback(told.append) == 0
    handle.add_done_callback(told.append)
    handle.add_done_callback(told.append)
    assert handle.remove_done_callback(told.append) == 2
    handle.add_done_callback(lambda _: told.append("other"))
    await within(handle)
    await asyncio.sleep(0)
    assert told == ["other"]


def test_blocking_handles_say_the_same(redis_url: str) -> None:
    with sync.Client(redis_url, timeout=20) as client:
        handle = client.submit({})
        told: list[Any] = []
        handle.add_done_callback(told.append)
        assert handle.remove_done_callback(told.append) == 1
        assert not handle.cancelled()
        handle.cancel()
        assert handle.cancelled()
        assert isinstance(handle.exception(), jobwire.JobCancelled)
        assert told == []
