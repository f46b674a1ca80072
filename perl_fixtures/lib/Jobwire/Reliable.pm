package Jobwire::Reliable;

use strict;
use warnings;

use Job::Async::Worker::Redis::Reliable;

our $VERSION = '0.001';

=encoding utf8

=head1 NAME

Jobwire::Reliable - Job::Async workers on Redis that may die

=head1 SYNOPSIS

    use Jobwire::Reliable;
    …
    my $worker = $jobman->worker(redis => { uri => 'redis://127.0.0.1', max_concurrent_jobs => 4 });

or, without a change,

    perl -MJobwire::Reliable your-worker.pl

=head1 DESCRIPTION

From then on C<< $jobman->worker(redis => …) >> makes a L<Job::Async::Worker::Redis::Reliable>: one that takes into a list of
its own and says that it is alive, so that its jobs are given back when it dies. See there for all that it does, and for its
options; it takes those of the stock worker, of the releases 0.003, 0.004 and master.

A class of your own that inherits from L<Job::Async::Worker::Redis> stays what it is: let it inherit from
L<Job::Async::Worker::Redis::Reliable> instead.

Somebody has to look for workers that died: any jobwire worker of the same prefix does, or C<jobwire recover>, from cron for example.

=cut

my $stock = 'Job::Async::Worker::Redis';

sub import {
    no strict 'refs';
    no warnings 'redefine';
    my $new = $stock->can('new');
    *{"${stock}::new"} = sub {
        my ($class, @arguments) = @_;
        $class = "${stock}::Reliable" if $class eq $stock;
        return $class->$new(@arguments);
    } unless defined &{"${stock}::new"};
    return;
}

1;
