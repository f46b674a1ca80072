"""One Sereal body → one Python value, without recursion: the loop, its frames, and a reader for each tag.

A container is created, registered and handed to its parent *before* its contents are read, so that a later REFP or
ALIAS (a shared or cyclic structure) finds the very same object. Open containers stand on a stack of frames; depth is
therefore a limit, not a crash. Each tag byte has one reader, in a table of 256.

Facts: ``sereal_spec.pod`` (5.00) and the behaviour of Sereal::Decoder 5.003. More is read than Perl's encoder writes: a
bare HASH or ARRAY in place of a reference (other languages' encoders write those) is read as the reference to it.
"""

# ruff: noqa: ARG001 - every reader has the signature of the table

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any, Protocol

from jobwire.errors import SerealDecodeError
from jobwire.limits import Limits
from jobwire.sereal import tags
from jobwire.sereal.floats import read_float_128, read_long_double
from jobwire.sereal.strings import read_utf8
from jobwire.sereal.values import REGEXP_CLASS, PerlObject, PerlRegexp, ScalarRef, StringPolicy, string_reader

__all__ = ["BOOLEAN_CLASSES", "Body", "ObjectHook"]

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
        self.readers = READERS
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


# -- readers -------------------------------------------------------------------------------------

BOOLEAN_CLASSES = frozenset({"JSON::PP::Boolean", "Types::Serialiser::Boolean", "JSON::XS::Boolean"})
"""Classes whose objects are references to 0 or 1 and mean false or true."""

_READ_NAME = string_reader("auto")
_FLOAT = struct.Struct("<f").unpack_from
_DOUBLE = struct.Struct("<d").unpack_from


# -- scalars -------------------------------------------------------------------------------------


def _small_positive(body: Body, tag: int) -> int:
    return tag


def _small_negative(body: Body, tag: int) -> int:
    return tag - 32


def _varint(body: Body, tag: int) -> int:
    return body.varint()


def _zigzag(body: Body, tag: int) -> int:
    number = body.varint()
    return (number >> 1) ^ -(number & 1)


def _float(body: Body, tag: int) -> Any:
    return _FLOAT(body.raw(4))[0]


def _double(body: Body, tag: int) -> Any:
    return _DOUBLE(body.raw(8))[0]


def _long_double(body: Body, tag: int) -> float:
    return read_long_double(body.raw(16))


def _float_128(body: Body, tag: int) -> float:
    return read_float_128(body.raw(16))


def _undef(body: Body, tag: int) -> None:
    return None


def _true(body: Body, tag: int) -> bool:
    return True


def _false(body: Body, tag: int) -> bool:
    return False


def _short_binary(body: Body, tag: int) -> Text:
    start = body.pos
    raw = body.raw(tag - tags.SHORT_BINARY)
    try:
        return body.text(raw)
    except UnicodeDecodeError:
        return body.binary(raw, start)  # which says where


def _binary(body: Body, tag: int) -> Text:
    start = body.pos
    return body.binary(body.raw(body.varint()), start)


def _str_utf8(body: Body, tag: int) -> Text:
    start = body.pos
    return body.utf8(body.raw(body.varint()), start)


# -- containers and references ---------------------------------------------------------------------


def _arrayref(body: Body, tag: int) -> list[object]:
    return body.open_list(tag - tags.ARRAYREF)


def _hashref(body: Body, tag: int) -> dict[Text, object]:
    return body.open_hash(tag - tags.HASHREF)


def _array(body: Body, tag: int) -> list[object]:
    """Read an ARRAY itself, no reference: Perl writes it behind REFN alone."""
    return body.open_list(body.varint())


def _hash(body: Body, tag: int) -> dict[Text, object]:
    return body.open_hash(body.varint())


def _text(name: Text) -> Text:
    """Class names and flags are text under every string policy, where they can be."""
    return _READ_NAME(name) if isinstance(name, bytes) else name


def _regexp(body: Body, tag: int) -> PerlRegexp:
    pattern = body.string("a pattern")
    at = body.pos
    flags = _text(body.string("pattern flags"))
    if not isinstance(flags, str) or not (flags == "" or (flags.isascii() and flags.isalpha() and flags.islower())):
        raise body.error("pattern flags that are not letters", at=at, tag=tag)
    return PerlRegexp(pattern, flags)


_REFERENTS: dict[int, Reader] = {tags.ARRAY: _array, tags.HASH: _hash, tags.REGEXP: _regexp}


