"""What a supervisor asks a running ``jobwire worker``, over HTTP: ``/live``, ``/ready``, ``/metrics``.

``/live`` answers while the event loop runs. ``/ready`` answers 200 while every worker takes jobs: Redis is reachable,
it pops, its sign of life is fresh; else 503. Both say in JSON how each worker fares. ``/metrics`` is there with the
extra ``prometheus``.
"""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import json
from collections.abc import Sequence
from http import HTTPMethod, HTTPStatus
from typing import Any, Self

from jobwire.cli.common import ENVIRONMENT, FAILED, OK, USAGE, CliError, jsonable
from jobwire.worker.worker import Worker

__all__ = ["HealthServer", "address_of", "ask"]

_LONGEST_REQUEST = 8192
_PATIENCE = 5.0
_JSON = "application/json"


def address_of(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[HOST]:PORT`` or ``PORT`` on loopback. Raises ``CliError``."""
    host, separator, port = text.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise CliError(f"{text!r} is not HOST:PORT, as in 127.0.0.1:8081", USAGE)
    return (host.strip("[]") if separator else "127.0.0.1") or "0.0.0.0", int(port)  # noqa: S104 - ":8081" says so


class HealthServer:
    """Answers for ``workers`` as long as the context lasts."""

    def __init__(self, workers: Sequence[Worker], address: tuple[str, int], *, shared: bool = False) -> None:
        """``shared``: another process may listen at the same port."""
        self._workers = workers
        self._shared = shared
        self._address = address
        self._server: asyncio.Server | None = None
        self._metrics = importlib.util.find_spec("prometheus_client") is not None

    async def __aenter__(self) -> Self:
        if self._metrics:
            from jobwire.metrics import observe_worker

            for worker in self._workers:
                observe_worker(worker)
        host, port = self._address
        try:
            self._server = await asyncio.start_server(
                self._serve, host, port, limit=_LONGEST_REQUEST, reuse_port=self._shared or None
            )
        except OSError as error:
            raise CliError(f"cannot listen at {host}:{port}: {error}", ENVIRONMENT) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    @property
    def address(self) -> str:
        """Host and port that it listens at."""
        assert self._server is not None  # noqa: S101 - within the context
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(request))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or does not speak HTTP
        finally:
            writer.close()

    def _response(self, request: bytes) -> bytes:
        method, _, rest = request.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        status, kind, body = self._answer(path)
        if method not in (HTTPMethod.GET, HTTPMethod.HEAD):
            status, kind, body = HTTPStatus.METHOD_NOT_ALLOWED, _JSON, b"{}"
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        return head.encode("latin-1") + (b"" if method == HTTPMethod.HEAD else body)

    def _answer(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        if path in ("/live", "/ready"):
            health = [worker.health for worker in self._workers]
            ready = all(one.ready for one in health)
            good = path == "/live" or ready
            body = json.dumps({"ready": ready, "workers": jsonable(health)}).encode()
            return (HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE), _JSON, body
        if path == "/metrics" and self._metrics:
            from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

            return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest()
        return HTTPStatus.NOT_FOUND, _JSON, b'{"paths": ["/live", "/ready", "/metrics"]}'


def ask(address: tuple[str, int], path: str = "/ready") -> tuple[int, dict[str, Any]]:
    """Ask a running worker: the exit code, and what it said. Raises ``CliError`` where nobody answers."""
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
