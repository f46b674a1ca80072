"""The tags of Sereal's specification (version 5.00), and the shape of a document's header.

Source: Sereal/Sereal, ``sereal_spec.pod``. The high bit of a tag is the track flag.
"""

from __future__ import annotations

TRACK = 0x80

POS_LAST = 0x0F
NEG_FIRST = 0x10
NEG_LAST = 0x1F
VARINT = 0x20
ZIGZAG = 0x21
FLOAT = 0x22
DOUBLE = 0x23
LONG_DOUBLE = 0x24
UNDEF = 0x25
BINARY = 0x26
STR_UTF8 = 0x27
REFN = 0x28
REFP = 0x29
HASH = 0x2A
ARRAY = 0x2B
OBJECT = 0x2C
OBJECTV = 0x2D
ALIAS = 0x2E
COPY = 0x2F
WEAKEN = 0x30
REGEXP = 0x31
OBJECT_FREEZE = 0x32
OBJECTV_FREEZE = 0x33
NO = 0x34
YES = 0x35
FLOAT_128 = 0x38
CANONICAL_UNDEF = 0x39
FALSE = 0x3A
TRUE = 0x3B
MANY = 0x3C
PACKET_START = 0x3D
EXTEND = 0x3E
PAD = 0x3F
ARRAYREF = 0x40
HASHREF = 0x50
SHORT_BINARY = 0x60

SMALL_COUNT = 15
"""The highest count that ARRAYREF_n and HASHREF_n can say."""
SHORT_LENGTH = 31
"""The longest string that SHORT_BINARY_n can say, in bytes."""

MAGIC = b"=srl"
"""First bytes of versions 1 and 2."""
MAGIC_HIGH = b"=\xf3rl"
"""First bytes of version 3 and later: not UTF-8, so that a wrongly encoded document shows."""
MAGIC_AS_UTF8 = b"=\xc3\xb3rl"

RAW = 0
SNAPPY_OLD = 1
SNAPPY = 2
ZLIB = 3
ZSTD = 4

NEWEST = 5

_SINGLE = (
    "VARINT", "ZIGZAG", "FLOAT", "DOUBLE", "LONG_DOUBLE", "UNDEF", "BINARY", "STR_UTF8", "REFN", "REFP", "HASH",
    "ARRAY", "OBJECT", "OBJECTV", "ALIAS", "COPY", "WEAKEN", "REGEXP", "OBJECT_FREEZE", "OBJECTV_FREEZE", "NO",
    "YES", "RESERVED_0", "RESERVED_1", "FLOAT_128", "CANONICAL_UNDEF", "FALSE", "TRUE", "MANY", "PACKET_START",
    "EXTEND", "PAD",
)  # fmt: skip


def is_string(plain: int) -> bool:
    """Return whether ``plain`` (a tag without its track flag) is that of a string."""
    return plain >= SHORT_BINARY or plain in (BINARY, STR_UTF8)


def tag_name(tag: int) -> str:
    """Return the specification's name of ``tag`` (track flag ignored), for messages."""
    tag &= 0x7F
    if tag <= POS_LAST:
        return f"POS_{tag}"
    if tag <= NEG_LAST:
        return f"NEG_{32 - tag}"
    if tag >= SHORT_BINARY:
        return f"SHORT_BINARY_{tag - SHORT_BINARY}"
    if tag >= HASHREF:
        return f"HASHREF_{tag - HASHREF}"
    if tag >= ARRAYREF:
        return f"ARRAYREF_{tag - ARRAYREF}"
    return _SINGLE[tag - VARINT]
