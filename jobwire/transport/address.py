"""The address of Redis, read from a URL as redis-py reads it.

redis-py's own parser and TLS options are used, so that one URL means the same to both; errors that it passes over in
silence (a database that is not a number, a port that is none) are a ``ConfigError`` here. Credentials live in an
``Address`` and nowhere else: they are in no ``repr``, no message and no log line.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypedDict
from urllib.parse import SplitResult, urlsplit

from jobwire.errors import ConfigError, printable

log = logging.getLogger("jobwire.transport")

DEFAULT_PORT = 6379

#: Options in a URL that jobwire heeds besides redis-py's ``ssl_…``.
_HEEDED = frozenset(
    {"db", "username", "password", "client_name", "socket_connect_timeout", "socket_keepalive", "health_check_interval"}
)
#: Options that redis-py knows and that mean nothing to this data plane; a URL shared with others may hold them.
_IDLE = frozenset(
    {
        "decode_responses",
        "encoding",
        "encoding_errors",
        "legacy_responses",
        "max_connections",
        "protocol",
        "retry_on_timeout",
        "socket_read_size",
        "socket_timeout",
        "timeout",
    }
)


class TLSOptions(TypedDict, total=False):
    """TLS options, named and meant as in redis-py. Certificates and host names are verified unless told otherwise."""

    ssl_keyfile: str | None
    ssl_certfile: str | None
    ssl_cert_reqs: str | ssl.VerifyMode
    ssl_ca_certs: str | None
    ssl_ca_data: str | None
    ssl_ca_path: str | None
    ssl_check_hostname: bool
    ssl_min_version: ssl.TLSVersion | None
    ssl_ciphers: str | None
    ssl_password: str | None
    ssl_include_verify_flags: list[ssl.VerifyFlags] | None
    ssl_exclude_verify_flags: list[ssl.VerifyFlags] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The address of one Redis server, and the credentials for it."""

    host: str = "localhost"
    port: int = DEFAULT_PORT
    path: str | None = None
    database: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def description(self) -> str:
        """The address as a URL without credentials."""
        database = f"/{self.database}" if self.database else ""
        if self.path is not None:
            return f"unix://{self.path}" + (f"?db={self.database}" if self.database else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'redis' if self.tls is None else 'rediss'}://{host}:{self.port}{database}"


@dataclass(frozen=True, slots=True)
class ParsedURL:
    """An address, and the options that the URL set besides (``connect_timeout`` …, as open_transport names them)."""

    address: Address
    options: Mapping[str, Any]
    name: str
    tls: Mapping[str, Any] = field(default_factory=dict, repr=False)


def parse_url(url: str, tls: TLSOptions | None = None) -> ParsedURL:
    """Read ``redis://``, ``rediss://`` or ``unix://``; ``tls`` gives options that the URL does not.

    Raises ``ConfigError``. Performs no I/O but reading certificates.
    """
    _check_shape(url)
    kwargs = _redis_py_kwargs(url)
    if kwargs is None:
        raise ConfigError("the Redis URL cannot be read; an option in it has a value that is no number")
    _check_options(kwargs)
    kwargs = {**(tls or {}), **kwargs}
    tls_options = {name: kwargs.pop(name) for name in list(kwargs) if name.startswith("ssl_")}
    address = Address(
        host=_clean(kwargs.get("host", "localhost"), "host"),
        port=kwargs.get("port", DEFAULT_PORT),
        path=_path(url, kwargs),
        database=_database(url, kwargs),
        username=kwargs.get("username"),
        password=kwargs.get("password"),
        tls=tls_context(tls_options) if url.startswith("rediss:") else None,
    )
    if tls_options and address.tls is None:
        raise ConfigError("TLS options were given, but the URL does not ask for TLS: write rediss://")
    names = {
        "socket_connect_timeout": "connect_timeout",
        "socket_keepalive": "socket_keepalive",
        "health_check_interval": "health_check_interval",
    }
    options = {ours: kwargs[theirs] for theirs, ours in names.items() if theirs in kwargs}
    return ParsedURL(address, options, kwargs.get("client_name", ""), tls_options)


def tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Return the TLS context that redis-py makes of its ``ssl_…`` options. Raises ``ConfigError``."""
    from redis.asyncio.connection import SSLConnection
    from redis.exceptions import RedisError

    problem = ""
    try:
        context = SSLConnection(**options).ssl_context.get()
    except TypeError:
        problem = "an option is unknown to redis-py"
    except RedisError as error:
        problem = str(error)
    except ssl.SSLError as error:
        problem = f"a key or certificate cannot be read ({error.reason or 'not PEM'})"
    except OSError as error:
        problem = f"a key or certificate file cannot be read ({error.strerror})"
    else:
        return context
    raise ConfigError(f"the TLS options do not work: {problem}; they are {', '.join(sorted(options))}")


def _check_shape(url: str) -> None:
    """Raise ``ConfigError`` for a malformed URL, in words that, unlike redis-py's, do not quote it."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(
            "a Redis URL begins with redis://, rediss:// (TLS), unix:// (a socket), "
            "redis+sentinel:// or rediss+sentinel://; valkey:// is the same"
        )
    parts = _split(url)
    if parts is None or password_split(parts):
        raise ConfigError(
            "the host or port in the Redis URL cannot be read; in a password, write / ? # @ : [ ] as "
            "%2F %3F %23 %40 %3A %5B %5D"
        )
    if parts.fragment:
        raise ConfigError("the Redis URL has a part after '#'; in a password, write # as %23")


class URLParts(NamedTuple):
    """A URL in its parts, none of them looked at (RFC 3986, appendix B)."""

    scheme: str
    netloc: str
    path: str
    query: str
    fragment: str


_PARTS = re.compile(r"([^:/?#]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.~-]+)?)\]|([^\s\[\]:@/?#,]+))(?::([0-9]{1,5}))?", re.ASCII)
_LAST_PORT = 65535


def split_url(url: str) -> URLParts | None:
    """For URLs with several hosts: where an IPv6 address is among them, ``urlsplit`` of some Pythons (3.11.2, 3.13.5,
    3.14) refuses them. None where it is no URL.
    """
    match = _PARTS.fullmatch(url)
    return None if match is None else URLParts(*(part or "" for part in match.groups()))


def host_and_port(item: str, default: int) -> tuple[str, int] | None:
    """Parse ``host``, ``host:port``, ``[IPv6]``, ``[IPv6]:port``; None for anything else."""
    match = _HOST.fullmatch(item)
    if match is None:
        return None
    bracketed, name, port = match.groups()
    if bracketed is not None and not _is_ipv6(bracketed):
        return None
    number = default if port is None else int(port)
    host = (bracketed or name).lower()
    return (host, number) if 0 < number <= _LAST_PORT and host.isprintable() else None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def password_split(parts: SplitResult | URLParts) -> bool:
    """Did a ``/`` or ``?`` in a password cut the URL in two? Then the ``@`` stands behind it."""
    if parts.scheme == "unix" or "@" in parts.netloc:
        return False
    return "@" in parts.path or ("@" in parts.query and "password=" not in parts.query)


def _split(url: str) -> SplitResult | None:
    """None where the URL makes no sense. (An error raised from here would drag one along that quotes it.)"""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _redis_py_kwargs(url: str) -> dict[str, Any] | None:
    from redis.asyncio.connection import parse_url as redis_py_parse_url

    try:
        return dict(redis_py_parse_url(url))
    except ValueError:
        return None  # raised again by the caller, without the context that quotes the URL


def _check_options(kwargs: dict[str, Any]) -> None:
    kwargs.pop("connection_class", None)
    known = _HEEDED | _IDLE | {"host", "port", "path"}
    strange = sorted(name for name in kwargs if name not in known and name not in TLSOptions.__annotations__)
    if strange:
        raise ConfigError(f"unknown option in the Redis URL: {', '.join(printable(name) for name in strange)}")
    idle = sorted(_IDLE & kwargs.keys())
    if idle:
        log.warning("options in the Redis URL that jobwire has no use for: %s", ", ".join(idle))


def _database(url: str, kwargs: Mapping[str, Any]) -> int:
    database = kwargs.get("db", 0)
    named = urlsplit(url).path.strip("/")
    if not url.startswith("unix:") and named and "db" not in kwargs:
        raise ConfigError("the database in the Redis URL (after the host) is not a number")
    if database < 0:
        raise ConfigError("the database in the Redis URL is negative")
    return int(database)


def _path(url: str, kwargs: Mapping[str, Any]) -> str | None:
    if not url.startswith("unix:"):
        return None
    if "path" not in kwargs:
        raise ConfigError("a unix:// URL needs the path of a socket: unix:///run/redis/redis.sock")
    return _clean(kwargs["path"], "path")


def _clean(text: str, what: str) -> str:
    # It stands in messages and log lines, and percent-encoding could smuggle line ends into them.
    if not text.isprintable():
        raise ConfigError(f"the {what} in the Redis URL holds unprintable characters")
    return text


__all__ = [
    "Address",
    "ParsedURL",
    "TLSOptions",
    "URLParts",
    "host_and_port",
    "parse_url",
    "password_split",
    "split_url",
    "tls_context",
]
