#!/usr/bin/env perl
# A Perl worker to be killed: worker.pl SETTINGS (JSON), the settings and the journal of endurance/chaos/worker.py.
# A stock program, but for the one line that loads Jobwire::Reliable.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../../perl_fixtures/lib";

use Fcntl qw(O_WRONLY O_APPEND O_CREAT);
use Future;
use IO::Async::Loop;
use Job::Async;
use JSON::MaybeUTF8 qw(:v1);
use Jobwire::Reliable;
use Time::HiRes qw(time sleep);
use if $ENV{JOBWIRE_CHAOS_LOG}, 'Log::Any::Adapter', 'Stderr';

my $settings = decode_json_utf8($ARGV[0]);
my $loop = IO::Async::Loop->new;
$loop->add(my $manager = Job::Async->new);
my %options = %{ $settings->{options} };
delete $options{heartbeat};    # a third of heartbeat_ttl, in Perl
my $worker = $manager->worker(redis => { uri => $settings->{url}, %options, job_poll_interval => 1 });

sysopen my $journal, $settings->{journal}, O_WRONLY | O_APPEND | O_CREAT or die "no journal: $!";

sub note {
    my ($what, $job) = @_;
    my %entry = (what => $what, worker => $worker->id, pid => $$, at => time, job => $job);
    syswrite $journal, encode_json_utf8(\%entry) . "\n";
    return;
}

my %operation = (
    echo  => sub { Future->done },
    sleep => sub { $loop->delay_future(after => $_[0]) },
    block => sub { sleep $_[0]; Future->done },
    spin  => sub { my $end = time + $_[0]; 1 while time < $end; Future->done },
);

$worker->jobs->each(sub {
    my ($job) = @_;
    note(begin => $job->id);
    $operation{ $job->data('op') // 'echo' }->($job->data('seconds') // 0)->on_done(sub {
        note(end => $job->id);
        $job->done($job->data('value') // 'done');
    })->retain;
});

$loop->watch_signal(TERM => sub { $worker->stop->on_ready(sub { $loop->stop }) });
$worker->start->get;
$| = 1;
print "ready\n";
$loop->run;
