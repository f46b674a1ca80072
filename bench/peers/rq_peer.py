"""rq: a worker without fork (SimpleWorker), the client waits for results as rq's streams allow."""

from __future__ import annotations

import logging
import threading

import closed_loop
from redis import Redis
from rq import Queue, SimpleWorker

told = closed_loop.options()
queue = Queue(connection=Redis(port=told.port))


def add(a: int, b: int) -> int:
    return a + b


def work() -> None:
    logging.disable(logging.CRITICAL)
    threading.Timer(0.5, closed_loop.ready).start()
    SimpleWorker([queue], connection=queue.connection).work(logging_level="CRITICAL")


if __name__ == "__main__":
    if told.role == "worker":
        work()
    else:
        closed_loop.drive_blocking(
            lambda number: queue.enqueue("rq_peer.add", number, 7),
            lambda job: job.latest_result(timeout=60).return_value,
            told,
        )
