package Job::Async::Client::Redis::Simple;

use strict;
use warnings;

use parent qw(Jobwire::Redis::Client);

use Jobwire::Redis::JSON qw(from_json to_json);
use Jobwire::Text qw(octets);
use Log::Any qw($log);
use Time::HiRes ();

=encoding utf8

=head1 NAME

Job::Async::Client::Redis::Simple - client of the mode C<simple> that L<Job::Async::Redis> documents

=head1 SYNOPSIS

 my $client = $jobman->client(
     'redis::Simple' => {
         uri   => 'redis://127.0.0.1',
         queue => sub { $_[0]->data('urgent') ? 'high' : 'pending' },
     }
 );
 $client->start->get;
 print $client->submit(some_data => 'reverse me please')->get;

=head1 DESCRIPTION

A job is one JSON object, pushed on a Redis list; its result is one JSON object, published on the client's channel.
Nothing is stored: a job is run at most once, and a result that is published while its client is away is lost.

 LPUSH   jobs::pending      {"id":…,"_reply_to":…,"_queued":1795434940.83741,"data":{…}}
 PUBLISH client::<reply_to> {"id":…,"result":…,"_started":…,"_processed":…}
 PUBLISH client::<reply_to> {"id":…,"error":{"type":…,"message":…},"_started":…,"_processed":…}

JSON holds text: see L<Jobwire::Redis::JSON> for what Perl's strings become. C<submit> fails (category C<submission>)
for what JSON cannot hold.

A job that failed fails here with its message, the category C<job> and the type of the error:

 my ($message, $category, $type) = $future->failure;

For options and methods see L<Jobwire::Redis::Client>.

=cut

# Nothing is fetched, so there is no third connection.
sub client { shift->submitter }

sub submission {
    my ($self, $job, $queue) = @_;
    my $envelope = to_json({
        id        => $job->id,
        _reply_to => $self->id,
        _queued   => Time::HiRes::time(),
        data      => $job->data,
    });
    return $self->together(sub { $_[0]->lpush($queue, $envelope) });
}

sub on_notice {
    my ($self, $payload) = @_;
    my $reply = eval { from_json($payload) };
    return $log->errorf(
        'A message that is no envelope: %s. A worker of mode reliable or recoverable sends job IDs: '
        . 'give client and worker the same mode', substr $payload, 0, 100
    ) unless ref $reply eq 'HASH' and defined $reply->{id};
    my $id = octets($reply->{id});
    my $job = $self->pending_job($id) or return;
    if(my $error = $reply->{error}) {
        my ($type, $message) = ref $error eq 'HASH' ? @$error{qw(type message)} : (undef, $error);
        return $job->fail(length($message // '') ? $message : 'the job failed', 'job', $type // 'unknown');
    }
    return $job->done($reply->{result}) if exists $reply->{result};
    return $job->fail('a reply with neither result nor error', 'result');
}

1;
