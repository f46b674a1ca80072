"""What ``Client.submit`` gives back: the job's ID, and its result to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from jobwire.wire import Submission
from jobwire.wire.text import Text, readable

T = TypeVar("T")

__all__ = ["JobHandle", "Pending"]


class JobHandle(Generic[T]):
    """A submitted job. ``await handle`` gives its result, any number of times, or raises what became of it.

    That is ``JobFailed``, ``JobTimeout``, ``JobLost``, ``JobCancelled``, ``ResultDecodeError``, ``MismatchError``,
    ``ServerError`` or ``ClosedError``.
    """

    __slots__ = ("_cancel", "_future", "id")

    def __init__(self, job_id: bytes, future: asyncio.Future[T], cancel: Callable[[bytes], None]) -> None:
        self.id: Text = readable(job_id)
        self._future = future
        self._cancel = cancel

    def __await__(self) -> Generator[Any, None, T]:
        # Shielded: a caller that stops waiting does not take the result from others that wait.
        return asyncio.shield(self._future).__await__() if not self._future.done() else self._future.__await__()

    def __repr__(self) -> str:
        return f"<JobHandle {self.id!r} {'done' if self._future.done() else 'waiting'}>"

    def done(self) -> bool:
        """True once there is a result or an error."""
        return self._future.done()

    def add_done_callback(self, callback: Callable[[JobHandle[T]], object]) -> None:
        """Call ``callback(handle)`` in the event loop once the job is done."""
        self._future.add_done_callback(lambda _: callback(self))

    def cancel(self) -> bool:
        """Take the job back: whoever awaits it gets ``JobCancelled``. False where it was done already.

        A job that no worker has taken yet is removed from Redis; one that runs goes on, and its late result is
        cleaned up.
        """
        if self._future.done():
            return False
        self._cancel(self.id if isinstance(self.id, bytes) else self.id.encode())
        return True


class Pending:
    """A job that the client waits for."""

    __slots__ = ("acknowledged", "future", "id", "queue", "result_type", "sent", "submission", "timeout")

    def __init__(
        self,
        job_id: bytes,
        *,
        queue: bytes,
        future: asyncio.Future[Any],
        timeout: float | None,
        result_type: Any,
        submission: Submission | None,
    ) -> None:
        self.id = job_id
        self.queue = queue
        self.future = future
        self.timeout = timeout
        self.result_type = result_type
        # None for a job that an earlier client submitted (attach).
        self.submission = submission
        # True from the moment it was written to a connection.
        self.sent = submission is None
        # True once Redis has said that hash and queue entry are there.
        self.acknowledged = submission is None
