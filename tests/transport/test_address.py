"""URLs: as redis-py reads them, and without a word about credentials."""

from __future__ import annotations

import contextlib
import logging
import ssl
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio.connection import ConnectionPool

from jobwire.errors import ConfigError
from jobwire.transport import SentinelTransport, open_transport
from jobwire.transport.address import Address, parse_url
from jobwire.transport.cluster import parse_cluster_url
from jobwire.transport.direct import DirectTransport
from jobwire.transport.sentinel import SentinelAddress, parse_sentinel_url


@pytest.mark.parametrize(
    ("url", "expected", "description"),
    [
        ("redis://", Address(), "redis://localhost:6379"),
        ("redis://h", Address(host="h"), "redis://h:6379"),
        ("redis://h:1/2", Address(host="h", port=1, database=2), "redis://h:1/2"),
        ("redis://h/?db=3", Address(host="h", database=3), "redis://h:6379/3"),
        ("redis://h/2?db=3", Address(host="h", database=3), "redis://h:6379/3"),
        ("redis://:pw@h", Address(host="h", password="pw"), "redis://h:6379"),
        ("redis://me:p%40w%2f@h", Address(host="h", username="me", password="p@w/"), "redis://h:6379"),
        ("redis://h?username=me&password=pw", Address(host="h", username="me", password="pw"), "redis://h:6379"),
        ("redis://[::1]:7", Address(host="::1", port=7), "redis://[::1]:7"),
        ("unix:///run/r.sock", Address(path="/run/r.sock"), "unix:///run/r.sock"),
        ("unix://:pw@/run/r%20s?db=4", Address(path="/run/r s", database=4, password="pw"), "unix:///run/r s?db=4"),
    ],
)
def test_urls(url: str, expected: Address, description: str) -> None:
    address = parse_url(url).address
    assert address == expected
    assert address.description == description
    assert open_transport(url).description == description


