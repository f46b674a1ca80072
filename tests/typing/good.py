"""Not run: checked by mypy and pyright. Each line says what a user's editor should know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, TypedDict, Union, assert_type

import msgspec

import jobwire


class Pong(msgspec.Struct):
    pong: int


@dataclass
class Ping:
    ping: int


class Options(TypedDict, total=False):
    verbose: bool


async def submitting(client: jobwire.Client) -> None:
    untyped = client.submit({"a": 1}, queue=b"q", timeout=None, expires_in=5, id=b"\xff", meta={"_x": b"y"})
    assert_type(untyped, jobwire.JobHandle[Any])
    assert_type(await client.submit(Ping(1), result_type=Pong), Pong)
    assert_type(await client.submit({}, result_type=Pong | None), Pong | None)
    assert_type(await client.submit({}, result_type=Optional[Pong]), Pong | None)  # noqa: UP045 - people write it
    assert_type(await client.submit({}, result_type=Union[Pong, int]), Pong | int)  # noqa: UP007 - people write it
    assert_type(await client.submit({}, result_type=Literal["a", "b"]), Literal["a", "b"])
    assert_type(await client.submit({}, result_type=Annotated[int, msgspec.Meta(ge=0)], strict=True), int)
    assert_type(await client.submit({}, result_type=list[int | None]), list[int | None])
    assert_type(await client.submit({}, result_type=None), Any)
    typed = client.submit(result_type=list[int])
    assert_type(typed, jobwire.JobHandle[list[int]])
    assert_type(typed.id, str | bytes)
    assert_type(typed.cancel(), bool)
    assert_type(await client.submit_many([{}, Ping(1)]), list[jobwire.JobHandle[Any]])
    async for handle, outcome in client.results([typed]):
        assert_type(handle, jobwire.JobHandle[list[int]])
        assert_type(outcome, list[int] | jobwire.JobError)
    assert_type(await client.state("x"), jobwire.JobState)
    assert_type(client.attach("x"), jobwire.JobHandle[Any])
    assert_type(client.queue_length, int | None)
    async with jobwire.Client("redis://", id="me", route=by_size) as again:
        assert_type(again, jobwire.Client)


def by_size(data: Mapping[Any, Any]) -> str:
    return "large" if len(data) > 5 else "small"


def working(worker: jobwire.Worker) -> None:
    @worker.handler
    async def untyped(job: jobwire.Job) -> str:
        assert_type(job.data, dict[str | bytes, object])
        assert_type(jobwire.current_job(), jobwire.Job)
        return "x"

    # A decorated function is still itself.
    assert_type(untyped(jobwire.Job(id="x", data={})).__class__.__name__, str)

    @worker.handler(type=Options)
    def plain(args: Any) -> int:
        return 1

    assert_type(plain(5), int)

    @worker.route("ping")
    def ping(args: Ping) -> Pong:
        return Pong(args.ping)

    assert_type(ping(Ping(1)), Pong)

    @worker.route(b"\xff", field="op", type=Options)
    async def other(args: Options) -> bool:
        return args.get("verbose", False)


def calling(worker: jobwire.Worker) -> None:
    server = jobwire.rpc.Server(worker, business_errors="result")
    assert_type(server, jobwire.rpc.Server)

    @server.method("ping", timeout=5, strict=True)
    async def ping(params: Ping) -> Pong:
        return Pong(params.ping)

    assert_type(jobwire.rpc.decode_reply("{}", result_type=int | None), int | None)
    assert_type(jobwire.wire.encode_result(5), bytes)
    assert_type(jobwire.sereal.dumps(5), bytes)
    assert_type(jobwire.sync.Client().submit(result_type=int | str).result(), int | str)


def tracing(event: jobwire.TraceEvent) -> None:
    assert_type(event.job_id, str | bytes)
    assert_type(event.at, float)


jobwire.Worker("redis://", trace=tracing, on_failure="retry", processing_queue=None)
