"""Sereal documents, job hashes, results and values with the structure of real ones: nearly right, or wrong in it.

Mutated bytes seldom build a hash with a key twice whose first value a later REFP names; what is drawn here does, all
the time. The same seed, the same structures.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Documents", "Jobs", "Values"]

TRACK = 0x80
KEYS = (b"a", b"b", b"c", b"d", b"", b"e", b"k\xc3\xa9", b"f", b"k\xe9", b"x" * 31)
STRINGS = (*KEYS, b"0", b"1", b"JSON::PP::Boolean", b"\xff", b"\xed\xa0\x80", b"\xf0\x9f\x90\x98", b"y" * 40)
CLASSES = (b"JSON::PP::Boolean", b"JSON::PP::Boolean", b"Types::Serialiser::Boolean", b"Foo", b"Regexp", b"", b"\xff")
NUMBERS = (0, 1, 15, 16, 127, 128, 300, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**69)
ODD = (0x36, 0x37, 0x3C, 0x3D, 0x3E)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Documents:
    """Sereal documents of all versions: every container inside every other, references to anywhere."""

    def __init__(self, seed: int) -> None:
        self.seed = random.Random(seed)
        self.random = self.seed.random
        self.out = bytearray()
        self.base = 1
        self.left = 0
        self.places: list[int] = []
        self.tracked: list[int] = []
        self.texts: list[int] = []
        self.classes: list[int] = []
        self.offsets: list[int] = []

    def __iter__(self) -> Iterator[bytes]:
        """Without an end: each structure, then with other references, cut short, with other bytes."""
        while True:
            version = self.pick((1, 1, 2, 3, 3, 3, 4, 5, 5, 5, 6, 7))
            head = self.header(version)
            body = self.body(len(head) if version == 1 else 1)
            yield bytes(head + body)
            for _ in range(7):
                yield bytes(head + self.variant(body))

    def below(self, count: int) -> int:
        return int(self.random() * count)

    def pick(self, choices: Any) -> Any:
        return choices[int(self.random() * len(choices))]

    def header(self, version: int) -> bytearray:
        head = bytearray(b"=srl" if version < 3 else b"=\xf3rl")
        head.append(version)
        if version == 1 or self.random() < 0.9:
            head.append(0)
            return head
        user = self.body(1)
        return head + varint(len(user) + 1) + b"\x01" + user

    def variant(self, body: bytearray) -> bytearray:
        found, offsets, places = bytearray(body), self.offsets, self.places
        chance = self.random()
        if chance < 0.6 and offsets:
            at = self.pick(offsets)
            if found[at] < 0x80:
                choices = self.pick((self.tracked, self.tracked, places)) or places
                target = self.pick(choices) if self.random() < 0.9 else self.below(len(body) + 3)
                found[at] = (target + self.base) & 0x7F
        elif chance < 0.85 and places:
            found[self.pick(places)] ^= TRACK
        elif chance < 0.93:
            del found[self.below(len(found) + 1) :]
        else:
            found[self.below(len(found))] = self.below(256)
        return found

    def body(self, base: int) -> bytearray:
        self.out, self.base, self.left = bytearray(), base, 3 + self.below(22)
        self.places, self.tracked, self.texts, self.classes, self.offsets = [], [], [], [], []
        self.value()
        return self.out

    # -- parts

    def tag(self, plain: int, often: float = 0.15) -> None:
        at = len(self.out)
        self.places.append(at)
        if self.random() < often:
            self.tracked.append(at)
            plain |= TRACK
        self.out.append(plain)

    def offset(self, meant: list[int]) -> None:
        chance = self.random()
        if chance < 0.9 and meant:
            target = self.pick(meant)
        elif chance < 0.98 and self.places:
            target = self.pick(self.places)
        else:
            target = self.pick((0, 1, len(self.out), len(self.out) - 1, 2**31, 2**63, 2**64 - 2))
        self.offsets.append(len(self.out))
        self.out += varint(target + self.base)

    def length(self, count: int) -> bytes:
        """``count``, now and then another one."""
        chance = self.random()
        if chance < 0.99:
            return varint(count)
        return varint(max(0, count + self.below(5) - 2) if chance < 0.997 else self.pick(NUMBERS))

    def value(self) -> None:
        self.left -= 1
        kinds = _KINDS if self.left > 0 else _LEAVES
        kinds[int(self.random() * len(kinds))](self)

    # -- leaves

    def small(self) -> None:
        self.tag(self.below(0x20))

    def varint(self) -> None:
        self.tag(0x20 + self.below(2))
        self.out += varint(self.pick(NUMBERS))

    def real(self) -> None:
        if self.random() < 0.5:
            self.tag(0x22)
            self.out += struct.pack("<f", self.pick((0.0, -0.0, 1.5, float("inf"), float("nan"))))
        elif self.random() < 0.8:
            self.tag(0x23)
            self.out += struct.pack("<d", self.pick((0.1, -1e300, float("-inf"), float("nan"))))
        else:
            self.tag(self.pick((0x24, 0x38)))
            self.out += self.seed.randbytes(16)

    def constant(self) -> None:
        self.tag(self.pick((0x25, 0x39, 0x3A, 0x3B, 0x34, 0x35)))

    def key(self, text: bytes) -> None:
        self.texts.append(len(self.out))
        self.tag(0x60 + len(text), 0.05)
        self.out += text

    def string(self, choices: tuple[bytes, ...] = STRINGS) -> None:
        text = self.pick(choices)
        self.texts.append(len(self.out))
        chance = self.random()
        if chance < 0.8 and len(text) < 32:
            self.tag(0x60 + len(text), 0.05)
        else:
            self.tag(0x26 if chance < 0.9 else 0x27, 0.05)
            self.out += self.length(len(text))
        self.out += text

    def odd(self) -> None:
        self.tag(self.pick(ODD))

    # -- containers

    def items(self, count: int) -> None:
        for _ in range(count):
            self.value()

    def pairs(self, count: int) -> None:
        first = self.below(len(KEYS))
        mark = len(self.tracked)
        twice = False
        for number in range(count):
            chance = self.random()
            if chance < 0.87:
                self.key(KEYS[(first + number) % len(KEYS)])
            elif chance < 0.94:
                twice = number > 0
                self.key(KEYS[(first + self.below(number or 1)) % len(KEYS)])
            elif chance < 0.99:
                self.tag(0x2F if chance < 0.97 else 0x2E)
                self.offset(self.texts)
            else:
                self.value()
            if twice and self.tracked[mark:] and self.random() < 0.5:
                self.tag(0x29, 0)  # what the hash has let go of, perhaps
                self.offset(self.tracked[mark:])
            else:
                self.value()

    def count(self) -> int:
        return self.below(5) if self.random() < 0.97 else self.below(40)

    def short(self) -> None:
        """ARRAYREF_n, HASHREF_n."""
        count = min(self.count(), 15)
        is_hash = self.random() < 0.5
        self.tag((0x50 if is_hash else 0x40) + count, 0.03)
        (self.pairs if is_hash else self.items)(count)

    def bare(self) -> None:
        """ARRAY, HASH: mostly behind a REFN."""
        count = self.count()
        is_hash = self.random() < 0.6
        self.tag(0x2A if is_hash else 0x2B, 0.6)
        self.out += self.length(count)
        (self.pairs if is_hash else self.items)(count)

    def long(self) -> None:
        self.tag(0x28, 0.05)
        self.bare()

    def refn(self) -> None:
        self.tag(0x28)
        self.value()

    def refp(self) -> None:
        if not self.tracked and self.random() < 0.95:
            return self.small()
        self.tag(0x29, 0.02)
        return self.offset(self.tracked)

    def alias(self) -> None:
        if not self.tracked and self.random() < 0.95:
            return self.small()
        self.tag(0x2E)
        return self.offset(self.tracked)

    def copy(self) -> None:
        if not self.texts and self.random() < 0.95:
            return self.small()
        self.tag(0x2F, 0.05)
        return self.offset(self.texts if self.random() < 0.9 else self.places)

    def weaken(self) -> None:
        self.tag(0x30)
        self.value()

    def pad(self) -> None:
        for _ in range(1 + self.below(3)):
            self.tag(0x3F, 0.02)
        self.value()

    def regexp(self) -> None:
        self.tag(0x28)
        self.tag(0x31, 0.3)
        self.string()
        self.string((b"", b"i", b"msix", b"\xff", b"?"))

    def named(self) -> None:
        """OBJECT, OBJECTV and their frozen kinds, up to the class."""
        if self.classes and self.random() < 0.6:
            self.tag(0x2D if self.random() < 0.85 else 0x33, 0.03)
            self.offset(self.classes)
            return
        self.tag(0x2C if self.random() < 0.85 else 0x32, 0.03)
        self.classes.append(len(self.out))
        if self.random() < 0.95:
            self.string(CLASSES)
        else:
            self.tag(0x2F)
            self.offset(self.classes)

    def object(self) -> None:
        self.named()
        self.value()

    def boolean(self) -> None:
        self.named()
        self.tag(0x28, 0.05)
        if self.random() < 0.8:
            self.tag(self.below(2), 0.4)
        else:
            self.value()


_LEAVES: tuple[Callable[[Documents], None], ...] = (
    *[Documents.small] * 4, Documents.varint, Documents.real, *[Documents.constant] * 2, *[Documents.string] * 4,
    *[Documents.refp] * 5, Documents.alias, *[Documents.copy] * 2,
)  # fmt: skip
_KINDS: tuple[Callable[[Documents], None], ...] = (
    *_LEAVES, *[Documents.short] * 6, *[Documents.long] * 16, Documents.bare, *[Documents.refn] * 2, Documents.weaken,
    Documents.pad, Documents.regexp, *[Documents.object] * 2, *[Documents.boolean] * 2, Documents.odd,
)  # fmt: skip


class Word(str):
    """A subclass of what the codecs know."""

    __slots__ = ()


class Values:
    """Python values: shared, within themselves, with keys of every kind, deep."""

    LEAVES: tuple[Any, ...] = (
        "", "text", "é", "\ud800", "x" * 40, b"", b"\xff", b"y" * 40, 0, 1, -1, 16, -17, 2**63, -(2**63), 2**64,
        -(2**63) - 1, 1.5, 0.1, 1e300, float("nan"), -0.0, float("inf"), True, False, None, Word("w"), object,
    )  # fmt: skip

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.met: list[Any] = []
        self.left = 0
        self.cyclic = True

    def value(self, *, cyclic: bool = True) -> Any:
        self.cyclic = cyclic
        self.met, self.left = [], 1 + self.random.randrange(30)
        found = self.one()
        if self.random.random() < 0.02:
            for _ in range(self.random.choice([5, 400, 600, 1100])):
                found = [found] if self.random.random() < 0.9 else {"k": found}
        return found

    def one(self) -> Any:
        self.left -= 1
        chance = self.random.random()
        if self.left <= 0 or chance < 0.4:
            return self.leaf()
        if chance < 0.5 and self.met:
            return self.random.choice(self.met)
        if chance < 0.53:
            return tuple(self.one() for _ in range(self.random.randrange(4)))
        made: Any = [] if chance < 0.75 else {}
        shared = self.random.random() < 0.5
        if shared and self.cyclic:
            self.met.append(made)  # before it is filled: it may stand within itself
        for _ in range(self.random.choice([0, 1, 2, 3, 4, 15, 16])):
            if isinstance(made, list):
                made.append(self.one())
            else:
                made[self.key()] = self.one()
        if shared and not self.cyclic:
            self.met.append(made)
        return made

    def key(self) -> Any:
        return self.random.choice(["a", "b", "c", "", "é", "\ud800", "long" * 10, b"a", b"\xff", 1]) if (
            self.random.random() < 0.2
        ) else self.random.choice("abcdefgh")  # fmt: skip

    def leaf(self) -> Any:
        return self.random.choice(self.LEAVES)


class Jobs:
    """Job hashes as HGETALL answers them, results, and answers that no server should give."""

    NAMES = (
        b"_reply_to", b"_reply_to", b"_queued", b"_started", b"_processed", b"result", b"_accept", b"_expires", b"_x",
        b"text_a", b"text_a", b"text_b", b"text_", b"text_\xc3\xa9", b"text_\xff", b"json_a", b"sereal_a",
        b"Other", b"",
    )  # fmt: skip
    TEXTS = (b"c", b"", b"\xff", b"\xc3\xa9", b"1795434940.5", b"nan", b"1_0", b" 7 ", b"-inf", b"E,V", b"x" * 300)

    RESULTS = (
        b"", b"text", b"\xff", b"0", b"-0", b"007", b"-7", b"9" * 18, b"9" * 19, b"1e5", b"null", b"true", b"[1]",
        b'"x"', b'{"type":"A","message":"m"}', b"-", b"--1", b"1\x00",
    )  # fmt: skip

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.documents = iter(Documents(seed))
        self.number = 0

    def reply(self) -> Any:
        rand = self.random
        chance = rand.random()
        if chance < 0.03:
            return rand.choice([None, 7, b"text", [], [None], {}, (b"_reply_to", b"c")])
        flat: list[Any] = [b"_reply_to", b"c"] if rand.random() < 0.8 else []
        for _ in range(rand.randrange(7)):
            name = rand.choice(self.NAMES)
            if rand.random() < 0.05:  # one never met before
                self.number += 1
                name = rand.choice((b"text_n", b"_n", b"n")) + b"%d" % self.number
            flat += [name, self.content(name)]
        if chance < 0.08 and flat:
            flat[rand.randrange(len(flat))] = rand.choice([None, 5, [], bytearray(b"x"), "text"])
        if chance > 0.97 and flat:
            flat.pop()
        return flat

    def content(self, name: bytes) -> bytes:
        if name.startswith(b"sereal_"):
            return next(self.documents)
        if name.startswith(b"json_"):
            return self.random.choice([b"[1]", b'{"a":{"b":[]}}', b"{", b"null", b'{"a":1,"a":2}'])
        return self.random.choice(self.TEXTS)

    def result(self) -> bytes:
        rand = self.random
        rest: bytes = rand.choice(self.RESULTS)
        return rand.choice([b"T", b"V", b"J", b"S", b"E", b"", b"X", b"\x00"]) + (
            next(self.documents) if rand.random() < 0.1 else rest
        )
