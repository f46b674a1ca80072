use strict;
use warnings;

use FindBin;
use Future;
use Test::More;

use lib "$FindBin::RealBin/../lib", "$FindBin::RealBin/lib";

use TestRedis;

my $server = TestRedis->start;

subtest 'routing by data, and priority' => sub {
    my ($loop, $manager, $redis) = $server->fresh;
    my $client = $manager->client('redis::Recoverable' => {
        uri    => $server->uri,
        prefix => 'own',
        queue  => sub { $_[0]->data('urgent') ? 'high' : 'pending' },
    });
    $client->start->get;
    my @results = map { $client->submit(n => $_, urgent => $_ % 2, list => [$_]) } 1 .. 4;
    $loop->delay_future(after => 0.2)->get;
    is $redis->llen('own::high')->get,    2, 'two urgent ones';
    is $redis->llen('own::pending')->get, 2, 'two others';

    my $worker = $manager->worker('redis::Recoverable' => {
        uri            => $server->uri,
        prefix         => 'own',
        pending_queues => [qw(high pending)],
    });
    my @taken;
    $worker->jobs->each(sub { push @taken, $_->data('n'); $_->done($_->data('list')) });
    $worker->start->get;
    is_deeply [ map { $_->get } @results ], [ [1], [2], [3], [4] ], 'results';
    is_deeply \@taken, [ 1, 3, 2, 4 ], 'the urgent ones first, each queue in order';
    $worker->stop->get;
};

subtest 'failures' => sub {
    my ($loop, $manager, $redis) = $server->fresh;
    my $client = $manager->client('redis::Recoverable' => { uri => $server->uri });
    my $worker = $manager->worker('redis::Recoverable' => { uri => $server->uri, timeout => 0.3 });
    my %handler = (
        fail    => sub { $_[0]->fail('no', 'sorry') },
        die     => sub { die "ouch\n" },
        cancel  => sub { $_[0]->future->cancel },
        nothing => sub { },
        wide    => sub { $_[0]->done("\x{263a}") },
        done    => sub { $_[0]->done("\xff") },
    );
    $worker->jobs->each(sub { $handler{ $_[0]->data('op') }->($_[0]) });
    Future->needs_all($client->start, $worker->start)->get;
    my %expected = (
        fail    => 'sorry: no',
        die     => 'die: ouch',
        cancel  => 'cancelled: the job was cancelled',
        nothing => 'timeout: not done within 0.3 s',
        wide    => 'result: a wide character in the result: encode it',
    );
    my %job = map {
        $_ => Job::Async::Job->new(id => "id of $_", data => { op => $_ }, future => $loop->new_future)
    } sort keys %expected;
    my @waiting = map { $client->submit($job{$_}) } sort keys %expected;
    is $client->submit(op => 'done')->get, "\xff", 'the slot is free again each time';
    is scalar(grep { $_->is_ready } @waiting), 0, 'nobody is told';
    for my $op (sort keys %expected) {
        is_deeply $redis->hmget("job::id of $op", '_error', 'result')->get, [ $expected{$op}, undef ], $op;
    }
    is_deeply $redis->lrange('jobs::dead', 0, -1)->get, [ reverse map { "id of $_" } sort keys %expected ], 'dead';
    is_deeply [ ($client->submit(op => "\x{263a}")->await->failure)[1] ], ['submission'], 'a wide character is not submitted';
    $worker->stop->get;
};

subtest "Perl's own client and worker at the other side" => sub {
    my ($loop, $manager, $redis) = $server->fresh;
    for my $pair ([ 'redis', 'redis::Recoverable' ], [ 'redis::Recoverable', 'redis' ]) {
        my $client = $manager->client($pair->[0] => { uri => $server->uri });
        my $worker = $manager->worker($pair->[1] => { uri => $server->uri, max_concurrent_jobs => 4, job_poll_interval => 1 });
        $worker->jobs->each(sub { $_->done({ got => $_->data('value') }) });
        $client->start->get;
        $worker->start;
        $worker->trigger;
        my @values = ('text', "\xff", [ 1, 'two', undef, { three => 3.5 } ], {});
        for my $value (@values[ 0, 2, 3 ]) {
            is_deeply $client->submit(value => $value)->get, { got => $value }, "@$pair";
        }
        $worker->configure(max_concurrent_jobs => 0);
        $loop->delay_future(after => 1.2)->get;    # the pop in flight ends
        $worker->stop->get if $worker->isa('Jobwire::Redis::Worker');
        $manager->remove_child($_) for $client, $worker;
    }
    is_deeply $redis->keys('*')->get, [], 'nothing is left in Redis';
};

subtest 'a result without its tag' => sub {
    my ($loop, $manager, $redis) = $server->fresh;
    my $client = $manager->client('redis::Recoverable' => { uri => $server->uri, id => 'me' });
    $client->start->get;
    my %result = (untagged => 'xyz', broken => 'J{', empty => '');
    for my $id (sort keys %result) {
        my $f = $client->submit(Job::Async::Job->new(id => $id, data => {}, future => $loop->new_future));
        $redis->hset("job::$id", result => $result{$id})->then(sub { $redis->publish('client::me', $id) })->get;
        like +($f->await->failure)[0], qr/^cannot read the result/, $id;
        is $redis->exists("job::$id")->get, 1, '… and the hash is kept';
    }
    my $f = $client->submit(Job::Async::Job->new(id => 'lost', data => {}, future => $loop->new_future));
    $loop->delay_future(after => 0.01)->get until $redis->exists('job::lost')->get;
    $redis->del('job::lost')->then(sub { $redis->publish('client::me', 'lost') })->get;
    is_deeply [ ($f->await->failure)[1] ], ['lost'], 'a hash that vanished';

    my $forged = $client->submit(Job::Async::Job->new(id => 'forged', data => {}, future => $loop->new_future));
    $redis->publish('client::me', 'forged')->get;
    $loop->delay_future(after => 0.2)->get;
    ok !$forged->is_ready, 'a notice without a result says nothing as long as the hash is there';
    $redis->hmset('job::forged', result => 'Tdone')->then(sub { $redis->publish('client::me', 'forged') })->get;
    is $forged->get, 'done', '… and the result is taken when it comes';
};

done_testing;
