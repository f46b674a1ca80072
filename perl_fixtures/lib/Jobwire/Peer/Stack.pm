package Jobwire::Peer::Stack;

use strict;
use warnings;

use Job::Async::Redis;

=encoding utf8

=head1 NAME

Jobwire::Peer::Stack - which Perl modules are loaded, and which options they take

=head1 DESCRIPTION

One peer drives every release of Job::Async::Redis; C<PERL5LIB> chooses which. This module says what was found, and
turns the C<start> message of the driver protocol into constructor arguments. Whatever the loaded release cannot do
dies with C<< { unsupported => … } >>, so that nobody mistakes an ignored option for a passed test.

=cut

# What each release takes, besides the id and timeout of its base classes.
my %CLIENT = (
    '0.001'  => [qw(uri queue use_multi)],
    '0.002'  => [qw(uri queue use_multi prefix)],
    'master' => [qw(uri queue use_multi prefix reconnect_delay)],
);
my %WORKER = (
    '0.001' => [qw(uri max_concurrent_jobs processing_queue use_multi)],
    '0.002' => [qw(uri max_concurrent_jobs processing_queue use_multi prefix)],
    '0.004' => [qw(uri max_concurrent_jobs processing_queue use_multi prefix job_poll_interval)],
);
$CLIENT{$_} = $CLIENT{'0.002'} for qw(0.003 0.004);
$WORKER{'0.003'} = $WORKER{'0.002'};
$WORKER{master} = $WORKER{'0.004'};

my @EVERYWHERE = qw(cancel stop-drains submit-id submit-queue worker-timeout chars);

# The unreleased master still calls itself 0.004.
sub dialect { return Job::Async::Client::Redis->can('reconnect_delay') ? 'master' : Job::Async::Redis->VERSION }

# The part of the answer to hello that depends on what is loaded.
sub about {
    return (
        version    => Job::Async::Redis->VERSION,
        libraries  => libraries(),
        roles      => [qw(client worker)],
        modes      => [ sort keys %{ modes() } ],
        dialects   => [ dialect() ],
        codecs     => [ dialect() eq '0.001' ? 'json' : 'sereal' ],
        behaviours => [ @EVERYWHERE, dialect() eq 'master' ? 'reconnect' : () ],
    );
}

sub libraries {
    my %found;
    for my $module (qw(Job::Async Job::Async::Redis Net::Async::Redis Ryu Ryu::Async IO::Async Future Sereal::Encoder
                       Sereal::Decoder Unicode::UTF8 JSON::MaybeUTF8 JSON::MaybeXS), ref JSON::MaybeXS->new) {
        my $version = eval { $module->VERSION } // eval "require $module; $module->VERSION";
        $found{$module} = "$version" if defined $version;
    }
    return \%found;
}

# Each mode of Job::Async::Redis's documentation => the type to hand to Job::Async->client and ->worker.
sub modes {
    my %type = (reliable => 'redis');
    # The backends of this repository write what 0.004 and master write.
    return \%type unless dialect() eq '0.004' or dialect() eq 'master';
    for my $mode (qw(simple recoverable)) {
        my $class = ucfirst $mode;
        next unless eval "require Job::Async::Client::Redis::$class; require Job::Async::Worker::Redis::$class; 1";
        $type{$mode} = "redis::$class";
    }
    return \%type;
}

sub type_for {
    my ($start) = @_;
    my $dialect = dialect();
    unsupported("dialect $start->{dialect} (this is $dialect)") if ($start->{dialect} // $dialect) ne $dialect;
    unsupported("codec $start->{codec}") if ($start->{codec} // 'sereal') ne 'sereal' and $dialect ne '0.001';
    unsupported('a database number in the URL')
        if ($start->{redis} // '') =~ m{^\w+://[^/]*/0*[1-9]} and not Net::Async::Redis->can('database');
    unsupported('anything but redis:// URLs') unless ($start->{redis} // '') =~ m{^redis://};
    return modes()->{ $start->{mode} // 'reliable' } // unsupported("mode $start->{mode}");
}

sub arguments {
    my ($start) = @_;
    my $reliable = ($start->{mode} // 'reliable') eq 'reliable';
    my $role = $start->{role} // '';
    my %want = (
        uri => $start->{redis},
        (map { $_ => $start->{$_} } grep { defined $start->{$_} } qw(prefix use_multi id timeout)),
        $role eq 'client' ? (map { $_ => $start->{$_} } grep { defined $start->{$_} } qw(queue)) : (
            (map { $_ => $start->{$_} } grep { defined $start->{$_} }
                qw(max_concurrent_jobs processing_queue job_poll_interval)),
            pending_queues => $start->{queues} // ['pending'],
        ),
        %{ $start->{options} // {} },
    );
    return reliable_arguments($role, %want) if $reliable;
    # As with the Python peer: a list of the worker's own only where it is asked for.
    my $own = delete $want{own_list};
    delete $want{processing_queue};
    $want{processing_queue} = 'processing' if $role eq 'worker' and $start->{mode} eq 'recoverable' and not $own;
    return %want;
}

# What the release would refuse or ignore is left out where it says the default, and refused where it says more.
sub reliable_arguments {
    my ($role, %want) = @_;
    my $dialect = dialect();
    my $known = $role eq 'client' ? \%CLIENT : \%WORKER;
    my %takes = map { $_ => 1 } qw(id timeout), @{ $known->{$dialect} // $known->{'0.004'} };
    if($INC{'Jobwire/Reliable.pm'} and $role eq 'worker') { @takes{qw(job_poll_interval heartbeat_ttl max_losses)} = (1) x 3 }
    my %default = (prefix => 'jobs', use_multi => 0);
    # Every release dies on this option (it calls a method `mode` that is not there).
    delete $want{pending_queues} if "@{ $want{pending_queues} // ['pending'] }" eq 'pending';
    for my $option (keys %want) {
        next if $takes{$option};
        my $value = delete $want{$option};
        unsupported("$role option $option in dialect $dialect")
            unless defined $default{$option} and $value eq $default{$option};
    }
    # The worker of 0.001 always uses MULTI.
    delete $want{use_multi} if $dialect eq '0.001' and $role eq 'worker';
    return %want;
}

# Closes connections, when the server has had what was written to the talking ones. Their owners are not told: they
# would reconnect, complain, or (Net::Async::Redis 1.003) die of it.
sub leave {
    my ($loop, $talking, $listening) = @_;
    # ECHO, because Net::Async::Redis 2 takes PING for answered when it is written, and dies when the answer comes.
    my @answers = map { $_->echo('leaving') } @$talking;
    return Future->wait_any(Future->wait_all(@answers), $loop->delay_future(after => 2))->then(sub {
        for my $stream (grep { defined } map { $_->stream } @$talking, @$listening) {
            $stream->configure(on_closed => sub { });
            $stream->close_now;
        }
        Future->done;
    });
}

sub unsupported { die { unsupported => $_[0] } }

1;
