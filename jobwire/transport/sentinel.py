"""Connections to the server that Redis Sentinel names as the master at that moment.

Who is the master is asked anew for every connection, and the server found is asked for its ROLE, as every server is, so
that a master that was demoted an instant ago is not taken for one. When Sentinel demotes a master it cuts that server's
connections; jobwire's clients and workers then connect again, and arrive at the new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from jobwire.errors import AuthError, ConfigError, ConnectError, ServerError, TransportError, printable
from jobwire.transport.address import (
    Address,
    ParsedURL,
    TLSOptions,
    host_and_port,
    parse_url,
    password_split,
    split_url,
    tls_context,
)
from jobwire.transport.connection import RedisConnection
from jobwire.transport.dial import ConnectOptions, DialOptions, dial
from jobwire.transport.direct import DialingTransport
from jobwire.transport.translate import timeout_error
from jobwire.wire.connection_commands import read_sentinel_master, sentinel_master

DEFAULT_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelAddress:
    """The addresses of the Sentinels, and the service to ask them for.

    ``server`` holds the credentials and options for the master (its host and port do not count); ``username``,
    ``password`` and ``tls`` are those of the Sentinels.
    """

    sentinels: tuple[tuple[str, int], ...]
    service: str
    server: Address = field(default_factory=Address)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def description(self) -> str:
        """The address as a URL without credentials."""
        scheme = "redis+sentinel" if self.server.tls is None else "rediss+sentinel"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.sentinels)
        database = f"/{self.server.database}" if self.server.database else ""
        return f"{scheme}://{hosts}/{self.service}{database}"


class SentinelTransport(DialingTransport):
    """Connections to the master of a service that Redis Sentinel watches."""

    def __init__(self, address: SentinelAddress, options: DialOptions | None = None, *, name: str = "") -> None:
        super().__init__(options, name=name)
        if not address.sentinels:
            raise ConfigError("at least one Sentinel is needed")
        self._address = address

    @property
    def description(self) -> str:
        return self._address.description

    async def discover(self) -> tuple[str, int]:
        """Host and port of the master now, from the first Sentinel that knows.

        Raises ``ConnectError`` where none does, with each one's answer; ``AuthError`` where one asks for other
        credentials, and no other one knows.
        """
        kind: type[ConnectError] = ConnectError
        answers: list[str] = []
        for host, port in self._address.sentinels:
            try:
                return await self._ask(host, port)
            except AuthError as error:
                kind = AuthError
                answers.append(f"{error} (for a Sentinel: sentinel_username, sentinel_password)")
            except TransportError as error:
                answers.append(str(error))
        asked = ", ".join(f"{host}:{port}" for host, port in self._address.sentinels)
        service = printable(self._address.service)
        raise kind(f"none of the Sentinels asked ({asked}) names a master of {service}: {'; '.join(answers)}")

    async def _ask(self, host: str, port: int) -> tuple[str, int]:
        """Ask one of them. Raises ``TransportError``."""
        address = self._address
        context = None if address.tls is None else tls_context(address.tls)
        sentinel = Address(host=host, port=port, username=address.username, password=address.password, tls=context)
        # A dead Sentinel must leave time for the others, and for the master.
        share = self._options.connect_timeout / (len(address.sentinels) + 1)
        try:
            async with asyncio.timeout(share):
                found = await _master_by(sentinel, replace(self._options, connect_timeout=share), address.service)
        except TimeoutError:
            raise timeout_error(sentinel.description, share) from None
        if found is None:
            raise ConnectError(f"{host}:{port} watches no master of that name")
        return found

    async def _dial(self, wanted: ConnectOptions) -> RedisConnection:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._options.connect_timeout
        try:
            async with asyncio.timeout_at(end):
                host, port = await self.discover()
        except TimeoutError:
            raise timeout_error(self.description, self._options.connect_timeout) from None
        left = max(end - loop.time(), 0.001)
        server = replace(self._address.server, host=host, port=port)
        return await dial(server, replace(self._options, connect_timeout=left), wanted)


async def _master_by(sentinel: Address, options: DialOptions, service: str) -> tuple[str, int] | None:
    connection = await dial(sentinel, options, ConnectOptions(), any_role=True)
    try:
        return read_sentinel_master(await connection.execute(sentinel_master(service)))
    except ServerError as error:
        raise ConnectError(f"{sentinel.description} answers {printable(str(error), at_most=160)}") from None
    finally:
        connection.abort()
        await connection.close()


def is_sentinel_url(url: str) -> bool:
    return url.startswith(("redis+sentinel://", "rediss+sentinel://"))


def parse_sentinel_url(url: str, tls: TLSOptions | None = None) -> tuple[SentinelAddress, ParsedURL]:
    """Parse ``redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/service[/database][?option=…]``.

    User and password are those of the Redis servers; those of the Sentinels are the options ``sentinel_username``
    and ``sentinel_password``. ``rediss+sentinel://`` speaks TLS with both. All other options are as in ``redis://``.

    Raises ``ConfigError``.
    """
    parts = split_url(url)
    if parts is None or password_split(parts):
        raise ConfigError("the Sentinel URL cannot be read; write special characters in a password as %XX")
    if parts.fragment:
        raise ConfigError("the Sentinel URL has a part after '#'; in a password, write # as %23")
    userinfo, at, hosts = parts.netloc.rpartition("@")
    service, slash, database = parts.path.strip("/").partition("/")
    service = unquote(service)
    if not service or not service.isprintable():
        raise ConfigError("a Sentinel URL names the service after the hosts: redis+sentinel://host:26379/mymaster")
    own = {"sentinel_username", "sentinel_password"}
    query = parse_qsl(parts.query, keep_blank_values=True)
    ours = {name: value for name, value in query if name in own}
    rest = urlencode([(name, value) for name, value in query if name not in own])
    scheme = "rediss" if parts.scheme == "rediss+sentinel" else "redis"
    # The same URL without the Sentinels: redis-py reads the credentials, the database and the options.
    plain = f"{scheme}://{userinfo}{at}sentinel{slash}{database}"
    parsed = parse_url(f"{plain}?{rest}" if rest else plain, tls)
    address = SentinelAddress(
        sentinels=tuple(_host_and_port(item) for item in hosts.split(",")),
        service=service,
        server=parsed.address,
        username=ours.get("sentinel_username"),
        password=ours.get("sentinel_password"),
        tls=parsed.tls if scheme == "rediss" else None,
    )
    return address, parsed


def _host_and_port(item: str) -> tuple[str, int]:
    found = host_and_port(item, DEFAULT_SENTINEL_PORT)
    if found is None:
        raise ConfigError("a host or port in the Sentinel URL cannot be read; write host:port,[IPv6]:port/service")
    return found


__all__ = ["SentinelAddress", "SentinelTransport", "is_sentinel_url", "parse_sentinel_url"]
