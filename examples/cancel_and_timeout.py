"""Jobs that take too long: cancelling, deadlines, expiry, and failures.

python examples/cancel_and_timeout.py [redis://…]
"""

import asyncio
import logging
import sys

import jobwire
from jobwire.testing.server import open_server


async def main(url: str) -> None:
    logging.getLogger("jobwire").setLevel(logging.CRITICAL)  # the worker logs failed jobs; here they are meant
    begun: list[str] = []
    worker = jobwire.Worker(url, max_concurrent_jobs=4, job_poll_interval=0.5, timeout=0.3)

    @worker.handler
    async def sleep(job: jobwire.Job) -> str:
        begun.append(str(job.data["who"]))
        await asyncio.sleep(float(str(job.data["seconds"])))
        return "slept"

    async with jobwire.Client(url, timeout=30) as client:
        # Nobody works yet. A deadline says what is in the way.
        try:
            await client.submit({"who": "early", "seconds": 0}, timeout=0.2)
        except jobwire.JobTimeout as error:
            print("JobTimeout:", error)

        # Taken back before anybody took it: gone from Redis, as if never submitted.
        cancelled = client.submit({"who": "cancelled", "seconds": 0})
        assert cancelled.cancel()
        try:
            await cancelled
        except jobwire.JobCancelled as error:
            print("JobCancelled:", error)

        # Not begun in time: a worker that comes later does not run it, and says so.
        expired = client.submit({"who": "expired", "seconds": 0}, expires_in=0.05)
        await asyncio.sleep(0.1)

        async with worker:
            try:
                await expired
            except jobwire.JobFailed as error:
                print("JobFailed:", error)
                assert error.type == "Expired"

            # The worker's own limit: the handler is cancelled, and the submitter is told.
            try:
                await client.submit({"who": "slow", "seconds": 60})
            except jobwire.JobFailed as error:
                print("JobFailed:", error)
                assert error.type == "TimeoutError"

            # asyncio's own timeout ends a wait; the job goes on, and can be waited for again.
            quick = client.submit({"who": "quick", "seconds": 0.1})
            try:
                async with asyncio.timeout(0.02):
                    await quick
            except TimeoutError:
                print("still running:", quick)
            assert await quick == "slept"

    print("begun:", ", ".join(begun))
    assert set(begun) == {"early", "slow", "quick"}


if __name__ == "__main__":
    with open_server(*sys.argv[1:2]) as server:
        asyncio.run(main(server.url))
