package Jobwire::Redis::Heartbeat;

use strict;
use warnings;

use parent qw(IO::Async::Notifier);

use Future;
use IO::Async::Process;
use JSON::MaybeUTF8 qw(:v1);
use Log::Any qw($log);

=encoding utf8

=head1 NAME

Jobwire::Redis::Heartbeat - the sign of life of a worker, from a process of its own

=head1 SYNOPSIS

 my $heartbeat = Jobwire::Redis::Heartbeat->new(
     uri => 'redis://127.0.0.1', prefix => 'jobs', id => $worker_id, home => 'jobs::pending',
     on_lost => sub { … },
 );
 $loop->add($heartbeat);
 my $has_predecessor = $heartbeat->start->get;
 …
 $heartbeat->stop->get;

=head1 DESCRIPTION

Writes C<< <prefix>::worker::<id> >>, with a time to live, as long as the worker lives, and the worker's ID and queue where
jobwire looks for them (jobwire's PROTOCOL.md, RCV). The process is another one, so that a handler which blocks the worker's
event loop for minutes does not make the worker look dead. It ends with the worker, however that ends; where the worker was
killed it says so at once, so that others need not wait for the time to live.

A worker that was stopped (SIGSTOP) counts as dead, on systems with F</proc>.

=head1 OPTIONS

=over 4

=item uri, prefix, id, home

Where Redis is, the prefix of all keys, the worker's ID, and the whole key of the queue that it takes from.

=item nonce

Tells this run of the worker from others of the same ID. Sixteen random bytes, in hexadecimal, unless said.

=item ttl, beat

Seconds that the key lives (30), and between two beats (10).

=item on_lost

Called with a reason where another worker has the ID by now, or the process ended.

=back

=cut

sub configure {
    my ($self, %args) = @_;
    for my $k (qw(uri prefix id home nonce ttl beat on_lost)) {
        $self->{$k} = delete $args{$k} if exists $args{$k};
    }
    return $self->next::method(%args);
}

sub ttl  { shift->{ttl}  //= 30 }
sub beat { shift->{beat} //= 10 }

sub nonce {
    my ($self) = @_;
    return $self->{nonce} //= do {
        open my $source, '<:raw', '/dev/urandom' or die "no /dev/urandom, give a nonce: $!\n";
        read $source, my $bytes, 16;
        unpack 'H*', $bytes;
    };
}

=head1 METHODS

=head2 start

Takes the ID. Where another worker holds it, perhaps one that was killed, waits for it as long as the time to live. The
future is done with 1 where a worker of this ID has gone without giving it up, else with 0; it fails where the ID stays
another's.

=cut

sub start {
    my ($self) = @_;
    return $self->{started} if $self->{started};
    my $started = $self->{started} = $self->loop->new_future;
    my @include = map { "-I$_" } grep { !ref } @INC;
    my %said = map { $_ => $self->{$_} } qw(uri prefix id home);
    $self->add_child($self->{process} = IO::Async::Process->new(
        command   => [ $^X, @include, '-MJobwire::Redis::Heartbeat::Process', '-e', 'Jobwire::Redis::Heartbeat::Process->main' ],
        stdin     => { via => 'pipe_write' },
        stdout    => { on_read => $self->_capture(\&_heard) },
        on_finish => $self->_capture(\&_finished),
    ));
    # Through a pipe: a command line can be read by every user of the machine, and the URI may hold a password.
    $self->{process}->stdin->write(encode_json_utf8({
        %said, nonce => $self->nonce, ttl => $self->ttl + 0, beat => $self->beat + 0, parent => $$,
    }) . "\n");
    return $started;
}

sub _capture {
    my ($self, $method) = @_;
    Scalar::Util::weaken($self);
    return sub { $self ? $self->$method(@_) : 0 };
}

sub _heard {
    my ($self, $stream, $buffer) = @_;
    while($$buffer =~ s/^(\w+) ?(.*)\n//) {
        my ($event, $text) = ($1, $2);
        if($event eq 'held') { $self->{started}->done($text) unless $self->{started}->is_ready }
        elsif($event eq 'lost') { $self->_lost($text) }
        else { $log->warnf('Heartbeat of worker %s: %s', $self->{id}, $text) }
    }
    return 0;
}

sub _finished {
    my ($self, undef, $status) = @_;
    delete $self->{process};
    return $self->{stopped}->done if $self->{stopped};
    $self->_lost(sprintf 'its process ended with status %d', $status >> 8 || $status);
    return;
}

sub _lost {
    my ($self, $why) = @_;
    return if $self->{lost}++;
    return $self->{started}->fail($why, 'heartbeat') unless $self->{started}->is_ready;
    $log->errorf('Heartbeat of worker %s: %s', $self->{id}, $why);
    $self->{on_lost}->($why) if $self->{on_lost};
    return;
}

=head2 stop

Gives the ID up. With C<< left => 1 >> it stays known, because jobs of it were left behind. The future is done when the
process has ended.

=cut

sub stop {
    my ($self, %args) = @_;
    return Future->done unless $self->{process};
    $self->{process}->stdin->write('release ' . ($args{left} ? 1 : 0) . "\n") unless $self->{stopped};
    return $self->{stopped} //= $self->loop->new_future;
}

1;
