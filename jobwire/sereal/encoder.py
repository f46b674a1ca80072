"""One Python value → one Sereal body, without recursion.

A container met twice is written once: the second time it is REFP to the first (shared and cyclic
data keep their identity). REFP needs ``REFN HASH``, not the shorter HASHREF_n, at the first place,
so that a body with shared containers is written twice: the first pass finds out which.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jobwire.errors import SerealEncodeError, printable
from jobwire.limits import DEFAULT_LIMITS, Limits
from jobwire.sereal import tags
from jobwire.sereal.header import write_varint
from jobwire.sereal.strings import write_utf8
from jobwire.sereal.values import REGEXP_CLASS, PerlObject, PerlRegexp, ScalarRef

__all__ = ["Style", "write_body"]

_FLOAT = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")
_DEDUPE_LONGER_THAN = 3  # Perl's encoder leaves shorter strings alone
_BOOLEAN_CLASS = "JSON::PP::Boolean"
REGEXP_FLAGS = frozenset("msixp")


@dataclass(frozen=True, slots=True)
class Style:
    """The options of ``dumps`` that concern the body."""

    version: int = 3
    canonical: bool = False
    share_keys: bool = True
    dedupe_strings: bool = False
    booleans: Literal["native", "json-pp"] = "native"
    default: Callable[[object], object] | None = None
    limits: Limits = DEFAULT_LIMITS

    @property
    def unusual(self) -> bool:
        """Whether the compiled code, where there is one, does not know this style."""
        return self.canonical or self.dedupe_strings or self.booleans != "native"


def write_body(value: object, style: Style, *, base: int) -> bytearray:
    """Encode the body; an offset in it is an index plus ``base``. ``SerealEncodeError`` for a value without a form."""
    first = Writer(style, base, frozenset(), {})
    first.write(value)
    if not first.shared:
        return first.out
    second = Writer(style, base, frozenset(first.shared), first.answers)
    second.write(value)
    return second.out


class Writer:
    """One pass. ``shared`` holds the ids of containers that a later place refers to."""

    def __init__(
        self, style: Style, base: int, known: frozenset[int], answers: dict[int, tuple[object, object]]
    ) -> None:
        self.style = style
        self.base = base
        self.known = known
        self.answers = answers  # values returned by `default`, by id; keeps both alive, so that no id comes twice
        self.out = bytearray()
        self.shared: set[int] = set()
        self.places: dict[int, int] = {}  # id of a container → index of its tag
        self.keys: dict[str | bytes, int] = {}
        self.strings: dict[str | bytes, int] = {}
        self.classes: dict[str | bytes, int] = {}
        self.truths: dict[bool, int] = {}
        self.stack: list[Iterator[object]] = []
        self.true = tags.YES if style.version >= 5 else tags.TRUE
        self.false = tags.NO if style.version >= 5 else tags.FALSE

    def write(self, value: object) -> None:
        writers = _WRITERS
        stack = self.stack
        stack.append(iter((value,)))
        while stack:
            depth = len(stack)
            for item in stack[-1]:
                writer = writers.get(type(item))
                if writer is None:
                    self.other(item)
                else:
                    writer(self, item)
                if len(stack) != depth:
                    break
            else:
                stack.pop()

    def push(self, children: Iterator[object]) -> None:
        if len(self.stack) > self.style.limits.max_depth:
            raise SerealEncodeError(f"nested deeper than {self.style.limits.max_depth} levels (max_depth)")
        self.stack.append(children)

    def number(self, tag: int, value: int) -> None:
        self.out.append(tag)
        if value < 0x80:
            self.out.append(value)
        else:
            self.out += write_varint(value)

    # -- scalars ---------------------------------------------------------------------------------

    def none(self, _value: None) -> None:
        self.out.append(tags.UNDEF)

    def boolean(self, value: bool) -> None:
        if self.style.booleans == "native":
            self.out.append(self.true if value else self.false)
            return
        at = self.truths.get(value)
        if at is not None:
            self.refer(at)
            return
        self.class_name(_BOOLEAN_CLASS, frozen=False)
        self.out.append(tags.REFN)
        self.truths[value] = len(self.out)
        self.out.append(int(value))

    def integer(self, value: int) -> None:
        if 0 <= value <= 15:
            self.out.append(value)
        elif value >= 0:
            if value >> 64:
                raise SerealEncodeError("an integer beyond 2**64-1: Perl has none; write it as a str")
            self.number(tags.VARINT, value)
        elif value >= -16:
            self.out.append(value + 32)
        elif value < -(2**63):
            raise SerealEncodeError("an integer beyond -2**63: Perl has none; write it as a str")
        else:
            self.number(tags.ZIGZAG, -2 * value - 1)

    def real(self, value: float) -> None:
        out = self.out
        try:
            short = _FLOAT.pack(value)
        except OverflowError:
            short = b""
        if short and _FLOAT.unpack(short)[0] == value:
            out.append(tags.FLOAT)
            out += short
        else:
            out.append(tags.DOUBLE)
            out += _DOUBLE.pack(value)

    def text(self, value: str) -> None:
        if self.style.dedupe_strings and self.seen_string(value):
            return
        self.plain_text(value)

    def plain_text(self, value: str) -> None:
        if value.isascii():
            self.plain_bytes(value.encode("ascii"))
        else:
            raw = write_utf8(value)
            self.number(tags.STR_UTF8, len(raw))
            self.out += raw

    def binary(self, value: bytes) -> None:
        if self.style.dedupe_strings and self.seen_string(value):
            return
        self.plain_bytes(value)

    def plain_bytes(self, value: bytes) -> None:
        length = len(value)
        if length <= tags.SHORT_LENGTH:
            self.out.append(tags.SHORT_BINARY + length)
        else:
            self.number(tags.BINARY, length)
        self.out += value

    def byte_array(self, value: bytearray | memoryview) -> None:
        self.binary(bytes(value))

    def seen_string(self, value: str | bytes) -> bool:
        """Write a COPY of ``value`` and return True, or note its place."""
        length = len(value) if isinstance(value, bytes) or value.isascii() else len(write_utf8(value))
        if length <= _DEDUPE_LONGER_THAN:
            return False
        at = self.strings.setdefault(value, len(self.out))
        if at == len(self.out):
            return False
        self.number(tags.COPY, at + self.base)
        return True

    def key(self, value: object) -> None:
        if not isinstance(value, (str, bytes)):
            raise SerealEncodeError(f"a hash key of type {type(value).__name__}: Perl's are strings, use str or bytes")
        if self.style.share_keys:
            at = self.keys.setdefault(value, len(self.out))
            if at != len(self.out):
                self.number(tags.COPY, at + self.base)
                return
        if isinstance(value, str):
            self.plain_text(value)
        else:
            self.plain_bytes(value)

    # -- containers and references -----------------------------------------------------------------

    def refer(self, at: int) -> None:
        self.number(tags.REFP, at + self.base)
        self.out[at] |= tags.TRACK  # at == here: a scalar that refers to itself

    def met(self, value: object) -> bool:
        """Write a reference to ``value`` and return True where it was written before."""
        at = self.places.get(id(value))
        if at is None:
            return False
        if id(value) not in self.known and not self.style.canonical:
            self.shared.add(id(value))  # the first pass: its place may be a HASHREF_n, and all is written again
        self.refer(at)
        return True

    def open(self, value: object, count: int, small: int, large: int) -> None:
        if count <= tags.SMALL_COUNT and not self.style.canonical and id(value) not in self.known:
            self.places[id(value)] = len(self.out)
            self.out.append(small + count)
        else:
            self.out.append(tags.REFN)
            self.places[id(value)] = len(self.out)
            self.number(large, count)

    def array(self, value: list[object] | tuple[object, ...]) -> None:
        if value != () and self.met(value):
            return
        self.open(value, len(value), tags.ARRAYREF, tags.ARRAY)
        self.push(iter(value))

    def mapping(self, value: Mapping[str | bytes, object]) -> None:
        if self.met(value):
            return
        self.open(value, len(value), tags.HASHREF, tags.HASH)
        self.push(self.pairs(value))

    def pairs(self, value: Mapping[str | bytes, object]) -> Iterator[object]:
        """Yield the values, each after its key was written."""
        pairs: Iterable[tuple[str | bytes, object]] = value.items()
        if len({type(key) for key in value}) > 1:
            refuse_twins(value)
        if self.style.canonical:
            pairs = sorted(pairs, key=lambda pair: key_bytes(pair[0]))
        for key, child in pairs:
            self.key(key)
            yield child

    def scalar_ref(self, value: ScalarRef) -> None:
        if self.met(value):
            return
        self.out.append(tags.REFN)
        if isinstance(value.value, bool) and self.true == tags.TRUE:
            # REFN TRUE is a reference to Perl's one immutable "true"; behind a PAD it is a scalar like any other.
            self.out.append(tags.PAD)
        self.places[id(value)] = len(self.out)  # the scalar referred to, of any type
        self.push(iter((value.value,)))

    def regexp(self, value: PerlRegexp) -> None:
        """Write it as Perl does: qr// is an object of the class Regexp, unless blessed into another."""
        if id(value) not in self.places:
            self.class_name(REGEXP_CLASS, frozen=False)
        self.plain_regexp(value)

    def plain_regexp(self, value: PerlRegexp) -> None:
        if self.met(value):
            return
        if not set(value.flags) <= REGEXP_FLAGS:
            raise SerealEncodeError(f"pattern flags {printable(value.flags)}: Perl's Sereal decoder knows m s i x p")
        self.out.append(tags.REFN)
        self.places[id(value)] = len(self.out)
        self.out.append(tags.REGEXP)
        if isinstance(value.pattern, str):
            self.plain_text(value.pattern)
        else:
            self.plain_bytes(value.pattern)
        self.plain_bytes(value.flags.encode("ascii"))

    def perl_object(self, value: PerlObject) -> None:
        inner = self.plain(value.value)
        writer = _REFERENTS.get(type(inner))
        if writer is None:
            raise SerealEncodeError(
                f"an object of {printable(value.class_name)} made of {type(inner).__name__}: "
                "an object is a dict, list, ScalarRef or PerlRegexp"
            )
        if value.frozen:
            self.check_frozen(inner)
        at = self.places.get(id(inner))
        if at is None or self.places.get(id(value)) != at:
            self.class_name(value.class_name, frozen=value.frozen)
        writer(self, inner)
        self.places[id(value)] = self.places[id(inner)]

    def check_frozen(self, inner: object) -> None:
        if self.style.version < 2:
            raise SerealEncodeError("frozen objects need version 2 or later")
        if not isinstance(inner, (list, tuple)):
            raise SerealEncodeError(f"a frozen object holds a list, not {type(inner).__name__}")

    def class_name(self, name: str | bytes, *, frozen: bool) -> None:
        if not name:
            raise SerealEncodeError("an object with an empty class name: Perl would bless it into main")
        at = self.classes.get(name)
        if at is not None:
            self.number(tags.OBJECTV_FREEZE if frozen else tags.OBJECTV, at + self.base)
            return
        self.out.append(tags.OBJECT_FREEZE if frozen else tags.OBJECT)
        self.classes[name] = len(self.out)
        if isinstance(name, str):
            self.plain_text(name)
        else:
            self.plain_bytes(name)

    # -- everything else ---------------------------------------------------------------------------

    def other(self, value: object) -> None:
        """Write a subclass of a type that Sereal knows, else the value that ``default`` returns."""
        plain = self.plain(value)
        writer = _WRITERS.get(type(plain))
        if writer is None:
            if self.style.default is None:
                raise SerealEncodeError(f"a value of type {type(value).__name__}: Sereal has no word for it")
            plain = self.plain(self.remember(value, self.style.default))
            writer = _WRITERS.get(type(plain))
        if writer is None:
            raise SerealEncodeError(
                f"default answered {type(plain).__name__} for {type(value).__name__}: Sereal has no word for it"
            )
        writer(self, plain)

    def plain(self, value: object) -> object:
        """Return ``value`` as one of the types with a writer, where it is a subclass of one."""
        if type(value) in _WRITERS:
            return value
        for kind, convert in _KINDS:
            if isinstance(value, kind):
                return self.remember(value, convert)
        return value

    def remember(self, value: object, convert: Callable[[Any], object]) -> object:
        """Return the result of ``convert`` for ``value``: called once, so that identity holds over both passes."""
        known = self.answers.get(id(value))
        if known is None:
            known = self.answers[id(value)] = (value, convert(value))
        return known[1]


