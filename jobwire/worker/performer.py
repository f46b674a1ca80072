"""A handler at work: in the event loop, in a thread or in a process, behind the middleware, within its time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from jobwire.errors import printable
from jobwire.options import Unset
from jobwire.wire import Job
from jobwire.wire.text import Text, readable
from jobwire.worker.awaiting import cancelled_from_outside, done_within, outcome_of, spawn, tell_loop, whole, within
from jobwire.worker.delivery import Delivery
from jobwire.worker.handlers import Answers, Handler, current, name_of
from jobwire.worker.hooks import Call, Hooks
from jobwire.worker.processes import HandlerProcesses, ProcessCall
from jobwire.worker.threads import HandlerThreads

__all__ = ["Performer"]


class Performer:
    """Calls the handlers of one worker. ``timeout`` is the seconds of those that have no time of their own."""

    def __init__(
        self,
        *,
        worker_id: Text,
        queue_prefix: bytes,
        find_handler: Callable[[Job], Handler],
        timeout: float | None,
        threads: int,
        hooks: Hooks,
        log: logging.Logger,
    ) -> None:
        self._worker_id = worker_id
        self._queue_prefix = queue_prefix
        self._find_handler = find_handler
        self._timeout = timeout
        self._threads = HandlerThreads(threads)
        self._processes = HandlerProcesses()
        self._hooks = hooks
        self._log = log

    def perform(self, delivery: Delivery, job: Job) -> Awaitable[Any]:
        """The handler's result, which may be one more awaitable.

        Raises whatever the handler raises, here or when it is awaited, ``TimeoutError`` where it takes too long.
        """
        if self._hooks.middleware:
            delivery.described = call = self.describe(delivery, job)
            return self._hooks.run(call, lambda: whole(self._call(delivery, job)))
        return self._call(delivery, job)

    def describe(self, delivery: Delivery, job: Job) -> Call:
        """The call of the handler, as middleware and error hooks see it."""
        queue = delivery.taken.queue[len(self._queue_prefix) :]
        return Call(job=job, queue=readable(queue), worker=self._worker_id, started=delivery.started)

    def _call(self, delivery: Delivery, job: Job) -> Awaitable[Any]:
        find = self._find_handler  # what an attribute holds is called faster from a name, here and below
        handler = find(job)
        limit = self._timeout if type(handler.timeout) is Unset else handler.timeout
        if handler.answers is not None:
            return self._answer(delivery, handler, handler.answers, job, limit)
        prepare, function = handler.prepare, handler.function
        argument = job if handler.takes_job else prepare(job)
        work = self._begin(delivery, handler, argument) if handler.in_thread else function(argument)
        return work if limit is None else self._limited(delivery, handler, work, limit)

    async def _limited(self, delivery: Delivery, handler: Handler, work: Awaitable[Any], limit: float) -> Any:
        if delivery.begun is not None:
            await delivery.begun  # a deadline begins with the call
        try:
            return await within(limit, whole(work))
        except TimeoutError:
            self._warn_of_thread(delivery, handler, limit)
            raise

    async def _answer(
        self, delivery: Delivery, handler: Handler, answers: Answers, job: Job, limit: float | None
    ) -> Any:
        """The result of a handler that has one for every end; nothing but ``CancelledError`` from outside is raised."""
        try:
            argument = handler.prepare(job)
        except BaseException as error:
            return answers.unfit(error, job)
        # A task of its own, so that a handler that cancels itself is told from a worker that stops.
        work = self._begin(delivery, handler, argument)
        task = spawn(asyncio.get_running_loop(), outcome_of(whole(work)), str(job.id))
        try:
            if delivery.begun is not None:
                await delivery.begun
            if limit is not None and not await done_within(task, limit):
                self._warn_of_thread(delivery, handler, limit)
                return answers.late(limit, job)
            value, raised = await task
        except asyncio.CancelledError as error:
            if cancelled_from_outside():
                task.cancel()
                raise
            value, raised = None, error
        if raised is None:
            try:
                return answers.returned(value)
            except Exception as error:
                raised = error
        if delivery.described is not None:
            delivery.described.outcome, delivery.described.exception = "failed", raised
        return answers.raised(raised, job)

    def _begin(self, delivery: Delivery, handler: Handler, argument: Any) -> Awaitable[Any]:
        if not handler.in_thread:
            work: Awaitable[Any] = handler.function(argument)
            return work
        loop = asyncio.get_running_loop()
        delivery.begun = loop.create_future()
        begun = partial(tell_loop, loop, delivery.begun)
        if handler.in_process:
            delivery.process = ProcessCall(self._processes, handler.function, argument, current.get(), begun)
            delivery.call = self._threads.submit(delivery.process.work, begun=_nothing)
        else:
            context = copy_context()
            delivery.call = self._threads.submit(lambda: context.run(handler.function, argument), begun=begun)
        return asyncio.wrap_future(delivery.call)

    def _warn_of_thread(self, delivery: Delivery, handler: Handler, limit: float) -> None:
        if delivery.call is not None and not delivery.call.done() and delivery.process is None:
            words = (
                "the handler %s still runs in its thread after %g s, for job %s: its slot stays taken until it returns"
            )
            self._log.warning(words, name_of(handler.function), limit, printable(delivery.taken.entry))

    def close(self) -> None:
        """End the threads and processes; a handler that still runs in one is not waited for."""
        self._threads.close()
        self._processes.close()


def _nothing() -> None:
    pass
