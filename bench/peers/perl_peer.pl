#!/usr/bin/env perl
# Real Perl: Job::Async with its Redis client and worker. perl_peer.pl worker|client PORT CONCURRENCY WARMUP SECONDS SLOTS
use strict;
use warnings;
use IO::Async::Loop;
use Job::Async;
use Time::HiRes qw(time);

my ($role, $port, $concurrency, $warmup, $seconds, $slots) = @ARGV;
$| = 1;
my $loop = IO::Async::Loop->new;
$loop->add(my $jobs = Job::Async->new);
my $uri = "redis://127.0.0.1:$port";

if ($role eq 'worker') {
    my $worker = $jobs->worker(redis => {uri => $uri, max_concurrent_jobs => $slots});
    $worker->jobs->each(sub { $_->done($_->data('a') + $_->data('b')) });
    $worker->start;
    $loop->delay_future(after => 0.5)->then(sub { print "ready\n"; Future->done })->retain;
    $loop->run;
}

my $client = $jobs->client(redis => {uri => $uri});
$client->start->get;
my ($number, $since, $cpu, @latencies) = (0, 0, 0);
my $begins = time + $warmup;

sub cpu { my ($user, $system) = times; return $user + $system }

sub one {
    my $mine  = ++$number;
    my $begun = time;
    return $client->submit(a => $mine, b => 7)->on_done(sub {
        die "a wrong result: $_[0]" unless $_[0] == $mine + 7;
        my $now = time;
        if ($since) {
            push @latencies, $now - $begun;
            $loop->stop if $now > $since + $seconds;
        } elsif ($now > $begins) {
            print "measuring\n";
            ($since, $cpu) = (time, cpu());
        }
        $loop->later(\&again);
    });
}
sub again { one()->retain }
again() for 1 .. $concurrency;
$loop->run;
my $wall = time - $since;
$cpu = cpu() - $cpu;
@latencies = sort { $a <=> $b } @latencies;
printf qq({"jobs": %d, "seconds": %f, "cpu": %f, "p50": %f, "p99": %f}\n),
    scalar @latencies, $wall, $cpu, $latencies[@latencies / 2], $latencies[int(@latencies * 0.99)];
