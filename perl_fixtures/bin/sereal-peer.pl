#!/usr/bin/perl
# Sereal's living reference: Sereal::Encoder and Sereal::Decoder behind JSON lines on stdin and stdout.
#
# A request is one JSON object a line, the answer likewise: {"ok": ...} or {"error": "..."}.
#   {"cmd": "versions"}
#   {"cmd": "describe", "document": HEX, "header": bool}        decode, and say what it is as a node
#   {"cmd": "encode", "node": NODE, "options": {...}, "header": NODE?}   build the value, encode it: HEX
#   {"cmd": "record", "perl": SOURCE, "options": {...}}         the same for the value of a Perl expression, and its node
#   {"cmd": "time", "document": HEX, "options": {...}, "times": N}       seconds for N decodings, N encodings
#
# A NODE is a JSON object that says a Perl value exactly, identity included:
#   {"u":1} undef   {"b":0|1} boolean   {"i":"-5"} integer   {"n":HEX} double, little endian, or "nan"
#   {"s":HEX} string, its characters in Perl's UTF-8; "up":1 asks for the UTF-8 flag
#   {"a":[...]} array  {"h":[[HEX,NODE],...]} hash, in the order of the keys' UTF-8  {"r":NODE} scalar reference
#   {"x":[HEX, FLAGS]} regexp; "c":HEX beside a, h, r, x is the class; {"f":HEX,"a":[...]} object with FREEZE
#   "id":N on each referent, counted as they are met; {"again":N} is another reference to it, "weak":1 a weak one
# {"jb":0|1} builds the booleans of JSON::PP; they describe as "b".
use strict;
use warnings;
no warnings 'recursion';
use B ();
use JSON::PP ();
use Scalar::Util qw(refaddr reftype blessed weaken);
use Sereal::Decoder ();
use Sereal::Encoder ();
use Time::HiRes ();
use re qw(regexp_pattern);

package Jobwire::Frozen;

sub FREEZE { return @{ $_[0]{list} } }

sub THAW {
    my ($class, $serializer, @list) = @_;
    return bless { list => \@list }, $class;
}

package Jobwire::Frozen::Other;
our @ISA = ('Jobwire::Frozen');

package main;

my $json = JSON::PP->new->canonical->max_depth(100_000);
my $can_tell_booleans = defined &builtin::is_bool;

sub text_hex { my ($text) = @_; utf8::encode($text); return unpack 'H*', $text }
sub hex_text { my $text = pack 'H*', $_[0]; utf8::decode_lax($text); return $text }

# utf8::decode refuses what is not Unicode; Perl's own strings hold more.
sub utf8::decode_lax {
    my $bytes = $_[0];
    Encode::_utf8_on($_[0]) if $bytes =~ /[\x80-\xff]/;
    utf8::downgrade($_[0], 1);
    return;
}

sub describe_scalar {
    my ($value) = @_;
    return { u => 1 } if !defined $value;
    if ($can_tell_booleans) {
        no warnings 'experimental::builtin';
        return { b => $value ? 1 : 0 } if builtin::is_bool($_[0]);
    }
    my $flags = B::svref_2object(\$value)->FLAGS;
    return { s => text_hex($value) } if $flags & B::SVf_POK;
    return { i => "$value" } if $flags & B::SVf_IOK;
    return { n => $value != $value ? 'nan' : unpack 'H*', pack 'd<', $value };
}

