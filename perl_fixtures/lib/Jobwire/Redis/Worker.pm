package Jobwire::Redis::Worker;

use strict;
use warnings;

use parent qw(Job::Async::Worker);

use curry::weak;
use Future;
use Job::Async::Utils;
use Jobwire::Redis::Client;
use Jobwire::Redis::Jobs;
use Jobwire::Redis::JSON qw(to_json);
use Log::Any qw($log);
use MIME::Base64 qw(encode_base64);
use Net::Async::Redis;
use Time::HiRes ();

=head1 NAME

Jobwire::Redis::Worker - what the workers of the modes C<simple> and C<recoverable> share

=head1 DESCRIPTION

A subclass says how a queue entry becomes a job (C<load>) and what is written when the job has ended (C<finish>). This
class pops with BRPOP, from several queues in order of priority, keeps the slots, the time-outs and the stop.

Unlike in L<Job::Async::Worker::Redis> a job that fails, is cancelled, times out or cannot be read frees its slot, and
a handler that dies fails its job only.

=head1 OPTIONS

Besides C<id> and C<timeout> (seconds that a handler may take) of L<Job::Async::Worker>:

=over 4

=item uri

Of the server, C<redis://host:port>.

=item prefix

Before the names of queues, default C<jobs>; empty for none. Client and worker must agree.

=item pending_queues

Names of queues, the most urgent first. Default C<['pending']>.

=item max_concurrent_jobs

Default 1.

=item job_poll_interval

Seconds that one BRPOP waits, default 3. A stop waits for it: a pop whose connection is closed could lose a job.

=item use_multi

Whether to complete jobs inside MULTI and EXEC. Default: no.

=item reconnect_delay

Seconds before the next attempt when Redis is away, default 1.

=item mode

May be given, and must then be the mode of this class.

=back

=head1 METHODS

=cut

sub configure {
    my ($self, %args) = @_;
    my $mode = delete $args{mode} // $self->mode;
    die 'this is a worker of mode ' . $self->mode . ", not $mode\n" if $mode ne $self->mode;
    for my $k (qw(uri prefix pending_queues max_concurrent_jobs job_poll_interval use_multi reconnect_delay)) {
        $self->{$k} = delete $args{$k} if exists $args{$k};
    }
    return $self->next::method(%args);
}

