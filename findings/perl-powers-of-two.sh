#!/usr/bin/env bash
# Perl: of the integers that ** makes, the powers of two are the ones that lose their digits.
#
# Versions: Perl 5.32.1 (Debian 11), 5.36.0 (12) and 5.40.1 (13), all amd64.
# Expected: ** computes in doubles, so every result above 2**53 prints as 15 digits with an exponent; powers of two,
#   which a double holds exactly, print best of all.
# Seen: the other way round. 15**16 prints all its 19 digits, and 3**32, 7**21, 255**8 theirs: an integer base that is
#   no power of two is multiplied in integers as long as its bits times the exponent are at most 64. A base that is a
#   power of two takes the way of doubles, and 2**50 is the first to print an exponent: 1.12589990684262e+15. One more
#   factor of the others and they lose their digits as well, though the result would fit (3**33 is below 2**53). So
#   10**16 has digits, 10**17 has not, and 1e15 has none while 10**15 has. Adding 0 brings the digits back below 2**53
#   only; 1<<62 never lost them.
# Why it matters: what Perl prints is what Redis gets, and INCRBY takes digits only.
. "$(dirname "$0")/lib/finding.bash"
with_debian bullseye perl=5.32.1-4+deb11u3
with_debian bookworm perl=5.36.0-7+deb12u3
with_debian trixie perl=5.40.1-6+deb13u1

cat >"$scratch/powers.pl" <<'PERL'
my @power = (
    '2**49' => 2**49, '2**50' => 2**50, '2**50+0' => 2**50+0, '2**53+0' => 2**53+0, '2**54+0' => 2**54+0,
    '2**62' => 2**62, '1<<62' => 1 << 62, '16**15' => 16**15, '15**16' => 15**16, '3**32' => 3**32, '3**33' => 3**33,
    '7**21' => 7**21, '7**22' => 7**22, '255**8' => 255**8, '256**7' => 256**7,
    '10**15' => 10**15, '1e15' => 1e15, '1e15+0' => 1e15+0, '10**16' => 10**16, '10**17' => 10**17,
);
while (my ($text, $value) = splice @power, 0, 2) { print "$text $value\n" }
PERL
for suite in bullseye bookworm trixie; do perl_of "$suite" "$scratch/powers.pl" >"$scratch/$suite.out"; done
cmp "$scratch/bullseye.out" "$scratch/bookworm.out"
cmp "$scratch/bookworm.out" "$scratch/trixie.out"
seen "$scratch/trixie.out" <<'RECORDED'
2**49 562949953421312
2**50 1.12589990684262e+15
2**50+0 1125899906842624
2**53+0 9.00719925474099e+15
2**54+0 1.8014398509482e+16
2**62 4.61168601842739e+18
1<<62 4611686018427387904
16**15 1.15292150460685e+18
15**16 6568408355712890625
3**32 1853020188851841
3**33 5.55906056655552e+15
7**21 558545864083284007
7**22 3.90982104858299e+18
255**8 17878103347812890625
256**7 7.20575940379279e+16
10**15 1000000000000000
1e15 1e+15
1e15+0 1000000000000000
10**16 10000000000000000
10**17 1e+17
RECORDED
