"""huey: blocking client, a consumer with eight threads, results announced (``notify_result``)."""

from __future__ import annotations

import threading

import closed_loop
from huey import RedisHuey

told = closed_loop.options()
huey = RedisHuey("bench", host="127.0.0.1", port=told.port, notify_result=True)


@huey.task()
def add(a: int, b: int) -> int:
    return a + b


def work() -> None:
    consumer = huey.create_consumer(workers=8, periodic=False, initial_delay=0.001, max_delay=0.01)
    consumer.start()
    closed_loop.ready()
    threading.Event().wait()


if __name__ == "__main__":
    if told.role == "worker":
        work()
    else:
        closed_loop.drive_blocking(lambda number: add(number, 7), lambda result: result.get(blocking=True), told)
