"""A handler's task: of its own, with a context of its own, made by the program's factory; whether it waits or not."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import Any

import pytest

from jobwire import Job, JobFailed, Worker
from tests.support.faces import Faces, within

LEFT: contextvars.ContextVar[str] = contextvars.ContextVar("left", default="nothing")
JOBS = 20


class Tasks:
    """A handler that says which task and which context it found."""

    def __init__(self) -> None:
        self.found: list[asyncio.Task[Any] | None] = []

    async def run(self, job: Job) -> str:
        self.found.append(asyncio.current_task())
        before = LEFT.get()
        LEFT.set(str(job.id))
        async with asyncio.timeout(60):  # wants to know its task
            if "wait" in job.data:
                await asyncio.sleep(0)
        assert LEFT.get() == job.id
        return before


@pytest.mark.parametrize("data", [{}, {"wait": "1"}], ids=["at once", "waits"])
async def test_each_job_has_a_task_and_a_context_of_its_own(
    faces: Faces, way: dict[str, Any], data: dict[str, str]
) -> None:
    tasks = Tasks()
    await faces.worker(tasks.run, **way)
    client = await faces.client(mode=way["mode"])
    handles = await client.submit_many([data] * JOBS)
    assert await within(asyncio.gather(*handles)) == ["nothing"] * JOBS
    assert None not in tasks.found
    assert len(set(tasks.found)) == JOBS
    assert asyncio.current_task() not in tasks.found
    assert LEFT.get() == "nothing"


async def test_a_task_has_the_name_of_its_job(faces: Faces, way: dict[str, Any]) -> None:
    async def named(_: Job) -> str:
        task = asyncio.current_task()
        return "" if task is None else task.get_name()

    await faces.worker(named, **way)
    client = await faces.client(mode=way["mode"])
    handle = client.submit({})
    assert await within(handle) == handle.id
    if way["mode"] != "simple":  # there an entry is the whole job, and its ID is text
        assert await within(client.submit({}, id=b"\xff")) == repr(b"\xff")


@pytest.mark.parametrize("wait", [False, True], ids=["at once", "waits"])
async def test_the_task_factory_of_the_program_makes_the_tasks(faces: Faces, way: dict[str, Any], wait: bool) -> None:
    class Named(asyncio.Task[Any]):
        pass

    tasks = Tasks()
    await faces.worker(tasks.run, **way)
    client = await faces.client(mode=way["mode"])
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, work, **more: Named(work, loop=loop, **more))
    try:
        await within(client.submit({"wait": "1"} if wait else {}))
    finally:
        loop.set_task_factory(None)
    assert [type(task) for task in tasks.found] == [Named]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="LEFT OUT: eager tasks need Python 3.12")
async def test_a_program_may_make_all_tasks_eager(faces: Faces, way: dict[str, Any]) -> None:
    tasks = Tasks()
    await faces.worker(tasks.run, **way)
    client = await faces.client(mode=way["mode"])
    loop = asyncio.get_running_loop()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - types of 3.11 do not know it
    try:
        handles = await client.submit_many([{}, {"wait": "1"}] * JOBS)
        assert await within(asyncio.gather(*handles)) == ["nothing"] * JOBS * 2
    finally:
        loop.set_task_factory(None)


async def test_a_handler_may_stop_its_worker_in_its_first_step(faces: Faces, way: dict[str, Any]) -> None:
    stopping: list[asyncio.Task[None]] = []

    async def stop(_: Job) -> str:
        stopping.append(asyncio.create_task(worker.stop()))
        return "stopped"

    worker: Worker = await faces.worker(stop, **way)
    client = await faces.client(mode=way["mode"])
    assert await within(client.submit({})) == "stopped"
    await within(stopping[0])


async def test_what_a_first_step_raises_is_the_failure_of_that_job_alone(
    faces: Faces, kept_way: dict[str, Any]
) -> None:
    async def picky(job: Job) -> str:
        if job.data["n"] == "3":
            raise SystemExit("not today")
        return str(job.data["n"])

    await faces.worker(picky, **kept_way)
    client = await faces.client(mode=kept_way["mode"])
    handles = await client.submit_many({"n": n} for n in range(6))
    ends = await within(asyncio.gather(*handles, return_exceptions=True))
    assert [end for end in ends if not isinstance(end, JobFailed)] == ["0", "1", "2", "4", "5"]
    assert "SystemExit: not today" in str(ends[3])
