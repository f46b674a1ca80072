"""A client that was away picks up its results: the same client ID, and the job IDs it wrote down.

python examples/attach.py [redis://…]

Works in ``reliable`` and ``recoverable``, where a job's hash stays until its result is collected.
"""

import asyncio
import sys

import jobwire
from jobwire.testing.server import open_server


async def main(url: str) -> None:
    # A nightly report: submitted in one process, whose job IDs go into a file, say.
    async with jobwire.Client(url, id="reports") as client:
        handles = await client.submit_many({"month": month} for month in ("May", "June", "July"))
        written_down = [handle.id for handle in handles]
        print("submitted", (await client.state(written_down[0])).place)

    # Meanwhile the work is done; nobody is there to be told.
    worker = jobwire.Worker(url, job_poll_interval=0.5)

    @worker.handler
    async def report(job: jobwire.Job) -> str:
        return f"report of {job.data['month']}"

    async with worker:
        while worker.counts["done"] < len(written_down):
            await asyncio.sleep(0.01)

    # Another process, later.
    async with jobwire.Client(url, id="reports", timeout=30) as client:
        print("now", (await client.state(written_down[0])).place)
        attached = [client.attach(job_id) for job_id in written_down]
        reports = {handle.id: value async for handle, value in client.results(attached)}
    print(*reports.values(), sep="\n")
    assert [reports[job_id] for job_id in written_down] == ["report of May", "report of June", "report of July"]


if __name__ == "__main__":
    with open_server(*sys.argv[1:2]) as server:
        asyncio.run(main(server.url))
