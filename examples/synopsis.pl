#!/usr/bin/env perl
# The synopsis of Perl's Job::Async::Redis: a client and a worker in one process.
#
#     perl examples/synopsis.pl redis://127.0.0.1
#
# examples/synopsis.py is its twin in Python. Either side of one works with the other side of the other.
use strict;
use warnings;

use IO::Async::Loop;
use Job::Async;

my $uri  = shift // 'redis://127.0.0.1';
my $loop = IO::Async::Loop->new;
$loop->add( my $jobman = Job::Async->new );

my $client = $jobman->client( redis => { uri => $uri } );
my $worker = $jobman->worker( redis => { uri => $uri } );

$worker->jobs->each( sub { $_->done( scalar reverse $_->data('some_data') ) } );

$client->start->get;
$worker->trigger;    # takes jobs from now on, as the loop runs

print $client->submit( some_data => 'reverse me please' )->get, "\n";
