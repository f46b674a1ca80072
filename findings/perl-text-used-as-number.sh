#!/usr/bin/env bash
# Perl: text that was once used as a number; Sereal, Cpanel::JSON::XS, JSON::XS and JSON::PP each draw the line
# elsewhere.
#
# Versions: Perl 5.40.1, Sereal::Encoder 5.004, Cpanel::JSON::XS 4.39, JSON::XS 4.04, JSON::PP 4.16 (Debian 13).
# Expected: after $text + 0 a numeric text is a number to whoever goes by flags (Sereal, Cpanel::JSON::XS), and text
#   to whoever goes by what it was first (JSON::XS, JSON::PP).
# Seen: text that is not spelled as Perl would print the number stays text to all ("5.0", "007", "+5", "1e3", " 5").
#   Of the rest, Sereal makes numbers of integers up to 9223372036854775807 alone and leaves "5.5" and
#   9223372036854775808 to 18446744073709551615 as text; Cpanel::JSON::XS and JSON::PP make numbers of all these.
#   Above 64 bits it turns round: the text "18446744073709551616" is a float to Sereal and "99999999999999999999.5" a
#   double, its digits gone, while all JSON encoders keep the text. JSON::XS never makes a number of it.
# Why it matters: one job whose parameters travel as Sereal and whose result travels as JSON shows both behaviours.
. "$(dirname "$0")/lib/finding.bash"
with_debian trixie perl=5.40.1-6+deb13u1 libcpanel-json-xs-perl=4.39-2~deb13u1 libjson-xs-perl=4.040-1~deb13u1 \
  libsereal-encoder-perl=5.004+ds-1+b3 libsereal-decoder-perl=5.004+ds-1+b3

cat >"$scratch/used.pl" <<'PERL'
use strict; use warnings;
use Cpanel::JSON::XS (); use JSON::PP (); use JSON::XS (); use Sereal::Encoder;
# The first byte after the header, by Sereal's table of tags.
sub sereal {
    my $tag = ord substr Sereal::Encoder->new({ protocol_version => 3 })->encode($_[0]), 6, 1;
    return 'integer' if $tag < 0x22;
    return { 0x22 => 'float', 0x23 => 'double', 0x26 => 'text' }->{$tag} // ($tag > 0x5f ? 'text' : "tag $tag");
}
my @json = map { my $json = $_; sub { $json->new->encode([$_[0]]) } } qw(Cpanel::JSON::XS JSON::XS JSON::PP);
print join(' | ', qw(text Sereal Cpanel::JSON::XS JSON::XS JSON::PP)), "\n";
for my $text (qw(5 5.0 5.5 0.1 1e3 007 +5 -5 -0 1_0 0x5 inf 9223372036854775807 9223372036854775808
    18446744073709551615 18446744073709551616 99999999999999999999.5), ' 5', '5 ') {
    my @seen = ("'$text'");
    for my $encode (\&sereal, @json) {
        my $value = $text;
        { no warnings; my $sum = $value + 0 }
        push @seen, $encode->($value);
    }
    print join(' | ', @seen), "\n";
}
PERL
perl_of trixie "$scratch/used.pl" >"$scratch/out"
seen "$scratch/out" <<'RECORDED'
text | Sereal | Cpanel::JSON::XS | JSON::XS | JSON::PP
'5' | integer | [5] | ["5"] | [5]
'5.0' | text | ["5.0"] | ["5.0"] | ["5.0"]
'5.5' | text | [5.5] | ["5.5"] | [5.5]
'0.1' | text | [0.1] | ["0.1"] | [0.1]
'1e3' | text | ["1e3"] | ["1e3"] | ["1e3"]
'007' | text | ["007"] | ["007"] | ["007"]
'+5' | text | ["+5"] | ["+5"] | ["+5"]
'-5' | integer | [-5] | ["-5"] | [-5]
'-0' | text | ["-0"] | ["-0"] | ["-0"]
'1_0' | text | ["1_0"] | ["1_0"] | ["1_0"]
'0x5' | text | ["0x5"] | ["0x5"] | ["0x5"]
'inf' | text | ["inf"] | ["inf"] | ["inf"]
'9223372036854775807' | integer | [9223372036854775807] | ["9223372036854775807"] | [9223372036854775807]
'9223372036854775808' | text | [9223372036854775808] | ["9223372036854775808"] | [9223372036854775808]
'18446744073709551615' | text | [18446744073709551615] | ["18446744073709551615"] | [18446744073709551615]
'18446744073709551616' | float | ["18446744073709551616"] | ["18446744073709551616"] | ["18446744073709551616"]
'99999999999999999999.5' | double | ["99999999999999999999.5"] | ["99999999999999999999.5"] | ["99999999999999999999.5"]
' 5' | text | [" 5"] | [" 5"] | [" 5"]
'5 ' | text | ["5 "] | ["5 "] | ["5 "]
RECORDED
