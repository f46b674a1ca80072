"""What happens to the server, and to the way there, while a fleet works. Each function does one thing and undoes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from endurance.chaos.plan import Kind
from jobwire_conformance.record.proxy import Proxy, Rule

__all__ = ["SERVER_FAULTS", "Afflict", "Place"]

_ENDS = ("jobwire-popping", "jobwire-notices", "jobwire-heartbeat", "jobwire-client", "jobwire-worker")


class Place:
    """The server (``raw`` makes a client of redis-py) and the proxy before it."""

    def __init__(self, raw: Callable[[], Any], proxy: Proxy) -> None:
        self.raw = raw
        self.proxy = proxy


Afflict = Callable[[Place, float, float], Awaitable[None]]
"""``(place, choice, seconds)``."""


async def kill_one_end(place: Place, choice: float, seconds: float) -> None:
    """One kind of the connections of everybody; the others stay."""
    del seconds
    name = _ENDS[int(choice * len(_ENDS))]
    raw = place.raw()
    for connection in raw.client_list():
        if connection["name"].startswith(name):
            raw.client_kill_filter(_id=connection["id"])


async def forget_scripts(place: Place, choice: float, seconds: float) -> None:
    """SCRIPT FLUSH, again and again."""
    del choice
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.to_thread(place.raw().script_flush)
        await asyncio.sleep(0.005)


async def without_memory(place: Place, choice: float, seconds: float) -> None:
    """No memory for anything more, then enough again."""
    del choice
    place.raw().config_set("maxmemory", "1")
    try:
        await asyncio.sleep(seconds)
    finally:
        place.raw().config_set("maxmemory", "0")


async def paused(place: Place, choice: float, seconds: float) -> None:
    """CLIENT PAUSE: nobody is answered."""
    place.raw().execute_command("CLIENT", "PAUSE", int(seconds * 1000), "WRITE" if choice < 0.5 else "ALL")
    await asyncio.sleep(seconds)


async def a_replica(place: Place, choice: float, seconds: float) -> None:
    """The server is the replica of one that is not there, and refuses writes; then it is a master again."""
    del choice
    place.raw().execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        await asyncio.sleep(seconds)
    finally:
        place.raw().execute_command("REPLICAOF", "NO", "ONE")


async def a_bad_way(place: Place, choice: float, seconds: float) -> None:
    """By the proxy: nothing passes, replies end in the middle, or notices do not arrive."""
    if choice < 1 / 3:
        place.proxy.hold(True)
        await asyncio.sleep(seconds)
        place.proxy.hold(False)
        return
    notices = choice > 2 / 3
    rule = Rule(
        lambda event: event.direction == "<" and (not notices or b"message" in event.raw),
        "drop" if notices else "half",
        -1 if notices else 5,
    )
    place.proxy.rules.append(rule)
    await asyncio.sleep(seconds)
    place.proxy.rules.remove(rule)


SERVER_FAULTS: Mapping[Kind, Afflict] = {
    "half": kill_one_end,
    "flush": forget_scripts,
    "memory": without_memory,
    "pause": paused,
    "replica": a_replica,
    "proxy": a_bad_way,
}
