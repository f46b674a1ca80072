"""Connections to one server, by TCP, TLS or unix socket."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod

from jobwire.errors import ClosedError
from jobwire.transport.address import Address
from jobwire.transport.connection import RedisConnection
from jobwire.transport.dial import ConnectOptions, DialOptions, dial
from jobwire.transport.protocols import Connection, OnLost, OnPush


class DialingTransport(ABC):
    """The common base of all transports over sockets: they know their open connections."""

    @property
    def spread(self) -> bool:
        return False

    def __init__(self, options: DialOptions | None, *, name: str = "") -> None:
        self._options = options or DialOptions()
        self._name = name
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._closed = False

    @property
    @abstractmethod
    def description(self) -> str:
        """The address, without credentials."""

    @abstractmethod
    async def _dial(self, wanted: ConnectOptions) -> Connection: ...

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.description}>"

    def anchor(self, key: bytes) -> None:
        """Do nothing: there is one server."""
        del key

    async def connect(
        self,
        *,
        name: str = "",
        on_push: OnPush | None = None,
        on_lost: OnLost | None = None,
        longest_silence: float = 0.0,
    ) -> Connection:
        """See ``jobwire.transport.protocols.Transport``. Raises ``ClosedError`` after ``close``."""
        self._check_open()
        connection = await self._dial(
            ConnectOptions(name=name or self._name, on_push=on_push, on_lost=on_lost, longest_silence=longest_silence)
        )
        if self._closed:
            connection.abort()
        self._check_open()
        self._connections.add(connection)
        return connection

    async def close(self) -> None:
        self._closed = True
        for connection in list(self._connections):
            connection.abort()
            await connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the transport to {self.description} has been closed")


class DirectTransport(DialingTransport):
    """Connections to the server at one ``Address``."""

    def __init__(self, address: Address, options: DialOptions | None = None, *, name: str = "") -> None:
        super().__init__(options, name=name)
        self._address = address

    @property
    def description(self) -> str:
        return self._address.description

    async def _dial(self, wanted: ConnectOptions) -> RedisConnection:
        return await dial(self._address, self._options, wanted)


__all__ = ["DialingTransport", "DirectTransport"]
