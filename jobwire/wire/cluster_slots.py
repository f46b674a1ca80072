"""Redis Cluster as plain data: the slot of a command, the order of commands, redirections.

Source: the Redis Cluster specification (redis.io). A cluster has 16,384 slots; a key's slot is the CRC-16 of its hash
tag, the part between the first ``{`` and the next ``}``, or of the whole key where there is none.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from jobwire.errors import DecodeError, ServerError
from jobwire.wire.commands import Command, Reply

__all__ = [
    "ASKING",
    "CLUSTER_INFO",
    "CLUSTER_SLOTS",
    "SLOTS",
    "Node",
    "Redirection",
    "Step",
    "Topology",
    "announce",
    "hash_tag",
    "is_whole",
    "plan",
    "reach_of",
    "read_topology",
    "redirection",
    "slot_of",
    "slot_of_command",
]

SLOTS = 16384
CLUSTER_SLOTS: Command = (b"CLUSTER", b"SLOTS")
CLUSTER_INFO: Command = (b"CLUSTER", b"INFO")
ASKING: Command = (b"ASKING",)

Node: TypeAlias = tuple[str, int]
"""Host and port."""

#: Commands that name no key, of those that jobwire sends.
_KEYLESS = frozenset(
    b"ACL ASKING AUTH CLIENT CLUSTER CONFIG DBSIZE EXEC INFO MULTI PING PSUBSCRIBE PUBLISH PUNSUBSCRIBE ROLE SCAN"
    b" SCRIPT SELECT SUBSCRIBE TIME UNSUBSCRIBE WAIT".split()
)
_SCRIPTED = frozenset({b"EVAL", b"EVALSHA"})
#: Reads, and deletions: it does not matter in which order they happen to different keys.
_INDEPENDENT = frozenset(b"DEL EXISTS HGET HGETALL HLEN HMGET LLEN LPOS LRANGE PTTL SMEMBERS TYPE".split())
_NO_SLOT = -1
_MANY_SLOTS = -2


def reach_of(command: Command) -> Literal["slot", "every node", "one node after the other"]:
    """Return the destination of a single command."""
    if command[0] == b"SCAN":
        return "one node after the other"
    return "every node" if command[0] == b"SCRIPT" else "slot"


def announce(port: int, bus: int) -> Command:
    """From now on the node tells everybody that it listens on ``port``, and to other nodes on ``bus``; of Redis 7."""
    ports = (b"cluster-announce-port", b"%d" % port, b"cluster-announce-bus-port", b"%d" % bus)
    return (b"CONFIG", b"SET", *ports)


def hash_tag(key: bytes) -> bytes:
    """Return the part of a key that decides on its slot; empty where that is the whole key."""
    _, brace, rest = key.partition(b"{")
    tag, end, _ = rest.partition(b"}")
    return tag if brace and end else b""


def slot_of(key: bytes) -> int:
    """Return the slot of a key."""
    return crc_hqx(hash_tag(key) or key, 0) % SLOTS


def slot_of_command(command: Command) -> int | None:
    """Return the slot of the first key that a command names; None for one that names none."""
    name = command[0]
    if name in _SCRIPTED:
        return slot_of(command[3]) if command[2] != b"0" else None
    return None if name in _KEYLESS or len(command) == 1 else slot_of(command[1])


class Step(NamedTuple):
    """Commands (by their positions) that may leave at the same time; ``independent``: none of them needs another."""

    commands: range
    independent: bool


def plan(commands: Sequence[Command]) -> Iterator[Step]:
    """Divide a send into steps, each of which needs the answers to the one before.

    Consecutive commands of one slot are one step, and leave in one write. (One node is not enough: the slot of the
    first command may have moved away, and the second one would be executed before it.) Consecutive reads and deletions
    are one step too, in any slots. Commands without a key count as one slot of their own.
    """
    start, slot, free = 0, _NO_SLOT, True
    for position, command in enumerate(commands):
        found = slot_of_command(command)
        here = _NO_SLOT if found is None else found
        independent = command[0] in _INDEPENDENT
        if position == start:
            slot, free = here, independent
        elif here == slot:
            free = free and independent
        elif free and independent:
            slot = _MANY_SLOTS
        else:
            yield Step(range(start, position), free)
            start, slot, free = position, here, independent
    if commands:
        yield Step(range(start, len(commands)), free)


class Redirection(msgspec.Struct, frozen=True):
    """A node's refusal to execute a command. ``node`` None: try later; ``asking``: go there this time only."""

    slot: int | None = None
    node: Node | None = None
    asking: bool = False


def redirection(reply: Reply, *, host: str) -> Redirection | None:
    """Parse MOVED, ASK, TRYAGAIN and CLUSTERDOWN; None for any other reply. ``host`` is the answering node's."""
    if not isinstance(reply, ServerError):
        return None
    if reply.code in ("TRYAGAIN", "CLUSTERDOWN"):
        return Redirection()
    words = str(reply).split(" ")
    if reply.code not in ("MOVED", "ASK") or len(words) < 3:
        return None
    named, _, port = words[2].rpartition(":")
    if not (words[1].isdigit() and port.isdigit()):
        return None
    return Redirection(int(words[1]), (named or host, int(port)), reply.code == "ASK")


class Topology(msgspec.Struct):
    """The known owner of each slot (None: nobody); ``masters`` in a fixed order."""

    slots: list[Node | None]
    masters: tuple[Node, ...]


def read_topology(reply: Reply, *, host: str) -> Topology:
    """Parse the reply to CLUSTER SLOTS; ``host`` is the answering node's. Raises ``ServerError``, ``DecodeError``."""
    if isinstance(reply, ServerError):
        raise reply
    slots: list[Node | None] = [None] * SLOTS
    for entry in reply if isinstance(reply, list) else [reply]:
        match entry:
            case [int(first), int(last), [(bytes() | None) as named, int(port), *_], *_] if 0 <= first <= last < SLOTS:
                # An endpoint that a node does not know, or that is empty, is where it was asked.
                node = (named.decode(errors="replace") if named else host, port)
                slots[first : last + 1] = [node] * (last - first + 1)
            case _:
                raise DecodeError("CLUSTER SLOTS answered something else; is this a Redis server?")
    return Topology(slots, tuple(sorted({node for node in slots if node is not None})))


def is_whole(info: Reply) -> bool:
    """Return whether the cluster takes commands, by its CLUSTER INFO."""
    return isinstance(info, bytes) and b"cluster_state:ok" in info
