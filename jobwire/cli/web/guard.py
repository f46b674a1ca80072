"""Who may ask: the host that is named, the token, the page that asks, and the headers that keep a browser in bounds.

Three ways in, one of which must be chosen: loopback alone; a token, in ``Authorization: Bearer``; a header that a proxy
in front sets to the name of whoever has signed in. Nothing is kept in a cookie, so no other page can borrow it; and
every request for data must bear ``X-Jobwire``, which a page of another origin may not send.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from jobwire.errors import ConfigError

__all__ = ["HEADERS", "Guard", "Refused", "is_loopback"]

_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer."""


class Refused(Exception):
    """A request that is not answered; ``status`` of HTTP."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one server.

    ``host``, ``port``  where it listens
    ``token``           the word to be shown, None for none
    ``behind``          the header that the proxy in front sets, in lower case; None for no proxy
    ``names``           the host names under which the proxy serves it
    ``read_only``       nobody changes anything
    """

    host: str
    port: int
    token: str | None = None
    behind: str | None = None
    names: frozenset[str] = frozenset()
    read_only: bool = False

    def check_setting(self) -> None:
        """Raises ``ConfigError`` for a server that anybody on the network could use."""
        if self.token is None and self.behind is None and not is_loopback(self.host):
            raise ConfigError(
                f"{self.host} is not loopback: say --token-file FILE, or --behind HEADER where a proxy in front signs "
                "people in and sets that header"
            )
        if self.behind is not None and self.token is None and not self.names:
            raise ConfigError("--behind wants --name HOST, under which the proxy serves the page")
        if self.token is not None and len(self.token) < 16:
            raise ConfigError("the token is too short: 16 characters at the least")

    def check(self, headers: Mapping[str, str], *, writes: bool) -> None:
        """Raises ``Refused`` for a request for data; ``headers`` by names in lower case."""
        if headers.get("x-jobwire") is None or headers.get("sec-fetch-site", "same-origin") not in (
            "same-origin",
            "none",
        ):
            raise Refused(HTTPStatus.FORBIDDEN, "only the page itself may ask: the header X-Jobwire is missing")
        if self.token is None:
            self._check_host(headers.get("host", ""))
        if self.token is not None and not self._is_token(headers.get("authorization", "")):
            raise Refused(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")
        if self.behind is not None and not headers.get(self.behind):
            raise Refused(HTTPStatus.UNAUTHORIZED, f"the proxy in front sets no {self.behind}")
        if writes and self.read_only:
            raise Refused(HTTPStatus.FORBIDDEN, "this server is for reading only")

    def _check_host(self, host: str) -> None:
        """A name of another site that leads here must not reach the data (DNS rebinding)."""
        name, separator, port = host.rpartition(":")
        if not separator or host.endswith("]"):
            name, port = host, "80"
        here = port == str(self.port) and name in {*_LOCAL_NAMES, self.host}
        if not here and name not in self.names:
            raise Refused(HTTPStatus.FORBIDDEN, "this server answers under its own names alone")

    def _is_token(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        expected = (self.token or "").encode()
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), expected)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
