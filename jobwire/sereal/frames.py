"""What is still to be read: one frame for each container that is open.

A frame reads on until it is done (then it leaves the stack) or until a child stands on the stack;
the loop in ``Body.read`` then goes on with the child. Nothing here calls itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jobwire.sereal import tags
from jobwire.sereal.values import PerlObject, ScalarRef

if TYPE_CHECKING:
    from jobwire.sereal.decoder import Body

__all__ = ["CopyFrame", "Frame", "HashFrame", "HookFrame", "ListFrame", "RefFrame"]

Text = str | bytes


class Frame(Protocol):
    """Something whose contents are still being read."""

    def fill(self, body: Body) -> None:
        """Read on, until done (then leave the stack) or until a child stands on the stack."""

    def replace(self, value: object, /) -> None:
        """Put ``value`` where the child that was read last stands."""


class ListFrame:
    __slots__ = ("items", "left")

    def __init__(self, items: list[object], left: int) -> None:
        self.items = items
        self.left = left

    def fill(self, body: Body) -> None:
        data, readers, stack = body.data, body.readers, body.stack
        append, depth, left = self.items.append, len(stack), self.left
        while left:
            left -= 1
            tag = data[body.pos]
            body.pos += 1
            append(readers[tag](body, tag))
            if len(stack) != depth:
                self.left = left
                return
        body.pop()

    def replace(self, value: object) -> None:
        self.items[-1] = value


class HashFrame:
    __slots__ = ("key", "left", "mapping", "wide")

    def __init__(self, mapping: dict[Text, object], left: int) -> None:
        self.mapping = mapping
        self.left = left
        self.key: Text = ""
        self.wide: set[Text] = set()  # the keys that were STR_UTF8

    def fill(self, body: Body) -> None:
        data, readers, stack = body.data, body.readers, body.stack
        mapping, depth, left = self.mapping, len(stack), self.left
        while left:
            left -= 1
            body.wide = False
            key = body.string("a hash key")
            if key in mapping:
                key = self.other_name(body, key)
            if body.wide:
                self.wide.add(key)
            tag = data[body.pos]
            body.pos += 1
            mapping[key] = readers[tag](body, tag)
            if len(stack) != depth:
                self.left, self.key = left, key
                return
        body.pop()

    def replace(self, value: object) -> None:
        self.mapping[self.key] = value

    def other_name(self, body: Body, key: Text) -> Text:
        """A key that is there already. Perl's ``"\\xc3\\xa9"`` and ``"\\x{e9}"`` are two keys that the policy
        ``auto`` reads alike: the BINARY one then stays bytes. Anything else is a key that stands twice."""
        if isinstance(key, str) and body.policy == "auto" and body.wide != (key in self.wide):
            raw = key.encode("utf-8", "surrogatepass")
            if raw not in self.mapping:
                if not body.wide:
                    return raw
                self.mapping[raw] = self.mapping.pop(key)
                return key
        raise body.error("a hash key stands twice")


class RefFrame:
    __slots__ = ("done", "ref")

    def __init__(self, ref: ScalarRef) -> None:
        self.ref = ref
        self.done = False

    def fill(self, body: Body) -> None:
        if not self.done:
            self.done = True
            depth = len(body.stack)
            tag = body.data[body.pos]
            body.pos += 1
            self.ref.value = body.readers[tag](body, tag)
            if len(body.stack) != depth:
                return
        body.pop()

    def replace(self, value: object) -> None:
        self.ref.value = value


class CopyFrame:
    """Brings the reader back to where a COPY stood, and accounts for what was read again."""

    __slots__ = ("at", "back", "target")

    def __init__(self, at: int, back: int, target: int) -> None:
        self.at = at
        self.back = back
        self.target = target

    def fill(self, body: Body) -> None:
        if body.pos > self.at:
            raise body.error("COPY of something that does not end before it", at=self.at, tag=tags.COPY)
        body.pulled += body.pos - self.target
        if body.pulled > body.limits.max_inflated:
            raise body.error(
                f"COPY tags unfold to more than {body.limits.max_inflated} bytes (max_inflated)", at=self.at
            )
        body.pos = self.back
        body.in_copy = False
        body.stack.pop()

    def replace(self, _value: object) -> None:
        raise AssertionError("a COPY holds no child")


class HookFrame:
    """Hands a finished object to the application's hook and puts the answer in its place."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: PerlObject | None = None

    def fill(self, body: Body) -> None:
        body.stack.pop()
        if self.found is None or body.hook is None:
            return
        answer = body.hook(self.found)
        if answer is not self.found:
            body.replaced[id(self.found)] = (self.found, answer)
            for frame in reversed(body.stack):
                if not isinstance(frame, CopyFrame):
                    frame.replace(answer)
                    return

    def replace(self, _value: object) -> None:
        raise AssertionError("an object holds no child")
