"""Mutated documents, and what must be true of each: the one exception or a value, soon, alike on both codes.

The ordinary tests run a few thousand; a long run is a command (docs/SEREAL.md has the totals):

    python tests/sereal/sereal_fuzz.py --count 1000000
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from jobwire import fast
from jobwire.sereal import Limits, PerlObject, SerealDecodeError, dumps, loads
from tests.support.sereal_nodes import describe

VECTORS = Path(__file__).parents[1] / "sereal" / "vectors.json"
LIMITS = Limits(max_bytes=1 << 20, max_inflated=1 << 20, max_depth=100, max_items=100_000)
POLICIES = ["auto", "exact", "latin-1", "utf-8", "bytes"]
SLOW = 2.0
INTERESTING = [0x00, 0x01, 0x0F, 0x1F, 0x7F, 0x80, 0xFF, *range(0x20, 0x40), 0x40, 0x41, 0x4F, 0x50, 0x51, 0x60, 0x61]
LENGTHS = [b"\x00", b"\x01", b"\x7f", b"\x80\x01", b"\xff\xff\x03", b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01"]


def seeds() -> list[bytes]:
    """The documents recorded from Perl, and some that only others would write."""
    recorded = [bytes.fromhex(vector["document"]) for vector in json.loads(VECTORS.read_text())["vectors"]]
    objects = [PerlObject("Foo", {"a": [1, True]}), PerlObject("Foo", [])]
    ours = [
        dumps(objects, version=version, booleans="json-pp", header={"h": 1} if version > 1 else None)
        for version in range(1, 6)
    ]
    bodies = [b"\x2a\x01\x61a\x2b\x01\x02", b"\x42\x42\x01\x62hi\x2f\x02", b"\x24" + bytes(16), b"\x38" + bytes(16)]
    return (
        [document for document in recorded if len(document) < 2000]
        + ours
        + [b"=\xf3rl\x05\x00" + body for body in bodies]
    )


class Mutator:
    """Changes documents as a careless or hostile writer would; the same ``seed``, the same documents."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.seeds = seeds()

    def document(self) -> bytes:
        random = self.random
        found = bytearray(random.choice(self.seeds))
        for _ in range(random.choice([1, 1, 1, 2, 3, 6])):
            # Mostly the body: a broken header says the same thing each time.
            at = random.randrange(6 if len(found) > 6 and random.random() < 0.97 else 0, len(found) + 1)
            random.choice(self.CHANGES)(self, found, at)
        return bytes(found)

    def flip(self, found: bytearray, at: int) -> None:
        if at < len(found):
            found[at] ^= 1 << self.random.randrange(8)

    def tag(self, found: bytearray, at: int) -> None:
        if at < len(found):
            found[at] = self.random.choice(INTERESTING) | self.random.choice([0, 0, 0, 0x80])

    def insert(self, found: bytearray, at: int) -> None:
        found[at:at] = bytes([self.random.choice(INTERESTING)]) * self.random.choice([1, 1, 2, 40])

    def length(self, found: bytearray, at: int) -> None:
        found[at : at + self.random.randrange(3)] = self.random.choice(LENGTHS)

    def offset(self, found: bytearray, at: int) -> None:
        tag = self.random.choice([0x29, 0x2D, 0x2E, 0x2F])
        found[at : at + self.random.randrange(3)] = bytes([tag, self.random.randrange(min(127, len(found)) + 1)])

    def cut(self, found: bytearray, at: int) -> None:
        del found[at : at + self.random.choice([1, 1, 2, 5, 10_000])]

    def splice(self, found: bytearray, at: int) -> None:
        other = self.random.choice(self.seeds)
        start = self.random.randrange(len(other))
        found[at:at] = other[start : start + self.random.choice([1, 4, 16, 64])]

    def repeat(self, found: bytearray, at: int) -> None:
        piece = bytes(found[at : at + self.random.choice([1, 2, 4, 8, 32])])
        found[at:at] = piece * self.random.choice([1, 2, 10, 50])

    CHANGES = (flip, flip, tag, tag, insert, length, offset, offset, cut, splice, repeat)


def outcome(document: bytes, policy: Any) -> tuple[str, object]:
    """What became of it: a value, described, or the error. Anything else escapes."""
    error: SerealDecodeError | None = None
    try:
        value, header = loads(document, strings=policy, limits=LIMITS, with_header=True)
    except SerealDecodeError as caught:
        error = caught
    if error is not None:
        assert error.offset is not None
        assert error.raw is not None
        assert 0 <= error.offset <= len(error.raw), error
        return "refused", (str(error), error.offset, error.tag)
    return "read", json.dumps([describe(value), describe(header)])


def check(document: bytes, policy: Any) -> str:
    """Read ``document`` by all the code there is; ``refused`` or ``read``."""
    begun = time.process_time()
    fast.turn_off()
    try:
        plain = outcome(document, policy)
    finally:
        fast.turn_on()
    if fast.available("sereal"):
        assert outcome(document, policy) == plain, f"compiled and plain Python differ on {document.hex()}"
    took = time.process_time() - begun
    assert took < SLOW, f"{took:.1f} s for {document.hex()}"
    return plain[0]


def run(count: int, seed: int) -> Counter[str]:
    mutator = Mutator(seed)
    totals: Counter[str] = Counter()
    for number in range(count):
        document = mutator.document()
        try:
            totals[check(document, POLICIES[number % len(POLICIES)])] += 1
        except BaseException:
            print(f"seed {seed}, number {number}: {document.hex()}", file=sys.stderr)
            raise
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun = time.monotonic()
    totals = run(options.count, options.seed)
    print(f"{options.count} documents, seed {options.seed}, {time.monotonic() - begun:.0f} s: {dict(totals)}")
    print(f"compiled code {'compared with plain Python' if fast.available('sereal') else 'not built'}")


if __name__ == "__main__":
    main()
