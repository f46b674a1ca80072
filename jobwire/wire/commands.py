"""Redis commands as plain data: a tuple of bytes, the name first.

Nothing here talks to a server. A transport writes the tuples; the object that built a command (a mode, or the
functions of this module) reads its reply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

from jobwire.errors import DecodeError, EncodeError, ServerError
from jobwire.wire.text import Text, wire_bytes

Command: TypeAlias = tuple[bytes, ...]
"""A Redis command as plain data, its name first."""
Reply: TypeAlias = "bytes | int | list[Reply] | ServerError | None"
"""A reply; errors are values."""

MULTI: Command = (b"MULTI",)
EXEC: Command = (b"EXEC",)
#: The only command that needs Redis 6.2: recovery gives jobs back by it.
MOVE = b"LMOVE"

_BYTES = frozenset({bytes})


def hash_set(key: bytes, fields: Mapping[bytes, bytes]) -> Command:
    """HMSET, the form Perl uses on every server version; ``fields`` must not be empty."""
    return (b"HMSET", key, *chain.from_iterable(fields.items()))


def transaction(commands: Sequence[Command]) -> tuple[Command, ...]:
    """Return the commands inside MULTI … EXEC, meant to leave in one write (option ``use_multi``)."""
    return (MULTI, *commands, EXEC)


def transaction_replies(replies: Sequence[Reply]) -> list[Reply]:
    """Return the replies to the commands of a ``transaction``.

    The caller looks at every element of EXEC's reply as if the commands had gone alone: errors are among them as
    values. Raises ``ServerError`` where the server refused the transaction as a whole.
    """
    last = replies[-1]
    if isinstance(last, ServerError):
        # A command refused at queueing time says why; EXEC only says that something was refused.
        raise next((reply for reply in replies if isinstance(reply, ServerError)), last)
    if not isinstance(last, list):
        raise ServerError("EXECABORT the transaction was discarded")
    return last


def first_error(replies: Sequence[Reply]) -> ServerError | None:
    """Return the first error among ``replies``, or None."""
    if ServerError not in map(type, replies):  # as almost always, and in a loop of C
        return None
    return next((reply for reply in replies if isinstance(reply, ServerError)), None)


def subscribe(channel: bytes) -> Command:
    return (b"SUBSCRIBE", channel)


def scan_type(cursor: bytes, kind: bytes, count: int = 1000) -> Command:
    """One step of a SCAN over the keys of one type (Redis 6.0); ``commands.scanned`` reads the reply."""
    return (b"SCAN", cursor, b"COUNT", b"%d" % count, b"TYPE", kind)


def list_length(key: bytes) -> Command:
    return (b"LLEN", key)


def list_items(key: bytes, first: int = 0, last: int = -1) -> Command:
    return (b"LRANGE", key, b"%d" % first, b"%d" % last)


def list_next(key: bytes) -> Command:
    """Answer the entry at the right end of a list: the one that is taken next."""
    return (b"LINDEX", key, b"-1")


def list_position(key: bytes, item: bytes, *, within: int | None = None) -> Command:
    """LPOS: how far from the left an entry stands; ``within`` so many from there, or, negative, from the right."""
    if within is None:
        return (b"LPOS", key, item)
    rank = (b"RANK", b"-1") if within < 0 else ()
    return (b"LPOS", key, item, *rank, b"MAXLEN", b"%d" % abs(within))


def list_push(key: bytes, *items: bytes) -> Command:
    """LPUSH: the end that is taken last."""
    return (b"LPUSH", key, *items)


def list_push_next(key: bytes, *items: bytes) -> Command:
    """RPUSH: the end that is taken next."""
    return (b"RPUSH", key, *items)


def list_remove(key: bytes, item: bytes) -> Command:
    """LREM … 1: from the head, as Perl does it."""
    return (b"LREM", key, b"1", item)


def list_remove_oldest(key: bytes, item: bytes) -> Command:
    """LREM … -1: from the tail, where the oldest entries of a list stand that is pushed to on the left."""
    return (b"LREM", key, b"-1", item)


def list_move_back(source: bytes, destination: bytes) -> Command:
    """LMOVE LEFT RIGHT: the newest taken entry becomes the next one to be taken; repeated until nil, order is kept."""
    return (MOVE, source, destination, b"LEFT", b"RIGHT")


def hash_get(key: bytes, *fields: bytes) -> Command:
    return (b"HMGET", key, *fields)


def hash_get_all(key: bytes) -> Command:
    return (b"HGETALL", key)


def hash_names(key: bytes) -> Command:
    """Ask for the names of all fields of a hash, without their contents."""
    return (b"HKEYS", key)


def field_length(key: bytes, field: bytes) -> Command:
    """Ask for the bytes of one field of a hash; 0 where it is not there."""
    return (b"HSTRLEN", key, field)


def hash_size(key: bytes) -> Command:
    return (b"HLEN", key)


def hash_increment(key: bytes, field: bytes, by: int = 1) -> Command:
    return (b"HINCRBY", key, field, b"%d" % by)


def hash_delete(key: bytes, *fields: bytes) -> Command:
    return (b"HDEL", key, *fields)


def exists(*keys: bytes) -> Command:
    return (b"EXISTS", *keys)


def delete(*keys: bytes) -> Command:
    return (b"DEL", *keys)


def publish(channel: bytes, payload: bytes) -> Command:
    return (b"PUBLISH", channel, payload)


def is_unheard(command: Command, reply: Reply) -> bool:
    """Return whether this is a message that reached nobody."""
    return command[0] == b"PUBLISH" and reply == 0


def expire(key: bytes, seconds: int) -> Command:
    return (b"EXPIRE", key, b"%d" % seconds)


def expire_in(key: bytes, milliseconds: int) -> Command:
    """Give a key a time to live."""
    return (b"PEXPIRE", key, b"%d" % milliseconds)


def time_to_live(key: bytes) -> Command:
    """Answer the milliseconds that a key has left, -1 for no end, -2 for no key."""
    return (b"PTTL", key)


def set_members(key: bytes) -> Command:
    return (b"SMEMBERS", key)


def set_size(key: bytes) -> Command:
    return (b"SCARD", key)


def set_add(key: bytes, member: bytes) -> Command:
    return (b"SADD", key, member)


def set_remove(key: bytes, member: bytes) -> Command:
    return (b"SREM", key, member)


def scan(cursor: bytes, pattern: bytes, count: int = 500) -> Command:
    return (b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % count)


def literal(text: bytes) -> bytes:
    """Return ``text`` as a pattern of SCAN that only it matches."""
    return re.sub(rb"[*?\[\]\\^-]", rb"\\\g<0>", text)


def scanned(reply: Reply) -> tuple[bytes, list[bytes]]:
    """Return the next cursor (``b"0"``: that was all) and the keys of one step of a SCAN."""
    cursor, keys = reply if isinstance(reply, list) and len(reply) == 2 else (b"0", [])
    found = [key for key in keys if isinstance(key, bytes)] if isinstance(keys, list) else []
    return (cursor if isinstance(cursor, bytes) else b"0"), found


def value_type(key: bytes) -> Command:
    return (b"TYPE", key)


def hash_pairs(reply: Reply, *, key: Text) -> dict[bytes, bytes]:
    """Return the mapping that HGETALL answered (RESP2: a flat list).

    Raises ``ServerError`` as it came, ``DecodeError`` for a reply of another shape.
    """
    if not isinstance(reply, list) or len(reply) % 2 or not _BYTES.issuperset(map(type, reply)):
        if isinstance(reply, ServerError):
            raise reply
        raise DecodeError("HGETALL answered something that is not a hash; is this a Redis server?", key=key)
    items: Any = iter(reply)
    return dict(zip(items, items, strict=False))


def expect_bytes(value: Text, *, field: str) -> bytes:
    """Return ``value`` as it stands on the wire; ``EncodeError`` where it is empty."""
    raw = wire_bytes(value)
    if not raw:
        raise EncodeError("must not be empty", field=field)
    return raw


__all__ = [
    "EXEC",
    "MULTI",
    "Command",
    "Reply",
    "delete",
    "exists",
    "expect_bytes",
    "expire",
    "first_error",
    "hash_delete",
    "hash_get",
    "hash_get_all",
    "hash_increment",
    "hash_names",
    "hash_pairs",
    "hash_set",
    "is_unheard",
    "list_items",
    "list_length",
    "list_move_back",
    "list_position",
    "list_push",
    "list_push_next",
    "list_remove",
    "list_remove_oldest",
    "publish",
    "scan",
    "scan_type",
    "scanned",
    "set_add",
    "set_members",
    "set_remove",
    "set_size",
    "subscribe",
    "transaction",
    "transaction_replies",
    "value_type",
]
