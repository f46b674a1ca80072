"""Which function does a job: one for all, or one for each value of a parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from jobwire.errors import ConfigError, DecodeError
from jobwire.sereal.values import StringPolicy
from jobwire.wire import Job
from jobwire.wire.codec.typed import Characters, characters_of
from jobwire.wire.text import Text
from jobwire.worker.handlers import AnyHandler, Handler, make_handler

__all__ = ["Handling", "Router"]

F = TypeVar("F", bound=AnyHandler)


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


class Handling:
    """The part of a worker that knows its handlers."""

    def __init__(self, strings: StringPolicy) -> None:
        self._characters: Characters = characters_of(strings)
        self._handler: Handler | None = None
        self._router: Router | None = None

    @overload
    def handler(self, function: F) -> F: ...
    @overload
    def handler(self, *, type: Any = ..., strict: bool = ...) -> Callable[[F], F]: ...
    def handler(self, function: Any = None, *, type: Any = None, strict: bool = False) -> Any:
        """The function that does this worker's jobs (Perl: ``jobs->each``).

        It takes a ``jobwire.Job``, or the job's parameters as whatever type its annotation says (or ``type``). What it
        returns is the result; what it raises is the job's failure. ``async def`` runs in the event loop, a plain
        function in a thread; an awaitable that it returns is awaited in the event loop.

        A type reads scalars as Perl does (README, Types): ``""`` is false, a number is text where the type says
        ``str``. ``strict=True`` refuses both. Raises ``ConfigError`` for a function that cannot take a job, and for a
        type that cannot be made.
        """
        if function is None:
            return lambda found: self._set_handler(found, type, strict)
        return self._set_handler(function, type, strict)

    def _set_handler(self, function: F, wanted: Any, strict: bool) -> F:
        if self._handler is not None:
            raise ConfigError("this worker has a handler already; use worker.route(value) for several")
        self._handler = make_handler(function, wanted, strict=strict, characters=self._characters)
        return function

    def route(self, value: Text, /, *, field: str = "name", type: Any = None, strict: bool = False) -> Callable[[F], F]:
        """The function for jobs whose parameter ``field`` is ``value``; jobs that no route fits go to ``handler``.

        ``type`` and ``strict`` as there.
        """

        def register(function: F) -> F:
            if self._router is None:
                self._router = Router(field)
            if self._router.field != field:
                raise ConfigError(f"this worker routes by {self._router.field!r}; it cannot route by {field!r} as well")
            self._router.add(value, make_handler(function, type, strict=strict, characters=self._characters))
            return function

        return register

    def _find_handler(self, job: Job) -> Handler:
        if self._router is not None:
            return self._router.find(job, fallback=self._handler)
        assert self._handler is not None  # noqa: S101 - a worker without any is refused when it is started
        return self._handler

    def _all_in_threads(self) -> bool:
        """Are they all plain functions?"""
        handlers = [] if self._router is None else list(self._router.handlers.values())
        return all(handler.in_thread for handler in (*handlers, self._handler) if handler is not None)

    def _needs_handler(self) -> None:
        if self._handler is None and self._router is None:
            raise ConfigError("a worker needs a handler: @worker.handler or @worker.route(…)")
