package Jobwire::Redis::Heartbeat::Process;

use strict;
use warnings;

use Future;
use IO::Async::Loop;
use IO::Async::Stream;
use JSON::MaybeUTF8 qw(:v1);
use Jobwire::Redis::Scripts qw(run_script);
use Net::Async::Redis;

=head1 NAME

Jobwire::Redis::Heartbeat::Process - the program that beats for a worker; see L<Jobwire::Redis::Heartbeat>

=head1 DESCRIPTION

Reads its settings as one line of JSON from stdin, and later C<release 0> or C<release 1>. Says on stdout, a line each:
C<held 0>, C<held 1>, C<waits …>, C<away …>, C<again …>, C<lost …>.

=cut

my ($TAKEN, $KEPT, $FROM_PREDECESSOR) = (0, 1, 3);
my $RETRY = 1;

sub main {
    my ($class) = @_;
    local $| = 1;
    # A terminal's Ctrl-C and a supervisor's signal to the whole group are for the worker, who then says what to do.
    local @SIG{qw(INT TERM HUP)} = ('IGNORE') x 3;
    my $self = bless { loop => IO::Async::Loop->new }, $class;
    my $done = $self->{loop}->new_future;
    $self->{loop}->add(IO::Async::Stream->new(
        read_handle => \*STDIN,
        on_read     => sub {
            my (undef, $buffer) = @_;
            while($$buffer =~ s/^(.*)\n//) { $self->told($1, $done) }
            return 0;
        },
        # A killed worker's files are closed a moment before it is gone.
        on_read_eof => sub { $self->{loop}->watch_time(after => 0.1, code => sub { $self->deserted($done) }) },
    ));
    $done->get;
    return 0;
}

sub told {
    my ($self, $line, $done) = @_;
    return $self->release($1, $done) if $line =~ /^release ([01])$/;
    %$self = (%$self, %{ decode_json_utf8($line) });
    my ($prefix, $id) = @{$self}{qw(prefix id)};
    my $under = length $prefix ? "${prefix}::" : '';
    $self->{keys} = [ "${under}worker::$id", map({ "$under$_" } qw(workers queues gone)), "${under}processing::$id" ];
    $self->turn;
    return;
}

# The worker has gone: at once where it was killed; what it had in hand is left, and whoever recovers may begin.
sub deserted {
    my ($self, $done) = @_;
    return if $self->{releasing};
    return $self->release(1, $done) if $self->{holds} and not $self->{lost} and getppid != $self->{parent};
    return $done->done;
}

sub release {
    my ($self, $left, $done) = @_;
    $self->{releasing}++;
    return $done->done if $self->{lost} or not $self->{holds};
    my $timeout = $self->{loop}->delay_future(after => 5);
    my $said = $self->connected->then(sub {
        # Whom a predecessor left something stays known as well.
        run_script($_[0], release => $self->{keys}, $self->{id}, $self->{nonce}, $left || $self->{predecessor} ? 1 : 0);
    });
    Future->wait_any($timeout, $said)->on_ready(sub { $done->done unless $done->is_ready })->retain;
    return;
}

sub turn {
    my ($self) = @_;
    return if $self->{releasing};
    return $self->later($self->{beat}) if $self->worker_is_stopped;
    my $timeout = $self->{loop}->timeout_future(after => $self->{ttl} / 3 > 5 ? 5 : $self->{ttl} / 3);
    my $asked = $self->connected->then(sub {
        run_script(
            $_[0], claim => [ @{ $self->{keys} }[ 0 .. 3 ] ],
            $self->{id}, $self->{nonce}, int(1000 * $self->{ttl}), $self->{home},
        );
    });
    Future->wait_any($asked, $timeout)->on_done(sub { $self->answered($_[0]) })->on_fail(sub {
        $self->say(away => "no heartbeat: $_[0]") unless $self->{away}++;
        $self->drop;
        $self->later($RETRY);
    })->retain;
    return;
}

sub answered {
    my ($self, $answer) = @_;
    delete $self->{away};
    return $self->taken if $answer == $TAKEN;
    if(!$self->{holds}++) {
        $self->{predecessor} = $answer == $FROM_PREDECESSOR;
        $self->say(held => $self->{predecessor} ? 1 : 0);
    } elsif($answer != $KEPT) {
        $self->say(again => 'it had run out: jobs of this worker may have been given to others');
    }
    return $self->later($self->{beat});
}

sub taken {
    my ($self) = @_;
    return $self->lost('another worker has this ID') if $self->{holds};
    $self->{until} //= time + $self->{ttl} + 1;
    return $self->lost("another worker has this ID; give each worker one of its own") if time > $self->{until};
    $self->say(waits => "another worker has this ID, perhaps one that was killed: waiting up to $self->{ttl} s")
        unless $self->{waits}++;
    return $self->later($RETRY);
}

sub lost {
    my ($self, $why) = @_;
    $self->{lost}++;
    $self->say(lost => $why);
    return;
}

sub later {
    my ($self, $seconds) = @_;
    $self->{loop}->watch_time(after => $seconds, code => sub { $self->turn });
    return;
}

# A worker that is stopped takes nothing and ends nothing. Its state stands behind its name, which may hold anything.
sub worker_is_stopped {
    my ($self) = @_;
    open my $stat, '<', "/proc/$self->{parent}/stat" or return 0;
    return (<$stat> // '') =~ /.*\) [Tt] /;
}

sub connected {
    my ($self) = @_;
    my $redis = $self->{redis} //= do {
        $self->{loop}->add(my $new = Net::Async::Redis->new(uri => $self->{uri}));
        $new;
    };
    return Future->wrap($redis->connect)->then(sub { Future->done($redis) });
}

sub drop {
    my ($self) = @_;
    my $old = delete $self->{redis} or return;
    eval { $self->{loop}->remove($old) };
    return;
}

sub say {
    my ($self, $event, $text) = @_;
    $text =~ s/[^ -~]+/ /g;
    print "$event $text\n";
    return;
}

1;
