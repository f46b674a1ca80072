use strict;
use warnings;

use FindBin;
use Future;
use JSON::MaybeUTF8 qw(:v1);
use Test::More;

use lib "$FindBin::RealBin/../lib", "$FindBin::RealBin/lib";

use TestRedis;

my $server = TestRedis->start;

subtest 'routing by data, and priority' => sub {
    my ($loop, $manager, $redis) = $server->fresh;
    my $client = $manager->client('redis::Simple' => {
        uri   => $server->uri,
        queue => sub { $_[0]->data('urgent') ? 'high' : 'pending' },
    });
    $client->start->get;
    my @lengths;
    $client->queue_length->each(sub { push @lengths, $_[0] });
    my @results = map { $client->submit(n => $_, urgent => $_ % 2) } 1 .. 4;
    $loop->delay_future(after => 0.2)->get;
    is $redis->llen('jobs::high')->get,    2, 'two urgent ones';
    is $redis->llen('jobs::pending')->get, 2, 'two others';
    is_deeply \@lengths, [ 1, 1, 2, 2 ], 'queue_length';

    my $worker = $manager->worker('redis::Simple' => { uri => $server->uri, pending_queues => [qw(high pending)] });
    my @taken;
    $worker->jobs->each(sub { push @taken, $_->data('n'); $_->done($_->data('n') * 10) });
    $worker->start->get;
    is_deeply [ map { $_->get } @results ], [ 10, 20, 30, 40 ], 'results';
    is_deeply \@taken, [ 1, 3, 2, 4 ], 'the urgent ones first, each queue in order';
    $worker->stop->get;
};

subtest 'failures' => sub {
    my ($loop, $manager) = $server->fresh;
    my $client = $manager->client('redis::Simple' => { uri => $server->uri });
    my $worker = $manager->worker('redis::Simple' => { uri => $server->uri, timeout => 0.3 });
    my %handler = (
        fail     => sub { $_[0]->fail('no', 'sorry') },
        plain    => sub { $_[0]->fail('no') },
        die      => sub { die { code => 7 } },
        cancel   => sub { $_[0]->future->cancel },
        nothing  => sub { },
        object   => sub { $_[0]->done(bless {}, 'Some::Class') },
        bytes    => sub { $_[0]->fail("\xff\n") },
        large    => sub { $_[0]->done('x' x (9 * 1024 * 1024)) },
        done     => sub { $_[0]->done({ text => "\x{263a}" }) },
    );
    $worker->jobs->each(sub { $handler{ $_[0]->data('op') }->($_[0]) });
    Future->needs_all($client->start, $worker->start)->get;
    my %expected = (
        fail    => [ 'no', 'job', 'sorry' ],
        plain   => [ 'no', 'job', 'fail' ],
        cancel  => [ 'the job was cancelled', 'job', 'cancelled' ],
        nothing => [ 'not done within 0.3 s', 'job', 'timeout' ],
        object  => [ 'JSON cannot hold an object of class Some::Class', 'job', 'result' ],
        bytes   => [ '\\xff', 'job', 'fail' ],
    );
    for my $op (sort keys %expected) {
        is_deeply [ ($client->submit(op => $op)->await->failure)[ 0 .. 2 ] ], $expected{$op}, $op;
    }
    like +($client->submit(op => 'die')->await->failure)[0], qr/^HASH/, 'die with a reference';
    like +($client->submit(op => 'large')->await->failure)[0], qr/^the reply has 9437\d+ bytes/, 'a reply of more than 8 MiB';
    is_deeply $client->submit(op => 'done')->get, { text => "\x{263a}" }, 'and the worker goes on';
    is_deeply [ ($client->submit(op => "\xff")->await->failure)[1] ], ['submission'], 'what JSON cannot hold is not submitted';
    $worker->stop->get;
};

subtest 'a deadline, a late reply, a job given up' => sub {
    my ($loop, $manager, $redis) = $server->fresh;
    my $client = $manager->client('redis::Simple' => { uri => $server->uri, id => 'me', timeout => 0.2 });
    $client->start->get;
    my $late = $client->submit(Job::Async::Job->new(id => 'late', data => {}, future => $loop->new_future));
    is_deeply [ $late->await->failure ], [ 'no result within 0.2 s', 'timeout', 'late' ], 'the deadline';
    $redis->publish('client::me' => '{"id":"late","result":1}')->get;
    my $job = Job::Async::Job->new(id => 'cancelled', data => {}, future => $loop->new_future);
    $client->submit($job);
    $job->future->cancel;
    $redis->publish('client::me' => '{"id":"cancelled","result":1}')->get;
    my $answered = $client->submit(Job::Async::Job->new(id => "\xe2\x98\xba", data => {}, future => $loop->new_future));
    $redis->publish('client::me' => "{\"id\":\"\xe2\x98\xba\",\"result\":[true]}")->get;
    ok $answered->get->[0], 'the client goes on';
};

subtest 'a worker of the wrong mode' => sub {
    my (undef, $manager) = $server->fresh;
    ok !eval { $manager->worker('redis::Simple' => { uri => $server->uri, mode => 'reliable' }); 1 }, 'is refused';
    like $@, qr/this is a worker of mode simple, not reliable/, '… with the reason';
    ok $manager->worker('redis::Simple' => { uri => $server->uri, mode => 'simple' }), 'and the right one is not';
};

done_testing;
