"""Handlers: the functions that a worker calls for a job.

``async def`` functions run in the event loop, plain ones in a thread. A first parameter that is annotated with anything
but ``jobwire.Job`` gets the job's data converted to that type (``codec.typed``: Perl's scalars are strings, so
``"5"`` becomes 5 where the handler says ``int``).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar, get_type_hints, overload

import msgspec

from jobwire import fast
from jobwire.errors import ConfigError, DecodeError, JobDecodeError
from jobwire.options import UNSET, Unset
from jobwire.sereal.values import StringPolicy
from jobwire.wire import Job
from jobwire.wire.codec.expansion import too_large
from jobwire.wire.codec.typed import Characters, characters_of, converter
from jobwire.wire.text import Text

__all__ = [
    "Answers",
    "AnyHandler",
    "Handler",
    "Handling",
    "Router",
    "current",
    "current_job",
    "make_handler",
    "name_of",
]

AnyHandler: TypeAlias = Callable[[Any], Any]
F = TypeVar("F", bound=AnyHandler)

current: ContextVar[Job] = ContextVar("jobwire.current_job")
"""Set at the beginning of each job's task, which has a context of its own."""


def current_job() -> Job:
    """The job whose handler is running here; works in handlers, coroutines they await, and threads they run in.

    Raises ``LookupError`` outside of a handler.
    """
    return current.get()


class Answers(Protocol):
    """Makes a result of every end of a handler, so that its jobs never fail."""

    def returned(self, value: object) -> object:
        """The result for the handler's value; errors of this go to ``raised``."""

    def unfit(self, error: BaseException, job: Job) -> object:
        """The result where the job gives the handler no argument."""

    def raised(self, error: BaseException, job: Job) -> object:
        """The result for the handler's exception."""

    def late(self, timeout: float, job: Job) -> object:
        """The result where the handler took longer than so many seconds."""


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a handler's function for messages."""
    return getattr(function, "__qualname__", None) or repr(function)


class Handler:
    """A function made ready: ``prepare(job)`` gives its argument, ``function`` takes it.

    ``timeout`` is its own, in seconds, instead of the worker's; ``answers`` makes a result of whatever happens;
    ``in_process``: a thread waits for a process that calls it.
    """

    __slots__ = ("answers", "function", "in_process", "in_thread", "prepare", "takes_job", "timeout")

    def __init__(
        self,
        function: AnyHandler,
        prepare: Callable[[Job], Any],
        *,
        timeout: float | Unset | None = UNSET,
        answers: Answers | None = None,
        in_process: bool = False,
    ) -> None:
        self.function = function
        self.prepare = prepare
        self.takes_job = prepare is _whole
        self.timeout = timeout
        self.answers = answers
        self.in_process = in_process
        call = getattr(function, "__call__", None)  # noqa: B004 - the method itself is looked at, not callability
        self.in_thread = not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call))
        if in_process and not self.in_thread:
            name = name_of(function)
            raise ConfigError(f"the handler {name} is async: what runs in a process is a plain function")

    def __call__(self, job: Job) -> Awaitable[Any] | Any:
        return self.function(self.prepare(job))


