use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::RealBin/../lib", "$FindBin::RealBin/lib";

use Job::Async::Test::Compliance;
use TestRedis;

# The compliance test of Job::Async: 2,531 sums, 1, 2, 4, 8 and 50 at a time. Its clients and workers stay in the loop
# when it is done, so each run has a prefix of its own.

my $server = TestRedis->start;
my ($loop, undef, $redis) = $server->fresh;

for my $type (qw(redis::Simple redis::Recoverable)) {
    for my $use_multi (0, 1) {
        my %common = (uri => $server->uri, use_multi => $use_multi, prefix => "$type $use_multi");
        $loop->add(my $compliance = Job::Async::Test::Compliance->new);
        my $test = $compliance->test($type, worker => { %common, max_concurrent_jobs => 4 }, client => \%common);
        my $elapsed = eval { Future->wait_any($test, $loop->timeout_future(after => 60))->get } or diag $@;
        ok $elapsed, sprintf '%s, use_multi %d: %.1f s', $type, $use_multi, $elapsed // 0;
    }
}
$loop->delay_future(after => 0.2)->get;
# Nobody stops these workers, so they are still known.
my @left = grep { !/::(?:workers|queues|worker::[^:]+)$/ } @{ $redis->keys('*')->get };
is_deeply \@left, [], 'no job is left in Redis';

done_testing;
