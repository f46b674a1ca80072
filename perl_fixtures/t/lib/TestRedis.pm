package TestRedis;

use strict;
use warnings;

use File::Temp ();
use IO::Async::Loop;
use IO::Socket::INET;
use Job::Async;
use Net::Async::Redis;
use Test::More ();
use Time::HiRes ();

# A redis-server of its own for a test file: on loopback, on a free port, in a temporary folder, gone with the process.

my ($pid, $folder);

sub start {
    my ($class) = @_;
    my ($binary) = grep { -x } map { ("$_/redis-server", "$_/valkey-server") } split /:/, $ENV{PATH};
    Test::More::plan(skip_all => 'NO REDIS: neither redis-server nor valkey-server is on PATH') unless $binary;
    $folder = File::Temp->newdir;
    my $port = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)->sockport;
    defined($pid = fork) or die "cannot fork: $!";
    unless($pid) {
        open STDOUT, '>', '/dev/null';
        exec $binary, '--port', $port, '--bind', '127.0.0.1', '--save', '', '--dir', "$folder" or die "cannot run: $!";
    }
    for(1 .. 200) {
        return bless { port => $port, uri => "redis://127.0.0.1:$port" }, $class
            if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
        Time::HiRes::sleep(0.05);
    }
    die "redis-server does not answer on port $port";
}

END {
    my $status = $?;
    if($pid) {
        kill KILL => $pid;
        waitpid $pid, 0;
    }
    $? = $status;
}

sub uri { shift->{uri} }

# A loop with the real manager in it, a plain connection to look at things, and the empty server.
sub fresh {
    my ($self) = @_;
    my $loop = IO::Async::Loop->new;
    $loop->add(my $manager = Job::Async->new);
    $loop->add(my $redis = Net::Async::Redis->new(uri => $self->uri));
    $redis->connect->then(sub { $redis->flushall })->get;
    return ($loop, $manager, $redis);
}

1;
