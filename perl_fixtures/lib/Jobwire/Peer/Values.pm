package Jobwire::Peer::Values;

use strict;
use warnings;

use B ();
use Exporter qw(import);
use Jobwire::Text qw(octets text);
use MIME::Base64 qw(decode_base64 encode_base64);
use Scalar::Util qw(blessed reftype);

our @EXPORT_OK = qw(from_tagged to_tagged);

=encoding utf8

=head1 NAME

Jobwire::Peer::Values - Perl values from and to the tagged JSON of the driver protocol

=head1 DESCRIPTION

C<from_tagged> takes what a JSON decoder made of a driver message and returns the Perl value that is meant;
C<to_tagged> goes the other way. Null, booleans, text, integers within ±2^53, arrays and objects stand for
themselves; the rest is an object with one key:

 {"$bytes": base64}        a string that is not valid UTF-8
 {"$float": "0.1"}         a floating-point number (also Infinity, -Infinity, NaN)
 {"$int": "18446744073…"}  an integer beyond ±2^53
 {"$ref": value}           a reference to a scalar or to a reference
 {"$object": [class, v]}   a value blessed into a class
 {"$map": [[k, v], …]}     a hash with a key that is not text, or that starts with "$"
 {"$chars": text}          only towards Perl: a decoded string, characters instead of UTF-8 bytes

Plain text becomes its UTF-8 bytes, because that is what a correct Perl program submits. On the way back a string
that Perl marks as decoded is text as it stands, and any other string is text if its bytes are valid UTF-8.

JSON's booleans become Perl's own (C<!!1>, C<!!0>); a C<JSON::PP::Boolean> is written C<{"$object":
["JSON::PP::Boolean", 1]}>. Both come back as JSON booleans: the decoders of Sereal and of JSON disagree about which of
the two they make, and neither says more than true or false.

=cut

use constant {
    SAFE      => 9_007_199_254_740_992,    # 2**53 would be a floating-point number
    MAX_DEPTH => 2_000,    # deeper than anything that Sereal or JSON accept; a cycle ends here
};

my %READ = (
    '$bytes'  => sub { decode_base64($_[0]) },
    '$chars'  => sub { $_[0] },
    '$float'  => sub { 0.0 + $_[0] },
    '$int'    => sub { 0 + $_[0] },
    '$ref'    => sub { \(my $copy = from_tagged($_[0])) },
    '$object' => sub { bless_value($_[0][0], from_tagged($_[0][1])) },
    '$map'    => sub {
        return { map { from_tagged($_->[0]) => from_tagged($_->[1]) } @{ $_[0] } };
    },
);

# Perl before 5.36 cannot tell a boolean from 1 and the empty string, nor needs to. (Called by its reference, because
# the name alone would not compile there; the warning says "experimental".)
my $builtin = defined &builtin::is_bool ? \&builtin::is_bool : sub { 0 };
sub is_native_boolean { no warnings; return $builtin->($_[0]) }

no warnings 'recursion';

sub from_tagged {
    my ($v) = @_;
    return $v unless defined $v;
    return $v ? !!1 : !!0 if is_boolean_object($v);
    return [ map { from_tagged($_) } @$v ] if ref $v eq 'ARRAY';
    return is_number($v) ? $v : utf8_bytes($v) unless ref $v eq 'HASH';
    if(keys %$v == 1 and (my ($tag) = keys %$v)[0] =~ /^\$/) {
        my $read = $READ{$tag} or die "unknown tag $tag\n";
        return $read->($v->{$tag});
    }
    return { map { utf8_bytes($_) => from_tagged($v->{$_}) } keys %$v };
}

sub to_tagged {
    my ($v, $depth) = (@_, 0);
    die "value is nested deeper than @{[MAX_DEPTH]} (or holds itself)\n" if $depth > MAX_DEPTH;
    return undef unless defined $v;
    return scalar_to_tagged($v) unless ref $v;
    return $v ? \1 : \0 if is_boolean_object($v);
    if(defined(my $class = blessed $v)) {
        return { '$object' => [ $class, $class eq 'Regexp' ? string_to_tagged("$v") : unblessed($v, $depth + 1) ] };
    }
    return unblessed($v, $depth + 1);
}

sub unblessed {
    my ($v, $depth) = @_;
    my $type = reftype $v;
    return [ map { to_tagged($_, $depth) } @$v ] if $type eq 'ARRAY';
    return hash_to_tagged($v, $depth) if $type eq 'HASH';
    return { '$ref' => to_tagged($$v, $depth) } if $type eq 'SCALAR' or $type eq 'REF' or $type eq 'VSTRING';
    die "no tag for a reference to $type\n";
}

sub hash_to_tagged {
    my ($v, $depth) = @_;
    my @pairs = map { [ string_to_tagged($_), to_tagged($v->{$_}, $depth) ] } sort keys %$v;
    return { '$map' => \@pairs } if grep { ref $_->[0] or $_->[0] =~ /^\$/ } @pairs;
    return { map { @$_ } @pairs };
}

sub scalar_to_tagged {
    my ($v) = @_;
    return $v ? \1 : \0 if is_native_boolean($v);
    return string_to_tagged($v) unless is_number($v);
    return $v >= -SAFE && $v <= SAFE ? 0 + $v : { '$int' => "$v" } if is_integer($v);
    return { '$float' => float_text($v) };
}

sub string_to_tagged {
    my ($v) = @_;
    return text("$v") // { '$bytes' => encode_base64(octets("$v"), '') };
}

sub float_text {
    my ($v) = @_;
    return 'NaN' if $v != $v;
    return $v > 0 ? 'Infinity' : '-Infinity' if $v == 9**9**9 or $v == -9**9**9;
    for my $digits (15, 16) {
        my $text = sprintf '%.*g', $digits, $v;
        return $text if 0 + "$text" == $v;    # quoted: a string used as a number would be written as one
    }
    return sprintf '%.17g', $v;
}

sub bless_value {
    my ($class, $v) = @_;
    return bless ref $v ? $v : \$v, $class;
}

sub utf8_bytes { utf8::encode(my $copy = "$_[0]"); return $copy }

# JSON::PP::Boolean is what JSON::PP, JSON::XS and Cpanel::JSON::XS all decode booleans to.
sub is_boolean_object { return blessed $_[0] && $_[0]->isa('JSON::PP::Boolean') }

sub is_number {
    my ($v) = @_;
    my $flags = B::svref_2object(\$v)->FLAGS;
    return !($flags & B::SVf_POK) && ($flags & (B::SVf_IOK | B::SVf_NOK));
}

sub is_integer {
    my ($v) = @_;
    return B::svref_2object(\$v)->FLAGS & B::SVf_IOK;
}

1;
