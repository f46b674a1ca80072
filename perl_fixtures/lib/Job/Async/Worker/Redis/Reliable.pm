package Job::Async::Worker::Redis::Reliable;

use strict;
use warnings;

use Job::Async::Worker::Redis;
# The stock class last: for isa, and for methods that are not spoken of here.
use parent qw(Jobwire::Redis::Worker Job::Async::Worker::Redis);

use curry::weak;
use Future;
use Job::Async::Job;
use Job::Async::Redis;
use Jobwire::Redis::Heartbeat;
use Jobwire::Redis::JSON qw(to_json);
use Jobwire::Redis::Scripts qw(run_script);
use Jobwire::Text qw(octets text);
use JSON::MaybeUTF8 qw(:v1);
use JSON::MaybeXS ();
use Log::Any qw($log);
use MIME::Base64 qw(encode_base64);
use Time::HiRes ();

=encoding utf8

=head1 NAME

Job::Async::Worker::Redis::Reliable - a worker of the mode C<reliable> that may die

=head1 SYNOPSIS

 my $worker = $jobman->worker(
     'redis::Reliable' => { uri => 'redis://127.0.0.1', max_concurrent_jobs => 4 },
 );
 $worker->jobs->each(sub { $_->done(scalar reverse $_->data('some_data')) });
 $worker->start;

or, where C<< $jobman->worker(redis => …) >> is to stay as it is, L<Jobwire::Reliable>.

=head1 DESCRIPTION

Takes the jobs that L<Job::Async::Worker::Redis> takes, and gives their clients the same answers. The difference is what
happens on a bad day:

=over 4

=item *

It takes into a list of its own, C<< <prefix>::processing::<id> >>, and a process beside it says that it is alive
(L<Jobwire::Redis::Heartbeat>). When the worker dies, any jobwire worker of the prefix, or C<jobwire recover>, gives its
jobs back to the queue, and counts the loss.

=item *

A result is written only while the job is still in that list: if the job was given to another worker meanwhile, because this
one was thought dead, the other's result stands.

=item *

A job that fails, dies, is cancelled, exceeds C<timeout>, or returns what cannot be written, frees its slot. A client that
reads failures is told; for others the job goes to C<< <prefix>::dead >>, with the reason in C<_error> of its hash.

=item *

What cannot be read is set aside whole in C<< <prefix>::rejected >>, and the worker goes on.

=item *

When Redis was away the worker goes on by itself, with the results that it could not write.

=back

 BRPOPLPUSH pending processing::<worker id> 3
 HGETALL    job::<id>
 HMSET      job::<id> _started …
 EVALSHA    LREM processing::<worker id>; HSET job::<id> result …; PUBLISH client::<reply to> <id>

Needs Redis 6.2 or Valkey. C<stop> lets what was begun end, and gives the ID up.

=head1 OPTIONS

Those of L<Jobwire::Redis::Worker>, and

=over 4

=item heartbeat_ttl

Seconds after which a worker that gives no sign of life is dead, default 30. It beats three times as often. One that was
killed is found dead at once, one whose machine went away after this time.

=item max_losses

How many workers a job may lose until it goes to C<< <prefix>::dead >>, default 5. It counts where this worker has the ID of
one that died, and returns what that one left.

=item processing_queue

Accepted, because stock workers have it, and without effect: the list is the worker's own.

=back

A fixed C<id> must be given to one worker at a time. The default is a random one.

=cut

