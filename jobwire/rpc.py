"""Remote procedure calls in the convention of the public Perl websocket proxy.

Source: Mojo-WebSocketProxy 0.13, ``Mojo::WebSocketProxy::Backend::JobAsync`` ``call_rpc`` (which submits) and
``Mojo::WebSocketProxy::Backend`` ``get_rpc_response_cb`` (which reads).

A call is a job with two text parameters: ``name``, the method, and ``params``, an object as JSON text. The proxy puts
the websocket client's arguments under ``args`` in it, beside the configured values of its stash. The reply is JSON
text too::

    {"result": …}
    {"error": {"code": …, "message": …, "details"?: …},
     "result": {"error": {"code": …, "message_to_client": …, "details"?: …}}}

The proxy reads ``result`` alone, and recognises an error by ``result.error``: an ``error`` at the top it would take for
a success without a value. So an error stands in both places: at the top in full, for programs; in ``result`` with the
part that the websocket client may see. Workers of the public convention write a method's own errors in ``result`` alone
(``business_errors="result"``), so that a top-level ``error`` means that the call itself failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, get_args, overload

import msgspec

from jobwire.client.client import Client
from jobwire.errors import ConfigError, DecodeError, EncodeError, JobwireError, ResultDecodeError, printable
from jobwire.events import loggable
from jobwire.limits import DEFAULT_LIMITS
from jobwire.options import UNSET, Unset, at_least, result_converter
from jobwire.wire import Job
from jobwire.wire.codec.json import decode_json, encode_json
from jobwire.wire.codec.plain import parameters_of
from jobwire.wire.codec.typed import Converter
from jobwire.wire.text import Text, wire_bytes
from jobwire.worker.failures import failure_of
from jobwire.worker.handlers import AnyHandler, Handler, make_handler

if TYPE_CHECKING:
    from typing_extensions import TypeForm  # part of every type checker; never imported

__all__ = ["BusinessErrors", "RpcError", "Server", "call", "decode_reply", "encode_call"]

T = TypeVar("T")
F = TypeVar("F", bound=AnyHandler)
BusinessErrors: TypeAlias = Literal["both", "result"]
"""The place of a method's errors in a reply: at the top and in ``result``, or in ``result`` alone."""

_log = logging.getLogger("jobwire.rpc")

NAME = "name"
PARAMS = "params"
UNKNOWN_METHOD = "UnrecognisedRequest"
BAD_PARAMS = "InputValidationFailed"
INTERNAL = "InternalServerError"
TIMEOUT = "RequestTimeout"
PING = "ping"
PONG = "pong"
_LATE = "Request is timed out."
_SORRY = "Sorry, an error occurred while processing your request."


class RpcError(JobwireError):
    """A method's error: raised by a handler it becomes the reply, and ``call`` raises it again.

    ``code``     one word that programs compare
    ``message``  a sentence that may be shown to whoever called, the websocket client included
    ``details``  an object (a mapping, a Struct, a dataclass), None for nothing
    ``in_result``  in a reply: True where the error stood in ``result`` alone, as public workers say a method's own
    """

    def __init__(self, code: str, message: str = "", details: object = None) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.details = details
        self.in_result = False


# -- the bytes on the wire


def encode_call(method: Text, params: object = None) -> dict[Text, object]:
    """Return the job's parameters for a call; ``params`` is a mapping, a Struct, a dataclass, or None for ``{}``.

    Raises ``EncodeError``.
    """
    return {NAME: method, PARAMS: encode_json({} if params is None else parameters_of(params), field=PARAMS).decode()}


def encode_success(value: object) -> str:
    """Return the reply of a method that returned ``value``.

    Raises ``EncodeError``, also for an object with the key ``error``, which callers read as an error, and for one whose
    ``stash`` is no object, of which the proxy dies (Backend.pm ``get_rpc_response_cb``, ``store_response``).
    """
    raw = encode_json({"result": value}, field="result")
    if raw.startswith(b'{"result":{') and (b'"error"' in raw or b'"stash"' in raw):
        _check_success(decode_json(raw, limits=DEFAULT_LIMITS)["result"])
    return raw.decode()


def _check_success(result: dict[str, Any]) -> None:
    if "error" in result:
        raise EncodeError("a result with the key 'error' is read as an error; raise RpcError instead", field="result")
    if not isinstance(result.get("stash"), dict | None):
        raise EncodeError("the 'stash' of a result is an object: the proxy takes it for a hash", field="result")