sub uri                 { shift->{uri} }
sub prefix              { shift->{prefix} //= 'jobs' }
sub pending_queues      { @{ shift->{pending_queues} //= ['pending'] } }
sub max_concurrent_jobs { shift->{max_concurrent_jobs} //= 1 }
sub job_poll_interval   { shift->{job_poll_interval} //= 3 }
sub use_multi           { shift->{use_multi} }
sub reconnect_delay     { shift->{reconnect_delay} //= 1 }

sub prefixed_queue {
    my ($self, $queue) = @_;
    return length $self->prefix ? join '::', $self->prefix, $queue : $queue;
}

sub queue_redis { $_[0]{queue_redis} //= $_[0]->new_connection }
sub redis       { $_[0]{redis}       //= $_[0]->new_connection }

sub new_connection {
    my ($self) = @_;
    $self->add_child(my $redis = Net::Async::Redis->new(uri => $self->uri));
    return $redis;
}

=head2 jobs

The L<Ryu::Source> of L<Job::Async::Job> objects. Attach the handler with C<each>; it ends each job with C<done> or
C<fail>.

=cut

sub jobs {
    my ($self) = @_;
    return $self->{jobs} //= bless $self->ryu->source(label => 'jobs'), 'Jobwire::Redis::Jobs';
}

=head2 start

Connects and begins to take jobs. The future is done when both connections stand.

=cut

sub start {
    my ($self) = @_;
    return Future->needs_all($self->queue_redis->connect, $self->redis->connect)->then(sub {
        $self->trigger;
        return Future->done($self);
    })->retain;
}

=head2 trigger

Asks for a job, if a slot is free and none has been asked for. Called by itself whenever that changes.

=cut

sub trigger {
    my ($self) = @_;
    return $self->check_stopped if $self->{stopping_future};
    return if $self->{popping} or keys %{ $self->{running} //= {} } >= $self->max_concurrent_jobs;
    $self->{popping} = 1;
    # Connected first: Net::Async::Redis 2 keeps a command that it could not send, and takes the next reply for its answer.
    Future->wrap($self->queue_redis->connect)->then($self->curry::weak::pop)
        ->on_done($self->curry::weak::popped)->on_fail($self->curry::weak::not_popped)->retain;
    return;
}

# A future of queue and entry, or of nothing where there was none.
sub pop : method {
    my ($self) = @_;
    my @queues = map { $self->prefixed_queue($_) } $self->pending_queues;
    return $self->queue_redis->brpop(@queues, $self->job_poll_interval)->then(sub {
        my ($reply) = @_;
        return Future->done($reply && @$reply == 2 ? @$reply : ());
    });
}

sub popped {
    my ($self, @taken) = @_;
    delete $self->{popping};
    delete $self->{cannot_pop};
    $self->take(@taken) if @taken;
    # Later, because a reply that is there already would otherwise make this recursive.
    $self->loop->later($self->curry::weak::trigger);
    return;
}

sub not_popped {
    my ($self, $why) = @_;
    $log->errorf('Worker %s cannot pop, trying again every %s s: %s', $self->id, $self->reconnect_delay, $why)
        unless $self->{cannot_pop}++;
    $self->forget_connection('queue_redis');
    my $again = $self->curry::weak::trigger;
    my $popping = \$self->{popping};
    $self->loop->watch_time(after => $self->reconnect_delay, code => sub { undef $$popping; $again->() });
    return;
}

# A connection that failed is not used again: what it still waits for would be answered by the replies of the next one.
sub forget_connection {
    my ($self, $which) = @_;
    my $old = delete $self->{$which} or return;
    eval { $self->remove_child($old) };
    return;
}

sub take {
    my ($self, $queue, $entry) = @_;
    my $slot = $self->{slots}++;
    $self->{running}{$slot} = 1;
    my $run = $self->curry::weak::run;
    my $free = $self->curry::weak::free;
    my $load = eval { $self->load($queue, $entry) } // Future->fail("$@");
    return $load->else($self->curry::weak::reject($queue, $entry))
        ->then(sub { @_ ? $run->(@_) : Future->done })
        ->on_fail(sub { $log->errorf('An entry of %s came to nothing: %s', $queue, $_[0]) })
        ->on_ready(sub { $free->($slot) })->retain;
}

sub free {
    my ($self, $slot) = @_;
    delete $self->{running}{$slot};
    return $self->trigger;
}

# Hands the job to its handler; done when what the job came to is written.
sub run {
    my ($self, $job, %about) = @_;
    $about{started} = Time::HiRes::time();
    my $ended = $self->loop->new_future;
    $job->future->on_ready(sub {
        my ($f) = @_;
        my ($error, $category) = $f->is_cancelled ? ('the job was cancelled', 'cancelled') : $f->failure;
        my $written = defined $error
            ? $self->failed($job, \%about, $error, $category)
            : eval { $self->finished($job, \%about, ($f->get)[0]) } // $self->failed($job, \%about, "$@", 'result');
        $written->on_ready($ended)->retain;
    });
    $self->watch($job) if $self->timeout;
    $self->jobs->emit($job);
    return $ended;
}

sub watch {
    my ($self, $job) = @_;
    my ($loop, $timeout) = ($self->loop, $self->timeout);
    my $timer = $loop->watch_time(after => $timeout, code => sub {
        $job->fail("not done within $timeout s", 'timeout') unless $job->is_ready;
    });
    $job->future->on_ready(sub { $loop->unwatch_time($timer) });
    return;
}

# Sets an entry aside that cannot be read: a list of JSON objects, the same for every worker of these queues.
sub reject {
    my ($self, $queue, $entry, $why) = @_;
    chomp $why;
    $log->errorf('Entry of %s set aside in %s: %s', $queue, $self->prefixed_queue('rejected'), $why);
    my $record = to_json({
        at     => Time::HiRes::time(),
        worker => $self->id,
        queue  => $queue,
        reason => $why,
        entry  => { '$bytes' => encode_base64($entry, '') },
    });
    return $self->redis->lpush($self->prefixed_queue('rejected'), $record)->then(sub { Future->done });
}

=head2 stop

Asks for nothing more. The future is done when the pop in flight has come back (at most C<job_poll_interval> seconds)
and every job that was taken has ended.

=cut

sub stop {
    my ($self) = @_;
    $self->{stopping_future} //= $self->loop->new_future;
    $self->check_stopped;
    return $self->{stopping_future};
}

sub check_stopped {
    my ($self) = @_;
    return if $self->{popping} or %{ $self->{running} // {} };
    $self->{stopping_future}->done unless $self->{stopping_future}->is_ready;
    return;
}

sub together {
    my ($self, $code) = @_;
    return Jobwire::Redis::Client::commands_of($self->redis, $self->use_multi, $code);
}

1;
