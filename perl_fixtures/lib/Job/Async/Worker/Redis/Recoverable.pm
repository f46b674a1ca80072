package Job::Async::Worker::Redis::Recoverable;

use strict;
use warnings;

use parent qw(Jobwire::Redis::Worker);

use Future;
use Job::Async::Job;
use Jobwire::Text qw(octets);
use JSON::MaybeUTF8 qw(:v1);
use Log::Any qw($log);
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

The other side of L<Job::Async::Client::Redis::Recoverable>, and of L<Job::Async::Client::Redis>: pops job IDs, reads
the hash, writes the result to it and publishes the ID.

 BRPOP   high pending 3
 HGETALL job::<id>
 HMSET   job::<id> _started …
 HMSET   job::<id> _processed … result …
 PUBLISH client::<reply_to> <id>

For a job that fails nothing is published, as with every Perl worker: its hash is kept and says why in C<_error>, and
its ID is pushed on C<< <prefix>::dead >>. An entry whose hash cannot be read is set aside in C<< <prefix>::rejected >>.
A hash that is not there is no job. A hash that holds a result already is published again and not run.

A worker that is killed leaves the hash without a result, and the ID in no list. This class does not mark its hashes
with C<_worker>, because it has no heartbeat: to find such jobs is left to the operator.

For options and methods see L<Jobwire::Redis::Worker>.

=cut

sub mode { 'recoverable' }

sub load {
    my ($self, undef, $id) = @_;
    return $self->redis->hgetall("job::$id")->then(sub {
        my %fields = @{ $_[0] };
        unless(grep { $_ ne '_started' } keys %fields) {
            die "an envelope where a job ID should be: a client of mode simple pushed it; "
                . "give client and worker the same mode, or queues of their own\n" if $id =~ /^\{.*"data"/s;
            $log->warnf('There is no job::%s: nothing to run', $id);
            return Future->done;
        }
        my $reply_to = $fields{_reply_to} // '';
        return $self->redis->publish("client::$reply_to", $id)->then(sub { Future->done })
            if defined delete $fields{result};
        my $job = Job::Async::Job->new(
            id     => $id,
            data   => Job::Async::Job->structured_data(\%fields),
            future => $self->loop->new_future,
        );
        $self->redis->hmset("job::$id", _started => Time::HiRes::time())->retain;
        return Future->done($job, reply_to => $reply_to);
    });
}

sub finished {
    my ($self, $job, $about, $result) = @_;
    my $tagged = ref $result ? 'J' . encode_json_utf8($result) : 'T' . ($result // '');
    utf8::downgrade($tagged, 1) or die "a wide character in the result: encode it\n";
    my $id = $job->id;
    return $self->together(sub {
        my ($redis) = @_;
        return (
            $redis->hmset("job::$id", _processed => Time::HiRes::time(), result => $tagged),
            $redis->publish("client::$about->{reply_to}", $id),
        );
    });
}

sub failed {
    my ($self, $job, $about, $error, $category) = @_;
    chomp(my $message = "$error");
    $log->errorf('Job %s failed: %s', $job->id, $message);
    return Future->needs_all(
        $self->redis->hmset('job::' . $job->id, _error => octets(join ': ', $category // (), $message)),
        $self->redis->lpush($self->prefixed_queue('dead'), $job->id),
    );
}

1;