sub describe {
    my ($value, $seen) = @_;
    return describe_scalar($value) if !ref $value;
    my $class = blessed $value;
    return { b => $$value ? 1 : 0 } if defined $class && $class eq 'JSON::PP::Boolean';
    my $address = refaddr $value;
    return { again => $seen->{$address} } if exists $seen->{$address};
    $seen->{$address} = my $id = keys %$seen;
    my $node = { id => $id };
    my $kind = reftype $value;
    if ($class && $class->isa('Jobwire::Frozen')) {
        return { %$node, f => text_hex($class), a => [ map { describe($_, $seen) } @{ $value->{list} } ] };
    }
    if ($kind eq 'REGEXP') {
        my ($pattern, $flags) = regexp_pattern($value);
        $node->{x} = [ text_hex($pattern), join '', sort grep { /[msixpn]/ } split //, $flags ];
        $node->{c} = text_hex($class) if $class ne 'Regexp';
        return $node;
    }
    $node->{c} = text_hex($class) if defined $class;
    if ($kind eq 'ARRAY') {
        $node->{a} = [ map { describe($_, $seen) } @$value ];
    }
    elsif ($kind eq 'HASH') {
        my %by_hex = map { text_hex($_) => $_ } keys %$value;
        $node->{h} = [ map { [ $_, describe($value->{ $by_hex{$_} }, $seen) ] } sort keys %by_hex ];
    }
    elsif ($kind eq 'SCALAR' || $kind eq 'REF' || $kind eq 'LVALUE' || $kind eq 'VSTRING') {
        $node->{r} = describe($$value, $seen);
    }
    else {
        die "a $kind reference\n";
    }
    return $node;
}

sub build_scalar {
    my ($node) = @_;
    return undef if exists $node->{u};
    return !!$node->{b} if exists $node->{b};
    return $node->{jb} ? JSON::PP::true() : JSON::PP::false() if exists $node->{jb};
    if (exists $node->{i}) {
        return $node->{i} < 0 ? unpack('q<', pack 'q<', $node->{i}) : unpack('Q<', pack 'Q<', $node->{i});
    }
    if (exists $node->{n}) {
        return $node->{n} eq 'nan' ? 9**9**9 - 9**9**9 : unpack 'd<', pack 'H*', $node->{n};
    }
    my $text = hex_text($node->{s});
    utf8::upgrade($text) if $node->{up};
    return $text;
}

sub build {
    my ($node, $made) = @_;
    return $made->[ $node->{again} ] if exists $node->{again};
    return build_scalar($node) if !exists $node->{id};
    my $value;
    if (exists $node->{x}) {
        my ($pattern, $flags) = (hex_text($node->{x}[0]), $node->{x}[1]);
        $value = eval "qr/\$pattern/$flags" or die $@;
    }
    elsif (exists $node->{f}) {
        $value = $made->[ $node->{id} ] = bless { list => [] }, hex_text($node->{f});
        fill($value->{list}, $node->{a}, $made);
        return $value;
    }
    else {
        my $scalar;
        $value = exists $node->{a} ? [] : exists $node->{h} ? {} : \$scalar;
    }
    bless $value, hex_text($node->{c}) if exists $node->{c};
    $made->[ $node->{id} ] = $value;
    if (exists $node->{a}) {
        fill($value, $node->{a}, $made);
    }
    elsif (exists $node->{h}) {
        for my $pair (@{ $node->{h} }) {
            my $key = hex_text($pair->[0]);
            utf8::upgrade($key) if $pair->[1]{upkey};
            $value->{$key} = build($pair->[1], $made);
            weaken($value->{$key}) if $pair->[1]{weak};
        }
    }
    elsif (exists $node->{r}) {
        $$value = build($node->{r}, $made);
    }
    return $value;
}

sub fill {
    my ($array, $nodes, $made) = @_;
    for my $index (0 .. $#$nodes) {
        $array->[$index] = build($nodes->[$index], $made);
        weaken($array->[$index]) if $nodes->[$index]{weak};
    }
    return;
}

sub decoded {
    my ($document, $with_header) = @_;
    # Always a reference to what was decoded: an alias, so that booleans are not copied away.
    my $decoder = Sereal::Decoder->new({ incremental => 0 });
    return ($decoder->decode($document), undef) if !$with_header;
    my ($header, $body);
    $decoder->decode_with_header($document, $body, $header);
    return ($body, $header);
}

sub timed {
    my ($times, $work) = @_;
    my $best;
    for (1 .. 3) {
        my $start = Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC());
        $work->() for 1 .. $times;
        my $took = Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) - $start;
        $best = $took if !defined $best || $took < $best;
    }
    return $best;
}

my %command = (
    versions => sub {
        return {
            perl    => "$^V",
            encoder => $Sereal::Encoder::VERSION,
            decoder => $Sereal::Decoder::VERSION,
            booleans => $can_tell_booleans ? 1 : 0,
        };
    },
    describe => sub {
        my ($request) = @_;
        my ($body, $header) = decoded(pack('H*', $request->{document}), $request->{header});
        my %answer = (body => describe($body, {}));
        $answer{header} = describe($header, {}) if $request->{header};
        return \%answer;
    },
    encode => sub {
        my ($request) = @_;
        my $encoder = Sereal::Encoder->new($request->{options} || {});
        my @made;
        my $value = build($request->{node}, \@made);
        my @header = exists $request->{header} ? (build($request->{header}, [])) : ();
        return unpack 'H*', $encoder->encode($value, @header);
    },
    record => sub {
        my ($request) = @_;
        my $value = eval "no strict; $request->{perl}";
        die $@ if $@;
        my $document = Sereal::Encoder->new($request->{options} || {})->encode($value);
        return { document => unpack('H*', $document), node => describe((decoded($document))[0], {}) };
    },
    time => sub {
        my ($request) = @_;
        my $document = pack 'H*', $request->{document};
        my $encoder  = Sereal::Encoder->new($request->{options} || {});
        my $decoder  = Sereal::Decoder->new({});
        my $value    = $decoder->decode($document);
        return {
            decode => timed($request->{times}, sub { my $got = $decoder->decode($document) }),
            encode => timed($request->{times}, sub { my $got = $encoder->encode($value) }),
            bytes  => length $encoder->encode($value),
        };
    },
);

require Encode;
binmode STDIN;
binmode STDOUT;
$| = 1;
while (my $line = <STDIN>) {
    my $answer = eval {
        my $request = $json->decode($line);
        my $work = $command{ $request->{cmd} // '' } or die "no such command\n";
        { ok => $work->($request) };
    } || { error => "$@" };
    print $json->encode($answer), "\n";
}
