"""Move a Perl worker to Python, one queue at a time, while Perl clients go on submitting.

python examples/migrate_one_queue.py [redis://…]

Here everything is Python, so that it runs anywhere: ``perl_worker`` stands for the Perl one, and what it does on the
wire is the same (mode ``reliable``, dialect 0.004, the shared processing list, no word for failure).

1. Both work on the queue ``jobs::pending``. Perl's clients notice nothing: same keys, same results.
2. The new worker is watched with a ``trace``, and whatever it cannot read stays whole in ``jobs::rejected``.
3. The old worker is stopped. It finishes what it has in hand; what waits goes to the new one.
4. The next queue (here ``mail::pending``) is moved in the same way, on its own day.
"""

import asyncio
import sys
from collections import Counter

import jobwire
from jobwire.testing.server import open_server


def perl_worker(url: str, prefix: str) -> jobwire.Worker:
    worker = jobwire.Worker(url, prefix=prefix, processing_queue="processing", job_poll_interval=0.2)

    @worker.handler
    async def handle(job: jobwire.Job) -> object:
        await asyncio.sleep(0.005)
        return f"Perl did {job.data['task']}"

    return worker


def python_worker(url: str, prefix: str, steps: Counter[str]) -> jobwire.Worker:
    def watch(event: jobwire.TraceEvent) -> None:
        steps[event.event] += 1

    worker = jobwire.Worker(
        url,
        prefix=prefix,
        processing_queue="processing",  # the list that Perl's monitor reads
        on_failure="reply",  # Perl clients do not read failures: they get {"error": {…}} instead of waiting for ever
        job_poll_interval=0.2,
        trace=watch,
    )

    @worker.handler
    async def handle(job: jobwire.Job) -> object:
        await asyncio.sleep(0.005)
        return f"Python did {job.data['task']}"

    return worker


async def migrate(url: str, prefix: str) -> None:
    steps: Counter[str] = Counter()
    old, new = perl_worker(url, prefix), python_worker(url, prefix, steps)
    # As a Perl client submits: it reads no extensions.
    async with jobwire.Client(url, prefix=prefix, accept="", timeout=30) as client, old:
        alone = await asyncio.gather(*await client.submit_many({"task": n} for n in range(20)))
        async with new:
            together = await asyncio.gather(*await client.submit_many({"task": n} for n in range(100)))
            await old.stop()
            after = await asyncio.gather(*await client.submit_many({"task": n} for n in range(20)))
    for name, results in (("Perl alone", alone), ("both", together), ("Python alone", after)):
        print(f"{prefix}: {name:<12}", dict(Counter(result.split()[0] for result in results)))
    assert {result.split()[0] for result in alone} == {"Perl"}
    assert {result.split()[0] for result in together} == {"Perl", "Python"}
    assert {result.split()[0] for result in after} == {"Python"}
    assert steps["notify"] == new.counts["done"]
    assert steps["reject"] == 0


async def main(url: str) -> None:
    for prefix in ("jobs", "mail"):
        await migrate(url, prefix)


if __name__ == "__main__":
    with open_server(*sys.argv[1:2]) as server:
        asyncio.run(main(server.url))
