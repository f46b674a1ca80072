#!/usr/bin/env perl
# A real Job::Async client or worker, driven by JSON lines: the driver protocol, version 1, on stdin and stdout.
# README.md beside this folder says how to run it; the Perl libraries are chosen by PERL5LIB.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use Jobwire::Peer::Backend;    # before any module that lets JSON::MaybeXS choose

use IO::Async::Loop;
use IO::Async::Stream;
use IO::Handle;
use POSIX ();
use Job::Async;
use Log::Any::Adapter;
use Jobwire::Peer::Client;
use Jobwire::Peer::Stack;
use Jobwire::Peer::Worker;

my $GRACE = $ENV{JOBWIRE_PEER_GRACE} // 10;    # seconds that stop and SIGTERM leave to what was begun

# stdout carries the protocol and nothing else: whatever a module prints goes to stderr.
open my $protocol, '>&', \*STDOUT or die "cannot keep stdout: $!";
open STDOUT, '>&', \*STDERR or die "cannot turn stdout away: $!";
$protocol->autoflush(1);
Log::Any::Adapter->set('Stderr', log_level => $ENV{JOBWIRE_PEER_LOG} // 'error');

my $json = Jobwire::Peer::Backend::of_the_protocol();
my $loop = IO::Async::Loop->new;
$loop->add(my $manager = Job::Async->new);
my ($role, $started, $ended, %under_way);

sub answer {
    my ($type, %fields) = @_;
    print {$protocol} $json->encode({ %fields, type => $type }), "\n";
    return;
}

my %ROLE = (client => 'Jobwire::Peer::Client', worker => 'Jobwire::Peer::Worker');

my %ON = (
    hello => sub {
        answer(hello => driver => 1, name => 'perl', language => 'Perl', runtime => sprintf('perl %vd', $^V),
            Jobwire::Peer::Stack::about());
    },
    start => sub {
        my ($start) = @_;
        die "started already\n" if $started;
        my $class = $ROLE{ $start->{role} // '' } // Jobwire::Peer::Stack::unsupported('role');
        my $one = $class->new(start => $start, loop => $loop, manager => $manager, say => \&answer);
        my $ready = $one->start;
        ($role, $started) = ($one, 1);
        return $ready;
    },
    submit => sub { for_client('submit', @_) },
    cancel => sub { for_client('cancel', @_) },
    stop   => sub { drain()->then(sub { answer(stopped => jobs => $role ? $role->count : 0); Future->done }) },
    bye    => \&finish,
);

sub for_client {
    my ($method, $message) = @_;
    Jobwire::Peer::Stack::unsupported("$method without a client") unless $role and $role->can($method);
    return $role->$method($message);
}

# Takes nothing new, lets what was begun end, then leaves the connections.
sub drain {
    return $ended //= do {
        my @running = $role ? $role->running : ();
        Future->wait_any(Future->wait_all(map { $_->without_cancel } @running), $loop->delay_future(after => $GRACE))
            ->then(sub { $role ? Jobwire::Peer::Stack::leave($loop, $role->connections) : Future->done });
    };
}

sub finish { ($ended // Future->done)->on_ready(sub { $loop->stop }); return }

sub on_line {
    my ($line) = @_;
    my $message = eval { $json->decode($line) };
    return answer(error => message => "not a JSON object: $@") unless ref $message eq 'HASH';
    my $type = $message->{type} // '';
    my @seq = map { (seq => $_) } $message->{seq} // ();
    my $on = $ON{$type} or return answer(unsupported => what => "message $type", @seq);
    my $f = eval { $on->($message) // 1 };
    return refuse($@, @seq) unless $f;
    return unless ref $f and $f->isa('Future');
    $under_way{$f} = $f;
    $f->on_ready(sub { delete $under_way{$f}; refuse(($_[0]->failure)[0], @seq) if $_[0]->is_failed });
    return;
}

sub refuse {
    my ($why, @seq) = @_;
    return answer(unsupported => what => $why->{unsupported}, @seq) if ref $why eq 'HASH';
    chomp($why = "$why");
    return answer(error => message => $why, @seq);
}

$loop->watch_signal(TERM => sub { drain()->on_ready(sub { $loop->stop }) });
$loop->add(IO::Async::Stream->new(
    read_handle => \*STDIN,
    on_read     => sub {
        my (undef, $buffer, $eof) = @_;
        on_line($1) while $$buffer =~ s/^(.*)\n//;
        finish() if $eof;
        return 0;
    },
));
$loop->run;
POSIX::_exit(0);    # what the modules' destructors would say now is of no interest
