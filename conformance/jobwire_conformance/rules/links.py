"""One connection as it is looked on at: which reply belongs to which command, queued commands, pushed messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobwire_conformance.record.resp import Push, RespError
from jobwire_conformance.rules.steps import Role
from jobwire_conformance.rules.told import Told

__all__ = ["Answer", "Pushed", "Sent", "Tapped"]

#: Commands under way on one connection; where there are more, replies are no longer matched to them.
MAX_WAITING = 100_000
MAX_CHANNELS = 10_000
#: Kept of a command until its reply comes.
_KEPT_WORDS = 12
#: Of commands that may name many jobs.
_KEPT_OF_MANY = 200
_OF_MANY = frozenset({"EVAL", "EVALSHA", "LPUSH"})
_KEPT_BYTES = 4096

_SUBSCRIBING = {"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"}
_LEAVING = {"UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"}
_CONFIRMATIONS = frozenset(name.lower().encode() for name in _SUBSCRIBING | _LEAVING)
_MESSAGES = frozenset({b"message", b"pmessage", b"smessage"})


@dataclass(slots=True, eq=False)
class Sent:
    """A command whose reply has not come: its first words (cut), and the subject of its reply."""

    name: str
    words: tuple[bytes, ...]
    replies: int = 1
    inside: bool = False
    queue: list[Sent] | None = None


class Answer(NamedTuple):
    """A reply and its command; None where the command is not known."""

    sent: Sent | None
    value: Any


class Pushed(NamedTuple):
    """A message that nobody asked for, or the confirmation of a subscription."""

    kind: bytes
    value: list[Any]


@dataclass(slots=True, eq=False)
class Tapped:
    """The state of one connection."""

    number: int
    peer: str = ""
    role: Role = ""
    name: str = ""
    channels: set[bytes] = field(default_factory=set)
    waiting: deque[Sent] = field(default_factory=deque)
    transaction: list[Sent] | None = None
    monitoring: bool = False
    lost: bool = False
    popped: bool = False
    announced: bool = False
    ends: set[str] = field(default_factory=set)
    #: The options of its owner; None where nobody knows them.
    told: Told | None = None

    @property
    def in_multi(self) -> bool:
        """Whether the last command stands between MULTI and EXEC."""
        return self.transaction is not None

    # --- commands -----------------------------------------------------------------------------

    def sends(self, words: tuple[bytes, ...]) -> Sent:
        """A command has passed."""
        name = words[0][:40].upper().decode("latin-1") if words else ""
        kept = tuple(word[:_KEPT_BYTES] for word in words[: _KEPT_OF_MANY if name in _OF_MANY else _KEPT_WORDS])
        sent = Sent(name, kept, _replies(name, words))
        if name == "MULTI":
            self.transaction = []
        elif name in {"EXEC", "DISCARD", "RESET"}:
            if name == "EXEC":
                sent.queue = self.transaction
            self.transaction = None
        elif self.transaction is not None:
            sent.inside = True
            if len(self.transaction) < MAX_WAITING:
                self.transaction.append(sent)
        if not words or (name == "CLIENT" and len(words) > 2 and words[1].upper() == b"REPLY"):
            self.lost = bool(words) or self.lost
        elif not self.lost:
            self.waiting.append(sent)
            if len(self.waiting) > MAX_WAITING:
                self.loses_track()
        return sent

    def loses_track(self) -> None:
        """Replies cannot be matched to commands any more."""
        self.lost = True
        self.waiting.clear()
        self.transaction = None

    # --- replies ----------------------------------------------------------------------

    def hears(self, value: Any) -> Iterator[Answer | Pushed]:
        """The meaning of one frame from Redis."""
        if self.monitoring and isinstance(value, bytes):
            yield Pushed(b"monitor", [])
        elif self._unasked(value):
            self._subscription(value)
            yield Pushed(value[0], value)
        else:
            yield from self._answers(value)

    def _unasked(self, value: Any) -> bool:
        if not isinstance(value, list) or not value or not isinstance(value[0], bytes):
            return False
        if isinstance(value, Push):
            return True
        if value[0] in _CONFIRMATIONS:
            return bool(self.channels) or (bool(self.waiting) and self.waiting[0].name.lower().encode() == value[0])
        return value[0] in _MESSAGES and bool(self.channels)

    def _subscription(self, value: list[Any]) -> None:
        kind = value[0]
        if kind not in _CONFIRMATIONS or len(value) < 3:
            return
        channel = value[1]
        if isinstance(channel, bytes):
            if kind.startswith((b"sub", b"psub", b"ssub")):
                if len(self.channels) < MAX_CHANNELS:
                    self.channels.add(channel)
            else:
                self.channels.discard(channel)
        first = self.waiting[0] if self.waiting else None
        if first is not None and first.name.lower().encode() == kind:
            first.replies -= 1
            if first.replies == 0 or (first.replies < 0 and value[2] == 0):
                self.waiting.popleft()

    def _answers(self, value: Any) -> Iterator[Answer]:
        if not self.waiting:
            yield Answer(None, value)
            return
        sent = self.waiting.popleft()
        if sent.inside and value == b"QUEUED":
            return
        if sent.inside and isinstance(value, RespError) and self.transaction is not None:
            self.transaction = [item for item in self.transaction if item is not sent]
        if sent.name == "MONITOR" and value == b"OK":
            self.monitoring = True
        yield Answer(sent, value)
        if sent.queue and isinstance(value, list):
            for inner, answer in zip(sent.queue, value, strict=False):
                yield Answer(inner, answer)


def _replies(name: str, words: tuple[bytes, ...]) -> int:
    """How many frames answer; 0: as many as there are subscriptions to leave."""
    if name in _SUBSCRIBING:
        return max(1, len(words) - 1)
    return len(words) - 1 if name in _LEAVING else 1