@pytest.mark.parametrize(
    "url", ["redis://h:1/2", "redis://me:p%25w@h", "redis://h?db=7&socket_keepalive=no", "redis://"]
)
def test_redis_py_agrees(url: str) -> None:
    theirs: Any = ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]  # redis-py's
    ours = parse_url(url)
    assert (ours.address.host, ours.address.port, ours.address.database) == (theirs.host, theirs.port, theirs.db)
    assert (ours.address.username, ours.address.password) == (theirs.username, theirs.password)
    assert ours.options.get("socket_keepalive", True) == theirs.socket_keepalive


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("hunter2", "begins with redis://"),
        ("", "begins with redis://"),
        ("http://:hunter2@h", "begins with redis://"),
        ("redis+tls://:hunter2@h", "begins with redis://"),
        ("redis://:hunt/er2@h", "cannot be read; in a password"),
        ("redis://:hunter2@h:port", "cannot be read"),
        ("redis://:hunter2@h:99999", "cannot be read"),
        ("redis://:hunter2@[::1", "cannot be read"),
        ("redis://:123?hunter2=hunter2@h", "cannot be read; in a password"),
        ("redis://:hun#ter2@h", "write # as %23|cannot be read"),
        ("redis://:hunter2@h/db", "is not a number"),
        ("redis://:hunter2@h/?db=-1", "negative"),
        ("redis://:hunter2@h/?db=hunter2", "a value that is no number"),
        ("redis://:hunter2@h/?sokcet_keepalive=1", "unknown option in the Redis URL: 'sokcet_keepalive'"),
        ("redis://:hunter2@h?socket_connect_timeout=0", "connect_timeout must be more than 0"),
        ("redis://:hunter2@h?health_check_interval=-1", "health_check_interval must be at least 0"),
        ("redis://:hunter2@h?ssl_cert_reqs=none", "write rediss://"),
        ("redis://:hunter2@h%0aforged", "unprintable"),
        ("unix://:hunter2@", "needs the path"),
        ("unix://:hunter2@/a%0ab", "unprintable"),
        ("rediss://:hunter2@h?ssl_cert_reqs=hunter", "TLS options do not work: Invalid SSL"),
        ("rediss://:hunter2@h?ssl_ca_certs=/nowhere/ca.pem", "file cannot be read"),
        ("redis+sentinel://:hunter2@h:1", "names the service"),
        ("redis+sentinel://:hunter2@/mymaster", "host or port in the Sentinel URL"),
        ("redis+sentinel://:hunter2@h:1,h:x/mymaster", "host or port in the Sentinel URL"),
        ("redis+sentinel://:123/hunter2@h:1,h:2/mymaster", "write special characters"),
        ("redis+sentinel://:hunt/er2@h:1,h:2/mymaster", "cannot be read|is not a number"),
        ("redis+sentinel://:hunter2@h/mymaster/db", "is not a number"),
        ("redis+sentinel://:hunter2@h/m%0am", "names the service"),
        ("redis+sentinel://:hunter2@[::1/mymaster", "cannot be read"),
    ],
)
def test_a_url_that_cannot_work_says_why_and_nothing_more(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_transport(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error)
        assert "er2" not in str(error)
        error = error.__cause__ or error.__context__


@settings(deadline=None)  # the first import of redis-py, and certificates to load
@given(st.text(max_size=60), st.sampled_from(["", "redis://", "unix://", "redis+sentinel://", "redis://:hunter2@"]))
def test_any_text_is_a_transport_or_a_config_error(text: str, prefix: str) -> None:
    with contextlib.suppress(ConfigError):
        open_transport(prefix + text)


@settings(deadline=None)  # the first import of redis-py, and certificates to load
@given(st.text(max_size=30), st.sampled_from(["redis", "rediss", "unix", "redis+sentinel"]))
def test_a_password_that_is_not_encoded_is_not_repeated(rest: str, scheme: str) -> None:
    try:
        transport = open_transport(f"{scheme}://me:hunter2{rest}@h/1")
    except ConfigError as error:
        shown = str(error)
    else:
        shown = repr(transport)
    assert "hunter2" not in shown


def test_credentials_are_in_no_repr() -> None:
    plain = open_transport("redis://myuser:hunter2@h")
    sentinel = open_transport("redis+sentinel://myuser:hunter2@h/m?sentinel_username=other&sentinel_password=hunter3")
    assert isinstance(plain, DirectTransport)
    assert isinstance(sentinel, SentinelTransport)
    parsed = parse_url("redis://myuser:hunter2@h")
    assert parsed.address.password == "hunter2"
    for shown in (plain, sentinel, parsed, parsed.address, sentinel._address, vars(sentinel), vars(plain)):
        text = f"{shown!r} {shown!s}"
        assert not any(secret in text for secret in ("myuser", "hunter2", "hunter3", "other"))


def test_options_in_the_url_win() -> None:
    transport = open_transport(
        "redis://h?socket_connect_timeout=7&health_check_interval=3&socket_keepalive=no&client_name=me",
        connect_timeout=1,
        health_check_interval=1,
    )
    assert isinstance(transport, DirectTransport)
    options = transport._options
    assert (options.connect_timeout, options.health_check_interval, options.socket_keepalive) == (7, 3, False)
    assert transport._name == "me"
    assert open_transport("redis://h?socket_keepalive=", socket_keepalive=False)._options.socket_keepalive is False  # type: ignore[attr-defined]  # a DirectTransport


def test_options_without_meaning_here_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        open_transport("redis://:hunter2@h?max_connections=5&decode_responses=yes")
    assert "decode_responses, max_connections" in caplog.text
    assert "hunter2" not in caplog.text


def test_tls_is_verified_unless_told_otherwise() -> None:
    context = parse_url("rediss://h").address.tls
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    open_context = parse_url("rediss://h?ssl_cert_reqs=none&ssl_check_hostname=no").address.tls
    assert open_context is not None
    assert open_context.verify_mode is ssl.CERT_NONE
    assert open_transport("rediss://h", ssl_check_hostname=False).description == "rediss://h:6379"


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("hello")
    with pytest.raises(ConfigError, match="TLS options do not work"):
        open_transport("rediss://h", ssl_ca_certs=str(path))
    with pytest.raises(ConfigError, match="unknown to redis-py"):
        open_transport("rediss://h", ssl_nonsense=1)  # type: ignore[call-arg]  # the error is the point


def test_sentinel_urls() -> None:
    address, parsed = parse_sentinel_url(
        "redis+sentinel://me:pw@a:1,b,[::1]:3/my%20master/2?sentinel_username=u&sentinel_password=p%2F&client_name=n"
    )
    assert address == SentinelAddress(
        sentinels=(("a", 1), ("b", 26379), ("::1", 3)),
        service="my master",
        server=Address(host="sentinel", database=2, username="me", password="pw"),
        username="u",
        password="p/",
    )
    assert parsed.name == "n"
    assert address.description == "redis+sentinel://a:1,b:26379,[::1]:3/my master/2"
    tls, _ = parse_sentinel_url("rediss+sentinel://a/m?ssl_check_hostname=no")
    assert tls.server.tls is not None
    assert tls.tls == {"ssl_check_hostname": False}
    assert tls.description == "rediss+sentinel://a:26379/m"
    with pytest.raises(ConfigError, match="at least one Sentinel"):
        SentinelTransport(SentinelAddress(sentinels=(), service="m"))


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{1,5}){0,2}", fullmatch=True)
hosts = st.one_of(names, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
ports = st.one_of(st.none(), st.integers(1, 65535))
secrets = st.one_of(st.none(), st.text(st.characters(codec="utf-8"), min_size=1, max_size=12))


@settings(deadline=None)  # the first import of redis-py
@given(
    st.lists(st.tuples(hosts, ports), min_size=1, max_size=4),
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8),
    st.integers(0, 15),
    secrets,
    secrets,
)
def test_a_sentinel_url_is_read_as_it_was_written(
    places: list[tuple[str, int | None]], service: str, database: int, password: str | None, own: str | None
) -> None:
    written = ",".join(
        (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}") for host, port in places
    )
    userinfo = "" if password is None else f":{quote(password, safe='')}@"
    query = "" if own is None else f"?sentinel_password={quote(own, safe='')}"
    url = f"redis+sentinel://{userinfo}{written}/{quote(service, safe='')}/{database}{query}"
    address, _ = parse_sentinel_url(url)
    assert address.sentinels == tuple((host, 26379 if port is None else port) for host, port in places)
    assert address.service == service
    assert address.server.database == database
    assert address.server.password == password
    assert address.password == own
    again, _ = parse_sentinel_url(f"redis+sentinel://{address.description.partition('://')[2].partition('/')[0]}/m")
    assert again.sentinels == address.sentinels


