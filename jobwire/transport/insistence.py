"""Repeat, by script, commands that a server at its ``maxmemory`` refuses (``jobwire.wire.scripts.insist``)."""

from __future__ import annotations

from jobwire.errors import ServerError
from jobwire.transport.protocols import Connection, Replies
from jobwire.wire.commands import Command, Reply
from jobwire.wire.scripts import insist, is_out_of_memory

__all__ = ["call_insisting", "execute_insisting"]


async def call_insisting(connection: Connection, *commands: Command) -> Replies:
    """Call ``connection.call``; repeat the first command refused out of memory, and all behind it.

    Raises ``ConnectionLost``.
    """
    replies = await connection.call(*commands)
    first = next((at for at, reply in enumerate(replies) if is_out_of_memory(reply)), None)
    if first is None:
        return replies
    return replies[:first] + await connection.call(*insist(commands[first:]))


async def execute_insisting(connection: Connection, command: Command) -> Reply:
    """Call ``connection.execute`` in the same way. Raises ``ServerError``, ``ConnectionLost``."""
    try:
        return await connection.execute(command)
    except ServerError as error:
        if not is_out_of_memory(error):
            raise
    return await connection.execute(insist((command,))[0])
