"""Remote procedure calls in the convention of the public Perl websocket proxy.

Source: Mojo-WebSocketProxy 0.13, ``Mojo::WebSocketProxy::Backend::JobAsync`` ``call_rpc`` (which submits) and
``Mojo::WebSocketProxy::Backend`` ``get_rpc_response_cb`` (which reads).

A call is a job with two text parameters: ``name``, the method, and ``params``, an object as JSON text. The proxy puts
what the websocket client sent under ``args`` in it, beside what it was told to take from its stash. The reply is
JSON text too::

    {"result": …}
    {"error": {"code": …, "message": …, "details"?: …},
     "result": {"error": {"code": …, "message_to_client": …, "details"?: …}}}

The proxy reads ``result`` alone, and recognises an error by ``result.error``: an ``error`` at the top it would take for
a success without a value. So an error stands in both places: at the top in full, for programs; in ``result`` with what
the websocket client may see.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, overload

import msgspec

from jobwire.client.client import Client
from jobwire.errors import DecodeError, EncodeError, JobwireError, ResultDecodeError, printable
from jobwire.limits import DEFAULT_LIMITS
from jobwire.options import UNSET, Unset
from jobwire.wire import Job
from jobwire.wire.codec.json import decode_json, encode_json
from jobwire.wire.codec.plain import parameters_of
from jobwire.wire.text import Text, wire_bytes
from jobwire.worker.handlers import AnyHandler, Handler, make_handler

__all__ = ["RpcError", "Server", "call", "decode_reply", "encode_call"]

T = TypeVar("T")
F = TypeVar("F", bound=AnyHandler)
_log = logging.getLogger("jobwire.rpc")

NAME = "name"
PARAMS = "params"
UNKNOWN_METHOD = "UnrecognisedRequest"
BAD_PARAMS = "InputValidationFailed"
INTERNAL = "InternalServerError"
_SORRY = "Sorry, an error occurred while processing your request."


class RpcError(JobwireError):
    """A method's error: raised by a handler it becomes the reply, and ``call`` raises it again.

    ``code``     one word that programs compare
    ``message``  a sentence that may be shown to whoever called, the websocket client included
    ``details``  any JSON value, None for nothing
    """

    def __init__(self, code: str, message: str = "", details: object = None) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.details = details


# -- what is on the wire


def encode_call(method: Text, params: object = None) -> dict[Text, object]:
    """The job's parameters for a call; ``params`` is a mapping, a Struct, a dataclass, or None for ``{}``.

    Raises ``EncodeError``.
    """
    return {NAME: method, PARAMS: encode_json({} if params is None else parameters_of(params), field=PARAMS).decode()}


def encode_success(value: object) -> str:
    """The reply of a method that returned ``value``. Raises ``EncodeError``."""
    return encode_json({"result": value}, field="result").decode()


def encode_error(error: RpcError, *, shown: str | None = None) -> str:
    """The reply of a method that failed; ``shown`` is what the websocket client sees instead of the message."""
    details = {} if error.details is None else {"details": error.details}
    for_client = {"code": error.code, "message_to_client": error.message if shown is None else shown, **details}
    in_full = {"code": error.code, "message": error.message, **details}
    return encode_json({"error": in_full, "result": {"error": for_client}}, field="error").decode()


@overload
def decode_reply(reply: object) -> Any: ...
@overload
def decode_reply(reply: object, *, result_type: type[T]) -> T: ...
def decode_reply(reply: object, *, result_type: Any = None) -> Any:
    """The value in a reply, which is the result of the job, converted to ``result_type`` (msgspec, lax).

    Raises ``RpcError`` for an error in either place; ``ResultDecodeError`` for what is no reply.
    """
    if not isinstance(reply, str | bytes):
        raise ResultDecodeError(f"a reply is JSON text, not a {type(reply).__name__}; is this an RPC worker?")
    raw = wire_bytes(reply)
    try:
        body = decode_json(raw, limits=DEFAULT_LIMITS)
    except DecodeError as error:
        raise ResultDecodeError(f"the reply is no JSON text: {error.reason}", raw=raw) from None
    if not isinstance(body, dict):
        raise ResultDecodeError("the reply is no JSON object", raw=raw)
    result = body.get("result")
    inner = result.get("error") if isinstance(result, dict) else None
    failure = inner if body.get("error") is None else body["error"]
    if failure is not None:
        raise _error_in(failure)
    if "result" not in body:
        raise ResultDecodeError("the reply holds neither result nor error", raw=raw)
    if result_type is None:
        return result
    try:
        return msgspec.convert(result, result_type, strict=False)
    except msgspec.ValidationError as problem:
        raise ResultDecodeError(f"not a {result_type!r}: {problem}", raw=raw) from None


def _error_in(error: object) -> RpcError:
    if not isinstance(error, dict):
        return RpcError(INTERNAL, str(error))
    message = error.get("message", error.get("message_to_client", ""))
    return RpcError(str(error.get("code", INTERNAL)), str(message), error.get("details"))


# -- the two sides


class Routable(Protocol):
    """What a server needs of a worker: ``jobwire.Worker`` and ``jobwire.sync.Worker`` have it."""

    def handler(self, function: F, /) -> F: ...
    def route(self, value: Text, /, *, field: str = ..., type: Any = ...) -> Callable[[F], F]: ...


class Server:
    """Methods that a worker answers.

    ::

        worker = jobwire.Worker("redis://127.0.0.1", prefix="rpc")
        rpc = jobwire.rpc.Server(worker)

        @rpc.method("ping")
        async def ping(params: PingParams) -> Pong: ...

    Takes the worker's handler, for names that no method has. Whatever happens in a method, the caller gets a reply:
    an ``RpcError`` as it is; other exceptions as ``InternalServerError``, with type and message for programs and no
    more than an apology for the websocket client; parameters that do not fit as ``InputValidationFailed``; an unknown
    name as ``UnrecognisedRequest``. Only the worker's own ``timeout`` ends a job without a reply, by its
    ``on_failure``; ``jobwire.rpc.Server`` never sees that.

    Raises ``ConfigError`` where the worker has a handler already.
    """

    def __init__(self, worker: Routable) -> None:
        self._worker = worker
        self._methods: list[Text] = []
        worker.handler(self._unknown)

    def method(self, name: Text, *, type: Any = None) -> Callable[[F], F]:
        """The function for calls of ``name``.

        It takes the ``params``, as whatever type its annotation says (or ``type``); a ``jobwire.Job``, or no
        annotation, gets the job with the decoded ``params`` as its ``data``. What it returns is any value that has a
        JSON form. A plain function runs in a thread. Raises ``ConfigError`` for a name that is taken, and for a
        function that cannot take one argument.
        """

        def register(function: F) -> F:
            self._worker.route(name, field=NAME)(_method(make_handler(function, type)))
            self._methods.append(name)
            return function

        return register

    def _unknown(self, job: Job) -> str:
        known = ", ".join(sorted(map(printable, self._methods))) or "none"
        name = job.data.get(NAME)
        asked = printable(name) if isinstance(name, str | bytes) else "no name"
        error = RpcError(UNKNOWN_METHOD, f"there is no method {asked}; there are {known}")
        return encode_error(error, shown="Unrecognised request")


def _method(handler: Handler) -> Callable[[Job], Any]:
    """``handler`` as a handler of jobs: asynchronous where it is, otherwise plain, so that it runs in a thread."""
    if handler.in_thread:

        def answer(job: Job) -> str:
            try:
                return encode_success(handler(_with_params(job)))
            except Exception as error:
                return _reply_to(error, job)

        return answer

    async def answer_soon(job: Job) -> str:
        try:
            return encode_success(await handler(_with_params(job)))
        except Exception as error:
            return _reply_to(error, job)

    return answer_soon


def _with_params(job: Job) -> Job:
    """``job`` with the decoded ``params`` as its data. Raises ``DecodeError``."""
    params = job.data.get(PARAMS)
    if not isinstance(params, str | bytes):
        raise DecodeError("params is no JSON text", key=job.id, field=PARAMS)
    decoded = decode_json(wire_bytes(params), limits=DEFAULT_LIMITS)
    if not isinstance(decoded, dict):
        raise DecodeError("params is no JSON object", key=job.id, field=PARAMS)
    return msgspec.structs.replace(job, data=decoded)


def _reply_to(error: Exception, job: Job) -> str:
    try:
        if isinstance(error, RpcError):
            return encode_error(error)
        if isinstance(error, DecodeError):
            # The reason names the parameter that does not fit, which is the caller's own.
            return encode_error(RpcError(BAD_PARAMS, error.reason))
    except EncodeError as unsayable:
        error = unsayable
    _log.error("method %r, job %s: %s", job.data.get(NAME), printable(job.id), ascii(str(error)), exc_info=error)
    in_full = f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()
    return encode_error(RpcError(INTERNAL, in_full), shown=_SORRY)


@overload
async def call(
    client: Client,
    method: Text,
    params: object = ...,
    *,
    queue: Text | None = ...,
    timeout: float | Unset | None = ...,
    expires_in: float | None = ...,
) -> Any: ...
@overload
async def call(
    client: Client,
    method: Text,
    params: object = ...,
    *,
    result_type: type[T],
    queue: Text | None = ...,
    timeout: float | Unset | None = ...,
    expires_in: float | None = ...,
) -> T: ...
async def call(
    client: Client,
    method: Text,
    params: object = None,
    *,
    result_type: Any = None,
    queue: Text | None = None,
    timeout: float | Unset | None = UNSET,
    expires_in: float | None = None,
) -> Any:
    """Call ``method`` and wait for its value, converted to ``result_type``.

    ``queue``, ``timeout`` (seconds) and ``expires_in`` (seconds) as in ``Client.submit``. Raises ``RpcError`` for the
    method's error; what ``Client.submit`` and awaiting its handle raise; ``ResultDecodeError`` for what is no reply.
    Cancelling the wait takes the job back. With ``jobwire.sync``:
    ``decode_reply(client.submit(encode_call("ping", {…})).result())``.
    """
    handle = client.submit(encode_call(method, params), queue=queue, timeout=timeout, expires_in=expires_in)
    try:
        reply = await handle
    finally:
        handle.cancel()  # does nothing where the job is done
    return decode_reply(reply) if result_type is None else decode_reply(reply, result_type=result_type)
