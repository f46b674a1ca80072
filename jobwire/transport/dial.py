"""Make one connection to one address: socket, TLS, handshake, all within one deadline."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass

from jobwire.errors import ConnectError, ServerError, printable
from jobwire.transport.address import Address
from jobwire.transport.connection import RedisConnection
from jobwire.transport.health import HealthCheck
from jobwire.transport.protocols import OnLost, OnPush
from jobwire.transport.subscription import SubscribingConnection
from jobwire.transport.translate import auth_error, connect_error, handshake_error, refusal, timeout_error
from jobwire.wire import connection_commands as session
from jobwire.wire.commands import Command, Reply

log = logging.getLogger("jobwire.transport")


@dataclass(frozen=True, slots=True, kw_only=True)
class DialOptions:
    """``connect_timeout`` (seconds, whole handshake included), ``socket_keepalive``, ``health_check_interval``
    (seconds, 0 for none)."""

    connect_timeout: float = 5.0
    socket_keepalive: bool = True
    health_check_interval: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions:
    """The options of one call of ``Transport.connect``."""

    name: str = ""
    on_push: OnPush | None = None
    on_lost: OnLost | None = None
    longest_silence: float = 0.0


async def dial(
    address: Address, options: DialOptions, wanted: ConnectOptions, *, any_role: bool = False
) -> RedisConnection:
    """Return an authenticated connection. Raises ``ConnectError``, ``AuthError``.

    Only a master will do, unless ``any_role``: an address may lead to a server that was demoted. One that does not
    permit the question is taken for a master.
    """
    loop = asyncio.get_running_loop()
    connection = (
        RedisConnection(loop, description=address.description)
        if wanted.on_push is None
        else SubscribingConnection(loop, description=address.description, on_push=wanted.on_push)
    )
    deadline = asyncio.timeout(options.connect_timeout)
    try:
        async with deadline:
            await _open(loop, address, connection)
            _tune(connection.socket, options)
            is_master = await _shake_hands(connection, address, name=wanted.name, any_role=any_role)
    except OSError as error:
        connection.abort()
        if deadline.expired():
            raise timeout_error(address.description, options.connect_timeout) from None
        raise connect_error(error, address.description) from None
    except BaseException:
        connection.abort()
        raise
    connection.on_lost = wanted.on_lost
    if options.health_check_interval > 0:
        check = HealthCheck(
            connection,
            loop,
            interval=options.health_check_interval,
            longest_silence=wanted.longest_silence,
            asks_role=is_master and wanted.on_push is None,
        )
        check.start()
        connection.on_gone = check.stop
    return connection


async def _open(loop: asyncio.AbstractEventLoop, address: Address, connection: RedisConnection) -> None:
    context = address.tls
    if address.path is not None:
        await loop.create_unix_connection(lambda: connection, address.path)
    elif context is None:
        await loop.create_connection(lambda: connection, address.host, address.port)
    else:
        await loop.create_connection(
            lambda: connection, address.host, address.port, ssl=context, server_hostname=address.host
        )


def _tune(sock: socket.socket | None, options: DialOptions) -> None:
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if options.socket_keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # A vanished peer is noticed after 30 + 3 * 5 s, the values redis-py uses.
        for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            number = getattr(socket, option, None)
            if number is not None:
                sock.setsockopt(socket.IPPROTO_TCP, number, value)


async def _shake_hands(connection: RedisConnection, address: Address, *, name: str, any_role: bool) -> bool:
    """Send the handshake in one write. Errors for want of a permission that nobody needs are ignored.

    Return whether the server has said that it is a master.
    """
    # One by one: if the server hangs up half-way, its earlier replies are known.
    futures = {what: connection.call(command) for what, command in _greeting(address, name, any_role).items()}
    outcomes = await asyncio.gather(*futures.values(), return_exceptions=True)
    answers = {
        what: outcome[0]
        for what, outcome in zip(futures, outcomes, strict=True)
        if not isinstance(outcome, BaseException)
    }
    _judge(answers, address)
    if connection.closed:
        raise _hung_up(connection, address)
    identity = answers["id"]
    connection.client_id = identity if isinstance(identity, int) else None
    return session.is_master(answers.get("role"))


def _greeting(address: Address, name: str, any_role: bool) -> dict[str, Command]:
    commands: dict[str, Command] = {}
    if address.password or address.username:
        commands["auth"] = session.auth(address.password or "", address.username)
    if address.database:
        commands["select"] = session.select(address.database)
    if name:
        commands["name"] = session.set_name(name)
    commands["id"] = session.CLIENT_ID
    commands["ping"] = session.PING
    if not any_role:
        commands["role"] = session.ROLE
    return commands


def _hung_up(connection: RedisConnection, address: Address) -> ConnectError:
    where = address.description
    if connection.final_error is not None:
        return refusal(connection.final_error, where)
    return ConnectError(f"cannot connect to {where}: {connection.reason}")


def _judge(answers: dict[str, Reply], address: Address) -> None:
    """Raise ``ConnectError`` for an answer that means that this connection is of no use."""
    where = address.description
    for what, answer in answers.items():
        if isinstance(answer, ServerError):
            error = auth_error(answer, where) if what == "auth" else handshake_error(answer, where)
            if error is None and what == "select":
                error = refusal(answer, f"{where} (selecting the database)")
            if error is not None:
                raise error
            log.debug("%s: %s was refused (%s); going on without", where, what, printable(answer.code))
        elif what == "role" and (what_it_is := session.not_master(answer)):
            raise ConnectError(f"{where} is not a master (any more): {what_it_is}")


__all__ = ["DialOptions", "dial"]
