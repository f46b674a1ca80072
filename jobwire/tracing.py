"""Spans of OpenTelemetry for submissions and handlers, linked by ``_traceparent`` (extra ``opentelemetry``).

::

    jobwire.tracing.trace_client(client)
    jobwire.tracing.trace_worker(worker)

A submission is a span of kind PRODUCER, from ``submit`` to the result, or the error, that its client hears of; its
context travels with the job as W3C Trace Context. A call of a handler is a span of kind CONSUMER, a child of that of
the submission, whoever has submitted: any peer that writes ``_traceparent``. Names and attributes are those of the
semantic conventions for messaging.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from jobwire import sync
from jobwire.client.client import Client
from jobwire.client.handle import JobHandle, Submitting
from jobwire.errors import ConfigError
from jobwire.version import __version__
from jobwire.wire.codec.extensions import TRACEPARENT
from jobwire.wire.text import Text
from jobwire.worker.hooks import Call, Proceed
from jobwire.worker.worker import Worker

try:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError as missing:
    raise ConfigError("spans need the extra opentelemetry: pip install 'jobwire[opentelemetry]'") from missing

__all__ = ["trace_client", "trace_worker"]

AnyClient: TypeAlias = Client | sync.Client
AnyWorker: TypeAlias = Worker | sync.Worker

_FIELD = TRACEPARENT.decode()
_propagator = TraceContextTextMapPropagator()


def trace_client(client: AnyClient, *, tracer_provider: trace.TracerProvider | None = None) -> None:
    """Make a span of each job that ``client`` submits. ``tracer_provider``: instead of the global one."""
    tracer = trace.get_tracer("jobwire", __version__, tracer_provider)

    def submit(submitting: Submitting, proceed: Callable[[], JobHandle[Any]]) -> JobHandle[Any]:
        span = tracer.start_span(
            f"publish {_words(submitting.queue)}",
            kind=trace.SpanKind.PRODUCER,
            attributes=_attributes("publish", "send", submitting.queue, submitting.id),
        )
        if submitting.traceparent is None:
            carrier: dict[str, str] = {}
            _propagator.inject(carrier, trace.set_span_in_context(span))
            submitting.traceparent = carrier.get("traceparent")
        try:
            handle = proceed()
        except BaseException as error:
            _end(span, error)
            raise
        handle.add_done_callback(lambda ended: _end(span, ended.exception()))
        return handle

    client.middleware(submit)


def trace_worker(worker: AnyWorker, *, tracer_provider: trace.TracerProvider | None = None) -> None:
    """Make a span of each call of a handler of ``worker``; it is the current one within the handler."""
    tracer = trace.get_tracer("jobwire", __version__, tracer_provider)

    async def handle(call: Call, proceed: Proceed) -> Any:
        parent = call.job.meta.get(_FIELD)
        context = _propagator.extract({"traceparent": _words(parent)}) if parent else None
        span = tracer.start_span(
            f"process {_words(call.queue)}",
            context,
            kind=trace.SpanKind.CONSUMER,
            attributes={
                **_attributes("process", "process", call.queue, call.job.id),
                "messaging.consumer.group.name": _words(call.worker),
                "jobwire.attempt": call.job.attempts + 1,
            },
        )
        with trace.use_span(span):
            try:
                return await proceed()
            finally:
                _end(span, call.exception)

    worker.middleware(handle)


def _attributes(operation: str, kind: str, queue: Text, job_id: Text) -> dict[str, str]:
    return {
        "messaging.system": "jobwire",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.destination.name": _words(queue),
        "messaging.message.id": _words(job_id),
    }


def _end(span: trace.Span, error: BaseException | None) -> None:
    if error is not None:
        span.record_exception(error)
        span.set_status(trace.Status(trace.StatusCode.ERROR, type(error).__name__))
        span.set_attribute("error.type", type(error).__name__)
    span.end()


def _words(value: Text) -> str:
    return value if isinstance(value, str) else value.decode(errors="backslashreplace")
