"""The handle that ``Client.submit`` returns: the job's ID, and its result to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from copy import copy
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from jobwire.errors import JobCancelled, JobwireError, ResultDecodeError
from jobwire.wire import Submission
from jobwire.wire.codec.typed import Characters, Converter
from jobwire.wire.text import Text, readable

T = TypeVar("T")

__all__ = ["JobHandle", "Pending", "SubmitMiddleware", "Submitting"]

_MANY_WAITERS = 16


class Pending(msgspec.Struct, eq=False):
    """A job that the client waits for, and whoever waits for it.

    ``submission``    None for a job that an earlier client submitted (attach), and once Redis has it
    ``sent``          True from the moment it was written to a connection
    ``kept``        its hash is not deleted when it has been collected: others want the result, too
    ``acknowledged``  True once Redis has said that hash and queue entry are there
    """

    job_id: bytes
    loop: asyncio.AbstractEventLoop
    queue: bytes
    timeout: float | None
    convert: Converter | None
    submission: Submission | None
    take_back: Callable[[Any], None]
    sent: bool = False
    acknowledged: bool = False
    kept: bool = False
    ended: bool = False
    value: Any = None
    error: JobwireError | None = None
    waiters: list[asyncio.Future[None]] | None = None
    submitters: list[asyncio.Future[None]] | None = None
    callbacks: list[Callable[[], object]] | None = None

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
        if error is not None:
            self.error = error
        self.value = value
        self.ended = True  # last: another thread that sees it (jobwire.sync) finds the outcome there
        if self.waiters is not None:
            _wake(self.waiters)
            self.waiters = None
        if self.submitters is not None:
            _wake(self.submitters)
            self.submitters = None
        if self.callbacks is not None:
            for callback in self.callbacks:
                self.loop.call_soon(callback)
            self.callbacks = None

    def check(self) -> None:
        """Raise the error that ended it, if one did."""
        if self.error is not None:
            # A copy: the traceback of an error that is kept would keep the frames of whoever awaits it, these the
            # handle, and all that until the garbage collector looks.
            raise copy(self.error) from self.error.__cause__

    def waiter(self) -> asyncio.Future[None]:
        """A future of the caller's own: one who stops waiting takes the result from nobody."""
        future: asyncio.Future[None] = self.loop.create_future()
        if self.waiters is None:
            self.waiters = [future]
        else:
            if len(self.waiters) >= _MANY_WAITERS:
                self.waiters = [waiter for waiter in self.waiters if not waiter.done()]
            self.waiters.append(future)
        return future

    def submitter(self) -> asyncio.Future[None]:
        """A future that is done once Redis has the job, or its wait has ended."""
        future: asyncio.Future[None] = self.loop.create_future()
        self.submitters = [*(self.submitters or ()), future]
        return future

    def acknowledge(self) -> None:
        """Redis has the submission; it need not be kept here as well."""
        self.acknowledged = True
        self.submission = None
        if self.submitters is not None:
            _wake(self.submitters)
            self.submitters = None

    def forget_callback(self, callback: Callable[[], object]) -> int:
        before = self.callbacks or []
        self.callbacks = [known for known in before if known != callback]
        return len(before) - len(self.callbacks)

    def call_at_end(self, callback: Callable[[], object]) -> None:
        if self.ended:
            self.loop.call_soon(callback)
        elif self.callbacks is None:
            self.callbacks = [callback]
        else:
            self.callbacks.append(callback)


class JobHandle(msgspec.Struct, Generic[T], eq=False):
    """A submitted job. ``await handle`` gives its result, any number of times, or raises its ``JobError``.

    That is ``JobFailed``, ``JobTimeout``, ``JobLost``, ``JobCancelled``, ``ResultDecodeError``, ``MismatchError``,
    ``ServerError`` or ``ClosedError``. A caller who stops waiting (``asyncio.wait_for``, a cancelled task) does not
    cancel the job: ``cancel`` does.
    """

    _pending: Pending

    @property
    def id(self) -> Text:
        """The job's ID: ``str`` where it is valid UTF-8, else ``bytes``."""
        return readable(self._pending.job_id)

    def __await__(self) -> Generator[Any, None, T]:
        pending = self._pending
        if not pending.ended:
            yield from pending.waiter()
        if pending.error is not None:
            pending.check()
        value: T = pending.value
        return value

    async def submitted(self) -> None:
        """Return when Redis has the job: its hash and its entry in the queue are written.

        Raises the error that ended the job before that.
        """
        pending = self._pending
        if not (pending.acknowledged or pending.ended):
            await pending.submitter()
        if not pending.acknowledged:
            pending.check()

    def __repr__(self) -> str:
        return f"<JobHandle {self.id!r} {'done' if self._pending.ended else 'waiting'}>"

    def done(self) -> bool:
        """True once there is a result or an error."""
        return self._pending.ended

    def add_done_callback(self, callback: Callable[[JobHandle[T]], object]) -> None:
        """Call ``callback(handle)`` in the event loop once the job is done."""
        self._pending.call_at_end(_Callback(callback, self))

    def remove_done_callback(self, callback: Callable[[JobHandle[T]], object]) -> int:
        """Undo ``add_done_callback``; how many were removed. ``asyncio.wait`` takes handles as it takes futures."""
        return self._pending.forget_callback(_Callback(callback, self))

    def cancelled(self) -> bool:
        """True where the job ended by ``cancel``."""
        return isinstance(self._pending.error, JobCancelled)

    def exception(self) -> JobwireError | None:
        """The error that ``await`` raises, None for a result. Raises ``asyncio.InvalidStateError`` before the end."""
        if not self._pending.ended:
            raise asyncio.InvalidStateError("the job is not done yet")
        return None if self._pending.error is None else copy(self._pending.error)

    def cancel(self) -> bool:
        """Take the job back: whoever awaits it gets ``JobCancelled``. False where it was done already.

        A job that no worker has taken yet is removed from Redis, or, deep inside of a long queue, is not begun any
        more (``_expires``; a Perl worker does not look at it); one that runs goes on, and its late result is cleaned
        up.
        """
        if self._pending.ended:
            return False
        self._pending.take_back(self._pending)
        return True


class Submitting(msgspec.Struct, kw_only=True, eq=False):
    """A job that is about to be submitted.

    ``queue``        name of the queue, without the prefix
    ``traceparent``  W3C trace context; may be set before ``proceed`` is called
    """

    id: Text
    queue: Text
    data: object
    traceparent: str | None = None


SubmitMiddleware: TypeAlias = Callable[[Submitting, Callable[[], JobHandle[Any]]], JobHandle[Any]]


class _Callback(msgspec.Struct, frozen=True):
    """One that is equal to another one of the same function, so that it can be removed again."""

    function: Callable[[Any], object]
    handle: Any

    def __call__(self) -> object:
        return self.function(self.handle)


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