# Not before 0.004: readers of older releases do not know the fields of the times.
my $HAS_TIMES = Job::Async::Redis->VERSION >= 0.004;
my $ENVELOPE = qr/^\{.*"data"/s;
my $LONGEST_MESSAGE = 4000;

sub mode { 'reliable' }

sub configure {
    my ($self, %args) = @_;
    die 'Only a single queue is supported in ' . $self->mode . " mode\n"
        if @{ $args{pending_queues} // [] } > 1 and not $self->takes_many_queues;
    for my $k (qw(processing_queue heartbeat_ttl max_losses)) {
        $self->{$k} = delete $args{$k} if exists $args{$k};
    }
    return $self->next::method(%args);
}

sub heartbeat_ttl { shift->{heartbeat_ttl} //= 30 }
sub max_losses    { shift->{max_losses}    //= 5 }
sub takes_many_queues { 0 }
sub queue         { my ($self) = @_; return $self->prefixed_queue(($self->pending_queues)[0]) }
sub own_list      { my ($self) = @_; return $self->prefixed_queue('processing::' . $self->id) }

=head1 METHODS

=head2 start

Takes the ID, connects, and begins to take jobs. The future is done when it has, and fails where another worker keeps the
ID. A program that does not look at the future ends then: a worker that takes nothing should not look like one that does.

=cut

sub start {
    my ($self) = @_;
    return $self->{started} if $self->{started};
    my $started = $self->heartbeat->start->then(sub {
        return $_[0] ? $self->persistently('redis', $self->curry::weak::return_leftovers) : Future->done;
    })->then(sub {
        $self->look_after_list;
        $self->trigger;
        return Future->done($self);
    });
    $self->{started} = $started->on_fail($self->curry::weak::give_up)->retain;
    return $self->{started};
}

sub heartbeat {
    my ($self) = @_;
    return $self->{heartbeat} //= do {
        $self->add_child(my $heartbeat = Jobwire::Redis::Heartbeat->new(
            uri     => '' . $self->uri,
            prefix  => $self->prefix,
            id      => $self->id,
            home    => $self->home,
            ttl     => $self->heartbeat_ttl,
            beat    => $self->heartbeat_ttl / 3,
            on_lost => $self->curry::weak::give_up,
        ));
        $heartbeat;
    };
}

# What the fleet is told of the place of this worker's jobs (jobwire's PROTOCOL.md, RCV).
sub home { shift->queue }

=head2 give_up

Called with the reason where the worker can take no more jobs, because another has its ID: logs it and ends the program, so
that its supervisor starts it anew. What it had in hand is given to others. Override it to do something else.

=cut

sub give_up {
    my ($self, $why) = @_;
    $log->errorf('Worker %s ends: %s', $self->id, $why);
    $self->loop->later(sub { die "worker: $why\n" });
    return;
}

# -- taking

sub pop : method {
    my ($self) = @_;
    my ($queue, $wait) = ($self->queue, $self->job_poll_interval);
    my $pop = $self->queue_redis->brpoplpush($queue => $self->own_list, $wait)->then(sub {
        my ($id) = @_;
        return Future->done(defined $id && length $id ? ($queue, $id) : ());
    });
    return $pop unless $wait;    # for ever, as stock workers before 0.004
    return Future->wait_any($pop, $self->loop->timeout_future(after => $wait + 10));
}

# An ID may be in the list and nowhere else: a pop was answered to a connection that had gone. Seen twice, it is taken.
sub look_after_list {
    my ($self) = @_;
    my $again = $self->curry::weak::look_after_list;
    my $look = $self->curry::weak::take_stuck;
    my $loop = $self->loop;
    my $seen = $self->exchange(redis => sub { $_[0]->lrange($self->own_list, 0, -1) })->then($look)->else(sub { Future->done });
    $seen->on_ready(sub { $loop->watch_time(after => $self->heartbeat_ttl / 3, code => $again) unless $self->{stopping_future} })
        ->retain;
    return;
}

sub take_stuck {
    my ($self, $list) = @_;
    my %in_hand = map { $_ => 1 } values %{ $self->{in_hand} // {} };
    my @stuck = grep { !$in_hand{$_} } @$list;
    my $before = $self->{stuck} // {};
    $self->{stuck} = { map { $_ => 1 } @stuck };
    for my $id (grep { $before->{$_} } reverse @stuck) {
        last if keys %{ $self->{running} //= {} } >= $self->max_concurrent_jobs;
        delete $self->{stuck}{$id};
        $log->warnf('Job %s was in the list of worker %s, and not in hand: taken now', $id, $self->id);
        $self->take($self->queue, $id);
    }
    return Future->done;
}

sub return_leftovers {
    my ($self, $redis) = @_;
    my @keys = map { $self->prefixed_queue($_) } 'worker::' . $self->id, 'attempts', 'dead';
    return run_script(
        $redis, return_newest => [ $keys[0], $self->own_list, $self->queue, @keys[ 1, 2 ] ],
        $self->max_losses, 'lost its worker too often', 'job::', '_error', $self->heartbeat->nonce,
    )->then(sub { ref $_[0] ? $self->return_leftovers($redis) : Future->done });
}

sub take {
    my ($self, $queue, $id) = @_;
    if(grep { $_ eq $id } values %{ $self->{in_hand} //= {} }) {
        $log->errorf('Job %s is running here already: its second entry is dropped', $id);
        return $self->persistently(redis => sub { run_script($_[0], forget_duplicate => [ $self->own_list ], $id) })->retain;
    }
    my $slot = ++$self->{taken};
    $self->{in_hand}{$slot} = $id;
    my $in_hand = $self->{in_hand};
    return $self->next::method($queue, $id)->on_ready(sub { delete $in_hand->{$slot} });
}

sub load {
    my ($self, $queue, $id) = @_;
    return $self->persistently(redis => sub { $_[0]->hgetall("job::$id") })->then(sub {
        my %fields = @{ $_[0] };
        return $self->vanished($id, scalar %fields) unless grep { $_ ne '_started' } keys %fields;
        return $self->said_again($id, $fields{_reply_to} // '') if defined $fields{result};
        my %about = (
            queue    => $queue,
            reply_to => $fields{_reply_to} // '',
            failures => scalar grep({ $_ eq 'E' } split /,/, $fields{_accept} // ''),
        );
        # For `reject`, where what follows dies.
        $self->{told}{$id} = $about{reply_to} if $about{failures};
        my $expires = $fields{_expires};
        my $job = Job::Async::Job->new(
            id     => $id,
            data   => Job::Async::Job->structured_data(\%fields),
            future => $self->loop->new_future,
        );
        return $self->is_over($expires)->then(sub {
            delete $self->{told}{$id};
            return Future->done($job, %about, expired => $_[0]);
        });
    });
}

sub vanished {
    my ($self, $id, $has_ghost) = @_;
    die "an envelope where a job ID should be: a client of mode simple pushed it; "
        . "give client and worker the same mode, or queues of their own\n" if $id =~ $ENVELOPE;
    $log->warnf('There is no job::%s: nothing to run', $id);
    return $self->persistently(redis => sub {
        my ($redis) = @_;
        my $ghost = $has_ghost ? run_script($redis, delete_ghost => ["job::$id"], '_started') : Future->done;
        return $ghost->then(sub { $redis->lrem($self->own_list, 1, $id) });
    })->then(sub { Future->done });
}

sub said_again {
    my ($self, $id, $reply_to) = @_;
    return $self->persistently(redis => sub {
        my ($redis) = @_;
        return $redis->publish("client::$reply_to", $id)->then(sub { $redis->lrem($self->own_list, 1, $id) });
    })->then(sub { Future->done });
}

# By the server's clock, for that is by whose a client says it.
sub is_over {
    my ($self, $expires) = @_;
    return Future->done(0) unless defined $expires and $expires =~ /^[0-9.]+$/;
    return $self->persistently(redis => sub { $_[0]->time })->then(sub {
        my ($seconds, $micro) = @{ $_[0] };
        return Future->done($seconds + $micro / 1e6 > $expires ? 1 : 0);
    });
}

sub run {
    my ($self, $job, %about) = @_;
    my $id = $job->id;
    return $self->failed($job, \%about, "it expired before it was run", 'expired') if $about{expired};
    if($HAS_TIMES) {
        $about{started} = Time::HiRes::time();
    }
    my @marks = $self->marks(\%about);
    $self->exchange(redis => sub { $_[0]->hmset("job::$id", @marks) })->else(sub { Future->done })->retain if @marks;
    return $self->next::method($job, %about);
}

# The fields that say that the job has begun.
sub marks {
    my ($self, $about) = @_;
    return defined $about->{started} ? (_started => $about->{started}) : ();
}

# -- ending

sub finished {
    my ($self, $job, $about, $result) = @_;
    die "a reference to " . lc(ref $result) . " cannot be a result\n" if ref $result and ref $result !~ /^(?:ARRAY|HASH)$/;
    my $tagged = ref $result ? 'J' . encode_json_utf8($result) : 'T' . ($result // '');
    utf8::downgrade($tagged, 1) or die "a wide character in the result: encode it\n";
    return $self->completed($job->id, $about, $tagged);
}

sub failed {
    my ($self, $job, $about, $error, $category) = @_;
    chomp(my $message = "$error");
    $message = substr($message, 0, $LONGEST_MESSAGE) . '…' if length $message > $LONGEST_MESSAGE;
    my $id = $job->id;
    $log->errorf('Job %s failed: %s', $id, $message);
    return $self->completed($id, $about, failure_result($category // 'failed', $message)) if $about->{failures};
    return $self->bury($id, octets(join ': ', $category // (), $message))
        ->on_done(sub { $self->was_given_away($id) unless $_[0] });
}

sub bury {
    my ($self, $id, $reason) = @_;
    my @keys = ($self->own_list, "job::$id", $self->prefixed_queue('dead'));
    return $self->persistently(redis => sub { run_script($_[0], bury => \@keys, $id, '_error', $reason) });
}

sub failure_result {
    my ($type, $message, @more) = @_;
    return 'E' . to_json({ type => text($type) // 'failed', message => text($message) // 'a message in no text', @more });
}

sub completed {
    my ($self, $id, $about, $result) = @_;
    my @times = $HAS_TIMES ? ($about->{started} // Time::HiRes::time(), Time::HiRes::time()) : ();
    my @arguments = ($id, "client::$about->{reply_to}", $result, @times);
    return $self->persistently(redis => sub { run_script($_[0], complete => [ $self->own_list, "job::$id" ], @arguments) })
        ->on_done(sub { $self->was_given_away($id) unless $_[0] });
}

sub was_given_away {
    my ($self, $id) = @_;
    $log->warnf('Job %s was given to another worker meanwhile, or its result is written already: nothing is written', $id);
    return;
}

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
    my $reply_to = delete $self->{told}{$entry};
    my @told = defined $reply_to
        ? ("client::$reply_to", failure_result('JobDecodeError', $why, rejected => JSON::MaybeXS::true()))
        : ();
    my @keys = ($self->own_list, $self->prefixed_queue('rejected'), @told ? "job::$entry" : ());
    return $self->persistently(redis => sub { run_script($_[0], reject => \@keys, $entry, $record, @told) })
        ->then(sub { Future->done });
}

# -- talking to Redis

# One exchange on a connection; one that breaks, or does not answer, is forgotten.
sub exchange {
    my ($self, $which, $code) = @_;
    my $answer = Future->wrap($self->$which->connect)->then(sub { $code->($self->$which) });
    my $late = $self->loop->timeout_future(after => 10);
    return Future->wait_any($answer, $late)->on_fail(sub {
        $self->forget_connection($which) unless is_error_of_redis($_[0]);
    });
}

# Until Redis has answered: what was done must be written, whenever that is. An error that Redis answers is an answer.
sub persistently {
    my ($self, $which, $code) = @_;
    return $self->exchange($which, $code)->else(sub {
        my ($why, @details) = @_;
        return Future->fail($why, @details) if is_error_of_redis($why) and $why !~ /\b(?:LOADING|READONLY|MASTERDOWN|BUSY|OOM)\b/;
        $log->warnf('Redis did not answer worker %s, trying again: %s', $self->id, $why);
        return $self->loop->delay_future(after => $self->reconnect_delay)->then(sub { $self->persistently($which, $code) });
    });
}

sub is_error_of_redis { return $_[0] =~ /^(?:ERR|[A-Z]{4,}) / }

=head2 stop

Asks for nothing more. The future is done when the pop in flight has come back (at most C<job_poll_interval> seconds), every
job that was taken has ended, and the ID is given up.

=cut

sub stop {
    my ($self) = @_;
    my $stopped = $self->next::method;
    return $self->{gone} //= $stopped->then(sub { $self->heartbeat->stop })->retain;
}

1;
