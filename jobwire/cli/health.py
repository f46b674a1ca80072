"""The questions of a supervisor to a running ``jobwire worker``, over HTTP: ``/live``, ``/ready``, ``/metrics``.

``/live`` answers while the event loop runs. ``/ready`` answers 200 while every worker takes jobs: Redis is reachable,
it pops, its sign of life is fresh; else 503. Both say in JSON how each worker fares. ``/metrics`` is there with the
extra ``prometheus``.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
from collections.abc import Sequence
from http import HTTPMethod, HTTPStatus
from typing import Any

from jobwire.cli.common import FAILED, OK, CliError, jsonable
from jobwire.cli.http import JSON, Answer, SmallServer
from jobwire.worker.worker import Worker

__all__ = ["ask", "health_server"]

_PATIENCE = 5.0


def health_server(workers: Sequence[Worker], address: tuple[str, int], *, shared: bool = False) -> SmallServer:
    """A server that answers for ``workers``, and shows them to Prometheus where that is installed."""
    metrics = importlib.util.find_spec("prometheus_client") is not None
    if metrics:
        from jobwire.metrics import observe_worker

        for worker in workers:
            observe_worker(worker)

    async def answer(path: str) -> Answer:
        if path in ("/live", "/ready"):
            return _health(workers, path)
        return _figures() if path == "/metrics" and metrics else _unknown()

    return SmallServer(address, answer, shared=shared)


def _health(workers: Sequence[Worker], path: str) -> Answer:
    health = [worker.health for worker in workers]
    ready = all(one.ready for one in health)
    good = path == "/live" or ready
    body = json.dumps({"ready": ready, "workers": jsonable(health)}).encode()
    return Answer(HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, JSON, body)


def _figures() -> Answer:
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return Answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest())


def _unknown() -> Answer:
    return Answer(HTTPStatus.NOT_FOUND, JSON, b'{"paths": ["/live", "/ready", "/metrics"]}')


def ask(address: tuple[str, int], path: str = "/ready") -> tuple[int, dict[str, Any]]:
    """Ask a running worker: the exit code, and its answer. Raises ``CliError`` where nobody answers."""
    connection = http.client.HTTPConnection(*address, timeout=_PATIENCE)
    try:
        connection.request(HTTPMethod.GET, path)
        answer = connection.getresponse()
        said = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        host, port = address
        raise CliError(f"no worker answers at {host}:{port}: {error}", FAILED) from error
    finally:
        connection.close()
    return (OK if answer.status == HTTPStatus.OK else FAILED), said if isinstance(said, dict) else {}
