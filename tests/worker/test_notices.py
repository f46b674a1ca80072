"""Which notices are said again, when, and how many; by a connection that is played."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from jobwire.testing.scripted import LOST, Outcome, ScriptedTransport
from jobwire.wire.commands import Command
from jobwire.worker import notices as module
from jobwire.worker.notices import Notices
from tests.support.faces import until


class Listeners:
    """The server: ``there`` are the channels that somebody listens on."""

    def __init__(self) -> None:
        self.there: set[bytes] = set()
        self.lost = False
        self.heard: list[bytes] = []
        self.transport = ScriptedTransport(self._answer)

    def _answer(self, command: Command) -> Outcome:
        name, channel, payload = command
        assert name == b"PUBLISH"
        if self.lost:
            return LOST
        if channel in self.there:
            self.heard.append(payload)
            return 1
        return 0

    @property
    def said(self) -> list[bytes]:
        return [command[2] for command in self.transport.commands]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELAYS", (0.001, 0.005, 0.02, 0.05))


@pytest.fixture
async def listeners() -> AsyncIterator[Listeners]:
    made = Listeners()
    yield made
    made.transport.check()


async def opened(listeners: Listeners) -> Notices:
    notices = Notices()
    notices.connected(await listeners.transport.connect(on_lost=lambda error: None))
    return notices


def notice(payload: bytes, client: bytes = b"client::me") -> Command:
    return (b"PUBLISH", client, payload)


async def test_nobody_ever_comes(quick: None, listeners: Listeners) -> None:
    notices = await opened(listeners)
    notices.unheard(notice(b"j"))
    await until(lambda: len(listeners.said) == 4)
    await asyncio.sleep(0.1)
    assert listeners.said == [b"j"] * 4
    assert len(notices) == 0


async def test_of_many_to_a_client_that_is_away_one_is_said(quick: None, listeners: Listeners) -> None:
    notices = await opened(listeners)
    for number in range(100):
        notices.unheard(notice(b"%d" % number))
    notices.unheard(notice(b"other", b"client::other"))
    await until(lambda: len(notices) == 101 and len(listeners.said) >= 4)
    assert len(set(listeners.said)) <= 10  # of 101: one each for what went together
    listeners.there = {b"client::me"}
    await until(lambda: len(listeners.heard) == 100)
    assert listeners.heard == [b"%d" % number for number in range(100)]
    await until(lambda: len(notices) == 0)


async def test_what_is_said_again_waits_for_a_connection(quick: None, listeners: Listeners) -> None:
    notices = await opened(listeners)
    listeners.lost = True
    notices.unheard(notice(b"j"))
    await until(lambda: listeners.said and len(notices) == 1)  # asked, and no answer came
    notices.disconnected()
    notices.unheard(notice(b"k"))
    await asyncio.sleep(0.1)
    assert len(notices) == 2
    listeners.lost = False
    notices.connected(await listeners.transport.connect(on_lost=lambda error: None))
    await asyncio.sleep(0.01)
    listeners.there = {b"client::me"}
    await until(lambda: listeners.heard == [b"j", b"k"])


async def test_bounded_by_number_and_bytes(monkeypatch: pytest.MonkeyPatch, listeners: Listeners) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    monkeypatch.setattr(module, "LARGEST", 1000)
    notices = Notices()
    for number in range(25):
        notices.unheard(notice(b"%d" % number))
    assert len(notices) == 10
    notices.unheard(notice(bytes(990)))
    assert len(notices) < 8
    notices.unheard(notice(bytes(1001)))
    assert len(notices) == 0
    notices.unheard((b"PUBLISH", b"client::" + bytes(1001), b"j"))
    assert len(notices) == 0, "anybody may write a long ID of a client"


async def test_a_stop_says_what_waits_once_more(listeners: Listeners) -> None:
    notices = await opened(listeners)
    notices.unheard(notice(b"j"))
    notices.unheard(notice(b"k"))
    await notices.said(within=0.0)
    await until(lambda: listeners.said == [b"j", b"k"])
    assert len(notices) == 0


async def test_a_stop_waits_no_longer_than_needed(quick: None, listeners: Listeners) -> None:
    notices = await opened(listeners)
    listeners.there = {b"client::me"}
    notices.unheard(notice(b"j"))
    await asyncio.wait_for(notices.said(within=60.0), 5)
    assert listeners.heard == [b"j"]
