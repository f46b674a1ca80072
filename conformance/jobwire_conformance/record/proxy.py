"""The recorder: a loopback TCP proxy between one peer and Redis that writes down every frame.

Frames are forwarded whole, byte for byte, in both directions, and given to the :class:`Recorder`
with the time, the connection and the role. The same place injects faults: connections cut before,
after or in the middle of a frame, messages dropped, replies held back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jobwire_conformance.record.relay import Direction, Link, Relay, Upstream
from jobwire_conformance.record.resp import Decoder, Frame
from jobwire_conformance.record.transcripts import Event, broken_event, make_event

__all__ = ["Action", "Proxy", "Recorder", "Rule", "Upstream"]

Action = Literal["drop", "cut", "cut-after", "half", "double", "late"]
"""The effect of a rule on a frame: leave it out; cut the connection before it; after it; in its middle; pass it on
twice; pass it on after ``seconds``, behind frames that came later.
"""

_TRICKLE_EVERY = 0.001
_LATE_AGAIN = 0.02


@dataclass(slots=True)
class Rule:
    """Do ``action`` to the next ``times`` frames that ``matches`` accepts (``times`` −1: for ever).

    ``seconds`` is the delay of ``late``.
    """

    matches: Callable[[Event], bool]
    action: Action
    times: int = 1
    hits: int = 0
    seconds: float = 0.0


class Recorder:
    """The events of all connections of one case, on one clock."""

    def __init__(self, on_event: Callable[[Event], None] | None = None) -> None:
        self.events: list[Event] = []
        self._began = time.monotonic()
        self._connections = 0
        self._on_event = on_event
        self._changed = asyncio.Event()

    def now(self) -> float:
        """Seconds since the recording began."""
        return time.monotonic() - self._began

    def next_connection(self) -> int:
        """A number for a new connection."""
        self._connections += 1
        return self._connections

    def add(self, event: Event) -> None:
        """Write an event down."""
        self.events.append(event)
        self._changed.set()
        if self._on_event is not None:
            self._on_event(event)

    async def changed(self) -> None:
        """Wait for the next event."""
        self._changed.clear()
        await self._changed.wait()


class Proxy(Relay):
    """Listens on a free loopback port; every connection is forwarded to ``upstream``, and recorded."""

    def __init__(self, upstream: Upstream, recorder: Recorder, role: str) -> None:
        super().__init__(upstream)
        self.recorder = recorder
        self.role = role
        self.rules: list[Rule] = []
        self.refusing = False
        self.trickle = 0
        """Bytes that are passed on at a time, a millisecond apart; 0: all that is there."""
        self._in_pieces: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def close(self) -> None:
        """Stop listening and cut the connections still open."""
        self._flowing.set()
        await super().close()

    # --- faults -------------------------------------------------------------------------------

    def hold(self, held: bool) -> None:
        """Hold all replies back (a server that does not answer), or let them flow again."""
        if held:
            self._flowing.clear()
        else:
            self._flowing.set()

    # --- traffic --------------------------------------------------------------------------

    def number(self) -> int:
        return self.recorder.next_connection()

    def admits(self) -> bool:
        return not self.refusing

    def opened(self, link: Link) -> None:
        self._note(link, "open")

    def closed(self, link: Link, direction: Direction) -> None:
        self._note(link, "close", direction)

    async def flowing(self, direction: Direction) -> None:
        if direction == "<":
            await self._flowing.wait()

    async def write(self, sink: asyncio.StreamWriter, data: bytes) -> None:
        if not self.trickle:
            await super().write(sink, data)
            return
        self._in_pieces.add(sink)
        try:
            while data:
                size = self.trickle or len(data)
                await super().write(sink, data[:size])
                data = data[size:]
                await asyncio.sleep(_TRICKLE_EVERY)
        finally:
            self._in_pieces.discard(sink)

    def _write_late(self, sink: asyncio.StreamWriter, data: bytes) -> None:
        if sink in self._in_pieces:  # not in the middle of another frame
            asyncio.get_running_loop().call_later(_LATE_AGAIN, self._write_late, sink, data)
        elif not sink.is_closing():
            sink.write(data)

    def _note(self, link: Link, kind: Literal["open", "close"], direction: Literal[">", "<", ""] = "") -> None:
        now = round(self.recorder.now(), 6)
        self.recorder.add(Event(t=now, connection=link.number, role=self.role, direction=direction, kind=kind))

    def passage(self, link: Link, direction: Direction) -> Callable[[bytes], bytes | None]:
        decoder = Decoder()
        opaque = False

        def passed(chunk: bytes) -> bytes | None:
            nonlocal opaque
            if opaque:
                return chunk
            out = bytearray()
            for frame in decoder.feed(chunk):
                if not self._forward(link, frame, out, direction):
                    (link.redis if direction == ">" else link.peer).write(out)
                    return None
            opaque = decoder.broken is not None
            if opaque:
                out += self._give_up_on(link, decoder, direction)
            return bytes(out)

        return passed

    def _give_up_on(self, link: Link, decoder: Decoder, direction: Direction) -> bytes:
        event = broken_event(
            t=self.recorder.now(), connection=link.number, role=self.role, direction=direction, decoder=decoder
        )
        self.recorder.add(event)
        return event.raw

    def _forward(self, link: Link, frame: Frame, out: bytearray, direction: Direction) -> bool:
        """Record one frame, and forward its part that goes on; False where a rule has cut the connection."""
        event = make_event(
            t=self.recorder.now(),
            connection=link.number,
            role=self.role,
            direction=direction,
            value=frame.value,
            raw=frame.raw,
        )
        rule = self._rule(event)
        action = None if rule is None else rule.action
        if action not in {"drop", "cut"}:
            self.recorder.add(event)
        if rule is None:
            out += frame.raw
            return True
        return self._afflict(link, event, out, rule)

    def _afflict(self, link: Link, event: Event, out: bytearray, rule: Rule) -> bool:
        action = rule.action
        if action == "half":
            out += event.raw[: max(1, len(event.raw) // 2)]
        elif action == "cut-after":
            out += event.raw
        elif action == "double":
            out += event.raw * 2
        elif action == "late":
            sink = link.redis if event.direction == ">" else link.peer
            asyncio.get_running_loop().call_later(rule.seconds, self._write_late, sink, event.raw)
        if action in {"drop", "double", "late"}:
            return True
        # The bytes written leave before the connection is cut: half a frame is the point of it.
        asyncio.get_running_loop().call_later(0.02 if action != "cut" else 0, link.abort)
        link.cut = True
        return False

    def _rule(self, event: Event) -> Rule | None:
        for rule in self.rules:
            if rule.times and rule.matches(event):
                rule.times -= 1
                rule.hits += 1
                return rule
        return None
