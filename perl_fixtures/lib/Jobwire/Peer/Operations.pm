package Jobwire::Peer::Operations;

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Jobwire::Text qw(octets);
use JSON::MaybeUTF8 qw(:v1);
use JSON::MaybeXS ();
use POSIX ();
use Time::HiRes ();

=head1 NAME

Jobwire::Peer::Operations - what a job makes a worker do

=head1 DESCRIPTION

C<< Jobwire::Peer::Operations->run($job, $loop) >> ends the job (or not) as its parameter C<op> says. The table is the
one that every peer of the driver protocol has, in any language; F<perl_fixtures/README.md> describes it.

=cut

# Handlers get the parameters, the job and the event loop. Those of %RESULT return the result; those of %ACT end the
# job themselves, or end something else.
my %RESULT = (
    echo    => sub { $_[0]{value} },
    reverse => sub { scalar reverse octets($_[0]{value} // $_[0]{text} // '') },
    add     => sub { $_[0]{first} + $_[0]{second} },
    json    => sub { decode_json_utf8(octets($_[0]{value} // '')) },
    number  => sub { 0 + $_[0]{value} },
    true    => sub { !!1 },
    false   => sub { !!0 },
    undef   => sub { undef },
    empty   => sub { '' },
    big     => sub { ($_[0]{char} // 'x') x $_[0]{size} },
    sha256  => sub { sha256_hex(octets($_[0]{value} // '')) },
    length  => sub { length octets($_[0]{value} // '') },
    keys    => sub { [ parameters($_[0]) ] },
    get     => sub { $_[0]{ $_[0]{name} } },
    data    => sub { return { map { $_ => $_[0]{$_} } grep { $_ ne 'op' } keys %{ $_[0] } } },
    nest    => sub { my $v = 'end'; $v = [$v] for 1 .. $_[0]{depth}; $v },
    wide    => sub { "\x{263A}" },
    latin1  => sub { "\xE9" },
    block   => sub { Time::HiRes::sleep($_[0]{seconds}); 'blocked' },
    object  => sub { bless { answer => 42 }, 'Jobwire::Peer::Thing' },

    # Of Perl peers alone, for the facts of conformance/stacks/perl.toml.
    compared  => sub { [ 1 == 1, 1 == 2 ] },
    character => sub { [ chr $_[0]{code} ] },
    boolean   => sub { JSON::MaybeXS::true() },
    used      => sub { my $n = 0 + $_[0]{value}; my $text = "$n"; [$n] },

    # What the recordings of conformance/golden used besides.
    aref => sub { [ 1, 'two', undef, 3.5, "\x{263A}", "\xE9", { k => 'v' } ] },
    href => sub { return { a => 1, b => [ 1, 2 ], "\xE9" => "\x{263A}" } },
);

my %ACT = (
    nothing => sub { $_[1]->done },
    several => sub { $_[1]->done('one', 'two') },
    fail    => sub { $_[1]->fail($_[0]{message} // 'failed') },
    die     => sub { die(($_[0]{message} // 'died') . "\n") },
    exit    => sub { POSIX::_exit($_[0]{code} // 3) },
    sleep   => sub { wait_then(@_, $_[0]{seconds}, $_[0]{value} // 'slept') },
    slow    => sub { wait_then(@_, $_[0]{s}, "slept $_[0]{s}") },
);

sub names { return sort keys %RESULT, keys %ACT }

sub run {
    my ($class, $job, $loop) = @_;
    my $data = $job->data;
    my $op = $data->{op} // (exists $data->{name} && exists $data->{params} ? 'rpc' : 'keys');
    return $ACT{$op}->($data, $job, $loop) if $ACT{$op};
    return $job->done(rpc($data)) if $op eq 'rpc';
    my $result = $RESULT{$op} or return $job->fail("unknown op $op");
    return $job->done(scalar $result->($data));
}

# The convention of the public websocket backend: JSON text in, JSON text out.
sub rpc {
    my ($data) = @_;
    return encode_json_utf8({ result => { name => $data->{name}, params => decode_json_utf8($data->{params}) } });
}

sub wait_then {
    my ($data, $job, $loop, $seconds, $result) = @_;
    # The job may have been failed by the worker's time-out meanwhile.
    $loop->watch_time(after => $seconds, code => sub { $job->done($result) unless $job->is_ready });
    return;
}

# Fields that start with "_" are the protocol's own, in every dialect.
sub parameters {
    my ($data) = @_;
    return sort grep { $_ ne 'op' and !/^_/ } keys %$data;
}

1;