@pytest.mark.parametrize(
    "place",
    [
        *("[", "]", "[]", "[::1", "::1", "[::1]x", "[a]", "[1.2.3.4]", "[::1]]:3", "[::1]:"),
        *("h:", "h:0", "h:65536", "h:-1", "h:1:2", "[::1%]", "h:1x", "", "h h", "h\u00a0", "h:\u0661"),
    ],
)
@pytest.mark.parametrize("beside", ["", "a:1,", "[::2]:2,"])
def test_a_place_that_is_none(place: str, beside: str) -> None:
    with pytest.raises(ConfigError, match="host or port in the Sentinel URL"):
        parse_sentinel_url(f"redis+sentinel://:hunter2@{beside}{place}/m")


def test_ipv6_beside_others_in_a_cluster_url() -> None:
    seeds, _ = parse_cluster_url("redis+cluster://:pw@a:1,[::1]:3,1.2.3.4")
    assert [(seed.host, seed.port, seed.password) for seed in seeds] == [
        ("a", 1, "pw"),
        ("::1", 3, "pw"),
        ("1.2.3.4", 6379, "pw"),
    ]


def test_the_package_loads_no_redis_py_for_a_look() -> None:
    code = "import jobwire.transport, sys; assert 'redis' not in sys.modules"
    subprocess.run([__import__("sys").executable, "-c", code], check=True, timeout=30)


@pytest.mark.parametrize("rest", ["://h/1", "s://h/1", "+sentinel://h/m", "s+cluster://h", "://me:hunter2@h"])
def test_valkey_is_redis(rest: str) -> None:
    same = open_transport(f"redis{rest}")
    found = open_transport(f"valkey{rest}")
    assert (type(found), found.description) == (type(same), same.description)
    assert "hunter2" not in found.description
