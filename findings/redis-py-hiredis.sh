#!/usr/bin/env bash
# redis-py writes other bytes, or none, when hiredis happens to be installed.
#
# Versions: redis 8.1.0 with and without hiredis 3.5.0, Redis 8.0.2 (Debian 13).
# Expected: hiredis makes redis-py faster and changes nothing else.
# Seen: with hiredis the option encoding is ignored for what is written and obeyed for what is read, so that text in
#   Latin-1 is written as UTF-8 and read back as two characters; encoding_errors is ignored too. Subclasses of int,
#   IntEnum among them, are refused; without hiredis an IntEnum is written as its repr, b'<Level.HIGH: 1>'.
. "$(dirname "$0")/lib/finding.bash"
with_server 8.0
cat >"$scratch/set.py" <<'PYTHON'
import enum
import sys
import redis
class Level(enum.IntEnum):
    HIGH = 1
class Name(enum.StrEnum):
    PENDING = "pending"
class Count(int):
    pass
def attempt(function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:60]}"
server = lambda **options: redis.Redis(unix_socket_path=sys.argv[1], protocol=2, **options)
plain = server()
for text, client, value in (
    ("IntEnum", plain, Level.HIGH),
    ("StrEnum", plain, Name.PENDING),
    ("subclass of int", plain, Count(5)),
    ("bytearray", plain, bytearray(b"x")),
    ("encoding=latin-1", server(encoding="latin-1"), "caf\xe9"),
    ("latin-1, read back", server(encoding="latin-1", decode_responses=True), "caf\xe9"),
    ("encoding_errors=surrogateescape", server(encoding_errors="surrogateescape"), "\udcff"),
    ("encoding_errors=replace", server(encoding_errors="replace"), "a\udcff"),
):
    plain.delete("key")
    done = attempt(client.set, "key", value)
    print(text, "|", client.get("key") if done is True else done)
PYTHON
with_python redis==8.1.0
"$python" "$scratch/set.py" "$scratch/8.0" >"$scratch/without"
rm -rf "$scratch/python"
with_python redis==8.1.0 hiredis==3.5.0
"$python" "$scratch/set.py" "$scratch/8.0" >"$scratch/with"
paste -d '\n' <(sed 's/^/without: /' "$scratch/without") <(sed 's/^/with:    /' "$scratch/with") >"$scratch/out"
seen "$scratch/out" <<'RECORDED'
without: IntEnum | b'<Level.HIGH: 1>'
with:    IntEnum | DataError: A tuple item must be str, int, float or bytes.
without: StrEnum | b'pending'
with:    StrEnum | b'pending'
without: subclass of int | b'5'
with:    subclass of int | DataError: A tuple item must be str, int, float or bytes.
without: bytearray | b'x'
with:    bytearray | b'x'
without: encoding=latin-1 | b'caf\xe9'
with:    encoding=latin-1 | b'caf\xc3\xa9'
without: latin-1, read back | café
with:    latin-1, read back | cafÃ©
without: encoding_errors=surrogateescape | b'\xff'
with:    encoding_errors=surrogateescape | UnicodeEncodeError: 'utf-8' codec can't encode character '\udcff' in position 0:
without: encoding_errors=replace | b'a?'
with:    encoding_errors=replace | UnicodeEncodeError: 'utf-8' codec can't encode character '\udcff' in position 1:
RECORDED
