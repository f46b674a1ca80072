"""The commands of the handshake, and the shapes of subscription traffic."""

from __future__ import annotations

import pytest

from jobwire.errors import EncodeError, ServerError
from jobwire.wire import connection_commands as session
from jobwire.wire.commands import Command, Reply


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (session.auth("pw"), (b"AUTH", b"pw")),
        (session.auth("pé", "me"), (b"AUTH", b"me", b"p\xc3\xa9")),
        (session.auth(b"\xff", ""), (b"AUTH", b"\xff")),
        (session.select(3), (b"SELECT", b"3")),
        (session.set_name("a b\r\nc\x00é~!"), (b"CLIENT", b"SETNAME", b"a-b--c--~!")),
    ],
)
def test_commands(command: Command, expected: Command) -> None:
    assert command == expected


@pytest.mark.parametrize(
    ("command", "count"),
    [
        ((b"SUBSCRIBE", b"a"), 1),
        ((b"psubscribe", b"a", b"b"), 2),
        ((b"UNSUBSCRIBE", b"a", b"b", b"c"), 3),
        ((b"PING",), 0),
        ((b"GET", b"SUBSCRIBE"), 0),
    ],
)
def test_acknowledgements(command: Command, count: int) -> None:
    assert session.acknowledgements(command) == count


@pytest.mark.parametrize("name", [b"SUBSCRIBE", b"UNSUBSCRIBE", b"PUNSUBSCRIBE"])
def test_a_subscription_names_its_channels(name: bytes) -> None:
    with pytest.raises(EncodeError, match="name the channels"):
        session.acknowledgements((name,))


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ([b"master", 0, []], True),
        ([b"slave", b"127.0.0.1", 6379, b"connected", 0], False),
        ([b"sentinel", []], False),
        ([], False),
        (None, False),
        (ServerError("NOPERM no"), False),
    ],
)
def test_who_is_a_master(role: Reply, expected: bool) -> None:
    assert session.is_master(role) is expected


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ([b"master", 0, []], ""),
        (ServerError("NOPERM no"), ""),
        ([b"slave", b"10.0.0.1", 6379, b"connected", 0], "it is a replica of 10.0.0.1:6379"),
        ([b"slave", b"a\nb", 1, b"sync", 0], r"it is a replica of a\nb:1"),
        ([b"slave"], "its answer to ROLE makes no sense"),
        ([b"sentinel", []], "it is a Sentinel: write redis+sentinel://host:port/service"),
        (None, "its answer to ROLE makes no sense"),
    ],
)
def test_what_is_not_a_master(role: Reply, expected: str) -> None:
    assert session.not_master(role) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ([b"10.0.0.1", b"6379"], ("10.0.0.1", 6379)),
        ([b"::1", b"1"], ("::1", 1)),
        (None, None),
        ([b"h", b"x"], None),
        ([b"h"], None),
        ([1, 2], None),
    ],
)
def test_where_a_sentinel_says_the_master_is(reply: Reply, expected: tuple[str, int] | None) -> None:
    assert session.read_sentinel_master(reply) == expected


def test_a_sentinel_that_answers_with_an_error() -> None:
    with pytest.raises(ServerError, match="IDONTKNOW"):
        session.read_sentinel_master(ServerError("IDONTKNOW I have no information about this master."))
