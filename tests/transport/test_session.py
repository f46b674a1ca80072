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
