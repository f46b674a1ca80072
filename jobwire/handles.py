"""What ``Client.submit`` gives back: the job's ID, and its result to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from copy import copy
from typing import Any, Generic, TypeVar, cast

import msgspec

from jobwire.errors import JobCancelled, JobwireError, ResultDecodeError
from jobwire.wire import Submission
from jobwire.wire.text import Text, readable
from jobwire.wire.typed import Characters, Converter

T = TypeVar("T")

__all__ = ["JobHandle", "Pending"]

_MANY_WAITERS = 16


class Pending:
    """A job that the client waits for, and whoever waits for it."""

    __slots__ = (
        "_callbacks",
        "_give_up",
        "_loop",
        "_waiters",
        "acknowledged",
        "convert",
        "ended",
        "error",
        "job_id",
        "queue",
        "sent",
        "submission",
        "timeout",
        "value",
    )

    def __init__(  # noqa: PLR0917 - one for every job: keywords would double what it costs
        self,
        job_id: bytes,
        loop: asyncio.AbstractEventLoop,
        queue: bytes,
        timeout: float | None,
        convert: Converter | None,
        submission: Submission | None,
        give_up: Callable[[Any], None],
    ) -> None:
        self.job_id = job_id
        self.queue = queue
        self.timeout = timeout
        self.convert = convert
        # None for a job that an earlier client submitted (attach), and once Redis has it.
        self.submission = submission
        # True from the moment it was written to a connection.
        self.sent = submission is None
        # True once Redis has said that hash and queue entry are there.
        self.acknowledged = submission is None
        self.ended = False
        self.value: Any = None
        self.error: JobwireError | None = None
        self._loop = loop
        self._give_up = give_up
        self._waiters: list[asyncio.Future[None]] | None = None
        self._callbacks: list[Callable[[Any], object]] | None = None

    def read(self, value: object, characters: Characters) -> object:
        """The result as the type that was asked for. Raises ``ResultDecodeError``."""
        if self.convert is None:
            return value
        try:
            return self.convert(value, characters)
        except msgspec.ValidationError as error:
            words = f"not a {self.convert.wanted!r}: {error}"
            raw = repr(value).encode(errors="backslashreplace")
            raise ResultDecodeError(words, key=self.job_id, raw=raw) from error.__cause__

    def end(self, error: JobwireError | None, value: object = None) -> None:
        """The one end of it; whoever waits is woken."""
        self.error = error
        self.value = value
        self.ended = True  # last: another thread that sees it (jobwire.sync) finds the outcome there
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        for callback in self._callbacks or ():
            self._loop.call_soon(callback, self)
        self._waiters = self._callbacks = None

    def waiter(self) -> asyncio.Future[None]:
        """A future of the caller's own: one who stops waiting takes the result from nobody."""
        future: asyncio.Future[None] = self._loop.create_future()
        if self._waiters is None:
            self._waiters = [future]
        else:
            if len(self._waiters) >= _MANY_WAITERS:
                self._waiters = [waiter for waiter in self._waiters if not waiter.done()]
            self._waiters.append(future)
        return future

    def acknowledge(self) -> None:
        """Redis has the submission; it need not be kept here as well."""
        self.acknowledged = True
        self.submission = None

    def forget_callback(self, callback: Callable[[Any], object]) -> int:
        before = self._callbacks or []
        self._callbacks = [known for known in before if known != callback]
        return len(before) - len(self._callbacks)

    def call_at_end(self, callback: Callable[[Any], object]) -> None:
        if self.ended:
            self._loop.call_soon(callback, self)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)


class JobHandle(Pending, Generic[T]):
    """A submitted job. ``await handle`` gives its result, any number of times, or raises what became of it.

    That is ``JobFailed``, ``JobTimeout``, ``JobLost``, ``JobCancelled``, ``ResultDecodeError``, ``MismatchError``,
    ``ServerError`` or ``ClosedError``. A caller who stops waiting (``asyncio.wait_for``, a cancelled task) does not
    cancel the job: ``cancel`` does.
    """

    __slots__ = ()

    @property
    def id(self) -> Text:
        """The job's ID: ``str`` where it is valid UTF-8, else ``bytes``."""
        return readable(self.job_id)

    def __await__(self) -> Generator[Any, None, T]:
        if not self.ended:
            yield from self.waiter()
        if self.error is not None:
            # A copy: the traceback of an error that the handle keeps would keep the frames of whoever awaits it, these
            # the handle, and all that until the garbage collector looks.
            raise copy(self.error) from self.error.__cause__
        return cast("T", self.value)

    def __repr__(self) -> str:
        return f"<JobHandle {self.id!r} {'done' if self.ended else 'waiting'}>"

    def done(self) -> bool:
        """True once there is a result or an error."""
        return self.ended

    def add_done_callback(self, callback: Callable[[JobHandle[T]], object]) -> None:
        """Call ``callback(handle)`` in the event loop once the job is done."""
        self.call_at_end(callback)

    def remove_done_callback(self, callback: Callable[[JobHandle[T]], object]) -> int:
        """Undo ``add_done_callback``; how many were removed. ``asyncio.wait`` takes handles as it takes futures."""
        return self.forget_callback(callback)

    def cancelled(self) -> bool:
        """True where the job ended by ``cancel``."""
        return isinstance(self.error, JobCancelled)

    def exception(self) -> JobwireError | None:
        """What awaiting the handle raises, None for a result. Raises ``asyncio.InvalidStateError`` before the end."""
        if not self.ended:
            raise asyncio.InvalidStateError("the job is not done yet")
        return None if self.error is None else copy(self.error)

    def cancel(self) -> bool:
        """Take the job back: whoever awaits it gets ``JobCancelled``. False where it was done already.

        A job that no worker has taken yet is removed from Redis; one that runs goes on, and its late result is
        cleaned up.
        """
        if self.ended:
            return False
        self._give_up(self)
        return True
