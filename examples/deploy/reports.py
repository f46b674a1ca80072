"""The worker of the pages on deployment: ``jobwire worker reports:worker``."""

import os

import msgspec

import jobwire

worker = jobwire.Worker(
    os.environ.get("JOBWIRE_URL", "redis://127.0.0.1"),
    prefix=os.environ.get("REPORTS_PREFIX", "jobs"),
    max_concurrent_jobs=8,
    timeout=120,
)


class Order(msgspec.Struct):
    customer: str
    pages: int = 1


@worker.handler
async def report(order: Order) -> dict[str, object]:
    return {"customer": order.customer, "pages": order.pages}