def make_handler(
    function: AnyHandler,
    wanted: Any = None,
    *,
    strict: bool = False,
    characters: Characters = "utf-8",
    in_process: bool = False,
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
    prepare = _whole if wanted is None or wanted is Job else _converter(wanted, function, strict, characters)
    return Handler(function, prepare, in_process=in_process)


def _whole(job: Job) -> Job:
    return job


def _first_parameter_type(function: AnyHandler) -> Any:
    name = name_of(function)
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
    name = name_of(function)
    try:
        convert = converter(wanted, strict=strict)
        read = convert.__call__  # bound: a call of the object costs twice as much
    except TypeError as error:
        raise ConfigError(f"the handler {name} cannot be given a {wanted!r}: {error}") from None

    def prepare(job: Job) -> Any:
        data = job.data
        if not fast.is_flat(data) and (reason := too_large(data)) is not None:
            raise JobDecodeError(f"the parameters do not fit {convert.name}: {reason}", key=job.id)
        try:
            return read(data, characters)
        except msgspec.ValidationError as error:
            raise JobDecodeError(f"the parameters do not fit {convert.name}: {error}", key=job.id) from error.__cause__

    return prepare


class Router:
    """Dispatches on a field of the job's data, whatever type the chosen handler wants."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.handlers: dict[Text, Handler] = {}

    def add(self, value: Text, handler: Handler) -> None:
        """Raises ``ConfigError`` where ``value`` has a handler already."""
        if value in self.handlers:
            raise ConfigError(f"{self.field} = {value!r} has a handler already")
        self.handlers[value] = handler

    def find(self, job: Job, *, fallback: Handler | None) -> Handler:
        """The handler for ``job``, else ``fallback``. Raises ``DecodeError`` where there is none."""
        value = job.data.get(self.field)
        found = self.handlers.get(value) if isinstance(value, str | bytes) else None
        if found is None:
            found = fallback
        if found is None:
            known = ", ".join(sorted(map(repr, self.handlers))) or "none"
            raise DecodeError(
                f"no handler for {self.field} = {value!r}; there are {known}", key=job.id, field=self.field
            )
        return found


class Handlers:
    """The handlers of one worker: that of all jobs, ``fallback`` where there are routes, and those of the routes."""

    def __init__(self) -> None:
        self.fallback: Handler | None = None
        self.router: Router | None = None

    def __iter__(self) -> Iterator[Handler]:
        if self.router is not None:
            yield from self.router.handlers.values()
        if self.fallback is not None:
            yield self.fallback

    def find(self, job: Job) -> Handler:
        """The handler for ``job``. Raises ``DecodeError`` where no route fits it."""
        if self.router is not None:
            return self.router.find(job, fallback=self.fallback)
        assert self.fallback is not None  # noqa: S101 - a worker without any is refused when it is started
        return self.fallback


class Handling:
    """The part of a worker that is given its handlers."""

    def __init__(self, strings: StringPolicy) -> None:
        self._characters: Characters = characters_of(strings)
        self._handlers = Handlers()

    @overload
    def handler(self, function: F) -> F: ...
    @overload
    def handler(self, *, type: Any = ..., strict: bool = ..., in_process: bool = ...) -> Callable[[F], F]: ...
    def handler(self, function: Any = None, *, type: Any = None, strict: bool = False, in_process: bool = False) -> Any:
        """The function that does this worker's jobs (Perl: ``jobs->each``).

        It takes a ``jobwire.Job``, or the job's parameters as the type of its annotation (or ``type``). The value it
        returns is the result; an exception is the job's failure. ``async def`` runs in the event loop, a plain
        function in a thread; an awaitable that it returns is awaited in the event loop.

        A type reads scalars as Perl does (README, Types): ``""`` is false, a number is text where the type says
        ``str``. ``strict=True`` refuses both.

        ``in_process=True`` calls a plain function, which its module must have by its name, in a process: for code that
        computes. There it is killed when its time-out is over, or the grace of a stop. The process imports the module,
        so the application's other set-up, its log too, is not there.

        Raises ``ConfigError`` for a function that cannot take a job, and for a type that cannot be made.
        """
        if function is None:
            return lambda found: self._set_handler(found, type, strict, in_process)
        return self._set_handler(function, type, strict, in_process)

    def _set_handler(self, function: F, wanted: Any, strict: bool, in_process: bool) -> F:
        if self._handlers.fallback is not None:
            raise ConfigError("this worker has a handler already; use worker.route(value) for several")
        self._handlers.fallback = self._make(function, wanted, strict, in_process)
        return function

    def _make(self, function: AnyHandler, wanted: Any, strict: bool, in_process: bool) -> Handler:
        return make_handler(function, wanted, strict=strict, characters=self._characters, in_process=in_process)

    def route(
        self,
        value: Text,
        /,
        *,
        field: str = "name",
        type: Any = None,
        strict: bool = False,
        in_process: bool = False,
    ) -> Callable[[F], F]:
        """The function for jobs whose parameter ``field`` is ``value``; jobs that no route fits go to ``handler``.

        ``type``, ``strict`` and ``in_process`` as there.
        """

        def register(function: F) -> F:
            router = self._handlers.router
            if router is None:
                router = self._handlers.router = Router(field)
            if router.field != field:
                raise ConfigError(f"this worker routes by {router.field!r}; it cannot route by {field!r} as well")
            router.add(value, self._make(function, type, strict, in_process))
            return function

        return register

    def _all_in_threads(self) -> bool:
        """Are they all plain functions?"""
        return all(handler.in_thread for handler in self._handlers)

    def _needs_handler(self) -> None:
        if not list(self._handlers):
            raise ConfigError("a worker needs a handler: @worker.handler or @worker.route(…)")
