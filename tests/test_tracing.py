"""Spans of both sides, linked by ``_traceparent``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import jobwire
from jobwire import sync
from jobwire.tracing import trace_client, trace_worker

MODES = ("reliable", "recoverable", "simple")


class Spans:
    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("application")

    def all(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    yield made
    made.provider.shutdown()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_job_is_one_trace(redis_url: str, spans: Spans, mode: str, threaded: bool) -> None:
    def work(job: jobwire.Job) -> str:
        with spans.tracer.start_as_current_span("query"):
            return "x"

    async def work_in_loop(job: jobwire.Job) -> str:
        return work(job)

    worker = jobwire.Worker(redis_url, mode=mode, id="w")
    worker.handler(work if threaded else work_in_loop)
    trace_worker(worker, tracer_provider=spans.provider)
    client = jobwire.Client(redis_url, mode=mode, timeout=8)
    trace_client(client, tracer_provider=spans.provider)
    async with client, worker:
        with spans.tracer.start_as_current_span("request"):
            handle = client.submit({"a": 1})
        assert await handle == "x"
    found = spans.all()
    assert found.keys() == {"request", "publish pending", "process pending", "query"}
    request, publish, process = found["request"], found["publish pending"], found["process pending"]
    assert {span.context.trace_id for span in found.values()} == {request.context.trace_id}
    assert publish.parent is not None
    assert publish.parent.span_id == request.context.span_id
    assert process.parent is not None
    assert process.parent.span_id == publish.context.span_id
    assert process.parent.is_remote
    assert found["query"].parent is not None
    assert found["query"].parent.span_id == process.context.span_id
    assert (publish.kind, process.kind) == (trace.SpanKind.PRODUCER, trace.SpanKind.CONSUMER)
    assert attributes(process)["messaging.message.id"] == attributes(publish)["messaging.message.id"] == handle.id
    assert attributes(process)["messaging.consumer.group.name"] == "w"
    assert attributes(process)["jobwire.attempt"] == 1


async def test_failures_are_seen_on_both_sides(redis_url: str, spans: Spans) -> None:
    worker = jobwire.Worker(redis_url)

    @worker.handler
    async def work(job: jobwire.Job) -> None:
        raise ValueError("wrong")

    trace_worker(worker, tracer_provider=spans.provider)
    client = jobwire.Client(redis_url, timeout=8)
    trace_client(client, tracer_provider=spans.provider)
    async with client, worker:
        with pytest.raises(jobwire.JobFailed):
            await client.submit()
    found = spans.all()
    assert found["publish pending"].status.status_code == trace.StatusCode.ERROR
    assert attributes(found["publish pending"])["error.type"] == "JobFailed"
    assert attributes(found["process pending"])["error.type"] == "ValueError"
    assert [event.name for event in found["process pending"].events] == ["exception"]


async def test_what_was_not_submitted_is_an_error_and_a_context_of_the_callers_own_stays(
    redis_url: str, spans: Spans
) -> None:
    client = jobwire.Client(redis_url, timeout=8)
    trace_client(client, tracer_provider=spans.provider)
    parents: list[Any] = []

    @client.middleware
    def look(submitting: jobwire.Submitting, proceed: Any) -> Any:
        parents.append(submitting.traceparent)
        return proceed()

    own = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with client:
        with pytest.raises(jobwire.EncodeError):
            client.submit({"a": object()})
        client.submit({}, traceparent=own).cancel()
        (sent,) = await client.submit_many([{}])
        sent.cancel()
    assert parents[1] == own
    assert parents[2].startswith("00-")
    assert spans.all()["publish pending"].status.status_code == trace.StatusCode.ERROR


def test_the_blocking_face_passes_on_the_context_of_its_thread(redis_url: str, spans: Spans) -> None:
    worker = sync.Worker(redis_url)
    worker.handler(lambda job: "x")
    trace_worker(worker, tracer_provider=spans.provider)
    client = sync.Client(redis_url, timeout=8)
    trace_client(client, tracer_provider=spans.provider)
    with client, worker, spans.tracer.start_as_current_span("request") as request:
        assert client.submit({}).result() == "x"
    assert spans.all()["process pending"].context.trace_id == request.get_span_context().trace_id


async def test_a_worker_alone_begins_a_trace_and_bears_any_context(redis_url: str, spans: Spans) -> None:
    worker = jobwire.Worker(redis_url)
    worker.handler(lambda job: "x")
    trace_worker(worker, tracer_provider=spans.provider)
    async with jobwire.Client(redis_url, timeout=8) as client, worker:
        assert await client.submit({}) == "x"
        assert spans.all()["process pending"].parent is None
        for odd in ("", "nonsense", "00-zz"):
            assert await client.submit({}, traceparent=odd) == "x"
