"""The processing list that belongs to one worker: putting back what stands there and is not in hand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container

from jobwire.errors import ServerError, printable
from jobwire.transport import Connection, execute_insisting
from jobwire.wire import Reliable, Taken
from jobwire.wire.session import client_kill, client_list, is_listed

__all__ = ["return_leftovers", "return_stuck", "until_gone"]

_log = logging.getLogger("jobwire.recovery")
_PATIENCE = 5.0


async def until_gone(commands: Connection, client_id: int | None, name: str) -> None:
    """Return when the server has noticed that a popping connection of ours is closed.

    Until then its pops may still move jobs into the own list. ``name`` guards against an ID that a restarted server has
    given to another connection. Where an ACL forbids to ask, ``return_stuck`` finds what comes too late. Raises
    ``TransportError``.
    """
    if client_id is None:
        return
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    try:
        while is_listed(await commands.execute(client_list(client_id)), name):
            if loop.time() > end:
                # Half-open: the server would keep it until its own timeouts.
                await commands.execute(client_kill(client_id))
            await asyncio.sleep(0.005)
    except ServerError as error:
        _log.info("cannot see whether the old connection has ended: %s", error)


async def return_leftovers(commands: Connection, mode: Reliable, queue: bytes, in_hand: Container[object]) -> int:
    """Put back what is not in hand: newest first, so that the oldest is taken next. Says how many.

    Raises ``TransportError``.
    """
    entries = await commands.execute(mode.leftovers())
    returned = 0
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, bytes) and entry not in in_hand:
            for command in mode.give_back(Taken(queue, entry)):
                await execute_insisting(commands, command)
            returned += 1
    return returned


async def return_stuck(
    commands: Connection, mode: Reliable, queue: bytes, in_hand: Container[object], before: Container[bytes]
) -> frozenset[bytes]:
    """Put back entries that were not in hand at the look ``before``, and are not now; the others are the next
    ``before``.

    Such entries were moved for a pop whose reply was never seen. Raises ``TransportError``.
    """
    entries = await commands.execute(mode.leftovers())
    found = [entry for entry in entries if isinstance(entry, bytes)] if isinstance(entries, list) else []
    stray = [entry for entry in found if entry not in in_hand]
    for entry in stray:
        if entry in before:
            _log.warning("job %s stood in this worker's list and was not in hand: returned", printable(entry))
            for command in mode.give_back(Taken(queue, entry)):
                await execute_insisting(commands, command)
    return frozenset(entry for entry in stray if entry not in before)
