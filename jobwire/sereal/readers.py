"""The reader of each Sereal tag: a table of 256, by which :class:`~jobwire.sereal.decoder.Body` reads.

Facts: ``sereal_spec.pod`` (5.00) and the behaviour of Sereal::Decoder 5.003.
"""

# ruff: noqa: ARG001 - every reader has the signature of the table

from __future__ import annotations

import struct
from typing import Any

from jobwire.sereal import tags
from jobwire.sereal.decoder import Body, HookFrame, Reader, RefFrame, Text
from jobwire.sereal.floats import read_float_128, read_long_double
from jobwire.sereal.values import REGEXP_CLASS, PerlObject, PerlRegexp, ScalarRef, string_reader

__all__ = ["BOOLEAN_CLASSES", "READERS"]

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
