#!/usr/bin/env bash
# Which texts are numbers: Perl, Python and the Lua inside Redis each take some that neither of the others takes.
#
# Versions: Perl 5.40.1 (Debian 13), Perl 5.32.1 (Debian 11), Python 3.11 or newer, Redis 8.0.2 (Debian 13).
# Expected: all three read C's decimal notation; Lua takes hexadecimal too, Python underscores, Perl nothing more than
#   that.
# Seen: Perl takes the most: "1.#INF" and "1.#IND" (how old Windows libraries print infinity and NaN), "nanq",
#   "nan(7)", and the literal "0 but true"; Lua takes "nan(7)" with Perl, and hexadecimal, "0x1p4" among it; Python
#   alone takes "1_000" and a no-break space before the number. "1e400" is infinity to all three. So a text that a
#   Perl or Lua program accepted as a number may raise ValueError in Python, and the other way round.
. "$(dirname "$0")/lib/finding.bash"
with_python redis==8.1.0
with_debian bullseye perl=5.32.1-4+deb11u3
with_debian trixie perl=5.40.1-6+deb13u1
with_server 8.0

cat >"$scratch/numbers.pl" <<'PERL'
use strict; use warnings;
use Scalar::Util 'looks_like_number';
chomp(my @texts = <STDIN>);
for (@texts) { s/\\n/\n/; s/\\t/\t/; s/\\xa0/\xa0/; print looks_like_number($_) ? 0 + $_ : 'no', "\n" }
PERL
cat >"$scratch/texts" <<'TEXTS'
5
.5
5.
+5
--5
 5
5 
5\n
\t5
\xa05
007
0x10
0x1p4
1_000
1e3
1e
1e400
inf
Infinity
infinit
nan
nan(7)
nanq
1.#INF
1.#IND
0 but true
TEXTS
perl_of trixie "$scratch/numbers.pl" <"$scratch/texts" >"$scratch/perl"
perl_of bullseye "$scratch/numbers.pl" <"$scratch/texts" >"$scratch/perl-5.32"
"$python" - "$scratch" >"$scratch/out" <<'PYTHON'
import sys
import redis
scratch = sys.argv[1]
server = redis.Redis(unix_socket_path=f"{scratch}/8.0", protocol=2)
lines = lambda name: open(f"{scratch}/{name}").read().splitlines()
print("text | Perl | Python float() | Lua tonumber()")
for text, perl, older in zip(lines("texts"), lines("perl"), lines("perl-5.32"), strict=True):
    assert perl == older, (text, perl, older)
    raw = text.replace("\\n", "\n").replace("\\t", "\t").replace("\\xa0", "\xa0")
    try:
        python = f"{float(raw):.15g}"
    except ValueError:
        python = "no"
    lua = server.eval("return tostring(tonumber(ARGV[1]))", 0, raw.encode("latin-1")).decode()
    print(f"'{text}' | {perl} | {python} | {'no' if lua == 'nil' else lua}")
PYTHON
seen "$scratch/out" <<'RECORDED'
text | Perl | Python float() | Lua tonumber()
'5' | 5 | 5 | 5
'.5' | 0.5 | 0.5 | 0.5
'5.' | 5 | 5 | 5
'+5' | 5 | 5 | 5
'--5' | no | no | no
' 5' | 5 | 5 | 5
'5 ' | 5 | 5 | 5
'5\n' | 5 | 5 | 5
'\t5' | 5 | 5 | 5
'\xa05' | no | 5 | no
'007' | 7 | 7 | 7
'0x10' | no | no | 16
'0x1p4' | no | no | 16
'1_000' | no | 1000 | no
'1e3' | 1000 | 1000 | 1000
'1e' | no | no | no
'1e400' | Inf | inf | inf
'inf' | Inf | inf | inf
'Infinity' | Inf | inf | inf
'infinit' | no | no | no
'nan' | NaN | nan | nan
'nan(7)' | NaN | no | nan
'nanq' | NaN | no | no
'1.#INF' | Inf | no | no
'1.#IND' | NaN | no | no
'0 but true' | 0 | no | no
RECORDED
