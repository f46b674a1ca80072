#!/usr/bin/env bash
# Zstandard data of two frames: three ways of one Python library read all of it, a part of it, or nothing.
#
# Versions: zstandard 0.25.0, cramjam 2.14.0, backports.zstd 1.8.0 (the module that Python 3.14 has).
# Expected: concatenated frames are one stream (RFC 8878, section 3), as with gzip; a decompressor reads them all or
#   says that something is left.
# Seen: decompress() and decompressobj() of zstandard end after the first frame and say nothing: half of the data is
#   gone, all of it if the first frame is empty. After a skippable frame, which carries no data, decompress() raises
#   an error that speaks of 4 expected bytes (the length of the note), and decompressobj() gives nothing. Its readers
#   of streams, cramjam and backports.zstd read everything.
# Why it matters: data appended by a second writer, or by `cat a.zst b.zst`, is valid.
. "$(dirname "$0")/lib/finding.bash"
with_python zstandard==0.25.0 cramjam==2.14.0 backports.zstd==1.8.0

"$python" - >"$scratch/out" <<'PYTHON'
import io
import struct
import cramjam
import zstandard
from backports import zstd
READERS = {
    "zstandard decompress()": lambda data: zstandard.ZstdDecompressor().decompress(data),
    "zstandard decompressobj()": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    "zstandard stream_reader()": lambda data: zstandard.ZstdDecompressor().stream_reader(data).read(),
    "zstandard open()": lambda data: zstandard.open(io.BytesIO(data)).read(),
    "cramjam": lambda data: bytes(cramjam.zstd.decompress(data)),
    "backports.zstd": zstd.decompress,
}
def attempt(read, data):
    try:
        return f"{len(read(data))} bytes"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
frame = zstandard.ZstdCompressor().compress(b"a" * 100)
skippable = struct.pack("<II", 0x184D2A50, 4) + b"note"
empty = zstandard.ZstdCompressor().compress(b"")
DATA = {
    "one frame of 100 bytes": frame,
    "two": frame + frame,
    "skippable frame, then one": skippable + frame,
    "one, then skippable frame": frame + skippable,
    "empty frame, then one": empty + frame,
}
for text, data in DATA.items():
    for name, read in READERS.items():
        print(f"{text} | {name} | {attempt(read, data)}")
PYTHON
seen "$scratch/out" <<'RECORDED'
one frame of 100 bytes | zstandard decompress() | 100 bytes
one frame of 100 bytes | zstandard decompressobj() | 100 bytes
one frame of 100 bytes | zstandard stream_reader() | 100 bytes
one frame of 100 bytes | zstandard open() | 100 bytes
one frame of 100 bytes | cramjam | 100 bytes
one frame of 100 bytes | backports.zstd | 100 bytes
two | zstandard decompress() | 100 bytes
two | zstandard decompressobj() | 100 bytes
two | zstandard stream_reader() | 200 bytes
two | zstandard open() | 200 bytes
two | cramjam | 200 bytes
two | backports.zstd | 200 bytes
skippable frame, then one | zstandard decompress() | ZstdError: decompression error: decompressed 0 bytes; expected 4
skippable frame, then one | zstandard decompressobj() | 0 bytes
skippable frame, then one | zstandard stream_reader() | 100 bytes
skippable frame, then one | zstandard open() | 100 bytes
skippable frame, then one | cramjam | 100 bytes
skippable frame, then one | backports.zstd | 100 bytes
one, then skippable frame | zstandard decompress() | 100 bytes
one, then skippable frame | zstandard decompressobj() | 100 bytes
one, then skippable frame | zstandard stream_reader() | 100 bytes
one, then skippable frame | zstandard open() | 100 bytes
one, then skippable frame | cramjam | 100 bytes
one, then skippable frame | backports.zstd | 100 bytes
empty frame, then one | zstandard decompress() | 0 bytes
empty frame, then one | zstandard decompressobj() | 0 bytes
empty frame, then one | zstandard stream_reader() | 100 bytes
empty frame, then one | zstandard open() | 100 bytes
empty frame, then one | cramjam | 100 bytes
empty frame, then one | backports.zstd | 100 bytes
RECORDED
