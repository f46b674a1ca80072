"""Errors of sockets, TLS and redis-py, translated at the seam into those of ``jobwire.errors``.

Nothing that was part of a URL but its host, port, path and database ever gets into a message.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl

from jobwire.errors import AuthError, ConnectError, ConnectionLost, ServerError, printable

# Errors of a server that will not serve this connection now, for any command.
_REFUSALS = frozenset({"LOADING", "BUSY", "MASTERDOWN", "DENIED"})
_AUTH_CODES = frozenset({"NOAUTH", "WRONGPASS"})


def reason_of(error: BaseException | None) -> str:
    """Return the message of ``error``, in a few words, without any part of a URL."""
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


def _remedy(error: BaseException) -> str:
    """Return the remedy."""
    match error:
        case ssl.SSLCertVerificationError():
            return "; name the authority that signed it (ssl_ca_certs=…), or the host as the certificate does"
        case ssl.SSLError():
            return "; for a server without TLS write redis://"
        case socket.gaierror():
            return "; check the URL and the name server"
        case ConnectionRefusedError() | FileNotFoundError():
            return "; is Redis running there?"
        case _:
            return ""


def connect_error(error: BaseException, where: str) -> ConnectError:
    """Return the error for a failed connection to ``where``, because of ``error``."""
    if isinstance(error, ConnectError):
        return error
    return ConnectError(f"cannot connect to {where}: {reason_of(error)}{_remedy(error)}")


def timeout_error(where: str, seconds: float) -> ConnectError:
    return ConnectError(
        f"cannot connect to {where}: no answer within {seconds:g} s; is the address right, and the way free?"
    )


def lost_error(where: str, reason: str) -> ConnectionLost:
    return ConnectionLost(f"connection to {where} lost: {reason}")


def refusal(answer: ServerError, where: str) -> ConnectError:
    """Return the error of a server that will not serve us, with its reason. Never for an answer to AUTH."""
    return ConnectError(f"{where} refused the connection: {printable(str(answer), at_most=160)}")


def auth_error(answer: ServerError, where: str) -> ConnectError:
    """Return the meaning of an error in answer to AUTH.

    Its text is never repeated: some servers quote the command that they did not like, password and all.
    """
    text = str(answer)
    if _is_refusal(answer):
        return ConnectError(f"{where} refused the connection ({printable(answer.code)})")
    if answer.code == "WRONGPASS" or "invalid password" in text:
        return AuthError(f"{where} did not accept the user name and password (WRONGPASS); correct them in the URL")
    if answer.code == "NOAUTH":
        return AuthError(f"{where} asks for a password (NOAUTH); give it in the URL")
    if "without any password configured" in text or "no password is set" in text:
        return AuthError(f"{where} has no password configured, but the URL holds one; take it out")
    return AuthError(f"{where} refused to authenticate; may this user log in there?")


def handshake_error(answer: ServerError, where: str) -> ConnectError | None:
    """Return the error for a reply to anything but AUTH; None where the connection works all the same."""
    if answer.code in _AUTH_CODES:
        return auth_error(answer, where)
    return refusal(answer, where) if _is_refusal(answer) else None


def _is_refusal(answer: ServerError) -> bool:
    return answer.code in _REFUSALS or "max number of clients" in str(answer)


__all__ = [
    "auth_error",
    "connect_error",
    "handshake_error",
    "lost_error",
    "reason_of",
    "refusal",
    "timeout_error",
]
