#!/usr/bin/env bash
# JSON::PP with allow_bignum loses exactly the numbers just above 64 bits; longer ones are kept.
#
# Versions: JSON::PP 4.16 (Perl 5.40.1, Debian 13) and 4.04 (Perl 5.32.1, Debian 11) against Cpanel::JSON::XS 4.39 and
#   4.25.
# Expected: allow_bignum makes a Math::BigInt of every integer that a Perl integer cannot hold; without it such a
#   number becomes a double.
# Seen: JSON::PP counts digits. With 21 digits or more (20 with a minus sign) an integer is kept: as a Math::BigInt,
#   or without allow_bignum as text, so that 100000000000000000000 comes back in quotes. From 18446744073709551616 to
#   99999999999999999999, and from -9223372036854775809 to -9999999999999999999, it becomes a double, with
#   allow_bignum too: 99999999999999999999 comes back as 1e+20. The short ones lose their digits and the long ones do
#   not. Cpanel::JSON::XS has no such hole.
. "$(dirname "$0")/lib/finding.bash"
with_debian bullseye perl=5.32.1-4+deb11u3 libcpanel-json-xs-perl=4.25-1+b1
with_debian trixie perl=5.40.1-6+deb13u1 libcpanel-json-xs-perl=4.39-2~deb13u1

cat >"$scratch/big.pl" <<'PERL'
use strict; use warnings;
use Cpanel::JSON::XS (); use JSON::PP ();
for my $text (qw(18446744073709551615 18446744073709551616 99999999999999999999 100000000000000000000
    123456789012345678901 -9223372036854775808 -9223372036854775809 -9999999999999999999 -10000000000000000000)) {
    my @seen = ($text);
    for my $class (qw(JSON::PP Cpanel::JSON::XS)) {
        for my $json ($class->new, $class->new->allow_bignum) {
            my $value = $json->decode("[$text]");
            push @seen, (ref $value->[0] || '-') . ' ' . $json->encode($value);
        }
    }
    print join(' | ', @seen), "\n";
}
PERL
perl_of trixie "$scratch/big.pl" >"$scratch/out"
perl_of bullseye "$scratch/big.pl" | cmp - "$scratch/out"
echo "number | JSON::PP | with allow_bignum | Cpanel::JSON::XS | with allow_bignum" | cat - "$scratch/out" >"$scratch/table"
seen "$scratch/table" <<'RECORDED'
number | JSON::PP | with allow_bignum | Cpanel::JSON::XS | with allow_bignum
18446744073709551615 | - [18446744073709551615] | - [18446744073709551615] | - [18446744073709551615] | - [18446744073709551615]
18446744073709551616 | - [1.84467440737096e+19] | - [1.84467440737096e+19] | - ["18446744073709551616"] | Math::BigInt [18446744073709551616]
99999999999999999999 | - [1e+20] | - [1e+20] | - ["99999999999999999999"] | Math::BigInt [99999999999999999999]
100000000000000000000 | - ["100000000000000000000"] | Math::BigInt [100000000000000000000] | - ["100000000000000000000"] | Math::BigInt [100000000000000000000]
123456789012345678901 | - ["123456789012345678901"] | Math::BigInt [123456789012345678901] | - ["123456789012345678901"] | Math::BigInt [123456789012345678901]
-9223372036854775808 | - [-9223372036854775808] | - [-9223372036854775808] | - [-9223372036854775808] | - [-9223372036854775808]
-9223372036854775809 | - [-9.22337203685478e+18] | - [-9.22337203685478e+18] | - ["-9223372036854775809"] | Math::BigInt [-9223372036854775809]
-9999999999999999999 | - [-1e+19] | - [-1e+19] | - ["-9999999999999999999"] | Math::BigInt [-9999999999999999999]
-10000000000000000000 | - ["-10000000000000000000"] | Math::BigInt [-10000000000000000000] | - ["-10000000000000000000"] | Math::BigInt [-10000000000000000000]
RECORDED