def encode_error(error: RpcError, *, shown: str | None = None, in_result: bool = False) -> str:
    """Encode the reply of a method that failed; ``shown`` is the message for the websocket client in place of the
    error's own, ``in_result`` leaves out the error at the top.

    Raises ``EncodeError``, also for details that are no object: the proxy looks for keys in them.
    """
    details = {} if error.details is None else {"details": error.details}
    if details and not encode_json(error.details, field="details").startswith(b"{"):
        raise EncodeError("the details of an error are an object", field="details")
    for_client = {"code": error.code, "message_to_client": error.message if shown is None else shown, **details}
    reply = {"error": {"code": error.code, "message": error.message, **details}, "result": {"error": for_client}}
    if in_result:
        del reply["error"]
    return encode_json(reply, field="error").decode()


@overload
def decode_reply(reply: object, *, result_type: None = ..., strict: bool = ...) -> Any: ...
@overload
def decode_reply(reply: object, *, result_type: TypeForm[T], strict: bool = ...) -> T: ...
def decode_reply(reply: object, *, result_type: Any = None, strict: bool = False) -> Any:
    """Return the value in a reply, which is the job's result, converted to ``result_type`` as in ``Client.submit``.

    Raises ``RpcError`` for an error in either place; ``ResultDecodeError`` for a result that is no reply;
    ``ConfigError`` for a type that no result can become.
    """
    return _decode_reply(reply, result_converter(result_type, strict=strict))


def _decode_reply(reply: object, convert: Converter | None) -> Any:
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
    at_top = body.get("error")
    inner = result.get("error") if isinstance(result, dict) else None
    if at_top is not None or inner is not None:
        raise _error_in(inner if at_top is None else at_top, in_result=at_top is None)
    if "result" not in body:
        raise ResultDecodeError("the reply holds neither result nor error", raw=raw)
    if convert is None:
        return result
    try:
        return convert(result, "latin-1")  # as encode_json writes bytes
    except msgspec.ValidationError as problem:
        raise ResultDecodeError(f"not a {convert.wanted!r}: {problem}", raw=raw) from problem.__cause__


def _error_in(error: object, *, in_result: bool) -> RpcError:
    if not isinstance(error, dict):
        found = RpcError(INTERNAL, str(error))
    else:
        message = error.get("message", error.get("message_to_client", ""))
        found = RpcError(str(error.get("code", INTERNAL)), str(message), error.get("details"))
    found.in_result = in_result
    return found


# -- the two sides


class Routable(Protocol):
    """The part of a worker that a server needs: ``jobwire.Worker`` and ``jobwire.sync.Worker`` have it."""

    def handler(self, function: F, /) -> F: ...
    def route(self, value: Text, /, *, field: str = ..., type: Any = ...) -> Callable[[F], F]: ...


class Server:
    """Methods that a worker answers.

    ::

        worker = jobwire.Worker("redis://127.0.0.1", prefix="rpc")
        rpc = jobwire.rpc.Server(worker)

        @rpc.method("balance", timeout=5)
        async def balance(params: BalanceParams) -> Balance: ...

    Takes the worker's handler, for names that no method has. Every call gets a reply, and at once: an ``RpcError`` as
    it is; any other exception, ``SystemExit`` and a cancellation too, as ``InternalServerError``, with type and message
    for programs and no more than an apology for the websocket client;
    parameters that do not fit as ``InputValidationFailed``; a method that takes longer than its time, or the worker's,
    as ``RequestTimeout``; an unknown name as ``UnrecognisedRequest``. The worker's ``on_failure`` has no part in it.
    ``ping`` is answered with ``"pong"`` where no method has that name.

    ``business_errors``  the place of a method's ``RpcError``: ``both``, at the top of the reply and in ``result``;
                         ``result``, there alone, so that callers tell it (``RpcError.in_result``) from a failed call

    Raises ``ConfigError`` where the worker has a handler already.
    """

    def __init__(self, worker: Routable, *, business_errors: BusinessErrors = "both") -> None:
        if business_errors not in get_args(BusinessErrors):
            raise ConfigError(f"unknown place for business errors {business_errors!r}; there are both, result")
        self._worker = worker
        self._methods: list[Text] = []
        self._replies = _Replies(in_result=business_errors == "result")
        worker.handler(self._unknown)

    def method(
        self, name: Text, *, type: Any = None, timeout: float | Unset | None = UNSET, strict: bool = False
    ) -> Callable[[F], F]:
        """Register the function for calls of ``name``.

        It takes the ``params``, converted to the type of its annotation (or ``type``; ``strict`` as in
        ``Worker.handler``); a ``jobwire.Job``, or no annotation, gets the job with the decoded ``params`` as its
        ``data``. It returns any value that has a JSON form. ``timeout`` is its time in seconds instead of the
        worker's, None for no limit. A plain function runs in a thread. Raises ``ConfigError`` for a name that is
        taken, and for a function that cannot take one argument.
        """
        if not isinstance(timeout, Unset):
            at_least("timeout", timeout, 0.001)

        def register(function: F) -> F:
            # As encode_json writes bytes.
            handler = make_handler(function, type, strict=strict, characters="latin-1")
            self._worker.route(name, field=NAME)(
                Handler(
                    handler.function,
                    lambda job: handler.prepare(_with_params(job)),
                    timeout=timeout,
                    answers=self._replies,
                )
            )
            self._methods.append(name)
            return function

        return register

    async def _unknown(self, job: Job) -> str:
        name = job.data.get(NAME)
        if isinstance(name, str | bytes) and wire_bytes(name) == PING.encode():
            return encode_success(PONG)
        known = ", ".join(sorted(map(printable, {PING, *self._methods})))
        asked = printable(name) if isinstance(name, str | bytes) else "no name"
        error = RpcError(UNKNOWN_METHOD, f"there is no method {asked}; there are {known}")
        return encode_error(error, shown="Unrecognised request")