def _refn(body: Body, tag: int) -> object:
    """Read a reference; its form in Python depends on the next tag. Never waits for the contents."""
    following = body.skip_pad()
    place = body.pos - 1
    if following & 0x7F == tags.ALIAS:
        face = _refp(body, tags.ALIAS)
        if following & tags.TRACK:
            body.same[place] = body.place
        return face
    tracked = following & tags.TRACK and not body.in_copy
    if following & 0x7F == tags.COPY:
        following = _through_copy(body, following)
    plain = following & 0x7F
    if plain in _REFERENTS:
        face = _REFERENTS[plain](body, plain)
    else:
        body.pos = place
        face = ref = ScalarRef()
        body.push(RefFrame(ref))
    if tracked:
        body.refs[place] = face
    body.place = place
    return face


def _through_copy(body: Body, tag: int) -> int:
    """Follow a COPY of something that is referred to as itself (a hash, say); leave others where they are."""
    start = body.pos
    target = body.offset(tag)
    body.pos = start
    if body.data[target] & 0x7F not in _REFERENTS:
        return tag
    body.begin_copy(tag)
    body.pos = target + 1
    return body.data[target]


def _refp(body: Body, tag: int) -> object:
    at = body.pos - 1
    place = body.offset(tag, upto=at)
    place = body.place = body.same.get(place, place)
    if place == at and body.data[at] & tags.TRACK and at not in body.refs:  # a scalar that holds a reference to itself
        ref = body.refs[at] = ScalarRef()
        ref.value = ref
        return ref
    return body.reference(place, tag, at)


def _alias(body: Body, tag: int) -> object:
    at = body.pos - 1
    target = body.offset(tag)
    target = body.place = body.same.get(target, target)
    return body.tracked(target, tag, at)


def _weaken(body: Body, tag: int) -> object:
    """Read a weak reference as an ordinary one: Python's references are all strong."""
    at = body.pos
    following = body.skip_pad()
    if following & 0x7F not in _WEAKENABLE:
        raise body.error("WEAKEN of something that is no reference", at=at, tag=following)
    return body.readers[following](body, following)


def _copy(body: Body, tag: int) -> object:
    """Read a COPY: a string at once (made only once), anything else in a frame that comes back here."""
    at, start = body.pos - 1, body.pos
    target = body.offset(tag)
    if tags.is_string(body.data[target] & 0x7F):
        body.pos = start
        if body.in_copy:
            raise body.error("COPY of something that holds a COPY", at=at, tag=tag)
        return body.copied_string(tag, "a string")
    body.pos = start
    body.begin_copy(tag)
    following = body.data[target]
    body.pos = target + 1
    return body.readers[following](body, following)


# -- objects -------------------------------------------------------------------------------------


def _object(body: Body, tag: int) -> object:
    place = body.pos
    if body.data[place] & 0x7F == tags.COPY:
        body.pos = place + 1
        target = body.offset(tags.COPY)
        body.pos = place
        place = target
    name = body.classes[place] = _text(body.string("a class name"))
    return _blessed(body, tag, name)


def _objectv(body: Body, tag: int) -> object:
    at = body.pos - 1
    place = body.offset(tag)
    name = body.classes.get(place)
    if name is None:
        raise body.error("offset of a class name where none was used", at=at, tag=tag)
    return _blessed(body, tag, name)


def _blessed(body: Body, tag: int, name: Text) -> object:
    frozen = tag in (tags.OBJECT_FREEZE, tags.OBJECTV_FREEZE)
    if name in BOOLEAN_CLASSES and not frozen:
        answer = _boolean(body)
        if answer is not None:
            return answer
    hooked = HookFrame() if body.hook is not None else None
    if hooked is not None:
        body.stack.append(hooked)
    face, place = _bless_target(body)
    found = _object_of(body, tag, name, face, frozen)
    if isinstance(found, PerlObject):
        if place in body.refs and not body.in_copy:
            body.refs[place] = found
        if hooked is not None:
            hooked.found = found
    return found


def _object_of(body: Body, tag: int, name: Text, face: object, frozen: bool) -> object:
    """Return the object of class ``name`` that the reference ``face`` becomes: often new, sometimes known."""
    if isinstance(face, PerlObject):
        if (face.class_name, face.frozen) == (name, frozen):
            return face
        face = face.value
    if isinstance(face, bool) and name in BOOLEAN_CLASSES:
        return face
    if isinstance(face, PerlRegexp) and name == REGEXP_CLASS:
        return face
    if frozen and not isinstance(face, list):
        raise body.error("frozen object that is no list", tag=tag)
    if not isinstance(face, (dict, list, ScalarRef, PerlRegexp)):
        raise body.error("blessed value that is no plain reference", tag=tag)
    return PerlObject(name, face, frozen)


