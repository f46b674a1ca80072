"""The web application: the page's files, and questions and changes as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any, get_args

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jobwire import __version__
from jobwire.cli.web.guard import HEADERS, Guard, Refused
from jobwire.cli.web.source import Kind, Source
from jobwire.errors import JobwireError, TransportError
from jobwire.wire.codec.ids import check_id
from jobwire.wire.keys import PENDING

__all__ = ["make_app"]

_FILES = {
    "": ("index.html", "text/html"),
    "page.js": ("page.js", "text/javascript"),
    "page.css": ("page.css", "text/css"),
}
_LONGEST_BODY = 1 << 20
_LONGEST_LINE = 64 << 20
_MOST_IDS = 500
_MOST_WAITING = 1000

Answer = Callable[[Request, Source], Awaitable[Any]]


def make_app(
    sources: Sequence[Source], guard: Guard, *, interval: float, tap: tuple[str, str] | None = None
) -> Starlette:
    """Return the application.

    ``interval``  seconds between two samples of the plots
    ``tap``       where the tap of the live steps listens, and the URL behind it; None for none
    """
    steps_of = None if tap is None else Steps(*tap)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        sampling = [asyncio.create_task(_sample(source, interval)) for source in sources]
        if steps_of is not None:
            sampling.append(asyncio.create_task(steps_of.run()))
        try:
            yield
        finally:
            for task in sampling:
                task.cancel()
            await asyncio.gather(*sampling, return_exceptions=True)
            for source in sources:
                await source.close()

    def question(path: str, answer: Answer) -> Route:
        return Route(f"/api/{path}", partial(_answer, guard, sources, answer, writes=False), methods=["GET"])

    def change(path: str, answer: Answer) -> Route:
        return Route(f"/api/{path}", partial(_answer, guard, sources, answer, writes=True), methods=["POST"])

    async def setting(request: Request) -> Response:
        guard.check(request.headers, writes=False)
        return JSONResponse(
            {
                "version": __version__,
                "sources": [source.name for source in sources],
                "read_only": guard.read_only,
                "tap": steps_of is not None,
            }
        )

    async def steps(request: Request) -> Response:
        guard.check(request.headers, writes=False)
        if steps_of is None:
            raise Refused(HTTPStatus.NOT_FOUND, "started without --tap")
        return StreamingResponse(steps_of.lines(), media_type="application/x-ndjson")

    return Starlette(
        routes=[
            *(Route(f"/{path}", partial(_file, name, kind)) for path, (name, kind) in _FILES.items()),
            Route("/api/setting", setting),
            Route("/api/steps", steps),
            question("overview", _overview),
            question("jobs", _jobs),
            question("job", _job),
            change("requeue", _requeue),
            change("drop", _drop),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=_with_headers)],
        exception_handlers={Refused: _refused, JobwireError: _failed, ValueError: _wrong},
        lifespan=lifespan,
    )


# -- one request


async def _answer(
    guard: Guard, sources: Sequence[Source], answer: Answer, request: Request, *, writes: bool
) -> Response:
    guard.check(request.headers, writes=writes)
    try:
        source = sources[int(request.query_params.get("s", "0"))]
    except (ValueError, IndexError):
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such server") from None
    return JSONResponse(await answer(request, source))


async def _overview(_request: Request, source: Source) -> Any:
    samples = [[sample.at, sample.lengths, sample.running, sample.ended] for sample in source.samples]
    return {**await source.overview(), "samples": samples}


async def _jobs(request: Request, source: Source) -> Any:
    asked = request.query_params
    offset = int(asked.get("offset", "0"))
    if offset < 0:
        raise ValueError("offset is below 0")
    page = await source.jobs(_kind(asked.get("kind", "")), queue=asked.get("queue", PENDING), offset=offset)
    return {"rows": page.rows, "offset": page.offset, "total": page.total}


async def _job(request: Request, source: Source) -> Any:
    return await source.job(check_id(request.query_params.get("id", "")))


async def _requeue(request: Request, source: Source) -> Any:
    kind, ids = await _chosen(request)
    return {"done": await source.requeue(kind, ids), "asked": len(ids)}


async def _drop(request: Request, source: Source) -> Any:
    kind, ids = await _chosen(request)
    return {"done": await source.drop(kind, ids), "asked": len(ids)}


async def _chosen(request: Request) -> tuple[Kind, list[str]]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_BODY:
            raise ValueError("the request is too long")
    asked = json.loads(body)
    ids = asked.get("ids") if isinstance(asked, dict) else None
    if not isinstance(ids, list) or len(ids) > _MOST_IDS or not all(isinstance(one, str) for one in ids):
        raise ValueError(f"ids are wanted, {_MOST_IDS} at the most")
    return _kind(str(asked.get("kind", ""))), ids


def _kind(word: str) -> Kind:
    for kind in get_args(Kind):
        if word == kind:
            return kind  # type: ignore[no-any-return]  # of a Literal
    raise ValueError(f"there is no list {word!r}")


async def _file(name: str, kind: str, _request: Request) -> Response:
    content = files("jobwire.cli.web").joinpath("page", name).read_bytes()
    return Response(content, media_type=f"{kind}; charset=utf-8")


async def _with_headers(request: Request, proceed: RequestResponseEndpoint) -> Response:
    response = await proceed(request)
    response.headers.update(HEADERS)
    return response


async def _refused(_request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Refused) else HTTPStatus.FORBIDDEN
    return JSONResponse({"error": str(error)}, status_code=status)


async def _failed(_request: Request, error: Exception) -> Response:
    away = isinstance(error, TransportError)
    status = HTTPStatus.SERVICE_UNAVAILABLE if away else HTTPStatus.BAD_REQUEST
    return JSONResponse({"error": str(error)}, status_code=status)


async def _wrong(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=HTTPStatus.BAD_REQUEST)


# -- in the background


async def _sample(source: Source, interval: float) -> None:
    while True:
        with contextlib.suppress(JobwireError):  # the page says so by itself
            await source.sample()
        await asyncio.sleep(interval)


class Steps:
    """One tap between peers and Redis, as long as the server runs, and all who look at its lines."""

    def __init__(self, listen: str, url: str) -> None:
        self._listen = listen
        self._url = url
        self._viewers: set[asyncio.Queue[bytes]] = set()
        self._first = b""

    async def run(self) -> None:
        """Run the tap until cancelled."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "jobwire", "tap", "--json", "--listen", self._listen),
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            env={**os.environ, "JOBWIRE_URL": self._url},  # credentials do not belong on a command line
        )
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            while line := await process.stdout.readline():
                self._first = self._first or line
                for viewer in self._viewers:
                    with contextlib.suppress(asyncio.QueueFull):  # who reads too slowly misses steps
                        viewer.put_nowait(line)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines from now on."""
        viewer: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        self._viewers.add(viewer)
        try:
            yield self._first
            while True:
                yield await viewer.get()
        finally:
            self._viewers.discard(viewer)
