#!/usr/bin/env perl
# Real Job::Async clients and workers behind the driver protocol: what a maintainer writes who has an implementation
# already. Nothing of the wire stands here. perl_fixtures/bin/peer.pl is the same for every release and mode.
use strict;
use warnings;
use B ();
use Digest::SHA qw(sha256_hex);
use IO::Async::Loop;
use IO::Async::Stream;
use Job::Async;
use Job::Async::Job;
use Job::Async::Redis;
use Job::Async::Utils;
use JSON::MaybeXS ();
use Log::Any::Adapter 'Stderr', log_level => 'error';    # what the modules complain about is evidence
use MIME::Base64 qw(decode_base64 encode_base64);
use POSIX ();

# stdout belongs to the protocol: whatever a module prints goes to stderr.
open my $out, '>&', \*STDOUT or die "cannot keep stdout: $!";
open STDOUT, '>&', \*STDERR or die "cannot turn stdout away: $!";
$out->autoflush(1);
my $json = JSON::MaybeXS->new(utf8 => 1, max_depth => 10_000);
sub answer { my ($type, %fields) = @_; print {$out} $json->encode({ %fields, type => $type }), "\n"; return }
sub unsupported { die { unsupported => $_[0] } }    # an answer of its own; whatever else dies is an error

# Values. Perl has one kind of string; a correct Perl program submits text as its UTF-8 bytes.
my %READ = (
    '$bytes'  => sub { decode_base64($_[0]) },
    '$chars'  => sub { $_[0] },
    '$int'    => sub { 0 + $_[0] },
    '$float'  => sub { 0.0 + $_[0] },
    '$ref'    => sub { \(my $copy = untag($_[0])) },
    '$object' => sub { bless untag($_[0][1]), $_[0][0] },
    '$map'    => sub { +{ map { untag($_->[0]) => untag($_->[1]) } @{ $_[0] } } },
);
my $is_boolean = defined &builtin::is_bool ? \&builtin::is_bool : sub { 0 };    # Perl 5.36 can tell them apart
sub flags { return B::svref_2object(\$_[0])->FLAGS }
sub is_number { return !(flags($_[0]) & B::SVf_POK) && flags($_[0]) & (B::SVf_IOK | B::SVf_NOK) }
sub encoded { utf8::encode(my $copy = "$_[0]"); return $copy }

