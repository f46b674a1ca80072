package Jobwire::Redis::JSON;

use strict;
use warnings;

use B ();
use Exporter qw(import);
use Jobwire::Text qw(text);
use JSON::MaybeXS ();
use Scalar::Util qw(blessed);

our @EXPORT_OK = qw(from_json to_json);

=encoding utf8

=head1 NAME

Jobwire::Redis::JSON - the JSON of envelopes

=head1 DESCRIPTION

JSON holds text. Perl has strings that are decoded text and strings that hold bytes, and most programs pass UTF-8
bytes. C<to_json> therefore takes a string that Perl marks as decoded as the text that it is, and any other string as
UTF-8; bytes that are not valid UTF-8 are refused, never guessed at. C<from_json> gives decoded text.

Perl's own booleans (5.36) and C<JSON::PP::Boolean> objects become C<true> and C<false>; infinities and NaN become
C<null>; other objects and references to scalars or code are refused.

=head1 FUNCTIONS

=head2 to_json

Takes a hash, array or scalar and returns UTF-8 bytes. Dies with one line that says what cannot be written.

=head2 from_json

Takes UTF-8 bytes and returns the value. Dies if they are not JSON.

=cut

my $json = JSON::MaybeXS->new(utf8 => 1, canonical => 1, allow_nonref => 1, max_depth => 512);
my $builtin = defined &builtin::is_bool ? \&builtin::is_bool : sub { 0 };

sub to_json   { return $json->encode(plain($_[0])) }
sub from_json { return $json->decode($_[0]) }

sub plain {
    my ($v) = @_;
    no warnings 'recursion';
    return undef unless defined $v;
    return plain_scalar($v) unless ref $v;
    return [ map { plain($_) } @$v ] if ref $v eq 'ARRAY';
    return { map { valid($_) => plain($v->{$_}) } keys %$v } if ref $v eq 'HASH';
    return $v ? \1 : \0 if blessed $v and $v->isa('JSON::PP::Boolean');
    die 'JSON cannot hold ' . (blessed $v ? 'an object of class ' . blessed $v : 'a reference to ' . lc ref $v) . "\n";
}

sub plain_scalar {
    my ($v) = @_;
    return $v ? \1 : \0 if do { no warnings; $builtin->($v) };
    my $flags = B::svref_2object(\$v)->FLAGS;
    return valid($v) if $flags & B::SVf_POK or not $flags & (B::SVf_IOK | B::SVf_NOK);
    return $v if $flags & B::SVf_IOK;    # comparing it with a float would make it one
    return $v != $v || abs $v == 9**9**9 ? undef : $v;
}

sub valid {
    return text($_[0]) // die "JSON holds text, and this string is not valid UTF-8: mode reliable carries bytes\n";
}

1;
