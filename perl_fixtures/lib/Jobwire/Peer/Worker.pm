package Jobwire::Peer::Worker;

use strict;
use warnings;

use Jobwire::Peer::Operations;
use Jobwire::Peer::Stack;
use Jobwire::Peer::Values qw(to_tagged);

=head1 NAME

Jobwire::Peer::Worker - the worker role of the peer: a real Job::Async worker

=cut

sub new {
    my ($class, %args) = @_;
    return bless { %args, running => {}, count => 0 }, $class;
}

sub start {
    my ($self) = @_;
    my $start = $self->{start};
    my $worker = $self->{worker} = $self->{manager}->worker(
        Jobwire::Peer::Stack::type_for($start) => { Jobwire::Peer::Stack::arguments($start) }
    );
    $worker->jobs->each(sub {
        my ($job) = @_;
        my $key = ++$self->{count};
        $self->{running}{$key} = $job->future;
        $job->future->on_ready(sub { delete $self->{running}{$key} });
        $self->{say}->(job => id => to_tagged($job->id), data => to_tagged($job->data));
        Jobwire::Peer::Operations->run($job, $self->{loop});
    });
    # Not awaited in the stock class: 0.003 answers with the pop itself, which ends when the first job comes.
    my $started = $worker->start;
    my $connected = $worker->isa('Jobwire::Redis::Worker') ? $started : $worker->queue_redis->connect;
    # The pop was asked for before this, so it is written when the connection stands and the loop has turned once.
    return $connected->then(sub { $self->{loop}->delay_future(after => 0) })->then(sub {
        $self->{say}->(ready => worker_id => to_tagged($worker->id));
        Future->done;
    });
}

sub count { shift->{count} }

# Asks for no further job. One pop may still be in flight; what it brings is not lost in mode reliable, and the stop of
# the other modes waits for it.
sub running {
    my ($self) = @_;
    my $worker = $self->{worker};
    $worker->configure(max_concurrent_jobs => 0);
    return (values %{ $self->{running} }, $worker->isa('Jobwire::Redis::Worker') ? $worker->stop : ());
}

# Its connections: the one on which results may still be on their way (made by the first job), and the one that pops.
sub connections {
    my ($self) = @_;
    return ([ $self->{count} ? $self->{worker}->redis : () ], [ $self->{worker}->queue_redis ]);
}

1;