class _Replies:
    """A reply for every end of a method (``jobwire.worker.handlers.Answers``)."""

    def __init__(self, *, in_result: bool) -> None:
        self._in_result = in_result

    def returned(self, value: object) -> str:
        return encode_success(value)

    def unfit(self, error: BaseException, job: Job) -> str:
        if isinstance(error, DecodeError):
            # The reason names the parameter that does not fit, which is the caller's own.
            return encode_error(RpcError(BAD_PARAMS, _sayable(error.reason)))
        return self._failed(error, job)

    def raised(self, error: BaseException, job: Job) -> str:
        if not isinstance(error, RpcError):
            return self._failed(error, job)
        try:
            return encode_error(error, in_result=self._in_result)
        except EncodeError as unsayable:
            unsayable.__cause__ = error
            return self._failed(unsayable, job)

    def late(self, timeout: float, job: Job) -> str:
        _log.error("method %r, job %s: no answer within %g s", job.data.get(NAME), printable(job.id), timeout)
        return encode_error(RpcError(TIMEOUT, f"the method took longer than {timeout:g} s"), shown=_LATE)

    def _failed(self, error: BaseException, job: Job) -> str:
        failure = failure_of(error)
        in_full = _sayable(f"{failure.type}: {failure.message}")
        story, traceback = loggable(error)
        name = job.data.get(NAME)
        _log.error("method %r, job %s: %s%s", name, printable(job.id), ascii(in_full), story, exc_info=traceback)
        return encode_error(RpcError(INTERNAL, in_full), shown=_SORRY)


def _sayable(text: str) -> str:
    """Return ``text`` with lone surrogates, which have no JSON form, written out."""
    return text.encode(errors="backslashreplace").decode()


def _with_params(job: Job) -> Job:
    """Return ``job`` with the decoded ``params`` as its data. Raises ``DecodeError``."""
    params = job.data.get(PARAMS)
    if not isinstance(params, str | bytes):
        raise DecodeError("params is no JSON text", key=job.id, field=PARAMS)
    decoded = decode_json(wire_bytes(params), limits=DEFAULT_LIMITS)
    if not isinstance(decoded, dict):
        raise DecodeError("params is no JSON object", key=job.id, field=PARAMS)
    return msgspec.structs.replace(job, data=decoded)


@overload
async def call(
    client: Client,
    method: Text,
    params: object = ...,
    *,
    result_type: None = ...,
    strict: bool = ...,
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
    result_type: TypeForm[T],
    strict: bool = ...,
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
    strict: bool = False,
    queue: Text | None = None,
    timeout: float | Unset | None = UNSET,
    expires_in: float | None = None,
) -> Any:
    """Call ``method`` and wait for its value, converted to ``result_type`` (``strict`` as in ``Client.submit``).

    The options ``queue``, ``timeout`` and ``expires_in`` (seconds) are those of ``Client.submit``. Raises ``RpcError``
    for the method's error; the errors of ``Client.submit`` and its handle; ``ResultDecodeError`` for a result that is
    no reply.
    Cancelling the wait takes the job back. With ``jobwire.sync``:
    ``decode_reply(client.submit(encode_call("ping", {…})).result())``.
    """
    convert = result_converter(result_type, strict=strict)
    handle = client.submit(encode_call(method, params), queue=queue, timeout=timeout, expires_in=expires_in)
    try:
        reply = await handle
    finally:
        handle.cancel()  # does nothing where the job is done
    return _decode_reply(reply, convert)
