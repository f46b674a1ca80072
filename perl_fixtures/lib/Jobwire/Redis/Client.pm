package Jobwire::Redis::Client;

use strict;
use warnings;

use parent qw(Job::Async::Client);

use curry::weak;
use Future;
use Job::Async::Job;
use Job::Async::Utils;
use Log::Any qw($log);
use Net::Async::Redis;
use Ryu::Async;

=head1 NAME

Jobwire::Redis::Client - what the clients of the modes C<simple> and C<recoverable> share

=head1 DESCRIPTION

A subclass says how a job is submitted (C<submission>) and what a message on the client's channel means
(C<on_notice>). This class connects, subscribes before anything is pushed, subscribes again when the connection was
lost, chooses the queue, and keeps the deadlines.

=head1 OPTIONS

Besides C<id> of L<Job::Async::Client>:

=over 4

=item uri

Of the server, C<redis://host:port>.

=item prefix

Before the names of queues, default C<jobs>; empty for none. Client and worker must agree.

=item queue

The name of the pending queue, default C<pending>; or code that is given the L<Job::Async::Job> and returns the name:
this is how jobs are routed to queues of different priority.

=item timeout

Seconds after which a job without a result fails (category C<timeout>). Default: never.

=item use_multi

Whether to submit inside MULTI and EXEC. Default: no.

=item reconnect_delay

Seconds between attempts to subscribe again, default 1.

=back

=head1 METHODS

=cut

use constant ABANDONED => 10_000;    # how many jobs that nobody waits for are remembered

sub configure {
    my ($self, %args) = @_;
    for my $k (qw(uri prefix queue use_multi reconnect_delay)) {
        $self->{$k} = delete $args{$k} if exists $args{$k};
    }
    return $self->next::method(%args);
}

sub uri             { shift->{uri} }
sub prefix          { shift->{prefix} //= 'jobs' }
sub use_multi       { shift->{use_multi} }
sub reconnect_delay { shift->{reconnect_delay} //= 1 }
sub submitter       { shift->{submitter} }
sub subscriber      { shift->{subscriber} }
sub channel         { 'client::' . shift->id }

sub queue {
    my ($self, $job) = @_;
    my $queue = $self->{queue} //= 'pending';
    return ref $queue ? $queue->($job) : $queue;
}

sub prefixed_queue {
    my ($self, $queue) = @_;
    return length $self->prefix ? join '::', $self->prefix, $queue : $queue;
}

sub _add_to_loop {
    my ($self) = @_;
    $self->{submitter} = $self->new_connection;
    $self->add_child($self->{ryu} = Ryu::Async->new);
    return;
}

sub new_connection {
    my ($self) = @_;
    $self->add_child(my $redis = Net::Async::Redis->new(uri => $self->uri));
    return $redis;
}

=head2 start

Connects and subscribes. The future is done when a job may be submitted.

=cut

sub start {
    my ($self) = @_;
    return $self->submitter->connect->then(sub { $self->listen });
}

# A connection that was lost is not used again: Net::Async::Redis 2 would take the old subscription for the new one.
sub listen {
    my ($self) = @_;
    if(my $old = delete $self->{subscriber}) {
        $self->remove_child($old);
    }
    my $subscriber = $self->{subscriber} = $self->new_connection;
    return $subscriber->connect->then(sub { $subscriber->subscribe($self->channel) })->then(sub {
        my ($subscription) = @_;
        my $events = $subscription->events;
        my $on_notice = $self->curry::weak::on_notice;
        $events->map('payload')->each(sub {
            my ($payload) = @_;
            # Dying here would end the subscription.
            eval { $on_notice->($payload); 1 } or $log->errorf('Cannot read a notice: %s', $@);
        });
        $events->completed->on_ready($self->curry::weak::listen_again);
        $self->sweep;
        return Future->done($self);
    });
}

sub listen_again {
    my ($self) = @_;
    return unless my $loop = $self->loop;
    $log->warnf('Client %s has lost its subscription, subscribing again in %s s', $self->id, $self->reconnect_delay);
    my $again = $self->curry::weak::listen_again;
    my $listen = $self->curry::weak::listen;
    $loop->delay_future(after => $self->reconnect_delay)->then($listen)->on_fail($again)->retain;
    return;
}

# What has finished while nobody listened; only where results are kept.
sub sweep { }

=head2 submit

As L<Job::Async::Client::Redis/submit>: takes key and value pairs, or one L<Job::Async::Job>, and returns a future of
the result.

=cut

sub submit {
    my $self = shift;
    my $job = @_ == 1 ? shift : Job::Async::Job->new(
        future => $self->loop->new_future,
        id     => Job::Async::Utils::uuid(),
        data   => {@_},
    );
    my $id = $job->id;
    # Known before it is written: a fast worker's notice may overtake the server's answer.
    $self->{pending_job}{$id} = $job;
    my $submitting = eval { $self->submission($job, $self->prefixed_queue($self->queue($job))) };
    unless($submitting) {
        chomp(my $why = $@);
        delete $self->{pending_job}{$id};
        $job->fail($why, 'submission', $id) unless $job->is_ready;
        return $job->future;
    }
    $job->future->on_ready(sub { $self->settled($id, @_) });
    $self->watch($job) if defined $self->timeout;
    return $submitting->on_done(sub { $self->queue_length->emit($_[0]) })
        ->on_fail(sub { $job->fail($_[0], 'submission', $id) unless $job->is_ready })
        ->then(sub { $job->future })
        ->retain;
}

sub watch {
    my ($self, $job) = @_;
    my ($loop, $timeout) = ($self->loop, $self->timeout);
    my $timer = $loop->watch_time(after => $timeout, code => sub {
        $job->fail("no result within $timeout s", 'timeout', $job->id) unless $job->is_ready;
    });
    $job->future->on_ready(sub { $loop->unwatch_time($timer) });
    return;
}

# A job that was given up may still end: its result is then thrown away, and not taken for somebody else's.
sub settled {
    my ($self, $id, $f) = @_;
    delete $self->{pending_job}{$id};
    return if $f->is_done;
    $self->{abandoned}{$id} = 1;
    push @{ $self->{abandoned_order} }, $id;
    delete $self->{abandoned}{ shift @{ $self->{abandoned_order} } } while @{ $self->{abandoned_order} } > ABANDONED;
    return;
}

sub pending_job { $_[0]{pending_job}{ $_[1] } }

=head2 queue_length

A L<Ryu::Source> of the length of the queue after each submission.

=cut

sub queue_length {
    my ($self) = @_;
    return $self->{queue_length} //= $self->{ryu}->source(label => 'pending jobs');
}

# Runs code that gives futures of commands, inside MULTI and EXEC where that is wanted; gives what the last one gave.
sub together {
    my ($self, $code) = @_;
    return commands_of($self->submitter, $self->use_multi, $code);
}

sub commands_of {
    my ($redis, $use_multi, $code) = @_;
    my @last;
    my $run = sub {
        my @futures = $code->($_[0]);
        $futures[-1]->on_done(sub { @last = @_ });
        return Future->needs_all(@futures);
    };
    return ($use_multi ? $redis->multi($run) : $run->($redis))->then(sub { Future->done(@last) });
}

1;
