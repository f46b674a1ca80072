#!/usr/bin/env bash
# Perl's 10/2 is no int to msgspec: whole numbers leave Cpanel::JSON::XS with or without ".0", and looking at one
# decides.
#
# Versions: Perl 5.40.1 with Cpanel::JSON::XS 4.39 (Debian 13); Perl 5.32.1 with 4.25 (Debian 11) says the same;
#   msgspec 0.22.0.
# Expected: a whole result is a number without fraction; if anything is written with ".0", then all that was computed
#   with "/" or with a literal such as 3.0, and msgspec takes 5.0 for an int field, as it takes 5 for a float field.
# Seen: 10/2 is 5.0, but int(10/2), 10/2+0 and 10/2*1 are 5: +, - and * compute in integers where both sides are
#   whole, so 1e3 is 1000.0 and 1e3*1e3 is 1000000, 3-3.0 is 0 and 0.5+0.5 is 1.0. 2**3 is 8.0, floor(3.7) is 3.0,
#   abs(-3.0) is 3, and List::Util's max("3", "10") is 10.0. Of the list that gmtime and localtime return the year
#   alone is a double: 70.0. And a number that was only read changes: $x = 3.0 is 3.0; after $x == 3, $x < 4, $x + 1,
#   sprintf "%d" or substr with it 3; after "$x", $x * 1.5 or a repetition by it still 3.0. msgspec refuses every ".0"
#   for an int.
. "$(dirname "$0")/lib/finding.bash"
with_python msgspec==0.22.0
with_debian bullseye perl=5.32.1-4+deb11u3 libcpanel-json-xs-perl=4.25-1+b1
with_debian trixie perl=5.40.1-6+deb13u1 libcpanel-json-xs-perl=4.39-2~deb13u1

cat >"$scratch/whole.pl" <<'PERL'
use strict; use warnings;
use Cpanel::JSON::XS (); use List::Util 'max'; use POSIX 'floor';
my @made = (
    '10/2' => 10/2, 'int(10/2)' => int(10/2), '10/2+0' => 10/2+0, '10/2*1' => 10/2*1,
    '0.5+0.5' => 0.5+0.5, '3-3.0' => 3-3.0, '1e3' => 1e3, '1e3*1e3' => 1e3*1e3, '2**3' => 2**3, 'sqrt(16)' => sqrt(16),
    'floor(3.7)' => floor(3.7), 'abs(-3.0)' => abs(-3.0), 'max("3", "10")' => max("3", "10"),
    '(gmtime 0)[4]' => (gmtime 0)[4], '(gmtime 0)[5]' => (gmtime 0)[5],
    '$x = 3.0'             => do { my $x = 3.0; $x },
    '... $x == 3'          => do { my $x = 3.0; my $y = $x == 3; $x },
    '... $x < 4'           => do { my $x = 3.0; my $y = $x < 4; $x },
    '... sprintf "%d", $x' => do { my $x = 3.0; my $y = sprintf '%d', $x; $x },
    '... substr "abcd", 0, $x' => do { my $x = 3.0; my $y = substr 'abcd', 0, $x; $x },
    '... $x + 1'           => do { my $x = 3.0; my $y = $x + 1; $x },
    '... $x * 1.5'         => do { my $x = 3.0; my $y = $x * 1.5; $x },
    '... "$x"'             => do { my $x = 3.0; my $y = "$x"; $x },
    '... "a" x $x'         => do { my $x = 3.0; my $y = 'a' x $x; $x },
);
while (my ($text, $value) = splice @made, 0, 2) { print Cpanel::JSON::XS->new->encode([$text, $value]), "\n" }
PERL
perl_of trixie "$scratch/whole.pl" >"$scratch/lines"
perl_of bullseye "$scratch/whole.pl" | cmp - "$scratch/lines"
"$python" - "$scratch/lines" >"$scratch/out" <<'PYTHON'
import sys
import msgspec
for line in open(sys.argv[1], "rb"):
    text, _ = msgspec.json.decode(line)
    try:
        answer = msgspec.json.decode(line, type=tuple[str, int])[1]
    except msgspec.ValidationError as error:
        answer = error
    print(text, "|", line.decode().rsplit(",", 1)[1].strip("]\n"), "|", answer)
PYTHON
seen "$scratch/out" <<'RECORDED'
10/2 | 5.0 | Expected `int`, got `float` - at `$[1]`
int(10/2) | 5 | 5
10/2+0 | 5 | 5
10/2*1 | 5 | 5
0.5+0.5 | 1.0 | Expected `int`, got `float` - at `$[1]`
3-3.0 | 0 | 0
1e3 | 1000.0 | Expected `int`, got `float` - at `$[1]`
1e3*1e3 | 1000000 | 1000000
2**3 | 8.0 | Expected `int`, got `float` - at `$[1]`
sqrt(16) | 4.0 | Expected `int`, got `float` - at `$[1]`
floor(3.7) | 3.0 | Expected `int`, got `float` - at `$[1]`
abs(-3.0) | 3 | 3
max("3", "10") | 10.0 | Expected `int`, got `float` - at `$[1]`
(gmtime 0)[4] | 0 | 0
(gmtime 0)[5] | 70.0 | Expected `int`, got `float` - at `$[1]`
$x = 3.0 | 3.0 | Expected `int`, got `float` - at `$[1]`
... $x == 3 | 3 | 3
... $x < 4 | 3 | 3
... sprintf "%d", $x | 3 | 3
... substr "abcd", 0, $x | 3 | 3
... $x + 1 | 3 | 3
... $x * 1.5 | 3.0 | Expected `int`, got `float` - at `$[1]`
... "$x" | 3.0 | Expected `int`, got `float` - at `$[1]`
... "a" x $x | 3.0 | Expected `int`, got `float` - at `$[1]`
RECORDED
