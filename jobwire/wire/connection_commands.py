"""Commands that open and keep up one connection, and the shapes of subscription traffic.

Plain data, like everything in ``jobwire.wire``; ``jobwire.transport`` sends it. RESP2 only: HELLO is never sent.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobwire.errors import EncodeError, ServerError, printable
from jobwire.wire.commands import Command, Reply

PING: Command = (b"PING",)
CLIENT_ID: Command = (b"CLIENT", b"ID")
ROLE: Command = (b"ROLE",)

#: First element of the pushes that arrive on a subscribed connection.
MESSAGE = b"message"
MESSAGE_KINDS = frozenset({MESSAGE, b"pmessage", b"smessage"})

_SUBSCRIPTION_NAMES = frozenset(
    {b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"SUNSUBSCRIBE"}
)
#: First element of the acknowledgements, one for each channel or pattern named.
ACKNOWLEDGEMENT_KINDS = frozenset(name.lower() for name in _SUBSCRIPTION_NAMES)


def auth(password: str | bytes, username: str | bytes | None = None) -> Command:
    """AUTH, in the form with a user name (ACL, Redis 6) only where there is one."""
    if username:
        return (b"AUTH", _raw(username), _raw(password))
    return (b"AUTH", _raw(password))


def select(database: int) -> Command:
    return (b"SELECT", b"%d" % database)


def set_name(name: str) -> Command:
    """CLIENT SETNAME; characters that Redis forbids in a name (all but printable ASCII, blanks too) become ``-``."""
    clean = "".join(char if "!" <= char <= "~" else "-" for char in name)
    return (b"CLIENT", b"SETNAME", clean.encode("ascii"))


def acknowledgements(command: Command) -> int:
    """Return the number of acknowledgements of a subscription command; 0 for every other command.

    Raises ``EncodeError`` for an (S|P)UNSUBSCRIBE that names nothing: the number of its answers depends on the
    subscriptions at that moment.
    """
    if command[0].upper() not in _SUBSCRIPTION_NAMES:
        return 0
    if len(command) == 1:
        raise EncodeError("name the channels to subscribe to or to leave", field=command[0])
    return len(command) - 1


def command_info(name: bytes) -> Command:
    """COMMAND INFO: whether the server has a command; sometimes forbidden."""
    return (b"COMMAND", b"INFO", name)


def is_unknown_command(reply: Reply) -> bool:
    """Return whether COMMAND INFO of one name says that there is no such command."""
    return isinstance(reply, list) and reply == [None]


def client_list(client_id: int) -> Command:
    """CLIENT LIST ID (Redis 6.2): the connection with this ID, if it is still there."""
    return (b"CLIENT", b"LIST", b"ID", b"%d" % client_id)


def is_listed(reply: Reply, name: str) -> bool:
    """Return whether CLIENT LIST shows a connection with this name."""
    wanted = b"name=" + set_name(name)[2]
    return isinstance(reply, bytes) and any(wanted in line.split(b" ") for line in reply.splitlines())


def client_list_all() -> Command:
    """CLIENT LIST: all connections; often forbidden."""
    return (b"CLIENT", b"LIST")


def clients_named(reply: Reply, beginnings: Sequence[str]) -> list[int]:
    """Return the IDs of the connections in CLIENT LIST whose names begin with one of these."""
    wanted = tuple(b"name=" + set_name(beginning)[2] for beginning in beginnings)
    found: list[int] = []
    for line in reply.splitlines() if isinstance(reply, bytes) else ():
        words = line.split(b" ")
        number = words[0].removeprefix(b"id=")
        if number.isdigit() and any(word.startswith(wanted) for word in words):
            found.append(int(number))
    return found


def client_unblock(client_id: int) -> Command:
    """CLIENT UNBLOCK: end a blocking pop early; often forbidden by ACLs."""
    return (b"CLIENT", b"UNBLOCK", b"%d" % client_id)


def client_kill(client_id: int) -> Command:
    """CLIENT KILL ID: end a connection of our own that the server still takes for open."""
    return (b"CLIENT", b"KILL", b"ID", b"%d" % client_id)


def is_master(role: Reply) -> bool:
    """Return whether this reply to ROLE comes from a server that takes writes."""
    return isinstance(role, list) and bool(role) and role[0] == b"master"


def not_master(role: Reply) -> str:
    """Return the role of a server that is not a master, from its reply to ROLE; empty for a master or an error."""
    if isinstance(role, ServerError) or is_master(role):
        return ""
    match role:
        case [b"slave", bytes(host), int(port), *_]:
            return f"it is a replica of {printable(host.decode(errors='backslashreplace'))[1:-1]}:{port}"
        case [b"sentinel", *_]:
            return "it is a Sentinel: write redis+sentinel://host:port/service"
        case _:
            return "its answer to ROLE makes no sense"


def is_read_only(error: ServerError) -> bool:
    """Return whether the server says that it takes no writes: that it is a replica (by now)."""
    return error.code == "READONLY"


def sentinel_master(service: str) -> Command:
    """SENTINEL GET-MASTER-ADDR-BY-NAME: where the master of a service is now."""
    return (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", service.encode())


def read_sentinel_master(reply: Reply) -> tuple[str, int] | None:
    """Host and port; None where this Sentinel does not watch such a service. Raises ``ServerError``."""
    match reply:
        case ServerError():
            raise reply
        case [bytes(host), bytes(port)] if port.isdigit():
            return host.decode(errors="backslashreplace"), int(port)
        case _:
            return None


def _raw(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


__all__ = [
    "ACKNOWLEDGEMENT_KINDS",
    "CLIENT_ID",
    "MESSAGE",
    "MESSAGE_KINDS",
    "PING",
    "ROLE",
    "acknowledgements",
    "auth",
    "client_kill",
    "client_list",
    "client_list_all",
    "client_unblock",
    "clients_named",
    "is_listed",
    "is_master",
    "is_read_only",
    "not_master",
    "read_sentinel_master",
    "select",
    "sentinel_master",
    "set_name",
]
