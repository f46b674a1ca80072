"""Errors of sockets, TLS and redis-py, translated at the seam into those of ``jobwire.errors``.

Nothing that was part of a URL but its host, port, path and database ever gets into a message.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl

from jobwire.errors import AuthError, ConnectError, ConnectionLost, ServerError, printable

# What a server answers when it will not serve this connection now, whatever the command.
_REFUSALS = frozenset({"LOADING", "BUSY", "MASTERDOWN", "DENIED"})
_AUTH_CODES = frozenset({"NOAUTH", "WRONGPASS"})


def reason_of(error: BaseException | None) -> str:
    """What ``error`` says, in a few words, without anything that was in a URL."""
    match error:
        case None:
            reason = "the server closed it"
        case ssl.SSLCertVerificationError():
            reason = f"the server's certificate was not accepted: {error.verify_message}"
        case ssl.SSLError():
            reason = f"TLS failed: {error.reason or 'the other side does not speak TLS here'}"
        case socket.gaierror():
            reason = f"the host name was not found ({error.strerror})"
        case OSError(errno=int() as number) if number in errno.errorcode:
            reason = os.strerror(number)
        case OSError():
            # asyncio sums several attempts (IPv6, IPv4) up in one text: addresses and reasons, nothing else.
            reason = str(error) or type(error).__name__
        case _:
            reason = type(error).__name__
    return reason


def connect_error(error: BaseException, where: str) -> ConnectError:
    """No connection to ``where``, because of ``error``."""
    if isinstance(error, ConnectError):
        return error
    return ConnectError(f"cannot connect to {where}: {reason_of(error)}")


def timeout_error(where: str, seconds: float) -> ConnectError:
    return ConnectError(f"cannot connect to {where}: no answer within {seconds:g} s")


def lost_error(where: str, reason: str) -> ConnectionLost:
    return ConnectionLost(f"connection to {where} lost: {reason}")


def auth_error(answer: ServerError, where: str, *, had_password: bool) -> ConnectError:
    """What the answer to AUTH means.

    Its text is never repeated: some servers quote the command that they did not like, password and all.
    """
    if answer.code in _REFUSALS or "max number of clients" in str(answer):
        return ConnectError(f"{where} refused the connection: {_plain(answer)}")
    if answer.code == "WRONGPASS" or "invalid password" in str(answer):
        return AuthError(f"{where} did not accept the user name and password")
    if answer.code == "NOAUTH":
        return AuthError(f"{where} asks for a password; give it in the URL")
    if had_password and "without any password configured" in str(answer):
        return AuthError(f"{where} has no password configured, but the URL holds one")
    return AuthError(f"{where} refused to authenticate (its answer begins with {printable(answer.code)})")


def handshake_error(answer: ServerError, where: str, *, had_password: bool) -> ConnectError | None:
    """The error that an answer to CLIENT ID or PING stands for; None where the connection works all the same."""
    if answer.code in _AUTH_CODES:
        return auth_error(answer, where, had_password=had_password)
    if answer.code in _REFUSALS or "max number of clients" in str(answer):
        return ConnectError(f"{where} refused the connection: {_plain(answer)}")
    return None


def _plain(answer: ServerError) -> str:
    return printable(str(answer), at_most=160)


__all__ = ["auth_error", "connect_error", "handshake_error", "lost_error", "reason_of", "timeout_error"]
