package Job::Async::Worker::Redis::Simple;

use strict;
use warnings;

use parent qw(Jobwire::Redis::Worker);

use Future;
use Job::Async::Job;
use Jobwire::Redis::JSON qw(from_json to_json);
use Jobwire::Text qw(octets text);
use Time::HiRes ();

=head1 NAME

Job::Async::Worker::Redis::Simple - worker of the mode C<simple> that L<Job::Async::Redis> documents

=head1 SYNOPSIS

 my $worker = $jobman->worker(
     'redis::Simple' => {
         uri            => 'redis://127.0.0.1',
         pending_queues => [qw(high pending)],
     }
 );
 $worker->jobs->each(sub { $_->done(scalar reverse $_->data('some_data')) });
 $worker->start->get;

=head1 DESCRIPTION

The other side of L<Job::Async::Client::Redis::Simple>: pops envelopes with C<BRPOP high pending 3> and publishes what
the jobs came to. A job that fails, dies, is cancelled or times out is answered with an error: its type is the
category of the failure (C<< $job->fail($message, $category) >>), or C<fail>.

The handler sees decoded text, and the parameters only. What is popped is gone from Redis: a worker that is killed
loses the jobs that it was running. A reply of more than 8 MiB is a failure instead: it would end the client's
subscription. An entry that is no envelope is set aside in C<< <prefix>::rejected >>.

For options and methods see L<Jobwire::Redis::Worker>.

=cut

sub mode { 'simple' }

# Bytes of a reply. Redis ends a subscription that 32 MiB wait for, or 8 MiB for a minute, and with it go the
# replies to all other jobs of that client (SIM-18).
use constant MOST => 8 * 1024 * 1024;

sub load {
    my ($self, undef, $entry) = @_;
    die "an entry that is no envelope: a client of mode reliable or recoverable pushes job IDs; "
        . "give client and worker the same mode, or queues of their own\n" unless $entry =~ /^\s*\{/;
    my $envelope = eval { from_json($entry) } // die "not a job envelope: $@";
    my ($id, $data) = @$envelope{qw(id data)};
    die "not a job envelope: no id\n" if not defined $id or ref $id;
    die "not a job envelope: data is not an object\n" unless ref $data eq 'HASH';
    my $job = Job::Async::Job->new(id => octets($id), data => $data, future => $self->loop->new_future);
    return Future->done($job, reply_to => octets($envelope->{_reply_to} // ''));
}

sub finished {
    my ($self, $job, $about, $result) = @_;
    return $self->reply($job, $about, result => $result);
}

sub failed {
    my ($self, $job, $about, $error, $category) = @_;
    chomp(my $message = "$error");
    return $self->reply($job, $about, error => { type => $category // ref $error || 'fail', message => printable($message) });
}

sub reply {
    my ($self, $job, $about, %outcome) = @_;
    my $envelope = to_json({
        id         => $job->id,
        _started   => $about->{started},
        _processed => Time::HiRes::time(),
        %outcome,
    });
    return $self->reply($job, $about, error => {
        type    => 'result',
        message => 'the reply has ' . length($envelope) . ' bytes; in mode simple ' . MOST . ' can be sent',
    }) if length $envelope > MOST;
    return $self->together(sub { $_[0]->publish("client::$about->{reply_to}", $envelope) });
}

# A message must get through, whatever bytes it holds.
sub printable {
    my ($message) = @_;
    return $message if defined text($message);
    return $message =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ger;
}

1;