_Write = Callable[[Writer, Any], None]

_REFERENTS: dict[type, _Write] = {
    dict: Writer.mapping,
    list: Writer.array,
    tuple: Writer.array,
    ScalarRef: Writer.scalar_ref,
    PerlRegexp: Writer.plain_regexp,
}
_WRITERS: dict[type, _Write] = {
    **_REFERENTS,
    PerlRegexp: Writer.regexp,
    type(None): Writer.none,
    bool: Writer.boolean,
    int: Writer.integer,
    float: Writer.real,
    str: Writer.text,
    bytes: Writer.binary,
    bytearray: Writer.byte_array,
    memoryview: Writer.byte_array,
    PerlObject: Writer.perl_object,
}
# An int or str of an Enum is written as its value, not by its __str__.
_KINDS: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (int, int.__int__),
    (float, float.__float__),
    (str, str.__str__),
    (bytes, bytes),
    (Mapping, dict),
    (list, list),
    (tuple, tuple),
)


# -- hash keys: one for Perl ----------------------------------------------------------------------


def key_bytes(key: object) -> bytes:
    if isinstance(key, bytes):
        return key
    return write_utf8(key) if isinstance(key, str) else b""


def refuse_twins(value: Mapping[str | bytes, object]) -> None:
    """``"a"`` and ``b"a"`` are two keys for Python and one for Perl."""
    seen: set[str] = set()
    for key in value:
        name = key.decode("latin-1") if isinstance(key, bytes) else key
        if name in seen:
            raise SerealEncodeError("two keys of one dict, str and bytes, that are one hash key in Perl")
        seen.add(name)
