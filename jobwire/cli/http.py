"""A small HTTP server for GET and HEAD: health checks and metrics, and nothing that a browser would want."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPMethod, HTTPStatus
from typing import NamedTuple, Self

from jobwire.cli.common import ENVIRONMENT, USAGE, CliError

__all__ = ["JSON", "Answer", "SmallServer", "address_of"]

JSON = "application/json"
_LONGEST_REQUEST = 8192
_PATIENCE = 5.0


class Answer(NamedTuple):
    """Status, content type and body."""

    status: HTTPStatus
    kind: str
    body: bytes


def address_of(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[HOST]:PORT`` or ``PORT`` on loopback. Raises ``CliError``."""
    host, separator, port = text.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise CliError(f"{text!r} is not HOST:PORT, as in 127.0.0.1:8081", USAGE)
    return (host.strip("[]") if separator else "127.0.0.1") or "0.0.0.0", int(port)  # noqa: S104 - ":8081" says so


class SmallServer:
    """Calls ``answer`` with the path of each request, for as long as the context lasts.

    ``shared``: another process may listen at the same port. Raises ``CliError`` where nobody can listen there.
    """

    def __init__(
        self, address: tuple[str, int], answer: Callable[[str], Awaitable[Answer]], *, shared: bool = False
    ) -> None:
        self._address = address
        self._answer = answer
        self._shared = shared
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
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
                writer.write(await self._response(request))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or does not speak HTTP
        finally:
            writer.close()

    async def _response(self, request: bytes) -> bytes:
        method, _, rest = request.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method in (HTTPMethod.GET, HTTPMethod.HEAD):
            status, kind, body = await self._answer(path)
        else:
            status, kind, body = HTTPStatus.METHOD_NOT_ALLOWED, JSON, b"{}"
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        return head.encode("latin-1") + (b"" if method == HTTPMethod.HEAD else body)
