"""``jobwire tap`` between peers and Redis: every byte goes on at once, as it came; decoding comes after.

No fault of the decoding can touch the traffic. Bytes are written before they are decoded, and no faster
than the other side takes it, so that a slow reader fills nothing here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from jobwire_conformance.record.relay import Direction, Link, Relay, Upstream
from jobwire_conformance.record.resp import Decoder, Frame, pack
from jobwire_conformance.record.transcripts import Event, make_event
from jobwire_conformance.rules.steps import Step
from jobwire_conformance.tap.follow import Follower, is_secret

__all__ = ["TapRelay"]

#: A command or reply of more bytes is not followed (and takes its connection out of sight).
MAX_FRAME = 64 * 1024 * 1024
_KEPT_BROKEN = 64 * 1024
_HIDDEN = b"(redacted)"


class TapRelay(Relay):
    """``on_step`` gets every step, ``on_event`` (if given) the events of a transcript."""

    def __init__(
        self,
        upstream: Upstream,
        follower: Follower,
        *,
        on_step: Callable[[Step], None],
        on_event: Callable[[Event], None] | None = None,
        on_unreachable: Callable[[OSError], None] = lambda _error: None,
    ) -> None:
        super().__init__(upstream)
        self._follower = follower
        self._on_step = on_step
        self._on_event = on_event
        self._on_unreachable = on_unreachable
        self._began = time.monotonic()
        self._numbers = 0
        self._loop = asyncio.get_running_loop()

    def now(self) -> float:
        """Seconds since the tap began."""
        return round(time.monotonic() - self._began, 6)

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def opened(self, link: Link) -> None:
        name = link.peer.get_extra_info("peername")
        peer = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name or "")
        t, number = self.now(), link.number
        self._on_step(self._follower.opened(t, number, peer))
        self._record(Event(t=t, connection=number, role=self._role(number), direction="", kind="open"))

    def closed(self, link: Link, direction: Direction) -> None:
        # After the last frames have been decoded.
        self._loop.call_soon(self._look_at_end, link.number, direction, self.now())

    def _look_at_end(self, number: int, direction: Direction, t: float) -> None:
        step = self._follower.closed(t, number, direction)
        if step is not None:
            self._on_step(step)
        self._record(Event(t=t, connection=number, role=self._role(number), direction=direction, kind="close"))

    def unreachable(self, error: OSError) -> None:
        self._on_unreachable(error)

    def passage(self, link: Link, direction: Direction) -> Callable[[bytes], bytes | None]:
        decoder = Decoder(MAX_FRAME)
        number = link.number
        following = True

        def look(chunk: bytes, t: float) -> None:
            nonlocal following
            if not following:
                return
            for frame in decoder.feed(chunk):
                for step in self._follower.frame(t, number, direction, frame):
                    self._on_step(step)
                if self._on_event is not None:
                    self._record_frame(t, number, direction, frame)
            following = decoder.broken is None
            if not following:
                self._give_up_on(decoder, t, number, direction)

        def passed(chunk: bytes) -> bytes:
            # Looked at as soon as it has been written, and before anything that it may bring about can arrive.
            self._loop.call_soon(look, chunk, self.now())
            return chunk

        return passed

    def _give_up_on(self, decoder: Decoder, t: float, number: int, direction: Direction) -> None:
        raw, reason = decoder.rest(), decoder.broken or ""
        decoder.clear()
        for step in self._follower.broken(t, number, direction, reason, raw):
            self._on_step(step)
        kept = b"" if b"AUTH" in raw.upper() else raw[:_KEPT_BROKEN]
        role = self._role(number)
        event = Event(t=t, connection=number, role=role, direction=direction, kind="broken", value=reason, raw=kept)
        self._record(event)

    # --- recording ----------------------------------------------------------------------------

    def _role(self, number: int) -> str:
        link = self._follower.links.get(number)
        return (link.role if link is not None else "") or "other"

    def _record(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def _record_frame(self, t: float, number: int, direction: Direction, frame: Frame) -> None:
        value, raw = frame.value, frame.raw
        if direction == ">" and isinstance(value, list) and is_secret([w for w in value if isinstance(w, bytes)]):
            value = [value[0], *[_HIDDEN] * (len(value) - 1)]
            raw = pack(value)
        try:
            event = make_event(
                t=t, connection=number, role=self._role(number), direction=direction, value=value, raw=raw
            )
        except (TypeError, ValueError, RecursionError):
            return
        self._record(event)
