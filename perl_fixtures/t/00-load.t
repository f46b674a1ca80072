use strict;
use warnings;

use FindBin;
use Pod::Checker;
use Test::More;

use lib "$FindBin::RealBin/../lib";

my @modules = qw(
    Job::Async::Client::Redis::Recoverable
    Job::Async::Client::Redis::Simple
    Job::Async::Worker::Redis::Recoverable
    Job::Async::Worker::Redis::Simple
    Jobwire::Peer::Client
    Jobwire::Peer::Operations
    Jobwire::Peer::Stack
    Jobwire::Peer::Values
    Jobwire::Peer::Worker
    Jobwire::Redis::Client
    Jobwire::Redis::JSON
    Jobwire::Redis::Jobs
    Jobwire::Redis::Worker
    Jobwire::SerealProtocol
    Jobwire::Text
);

for my $module (@modules) {
    require_ok $module;
    my $file = $INC{ $module =~ s{::}{/}gr . '.pm' };
    open my $messages, '>', \my $said;
    my $checker = Pod::Checker->new(-quiet => 0);
    $checker->parse_from_file($file, $messages);
    is $checker->num_errors + $checker->num_warnings, 0, "POD of $module" or diag $said;
}
isa_ok 'Job::Async::Client::Redis::Simple',      'Job::Async::Client';
isa_ok 'Job::Async::Client::Redis::Recoverable', 'Job::Async::Client';
isa_ok 'Job::Async::Worker::Redis::Simple',      'Job::Async::Worker';
isa_ok 'Job::Async::Worker::Redis::Recoverable', 'Job::Async::Worker';

my $lines = do { open my $peer, '<', "$FindBin::RealBin/../bin/peer.pl"; () = <$peer> };
cmp_ok $lines, '<=', 120, 'the peer is short';

done_testing;
