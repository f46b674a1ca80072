#!/usr/bin/env bash
# Perl: sprintf "%d" of numbers too large for it; three ways to be wrong, one of them -1.
#
# Versions: Perl 5.32.1 (Debian 11), 5.36.0 (12) and 5.40.1 (13), all amd64.
# Expected: "%d" stops at 9223372036854775807, as it does at -9223372036854775808, or prints what int() prints.
# Seen: it stops at the lower end only. From 9223372036854775808 to 18446744073709551615 the bits are taken as they
#   are: 18446744073709551615 is -1 and 1e19 is -8446744073709551616, digits that look like a number. Above that, 1e20
#   as well as 1e30, everything is -1. int() is right wherever 64 bits are enough, and a bitwise or stops at
#   18446744073709551615.
. "$(dirname "$0")/lib/finding.bash"
with_debian bullseye perl=5.32.1-4+deb11u3
with_debian bookworm perl=5.36.0-7+deb12u3
with_debian trixie perl=5.40.1-6+deb13u1

cat >"$scratch/percent.pl" <<'PERL'
print "value | sprintf %d | int() | bitwise or with 0\n";
for my $value (9223372036854775807, 9223372036854775808, 18446744073709551615, '18446744073709551615', 1e19, 1.5e19,
    1e20, 1e30, '100000000000000000000', -9223372036854775808, -1e19, -1e30) {
    print join(' | ', $value, sprintf('%d', $value), int $value, $value | 0), "\n";
}
PERL
for suite in bullseye bookworm trixie; do perl_of "$suite" "$scratch/percent.pl" >"$scratch/$suite.out"; done
cmp "$scratch/bullseye.out" "$scratch/bookworm.out"
cmp "$scratch/bookworm.out" "$scratch/trixie.out"
seen "$scratch/trixie.out" <<'RECORDED'
value | sprintf %d | int() | bitwise or with 0
9223372036854775807 | 9223372036854775807 | 9223372036854775807 | 9223372036854775807
9223372036854775808 | -9223372036854775808 | 9223372036854775808 | 9223372036854775808
18446744073709551615 | -1 | 18446744073709551615 | 18446744073709551615
18446744073709551615 | -1 | 18446744073709551615 | 18446744073709551615
1e+19 | -8446744073709551616 | 10000000000000000000 | 10000000000000000000
1.5e+19 | -3446744073709551616 | 15000000000000000000 | 15000000000000000000
1e+20 | -1 | 1e+20 | 18446744073709551615
1e+30 | -1 | 1e+30 | 18446744073709551615
100000000000000000000 | -1 | 1e+20 | 18446744073709551615
-9223372036854775808 | -9223372036854775808 | -9223372036854775808 | 9223372036854775808
-1e+19 | -9223372036854775808 | -1e+19 | 9223372036854775808
-1e+30 | -9223372036854775808 | -1e+30 | 9223372036854775808
RECORDED
