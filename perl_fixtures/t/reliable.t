use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::RealBin/../lib", "$FindBin::RealBin/lib";

use Jobwire::Reliable;
use TestRedis;

my $server = TestRedis->start;

sub eventually {
    my ($loop, $code) = @_;
    for(1 .. 100) { return 1 if $code->(); $loop->delay_future(after => 0.1)->get }
    return 0;
}

subtest 'a stock program, with the module' => sub {
    my ($loop, $manager, $redis) = $server->fresh;
    my $client = $manager->client(redis => { uri => $server->uri });
    my $worker = $manager->worker(redis => { uri => $server->uri, max_concurrent_jobs => 4, processing_queue => 'processing' });
    isa_ok $worker, $_ for qw(Job::Async::Worker::Redis::Reliable Job::Async::Worker::Redis);
    $worker->jobs->each(sub { $_->done({ got => $_->data('value') }) });
    Future->needs_all($client->start, $worker->start)->get;
    my $id = $worker->id;
    ok $redis->exists("jobs::worker::$id")->get, 'it says that it lives';
    is_deeply $redis->smembers('jobs::workers')->get, [$id], '… and is known';
    is $redis->hget('jobs::queues', $id)->get, 'jobs::pending', '… with its queue';
    my @values = ('text', "\xff", [ 1, 'two', undef ], {});
    is_deeply $client->submit(value => $_)->get, { got => $_ }, 'a result' for @values[ 0, 2, 3 ];
    $worker->stop->get;
    is_deeply $redis->keys('*')->get, [], 'nothing is left in Redis';
};

subtest 'a program that was killed says so at once' => sub {
    my ($loop, $manager, $redis) = $server->fresh;
    my $program = 'use Jobwire::Reliable; use IO::Async::Loop; use Job::Async; my $loop = IO::Async::Loop->new;'
        . '$loop->add(my $m = Job::Async->new); $m->worker(redis => { uri => shift, id => q(doomed) })->start->get; $loop->run';
    defined(my $pid = fork) or die "cannot fork: $!";
    exec $^X, "-I$FindBin::RealBin/../lib", '-e', $program, $server->uri unless $pid;
    ok eventually($loop, sub { $redis->exists('jobs::worker::doomed')->get }), 'it lives';
    is $redis->pttl('jobs::worker::doomed')->get > 20_000, 1, '… for half a minute without a beat';
    kill KILL => $pid;
    waitpid $pid, 0;
    ok eventually($loop, sub { !$redis->exists('jobs::worker::doomed')->get }), 'it does not';
    is_deeply $redis->smembers('jobs::workers')->get, ['doomed'], 'it stays known, for those who look after it';
};

subtest 'options' => sub {
    my $class = 'Job::Async::Worker::Redis';
    ok !eval { $class->new(uri => $server->uri, pending_queues => [qw(a b)]); 1 }, 'two queues';
    like $@, qr/^Only a single queue is supported in reliable mode/, '… are refused in the words of Perl';
    ok !eval { $class->new(uri => $server->uri, mode => 'simple'); 1 }, 'another mode';
    like $@, qr/^this is a worker of mode reliable, not simple/, '… too';
    @Sub::Class::ISA = $class;
    is ref(Sub::Class->new(uri => $server->uri)), 'Sub::Class', 'classes of users stay what they are';
};

done_testing;
