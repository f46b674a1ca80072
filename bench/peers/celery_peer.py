"""celery: Redis as broker and backend, a worker with eight threads, none of its chatter between workers."""

from __future__ import annotations

from typing import Any

import closed_loop
from celery import Celery
from celery.signals import worker_ready

told = closed_loop.options()
url = f"redis://127.0.0.1:{told.port}"
app = Celery("bench", broker=url, backend=url)
app.conf.update(
    worker_redirect_stdouts=False,
    worker_prefetch_multiplier=8,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="add")
def add(a: int, b: int) -> int:
    return a + b


@worker_ready.connect
def tell(**_: Any) -> None:
    closed_loop.ready()


if __name__ == "__main__":
    if told.role == "worker":
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        app.worker_main(["worker", "-P", "threads", "-c", "8", "-l", "error", *quiet])
    else:
        closed_loop.drive_blocking(lambda number: add.delay(number, 7), lambda result: result.get(timeout=60), told)
