package Job::Async::Worker::Redis::Recoverable;

use strict;
use warnings;

use parent qw(Job::Async::Worker::Redis::Reliable);

use Future;
use Jobwire::Redis::Scripts qw(run_script);
use Jobwire::Redis::Worker;
use Time::HiRes ();

=encoding utf8

=head1 NAME

Job::Async::Worker::Redis::Recoverable - worker of the mode C<recoverable> that L<Job::Async::Redis> documents

=head1 SYNOPSIS

 my $worker = $jobman->worker(
     'redis::Recoverable' => {
         uri            => 'redis://127.0.0.1',
         pending_queues => [qw(high pending)],
     }
 );
 $worker->jobs->each(sub { $_->done(scalar reverse $_->data('some_data')) });
 $worker->start->get;

=head1 DESCRIPTION

The other side of L<Job::Async::Client::Redis::Recoverable>, and of L<Job::Async::Client::Redis>. Each job that it begins
bears a mark: C<_worker>, its ID, and C<_queue>, where the job came from. A process beside it says that it is alive
(L<Jobwire::Redis::Heartbeat>); when it dies, any jobwire worker of the prefix, or C<jobwire recover>, gives its jobs back.

A worker of B<one queue> takes into a list of its own, as L<Job::Async::Worker::Redis::Reliable> does, of which this is a
subclass: no job is without an owner for a moment, and a result is written only while the job is still this worker's.

A worker of B<several queues>, the most urgent first, pops: Redis has no command that waits at several queues and moves. So
does one with the option C<processing_queue>, whatever it says.

 BRPOP   high pending 3
 HGETALL job::<id>
 HMSET   job::<id> _started … _worker … _queue …
 HMSET   job::<id> _processed … result …
 PUBLISH client::<reply_to> <id>

One that is killed between the pop and the mark leaves a hash without a result, and the ID in no list: to find such jobs is
left to the operator (C<jobwire recover --adopt-unmarked>).

For options and methods, for jobs that fail and for entries that cannot be read see L<Job::Async::Worker::Redis::Reliable>.

=cut

sub mode              { 'recoverable' }
sub takes_many_queues { 1 }

sub is_in_list {
    my ($self) = @_;
    my @queues = $self->pending_queues;
    return @queues == 1 && !defined $self->{processing_queue};
}

sub home {
    my ($self) = @_;
    return $self->queue if $self->is_in_list;
    return join '', map { "\0" . $self->prefixed_queue($_) } $self->pending_queues;
}

sub marks {
    my ($self, $about) = @_;
    return ($self->SUPER::marks($about), _worker => $self->id, _queue => $about->{queue});
}

# -- several queues: no list

sub pop : method {
    my ($self) = @_;
    return $self->is_in_list ? $self->SUPER::pop : $self->Jobwire::Redis::Worker::pop;
}

sub look_after_list  { my ($self, @rest) = @_; return $self->is_in_list ? $self->SUPER::look_after_list(@rest)  : () }
sub return_leftovers { my ($self, @rest) = @_; return $self->is_in_list ? $self->SUPER::return_leftovers(@rest) : Future->done }

sub completed {
    my ($self, $id, $about, $result) = @_;
    return $self->SUPER::completed($id, $about, $result) if $self->is_in_list;
    my @fields = (result => $result);
    push @fields, _processed => Time::HiRes::time() if defined $about->{started};
    return $self->persistently(redis => sub {
        my ($redis) = @_;
        return $redis->hmset("job::$id", @fields)->then(sub { $redis->publish("client::$about->{reply_to}", $id) });
    });
}

sub bury {
    my ($self, $id, $reason) = @_;
    return $self->SUPER::bury($id, $reason) if $self->is_in_list;
    my @keys = ("job::$id", $self->prefixed_queue('dead'));
    return $self->persistently(redis => sub { run_script($_[0], bury_marked => \@keys, $id, '_worker', '_error', $reason) });
}

sub reject {
    my ($self, $queue, $entry, $why) = @_;
    return $self->SUPER::reject($queue, $entry, $why) if $self->is_in_list;
    return $self->Jobwire::Redis::Worker::reject($queue, $entry, $why);
}

1;
