package Jobwire::Peer::Client;

use strict;
use warnings;

use Job::Async::Job;
use Job::Async::Utils;
use Jobwire::Peer::Stack;
use Jobwire::Peer::Values qw(from_tagged to_tagged);
use List::Util qw(uniq);
use Scalar::Util qw(blessed);

=head1 NAME

Jobwire::Peer::Client - the client role of the peer: real Job::Async clients

=head1 DESCRIPTION

A Perl client has one queue. A program that needs another makes another client, and so does this one, the first time
that C<submit> names a queue; only the first client bears the ID that C<start> asked for.

=cut

sub new {
    my ($class, %args) = @_;
    return bless { %args, clients => {}, waiting => {}, count => 0 }, $class;
}

sub start {
    my ($self) = @_;
    return $self->client_for(undef)->then(sub {
        $self->{say}->(ready => client_id => to_tagged($_[0]->id));
        Future->done;
    });
}

sub client_for {
    my ($self, $queue) = @_;
    my ($start, $clients) = @$self{qw(start clients)};
    $queue //= $start->{queue} // 'pending';
    return $clients->{$queue} if $clients->{$queue};
    my %changed = (queue => $queue, %$clients ? (id => undef) : ());
    my $client = $self->{manager}->client(
        Jobwire::Peer::Stack::type_for($start) => { Jobwire::Peer::Stack::arguments({ %$start, %changed }) }
    );
    # Replies come in the order of the submissions, and the client tells of each LPUSH that was answered (0.001 does
    # not).
    my $unanswered = [];
    $client->queue_length->each(sub { (shift @$unanswered // sub { })->() }) if $client->can('queue_length');
    return $clients->{$queue} = $client->start->transform(done => sub { ($client, $unanswered) });
}

sub submit {
    my ($self, $message) = @_;
    my $id   = from_tagged($message->{id}) // Job::Async::Utils::uuid();
    my $data = from_tagged($message->{data}) // {};
    die "data is not an object\n" unless ref $data eq 'HASH';
    return $self->client_for($message->{queue})->then(sub {
        my ($client, $unanswered) = @_;
        my $job = Job::Async::Job->new(id => $id, data => $data, future => $self->{loop}->new_future);
        my %about = (seq => $message->{seq}, id => to_tagged($id));
        my $said;
        my $submitted = sub { $said++ or $self->{say}->(submitted => %about) };
        ++$self->{count};
        $self->{waiting}{ $message->{seq} } = $job;
        $job->future->on_ready(sub {
            delete $self->{waiting}{ $message->{seq} };
            # A fast worker's notice may overtake the reply to LPUSH: they use two connections.
            $submitted->() if $_[0]->is_done;
            $self->{say}->(outcome($_[0]), %about);
        });
        push @$unanswered, $submitted;
        my $submission = $client->submit($job);
        $submitted->() unless $client->can('queue_length');
        $submission->on_fail(sub {
            @$unanswered = grep { $_ != $submitted } @$unanswered;
            $job->fail($_[0], 'submission') unless $job->is_ready;
        }) if blessed $submission and $submission->isa('Future');
        Future->done;
    });
}

sub outcome {
    my ($f) = @_;
    return (failed => error => 'cancelled', kind => 'cancelled') if $f->is_cancelled;
    my ($error, $kind, @details) = $f->failure;
    return (result => value => to_tagged(($f->get)[0])) unless defined $error;
    return (timeout => error => "$error") if ($kind // '') eq 'timeout';
    $kind = $details[0] if ($kind // '') eq 'job';    # the type of the error, as the worker named it
    return (failed => error => "$error", kind => $kind);
}

sub cancel {
    my ($self, $message) = @_;
    my $job = $self->{waiting}{ $message->{seq} } or die "no job of that seq is waiting\n";
    $job->future->cancel;
    return;
}

sub count { shift->{count} }

# Job::Async has no word for stopping a client. Jobs that still wait keep it; then its connections are closed.
sub running { map { $_->future } values %{ shift->{waiting} } }

# Its connections: those on which something may still be on its way, and the one that only listens.
sub connections {
    my ($self) = @_;
    my @clients = map { $_->is_done ? ($_->get)[0] : () } values %{ $self->{clients} };
    $_->configure(reconnect_delay => 86_400) for grep { $_->can('reconnect_delay') } @clients;
    return ([ uniq map { ($_->client, $_->submitter) } @clients ], [ map { $_->subscriber } @clients ]);
}

1;
