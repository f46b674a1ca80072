"""One Sereal body → one Python value, without recursion: the loop and its frames.

A container is created, registered and handed to its parent *before* its contents are read, so that a later REFP or
ALIAS (a shared or cyclic structure) finds the very same object. Open containers stand on a stack of frames; depth is
therefore a limit, not a crash. Each tag byte has one reader, in the table that :mod:`jobwire.sereal.readers` holds.

Facts: ``sereal_spec.pod`` (5.00) and the behaviour of Sereal::Decoder 5.003. More is read than Perl's encoder writes: a
bare HASH or ARRAY in place of a reference (other languages' encoders write those) is read as the reference to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from jobwire.errors import SerealDecodeError
from jobwire.limits import Limits
from jobwire.sereal import tags
from jobwire.sereal.strings import read_utf8
from jobwire.sereal.values import PerlObject, ScalarRef, StringPolicy, string_reader

__all__ = ["Body", "HookFrame", "ObjectHook", "Reader", "RefFrame", "Text"]

Text = str | bytes
ObjectHook = Callable[[PerlObject], object]
Reader = Callable[["Body", int], Any]


_PADS = re.compile(rb"[\x3f\xbf]*").match


class Body:
    """A body being read: the bytes, the place, the budget, and the items seen so far.

    An offset in the document plus ``base`` is an index into ``data``.
    """

    __slots__ = (
        "base", "classes", "data", "depth", "hook", "in_copy", "keys", "limits", "place", "policy", "pos", "pulled",
        "readers", "refs", "replaced", "room", "same", "stack", "start", "strings", "text", "values", "wide",
    )  # fmt: skip

    def __init__(
        self,
        data: bytes,
        readers: Sequence[Reader],
        *,
        start: int,
        base: int,
        strings: StringPolicy,
        limits: Limits,
        hook: ObjectHook | None = None,
    ) -> None:
        self.data = data
        self.start = self.pos = start
        self.base = base
        self.policy = strings
        self.text = string_reader(strings)
        self.limits = limits
        self.readers = readers
        self.hook = hook
        self.room = limits.max_items
        self.pulled = 0  # bytes read again through COPY
        self.depth = -1  # the root stands on the stack, too
        self.in_copy = False
        self.stack: list[Frame] = []
        self.keys: dict[bytes, Text] = {}
        self.strings: dict[int, Text] = {}  # by index: strings met through COPY are made once
        self.classes: dict[int, Text] = {}  # by index of the string's tag
        self.values: dict[int, object] = {}  # tracked items, by index
        self.refs: dict[int, object] = {}  # references to tracked items, by index of the item
        self.same: dict[int, int] = {}  # where a tracked ALIAS stands → the item it means
        self.replaced: dict[int, tuple[object, object]] = {}  # by id: objects that the hook replaced
        self.wide = False  # the string read last by string() was STR_UTF8
        self.place = -1  # index of the tracked referent that was read last, or −1

    def read(self) -> Any:
        """Read the value; ``pos`` then stands behind it. ``SerealDecodeError`` for anything malformed."""
        root = ScalarRef()
        stack = self.stack
        try:
            self.push(RefFrame(root))
            while stack:
                stack[-1].fill(self)
        except IndexError:
            raise self.error("the document ends early", at=len(self.data)) from None
        return root.value

    def error(self, reason: str, *, at: int | None = None, tag: int | None = None) -> SerealDecodeError:
        return SerealDecodeError(reason, offset=self.pos if at is None else at, raw=self.data, tag=tag)

    # -- frames ----------------------------------------------------------------------------------

    def push(self, frame: Frame) -> None:
        self.check_depth()
        self.depth += 1
        self.stack.append(frame)

    def check_depth(self) -> None:
        if self.depth >= self.limits.max_depth:
            raise self.error(f"nested deeper than {self.limits.max_depth} levels (max_depth)")

    def pop(self) -> None:
        self.depth -= 1
        self.stack.pop()

    def open_list(self, count: int) -> list[object]:
        items: list[object] = []
        if count:
            self.take(count, count)
            self.push(ListFrame(items, count))
        else:
            self.check_depth()
        return items

    def open_hash(self, count: int) -> dict[Text, object]:
        mapping: dict[Text, object] = {}
        if count:
            self.take(count, 2 * count)
            self.push(HashFrame(mapping, count))
        else:
            self.check_depth()
        return mapping

    def take(self, count: int, items: int) -> None:
        """Count ``items`` against the bytes that are left (each needs one) and against the limit."""
        if items > len(self.data) - self.pos:
            raise self.error(f"{count} elements announced, but too few bytes are left")
        self.room -= items
        if self.room < 0:
            raise self.error(f"more than {self.limits.max_items} items (max_items)")

    def begin_copy(self, tag: int) -> None:
        """Read an offset and go there; the frame pushed here brings us back."""
        if self.in_copy:
            raise self.error("COPY of something that holds a COPY", at=self.pos - 1, tag=tag)
        at = self.pos - 1
        target = self.offset(tag)
        self.stack.append(CopyFrame(at, self.pos, target))
        self.in_copy = True
        self.pos = target

    # -- parts -----------------------------------------------------------------------------------

    def varint(self) -> int:
        data = self.data
        at = pos = self.pos
        if data[pos] < 0x80:  # most are short
            self.pos = pos + 1
            return data[pos]
        value = shift = 0
        while True:
            byte = data[pos]
            pos += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise self.error("varint longer than 10 bytes", at=at)
        if value >> 64:
            raise self.error("varint beyond 64 bits", at=at)
        self.pos = pos
        return value

    def raw(self, length: int) -> bytes:
        start = self.pos
        stop = start + length
        if stop > len(self.data):
            raise self.error(f"{length} bytes announced, {len(self.data) - start} are left")
        self.pos = stop
        return self.data[start:stop]

    def offset(self, tag: int, upto: int | None = None) -> int:
        """Return the index of the item that the varint here points at: one before this tag, or up to ``upto``."""
        at = self.pos - 1
        target = self.varint() + self.base
        if not self.start <= target <= (at - 1 if upto is None else upto):
            raise self.error("offset that points outside of what was read", at=at, tag=tag)
        return target

    def skip_pad(self) -> int:
        """Return the next tag that is not PAD (track flag and all); ``pos`` then stands behind it."""
        data = self.data
        pos = self.pos
        if data[pos] & 0x7F == tags.PAD:
            pos = _PADS(data, pos).end()  # type: ignore[union-attr]  # it matches nothing, too
        self.pos = pos + 1
        return data[pos]

    def string(self, what: str) -> Text:
        """Read a string where only a string may stand: hash keys, class names, patterns."""
        at = self.pos
        tag = self.data[at] & 0x7F
        self.pos = at + 1
        if tag >= tags.SHORT_BINARY:
            raw = self.raw(tag - tags.SHORT_BINARY)
            known = self.keys.get(raw)
            return self.key(raw, at) if known is None else known
        if tag == tags.BINARY:
            return self.key(self.raw(self.varint()), at)
        if tag == tags.STR_UTF8:
            self.wide = True
            return self.utf8(self.raw(self.varint()), at)
        if tag in (tags.COPY, tags.ALIAS):  # Perl's encoder, told to alias strings, writes ALIAS even as a key
            return self.copied_string(tag, what)
        raise self.error(f"{tags.tag_name(tag)} where {what} (a string) must stand", at=at, tag=self.data[at])

    def copied_string(self, tag: int, what: str) -> Text:
        """Return the string that the COPY here points at; made once, however often it is copied."""
        at = self.pos - 1
        target = self.offset(tag)
        known = self.strings.get(target)
        if known is not None:
            self.wide = self.data[target] & 0x7F == tags.STR_UTF8
            return known
        back = self.pos
        self.pos = target
        if self.data[target] & 0x7F in (tags.COPY, tags.ALIAS):
            raise self.error("COPY of a COPY", at=at, tag=tag)
        value = self.strings[target] = self.string(what)
        if self.pos > at:
            raise self.error("COPY of a string that does not end before it", at=at, tag=tag)
        self.pos = back
        return value

    def key(self, raw: bytes, at: int) -> Text:
        value = self.keys[raw] = self.binary(raw, at)
        return value

    def binary(self, raw: bytes, at: int) -> Text:
        try:
            return self.text(raw)
        except UnicodeDecodeError as error:
            raise self.error(
                f"a string that is not UTF-8 ({error.reason}), read under the policy utf-8", at=at
            ) from None

    def utf8(self, raw: bytes, at: int) -> Text:
        try:
            return read_utf8(raw)
        except UnicodeDecodeError as error:
            raise self.error(
                f"a STR_UTF8 that is not UTF-8, not even Perl's: {error.reason}", at=at, tag=tags.STR_UTF8
            ) from None

    def reference(self, target: int, tag: int, at: int) -> object:
        """Return the value of a reference to the tracked item at ``target``."""
        face = self.refs.get(target)
        if face is None:
            face = self.refs[target] = ScalarRef(self.tracked(target, tag, at))
        return self.current(face)

    def tracked(self, target: int, tag: int, at: int) -> object:
        """Return the tracked item at ``target``; hash keys are not noted when they are read, but can be meant."""
        marked = self.data[target]
        if target not in self.values:
            plain = marked & 0x7F
            if not marked & tags.TRACK or not tags.is_string(plain):
                raise self.error(f"{tags.tag_name(tag)} of an item that was not tracked", at=at, tag=tag)
            back, self.pos = self.pos, target
            self.values[target] = self.string("a string")
            self.pos = back
        return self.current(self.values[target])

    def current(self, value: object) -> object:
        """Return ``value``, or its replacement by the application's hook."""
        return self.replaced[id(value)][1] if id(value) in self.replaced else value


# -- frames: one for each container that is open -------------------------------------------------
#
# A frame reads on until it is done (then it leaves the stack) or until a child stands on the stack; the loop in
# ``Body.read`` then goes on with the child. Nothing here calls itself.


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
        """Handle a key that is there already. Perl's ``"\\xc3\\xa9"`` and ``"\\x{e9}"`` are two keys that the policy
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
    """Bring the reader back to the place of a COPY, and account for the bytes read again."""

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
    """Hand a finished object to the application's hook and put the answer in its place."""

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
            self.put(body, answer)

    def put(self, body: Body, answer: object) -> None:
        """Put the answer in the place of the object, if it has one."""
        for frame in reversed(body.stack):
            if isinstance(frame, HookFrame):
                if frame.found is not self.found:  # blessed anew: under its first class it stands nowhere
                    return
                frame.found = None  # blessed again with the same class: one object, and one call
            elif not isinstance(frame, CopyFrame):
                frame.replace(answer)
                return

    def replace(self, _value: object) -> None:
        raise AssertionError("an object holds no child")
