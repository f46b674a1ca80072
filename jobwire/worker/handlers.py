"""Handlers: what a worker calls for a job.

``async def`` functions run in the event loop, plain ones in a thread. A first parameter that is annotated with anything
but ``jobwire.Job`` gets the job's data converted to that type (``codec.typed``: Perl's scalars are strings, so
``"5"`` becomes 5 where the handler says ``int``).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol, TypeAlias, get_type_hints

import msgspec

from jobwire.errors import ConfigError, JobDecodeError
from jobwire.options import UNSET, Unset
from jobwire.wire import Job
from jobwire.wire.codec.expansion import too_large
from jobwire.wire.codec.typed import Characters, converter

__all__ = ["Answers", "AnyHandler", "Handler", "current", "current_job", "make_handler"]

AnyHandler: TypeAlias = Callable[[Any], Any]

_FLAT = frozenset({str, bytes, int, float, bool, type(None)})

current: ContextVar[Job] = ContextVar("jobwire.current_job")
"""Set at the beginning of each job's task, which has a context of its own."""


def current_job() -> Job:
    """The job whose handler is running here; works in handlers, what they await, and threads they run in.

    Raises ``LookupError`` outside of a handler.
    """
    return current.get()


class Answers(Protocol):
    """Makes a result of every end of a handler, so that its jobs never fail."""

    def returned(self, value: object) -> object:
        """The result for what the handler returned; what this raises is ``raised``."""

    def unfit(self, error: BaseException, job: Job) -> object:
        """The result where the job gives the handler no argument."""

    def raised(self, error: BaseException, job: Job) -> object:
        """The result for what the handler raised."""

    def late(self, timeout: float, job: Job) -> object:
        """The result where the handler took longer than so many seconds."""


class Handler:
    """A function made ready: ``prepare(job)`` gives its argument, ``function`` takes it.

    ``timeout`` is its own, in seconds, instead of the worker's; ``answers`` makes a result of whatever happens.
    """

    __slots__ = ("answers", "function", "in_thread", "prepare", "timeout")

    def __init__(
        self,
        function: AnyHandler,
        prepare: Callable[[Job], Any],
        *,
        timeout: float | Unset | None = UNSET,
        answers: Answers | None = None,
    ) -> None:
        self.function = function
        self.prepare = prepare
        self.timeout = timeout
        self.answers = answers
        call = getattr(function, "__call__", None)  # noqa: B004 - the method itself is looked at, not callability
        self.in_thread = not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call))

    def __call__(self, job: Job) -> Awaitable[Any] | Any:
        return self.function(self.prepare(job))


def make_handler(
    function: AnyHandler, wanted: Any = None, *, strict: bool = False, characters: Characters = "utf-8"
) -> Handler:
    """``function`` as a handler, for parameters of the type ``wanted`` where its annotation does not say.

    ``strict`` and ``characters`` as in ``jobwire.wire.codec.typed``. A ``Handler`` is one already.

    Raises ``ConfigError`` for one that cannot take a job.
    """
    if isinstance(function, Handler):
        return function
    if not callable(function):
        raise ConfigError(f"a handler is a function, not {function!r}")
    annotated = _first_parameter_type(function)
    wanted = annotated if wanted is None else wanted
    if wanted is None or wanted is Job:
        return Handler(function, _whole)
    return Handler(function, _converter(wanted, function, strict, characters))


def _whole(job: Job) -> Job:
    return job


def _first_parameter_type(function: AnyHandler) -> Any:
    name = getattr(function, "__qualname__", repr(function))
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    required = [
        p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    takes_one = bool(parameters) and parameters[0].kind is not inspect.Parameter.KEYWORD_ONLY
    if not takes_one or len(required) > 1 or any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
        raise ConfigError(f"the handler {name} must take exactly one argument: the job, or its parameters")
    first = parameters[0]
    if first.annotation is first.empty:
        return None
    try:
        return _hints(function).get(first.name)
    except NameError as error:
        raise ConfigError(
            f"the annotation of {name} cannot be resolved ({error}); define that type at module level, or pass it as "
            "worker.handler(type=…)"
        ) from None


def _hints(function: AnyHandler) -> dict[str, Any]:
    while isinstance(function, partial):
        function = function.func
    if not (inspect.isroutine(function) or inspect.isclass(function)):
        function = type(function).__call__
    return get_type_hints(function)


def _converter(wanted: Any, function: AnyHandler, strict: bool, characters: Characters) -> Callable[[Job], Any]:
    name = getattr(function, "__qualname__", repr(function))
    try:
        convert = converter(wanted, strict=strict)
    except TypeError as error:
        raise ConfigError(f"the handler {name} cannot be given a {wanted!r}: {error}") from None

    def prepare(job: Job) -> Any:
        data = job.data
        if not _FLAT.issuperset(map(type, data.values())) and (reason := too_large(data)) is not None:
            raise JobDecodeError(f"the parameters do not fit {convert.name}: {reason}", key=job.id)
        try:
            return convert(data, characters)
        except msgspec.ValidationError as error:
            raise JobDecodeError(f"the parameters do not fit {convert.name}: {error}", key=job.id) from error.__cause__

    return prepare
