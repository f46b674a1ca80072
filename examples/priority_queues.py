"""Several queues in order of priority, and a client that chooses the queue by the job's data.

python examples/priority_queues.py [redis://…]

Needs mode ``recoverable`` or ``simple``: in ``reliable`` a worker has one queue, as in Perl.
"""

import asyncio
import sys
from collections.abc import Mapping

import jobwire
from jobwire.testing.server import open_server


def queue_for(data: Mapping[str, object]) -> str:
    return "urgent" if data.get("customer") == "waiting" else "pending"


async def main(url: str) -> None:
    done: list[str] = []
    worker = jobwire.Worker(
        url, mode="recoverable", pending_queues=["urgent", "pending", "some day"], job_poll_interval=0.5
    )

    @worker.handler
    async def work(job: jobwire.Job) -> None:
        done.append(str(job.data["task"]))

    async with jobwire.Client(url, mode="recoverable", route=queue_for, timeout=30) as client:
        # Submitted before anybody works, so that what is taken first is not a matter of luck.
        jobs = [
            client.submit({"task": "archive"}, queue="some day"),
            client.submit({"task": "newsletter"}),
            client.submit({"task": "invoice", "customer": "waiting"}),
            client.submit({"task": "statistics"}),
            client.submit({"task": "refund", "customer": "waiting"}),
        ]
        while client.queue_length is None:
            await asyncio.sleep(0.01)
        async with worker:
            await asyncio.gather(*jobs)
    print(*done, sep="\n")
    assert done == ["invoice", "refund", "newsletter", "statistics", "archive"]


if __name__ == "__main__":
    with open_server(*sys.argv[1:2]) as server:
        asyncio.run(main(server.url))