def _bless_target(body: Body) -> tuple[object, int]:
    """Return the reference behind a class name, and the index of its referent where that can be referred to."""
    at = body.pos
    following = body.skip_pad()
    if following & 0x7F not in _BLESSABLE:
        raise body.error("class name without a reference behind it", at=at, tag=following)
    body.place = -1
    face = body.readers[following](body, following)
    return face, body.place


def _boolean(body: Body) -> bool | None:
    """Read the truth value of ``REFN <scalar>``; None (and nothing read) where something else stands here."""
    start = body.pos
    outer = body.skip_pad()
    outer_at = body.pos - 1
    if outer & 0x7F == tags.REFN:
        inner = body.skip_pad()
        inner_at = body.pos - 1
        plain = inner & 0x7F
        if plain in _SCALAR_TAGS or plain >= tags.SHORT_BINARY:
            value = body.readers[plain](body, plain)
            answer = value not in (None, 0, "", "0", b"", b"0")
            if inner & tags.TRACK and not body.in_copy:
                body.values[inner_at] = value
                body.refs[inner_at] = answer
            if outer & tags.TRACK and not body.in_copy:
                body.values[outer_at] = answer
            return answer
    body.pos = start
    return None


# -- the rest ------------------------------------------------------------------------------------


def _tracked(body: Body, tag: int) -> object:
    """Remember the item; when it is read again through COPY, the first one stays the one referred to."""
    at = body.pos - 1
    plain = tag & 0x7F
    if body.in_copy:
        return body.readers[plain](body, plain)
    value = body.values[at] = body.readers[plain](body, plain)
    if plain in _REFERENTS:
        body.refs[at] = value
    elif plain == tags.ALIAS:
        body.same[at] = body.place
    return value


def _pad(body: Body, tag: int) -> object:
    following = body.skip_pad()
    return body.readers[following](body, following)


def _refused(body: Body, tag: int) -> object:
    raise body.error(f"{tags.tag_name(tag)} is no tag that a document may hold here", at=body.pos - 1, tag=tag)


_SCALAR_TAGS = frozenset(
    {*range(0x20), tags.VARINT, tags.ZIGZAG, tags.FLOAT, tags.DOUBLE, tags.UNDEF, tags.BINARY, tags.STR_UTF8}
    | {tags.CANONICAL_UNDEF, tags.TRUE, tags.FALSE, tags.YES, tags.NO}
)
# Neither set lets a tag stand behind itself: nothing here may recurse.
_BLESSABLE = frozenset({tags.REFN, tags.REFP, tags.COPY, *range(tags.ARRAYREF, tags.SHORT_BINARY)})
_WEAKENABLE = _BLESSABLE | {tags.OBJECT, tags.OBJECTV, tags.OBJECT_FREEZE, tags.OBJECTV_FREEZE}


def _table() -> list[Reader]:
    table: list[Reader] = [_refused] * 128
    table[0x00:0x10] = [_small_positive] * 16
    table[0x10:0x20] = [_small_negative] * 16
    table[0x40:0x50] = [_arrayref] * 16
    table[0x50:0x60] = [_hashref] * 16
    table[0x60:0x80] = [_short_binary] * 32
    single: dict[int, Reader] = {
        tags.VARINT: _varint,
        tags.ZIGZAG: _zigzag,
        tags.FLOAT: _float,
        tags.DOUBLE: _double,
        tags.LONG_DOUBLE: _long_double,
        tags.FLOAT_128: _float_128,
        tags.UNDEF: _undef,
        tags.CANONICAL_UNDEF: _undef,
        tags.BINARY: _binary,
        tags.STR_UTF8: _str_utf8,
        tags.REFN: _refn,
        tags.REFP: _refp,
        tags.HASH: _hash,
        tags.ARRAY: _array,
        tags.OBJECT: _object,
        tags.OBJECTV: _objectv,
        tags.OBJECT_FREEZE: _object,
        tags.OBJECTV_FREEZE: _objectv,
        tags.ALIAS: _alias,
        tags.COPY: _copy,
        tags.WEAKEN: _weaken,
        tags.REGEXP: _regexp,
        tags.TRUE: _true,
        tags.FALSE: _false,
        tags.YES: _true,
        tags.NO: _false,
        tags.PAD: _pad,
    }
    for tag, reader in single.items():
        table[tag] = reader
    return table + [_tracked] * 128


READERS = _table()
