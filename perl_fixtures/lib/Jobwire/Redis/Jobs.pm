package Jobwire::Redis::Jobs;

use strict;
use warnings;

use parent qw(Ryu::Source);

=head1 NAME

Jobwire::Redis::Jobs - a source of jobs that survives a handler that dies

=head1 DESCRIPTION

A L<Ryu::Source> fails for good when code attached with C<each> dies: no later job would reach the handler. Here the
job fails instead.

=cut

sub each : method {
    my ($self, $code, @args) = @_;
    return $self->SUPER::each(sub {
        my ($job) = @_;
        return if eval { $code->($job); 1 };
        $job->fail("$@", 'die') unless $job->is_ready;
    }, @args);
}

1;
