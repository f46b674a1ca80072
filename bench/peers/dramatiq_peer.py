"""dramatiq: blocking client, a worker with eight threads, results in Redis."""

from __future__ import annotations

import threading

import closed_loop
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

told = closed_loop.options()
url = f"redis://127.0.0.1:{told.port}"
broker = RedisBroker(url=url)
broker.add_middleware(Results(backend=RedisBackend(url=url)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def add(a: int, b: int) -> int:
    return a + b


def work() -> None:
    dramatiq.Worker(broker, worker_threads=8).start()
    closed_loop.ready()
    threading.Event().wait()


if __name__ == "__main__":
    if told.role == "worker":
        work()
    else:
        closed_loop.drive_blocking(
            lambda number: add.send(number, 7), lambda message: message.get_result(block=True, timeout=60_000), told
        )
