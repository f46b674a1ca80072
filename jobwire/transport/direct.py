"""``open_transport``: from a URL to a factory of connections."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Unpack

from jobwire.errors import ConfigError
from jobwire.transport.address import Address, TLSOptions, parse_url
from jobwire.transport.connection import RedisConnection
from jobwire.transport.dial import DialOptions, dial
from jobwire.transport.protocols import Connection, OnLost, OnPush, Transport


class DirectTransport:
    """Connections to one server, by TCP, TLS or unix socket."""

    def __init__(self, address: Address, options: DialOptions | None = None, *, name: str = "") -> None:
        self._address = address
        self._options = options or DialOptions()
        self._name = name
        self._connections: weakref.WeakSet[RedisConnection] = weakref.WeakSet()

    @property
    def description(self) -> str:
        return self._address.description

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.description}>"

    async def connect(
        self,
        *,
        name: str = "",
        on_push: OnPush | None = None,
        on_lost: OnLost | None = None,
        longest_silence: float = 0.0,
    ) -> Connection:
        connection = await dial(
            self._address,
            self._options,
            name=name or self._name,
            on_push=on_push,
            on_lost=on_lost,
            longest_silence=longest_silence,
        )
        self._connections.add(connection)
        return connection

    async def close(self) -> None:
        for connection in list(self._connections):
            connection.abort()


def open_transport(
    url: str,
    *,
    connect_timeout: float = 5.0,
    socket_keepalive: bool = True,
    health_check_interval: float = 0.0,
    **tls: Unpack[TLSOptions],
) -> Transport:
    """The way to the Redis at ``url``; nothing is sent yet.

    ``redis://[[user]:password@]host[:port][/database]``, ``rediss://…`` (TLS), ``unix://[[user]:password@]/path?db=n``,
    and the options that redis-py takes in a URL.

    ``connect_timeout``, in seconds, bounds making a connection, from the name lookup to the answer to the
    handshake. ``health_check_interval``, in seconds, 0 for none: see ``jobwire.transport.health``. What the URL
    says (``socket_connect_timeout``, ``socket_keepalive``, ``health_check_interval``) wins.

    Raises ``ConfigError`` for a URL or option that cannot work.
    """
    parsed = parse_url(url, tls)
    options = DialOptions(
        connect_timeout=connect_timeout,
        socket_keepalive=socket_keepalive,
        health_check_interval=health_check_interval,
    )
    options = replace(options, **parsed.options)
    if options.connect_timeout <= 0 or options.health_check_interval < 0:
        raise ConfigError("connect_timeout must be above 0, health_check_interval at least 0 (seconds)")
    return DirectTransport(parsed.address, options, name=parsed.name)


__all__ = ["DirectTransport", "open_transport"]
