"""``open_transport``: from a URL to a factory of connections."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Unpack

from jobwire.errors import ConfigError
from jobwire.transport.address import ParsedURL, TLSOptions, parse_url
from jobwire.transport.cluster import ClusterTransport, is_cluster_url, parse_cluster_url
from jobwire.transport.dial import DialOptions
from jobwire.transport.direct import DirectTransport
from jobwire.transport.protocols import Transport
from jobwire.transport.sentinel import SentinelTransport, is_sentinel_url, parse_sentinel_url

_VALKEY = re.compile(r"\Avalkey(s?)((?:\+\w+)?://)")


def open_transport(
    url: str,
    *,
    connect_timeout: float = 5.0,
    socket_keepalive: bool = True,
    health_check_interval: float = 0.0,
    **tls: Unpack[TLSOptions],
) -> Transport:
    """Return the transport to the Redis at ``url``; nothing is sent yet.

    ::

        redis://[[user]:password@]host[:port][/database]
        rediss://…                                                     the same with TLS
        unix://[[user]:password@]/path/to/socket[?db=number]
        redis+sentinel://[[user]:password@]host[:port],…/service[/database]   and rediss+sentinel://
        redis+cluster://[[user]:password@]host[:port],…                       and rediss+cluster://

    ``valkey`` and ``valkeys`` stand for ``redis`` and ``rediss``, alone and before ``+``.

    with the options that redis-py takes in a URL (``?ssl_ca_certs=…``); ``tls`` are redis-py's ``ssl_…`` options.

    ``connect_timeout``, in seconds, bounds making a connection, from looking up the name to the answer to the
    handshake. ``health_check_interval``, in seconds, 0 for none: see ``jobwire.transport.health``. The options in the
    URL (``socket_connect_timeout``, ``socket_keepalive``, ``health_check_interval``) win.

    Raises ``ConfigError`` for a URL or option that cannot work; its message repeats no credentials.
    """
    options = DialOptions(
        connect_timeout=connect_timeout,
        socket_keepalive=socket_keepalive,
        health_check_interval=health_check_interval,
    )
    url = _VALKEY.sub(r"redis\1\2", url)
    if is_sentinel_url(url):
        address, parsed = parse_sentinel_url(url, tls)
        return SentinelTransport(address, _merged(options, parsed), name=parsed.name)
    if is_cluster_url(url):
        seeds, parsed = parse_cluster_url(url, tls)
        return ClusterTransport(seeds, _merged(options, parsed), name=parsed.name)
    parsed = parse_url(url, tls)
    return DirectTransport(parsed.address, _merged(options, parsed), name=parsed.name)


def _merged(options: DialOptions, parsed: ParsedURL) -> DialOptions:
    # redis-py reads an empty value ("?socket_keepalive=") as None: not said.
    said = {name: value for name, value in parsed.options.items() if value is not None}
    options = replace(options, **said)
    if options.connect_timeout <= 0:
        raise ConfigError("connect_timeout must be more than 0 seconds")
    if options.health_check_interval < 0:
        raise ConfigError("health_check_interval must be at least 0 seconds (0: no checks)")
    return options


__all__ = ["open_transport"]
