package Job::Async::Client::Redis::Recoverable;

use strict;
use warnings;

use parent qw(Jobwire::Redis::Client);

use curry::weak;
use Future;
use JSON::MaybeUTF8 qw(:v1);
use Log::Any qw($log);
use Time::HiRes ();

=encoding utf8

=head1 NAME

Job::Async::Client::Redis::Recoverable - client of the mode C<recoverable> that L<Job::Async::Redis> documents

=head1 SYNOPSIS

 my $client = $jobman->client(
     'redis::Recoverable' => {
         uri   => 'redis://127.0.0.1',
         queue => sub { $_[0]->data('urgent') ? 'high' : 'pending' },
     }
 );
 $client->start->get;
 print $client->submit(some_data => 'reverse me please')->get;

=head1 DESCRIPTION

A job is a hash in Redis and its ID is pushed on a list; the result is written to the hash, and the ID published on the
client's channel. The commands are those of L<Job::Async::Client::Redis>, which can therefore feed the workers of this
mode (from one queue), as this client can be served by a L<Job::Async::Worker::Redis>.

 HMSET job::<id> _reply_to … _queued … text_… sereal_…
 LPUSH jobs::pending <id>
 HMGET job::<id> result
 DEL   job::<id>

When the connection was lost, the hashes of the jobs that still wait are looked at again, so that no result is missed.
A notice for a job of which this client knows nothing makes it do nothing.

For options and methods see L<Jobwire::Redis::Client>.

=cut

sub client { shift->{client} }

sub _add_to_loop {
    my ($self, @args) = @_;
    $self->next::method(@args);
    $self->{client} = $self->new_connection;
    return;
}

sub start {
    my ($self) = @_;
    return Future->needs_all($self->client->connect, $self->SUPER::start)->then(sub { Future->done($self) });
}

sub submission {
    my ($self, $job, $queue) = @_;
    my ($key, %fields) = ('job::' . $job->id, %{ $job->flattened_data });
    # Written to the socket it would end the event loop.
    utf8::downgrade(my $copy = $_, 1) or die "a wide character in a parameter: encode it\n" for grep { defined } %fields;
    return $self->together(sub {
        my ($redis) = @_;
        return (
            $redis->hmset($key, _reply_to => $self->id, _queued => Time::HiRes::time(), %fields),
            $redis->lpush($queue, $job->id),
        );
    });
}

sub on_notice {
    my ($self, $id) = @_;
    return $self->collect($id, 1) if $self->pending_job($id);
    return unless delete $self->{abandoned}{$id};
    $self->client->del("job::$id")->retain;
    return;
}

sub sweep {
    my ($self) = @_;
    $self->collect($_, 0) for keys %{ $self->{pending_job} // {} };
    return;
}

# Fetches a result. After a notice there has to be one.
sub collect {
    my ($self, $id, $noticed) = @_;
    my $key = "job::$id";
    $self->client->hmget($key, 'result')->then(sub {
        my ($result) = @{ $_[0] };
        my $job = $self->pending_job($id) or return Future->done;
        return $noticed ? $self->lost_or_not_done($job, $key) : Future->done unless defined $result;
        # Bad JSON stays in Redis, to be looked at.
        my @value = eval { decoded($result) } or return Future->done($job->fail("cannot read the result: $@", 'result'));
        $job->done(@value);
        return $self->client->del($key);
    })->on_fail(sub { $self->not_collected($id, $noticed, $_[0]) })->retain;
    return;
}

# A notice that comes without a result says nothing as long as the hash is there: anybody may publish one.
sub lost_or_not_done {
    my ($self, $job, $key) = @_;
    return $self->client->exists($key)->then(sub {
        my ($there) = @_;
        $job->fail("the notice came, but $key holds no result: it is gone", 'lost') unless $there or $job->future->is_ready;
        return Future->done;
    });
}

# The connection was lost meanwhile. What is still waited for is asked for again.
sub not_collected {
    my ($self, $id, $noticed, $why) = @_;
    $log->errorf('Cannot fetch and delete job::%s: %s', $id, $why);
    my $collect = $self->curry::weak::collect($id, $noticed);
    $self->loop->watch_time(after => $self->reconnect_delay, code => sub { $collect->() }) if $self->pending_job($id);
    return;
}

sub decoded {
    my ($result) = @_;
    my ($tag, $rest) = $result =~ /^(.)(.*)\z/s or die "it is empty\n";
    return decode_json_utf8($rest) if $tag eq 'J';
    return $rest if $tag eq 'T';
    die "its tag is $tag; a worker of dialect 0.002 writes none\n";
}

1;
