"""What happens to the server, and to the way there, while a fleet works. Each function does one thing and undoes it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import redis

from endurance.chaos.place import ClusterPlace, Place
from endurance.chaos.plan import Kind
from jobwire_conformance.record.proxy import Rule
from jobwire_conformance.record.transcripts import Event

__all__ = ["SERVER_FAULTS", "Afflict", "cut_everything"]

_ENDS = ("jobwire-popping", "jobwire-notices", "jobwire-heartbeat", "jobwire-client", "jobwire-worker")

Afflict = Callable[[Place, float, float, float], Awaitable[None]]
"""``(place, choice, seconds, delay)``; ``delay``: seconds by which a notice may be late."""


def _everywhere(place: Place, *command: Any) -> None:
    """Say it to every server that is there."""
    for link in place.links():
        with contextlib.suppress(redis.RedisError):
            link.execute_command(*command)


def _cut(place: Place, chosen: Callable[[str], bool]) -> None:
    """At the servers: the connections whose names are chosen."""
    for link in place.links():
        with contextlib.suppress(redis.RedisError):  # away at this moment, by another fault
            for connection in link.client_list():
                if chosen(connection["name"]):
                    link.client_kill_filter(_id=connection["id"], skipme=True)


async def cut_everything(place: Place, *, everybody: bool) -> None:
    """By the proxies and at the servers: the connections of the fleet, or those of everybody."""
    for proxy in place.proxies:
        proxy.cut()
    await asyncio.to_thread(_cut, place, lambda name: everybody or bool(name))


async def kill_one_end(place: Place, choice: float, seconds: float, delay: float) -> None:
    """One kind of the connections of everybody; the others stay."""
    del seconds, delay
    await asyncio.to_thread(_cut, place, lambda name: name.startswith(_ENDS[int(choice * len(_ENDS))]))


async def forget_scripts(place: Place, choice: float, seconds: float, delay: float) -> None:
    """SCRIPT FLUSH, again and again."""
    del choice, delay
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.to_thread(_everywhere, place, "SCRIPT", "FLUSH")
        await asyncio.sleep(0.005)


async def without_memory(place: Place, choice: float, seconds: float, delay: float) -> None:
    """No memory for anything more, then enough again."""
    del choice, delay
    await asyncio.to_thread(_everywhere, place, "CONFIG", "SET", "maxmemory", "1")
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.to_thread(_everywhere, place, "CONFIG", "SET", "maxmemory", "0")


async def paused(place: Place, choice: float, seconds: float, delay: float) -> None:
    """CLIENT PAUSE: nobody is answered."""
    del delay
    kind = "WRITE" if choice < 0.5 else "ALL"
    await asyncio.to_thread(_everywhere, place, "CLIENT", "PAUSE", int(seconds * 1000), kind)
    await asyncio.sleep(seconds)


async def a_replica(place: Place, choice: float, seconds: float, delay: float) -> None:
    """The server is the replica of one that is not there, and refuses writes; then it is a master again."""
    del choice, delay
    await asyncio.to_thread(_everywhere, place, "REPLICAOF", "127.0.0.1", "1")
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.to_thread(_everywhere, place, "REPLICAOF", "NO", "ONE")


async def lists_move(place: Place, choice: float, seconds: float, delay: float) -> None:
    """The slot of the lists moves to another node of the cluster."""
    del seconds, delay
    if isinstance(place, ClusterPlace):
        await place.move_lists(choice)


async def a_bad_way(place: Place, choice: float, seconds: float, delay: float) -> None:
    """By the proxy: nothing passes, replies end in the middle, or notices do not arrive."""
    del delay
    if choice < 1 / 3:
        for proxy in place.proxies:
            proxy.hold(True)
        await asyncio.sleep(seconds)
        for proxy in place.proxies:
            proxy.hold(False)
    elif choice < 2 / 3:
        await _ruled(place, Rule(lambda event: event.direction == "<", "half", 5), seconds)
    else:
        await _ruled(place, Rule(_is_notice, "drop", -1), seconds)


async def a_trickle(place: Place, choice: float, seconds: float, delay: float) -> None:
    """By the proxy: a few bytes pass at a time, a millisecond apart."""
    del delay
    for proxy in place.proxies:
        proxy.trickle = 2 + int(choice * 15)
    await asyncio.sleep(seconds)
    for proxy in place.proxies:
        proxy.trickle = 0


async def doubled(place: Place, choice: float, seconds: float, delay: float) -> None:
    """By the proxy: every notice arrives twice."""
    del choice, delay
    await _ruled(place, Rule(_is_notice, "double", -1), seconds)


async def late(place: Place, choice: float, seconds: float, delay: float) -> None:
    """By the proxy: notices of this time arrive later, by ``delay`` at most, when others have overtaken them."""
    await _ruled(place, Rule(_is_notice, "late", -1, seconds=choice * delay), seconds)


def _is_notice(event: Event) -> bool:
    # Neither the confirmation of a subscription, nor a reply in which the word stands.
    return event.kind == "push" and b"message" in event.raw[:24]


async def _ruled(place: Place, rule: Rule, seconds: float) -> None:
    for proxy in place.proxies:
        proxy.rules.append(rule)
    await asyncio.sleep(seconds)
    for proxy in place.proxies:
        proxy.rules.remove(rule)


SERVER_FAULTS: Mapping[Kind, Afflict] = {
    "half": kill_one_end,
    "flush": forget_scripts,
    "memory": without_memory,
    "pause": paused,
    "replica": a_replica,
    "slot": lists_move,
    "proxy": a_bad_way,
    "trickle": a_trickle,
    "double": doubled,
    "late": late,
}