sub untag {
    my ($v) = @_;
    return $v ? !!1 : !!0 if JSON::MaybeXS::is_bool($v);
    return [ map { untag($_) } @$v ] if ref $v eq 'ARRAY';
    return !defined $v || is_number($v) ? $v : encoded($v) unless ref $v;
    my ($name) = keys %$v;
    return +{ map { encoded($_) => untag($v->{$_}) } keys %$v } unless defined $name and $name =~ /^\$/;
    return ($READ{$name} // unsupported("$name in a value"))->($v->{$name});
}

sub tag {
    my ($v) = @_;
    return $v unless defined $v;
    return $v ? \1 : \0 if JSON::MaybeXS::is_bool($v) or do { no warnings; $is_boolean->($v) };
    return [ map { tag($_) } @$v ] if ref $v eq 'ARRAY';
    return { '$map' => [ map { [ tag($_), tag($v->{$_}) ] } keys %$v ] } if ref $v eq 'HASH';
    return { '$ref' => tag($$v) } if ref $v eq 'SCALAR' or ref $v eq 'REF';
    return { '$object' => [ ref $v, tag({%$v}) ] } if ref $v;
    return flags($v) & B::SVf_IOK ? { '$int' => "$v" } : { '$float' => sprintf '%.17g', $v } if is_number($v);
    my $text = "$v";
    return $text if (utf8::is_utf8($text) or utf8::decode($text)) and $text !~ /[\x{D800}-\x{DFFF}]/;
    return { '$bytes' => encode_base64("$v", '') };
}

# What the parameter `op` makes a worker do. A job without it is answered with its names.
my %OPERATION = (
    echo    => sub { $_[0]{value} },
    reverse => sub { scalar reverse $_[0]{value} },
    add     => sub { $_[0]{first} + $_[0]{second} },
    json    => sub { $json->decode($_[0]{value}) },
    number  => sub { 0 + $_[0]{value} },
    big     => sub { ($_[0]{char} // 'x') x $_[0]{size} },
    sha256  => sub { sha256_hex($_[0]{value}) },
    length  => sub { length $_[0]{value} },
    keys    => sub { [ sort grep { $_ ne 'op' and !/^_/ } keys %{ $_[0] } ] },
    get     => sub { $_[0]{ $_[0]{name} } },
    nest    => sub { my $v = 'end'; $v = [$v] for 1 .. $_[0]{depth}; $v },
    rpc     => sub { my ($d) = @_; qq({"result":{"name":"$d->{name}","params":$d->{params}}}) },
    several => sub { ('one', 'two') },
    exit    => sub { POSIX::_exit($_[0]{code} // 3) },
    object  => sub { bless {}, 'Example::Thing' },
    (map { my $value = $_->[1]; $_->[0] => sub { $value } }
        [true => !!1], [false => !!0], [empty => ''], [undef => undef], [latin1 => "\xE9"], [wide => "\x{263A}"]),
    nothing => sub { () },
    die     => sub { die "$_[0]{message}\n" },
);

my $loop = IO::Async::Loop->new;
$loop->add(my $manager = Job::Async->new);
my ($client, $worker, @unanswered, %running, $jobs);

sub run {
    my ($job) = @_;
    my ($data, $number) = ($job->data, ++$jobs);
    my $op = $data->{op} // (exists $data->{params} ? 'rpc' : 'keys');
    $running{$number} = $job->future;
    $job->future->on_ready(sub { delete $running{$number} });
    answer(job => id => tag($job->id), data => tag($data));
    return $job->fail($data->{message} // 'failed') if $op eq 'fail';
    return $job->done($OPERATION{$op}->($data)) unless $op eq 'sleep';
    $loop->watch_time(after => $data->{seconds}, code => sub { $job->done($data->{value} // 'slept') });
    return;
}

# Takes nothing new, and lets what was begun end.
sub drain {
    $worker->configure(max_concurrent_jobs => 0) if $worker;
    return Future->wait_all(map { $_->without_cancel } values %running, Future->done)
        ->then(sub { $worker && $jobs ? $worker->redis->echo('last') : Future->done });    # after the last completion
}

my %ON = (
    hello => sub {
        my $version = Job::Async::Redis->VERSION;
        answer(hello => driver => 1, name => 'example-perl', version => $version, language => 'Perl',
            runtime => sprintf('perl %vd', $^V), roles => [qw(client worker)], modes => ['reliable'],
            dialects => [$version], codecs => ['sereal'], behaviours => ['stop-drains']);
    },
    start => sub {
        my ($start) = @_;
        my @names = $start->{role} eq 'client' ? qw(queue) : qw(max_concurrent_jobs processing_queue job_poll_interval);
        my %given = map { $_ => $start->{$_} } grep { defined $start->{$_} } qw(prefix use_multi id), @names;
        if ($start->{role} eq 'client') {
            $client = $manager->client(redis => { uri => $start->{redis}, %given });
            # Redis has answered to the oldest submission that it had not answered yet.
            $client->queue_length->each(sub { answer(submitted => %{ shift @unanswered }) });
            return $client->start->on_done(sub { answer(ready => client_id => tag($client->id)) });
        }
        $given{pending_queues} = $start->{queues} if "@{ $start->{queues} }" ne 'pending';    # it dies of this option
        $worker = $manager->worker(redis => { uri => $start->{redis}, %given });
        $worker->jobs->each(\&run);
        $worker->start;
        # The pop was asked for before this: it is on its way when the connection stands and the loop has turned once.
        return $worker->queue_redis->connect->then(sub { $loop->delay_future(after => 0) })
            ->on_done(sub { answer(ready => worker_id => tag($worker->id)) });
    },
    submit => sub {
        my ($message) = @_;
        my $job = Job::Async::Job->new(
            id => Job::Async::Utils::uuid(), data => untag($message->{data}), future => $loop->new_future);
        push @unanswered, my $about = { seq => $message->{seq}, id => $job->id };
        $job->future->on_done(sub { answer(result => %$about, value => tag($_[0])) });
        return $client->submit($job)->else(sub { answer(failed => %$about, error => "$_[0]"); Future->done });
    },
    stop => sub { drain()->on_done(sub { answer('stopped') }) },
    bye  => sub { POSIX::_exit(0) },
);

sub on_line {
    my ($message) = @_;
    my %about = map { ($_ => $message->{$_}) } grep { defined $message->{$_} } 'seq';
    my $f = eval { ($ON{ $message->{type} } // unsupported("message $message->{type}"))->($message) // 1 };
    return $f->retain if ref $f;
    return if $f;
    return answer(unsupported => %about, what => $@->{unsupported}) if ref $@ eq 'HASH';
    return answer(error => %about, message => "$@");
}

$loop->watch_signal(TERM => sub { drain()->on_done(sub { POSIX::_exit(0) })->retain });
$loop->add(IO::Async::Stream->new(
    read_handle => \*STDIN,
    on_read     => sub {
        my (undef, $buffer, $eof) = @_;
        on_line($json->decode($1)) while $$buffer =~ s/^(.*)\n//;
        POSIX::_exit(0) if $eof;
        return 0;
    },
));
$loop->run;
