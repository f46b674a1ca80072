package Jobwire::SerealProtocol;

use strict;
use warnings;

use Carp qw(croak);
use Sereal::Encoder ();

=encoding utf8

=head1 NAME

Jobwire::SerealProtocol - keep Sereal encoders to a protocol version that everybody reads

=head1 SYNOPSIS

    use Jobwire::SerealProtocol;        # version 5
    use Job::Async;

    use Jobwire::SerealProtocol 3;      # version 3, read by every decoder since 2014

    perl -MJobwire::SerealProtocol your-client.pl

=head1 DESCRIPTION

Sereal::Encoder 6 and 7 write protocol 6 and 7 unless they are told otherwise. Decoders of Sereal 5 and older cannot read
these, nor can jobwire. Job::Async builds its encoder without options when it is loaded, so that there is no setting to
say so.

This module wraps C<Sereal::Encoder::new>: an encoder gets the option C<protocol_version>, unless it was given that option
or C<use_protocol_v1>. Only encoders that are built afterwards are concerned, so the module comes before L<Job::Async>;
where that is loaded already, C<use Jobwire::SerealProtocol> dies.

The version is 5, or the one behind the module's name, 1 to 5. Said twice, the last one holds.

The function C<encode_sereal> and the options of other programs' encoders stay what they are.

=head1 SEE ALSO

The other remedy is to stay below Sereal::Encoder 6.

=cut

our $VERSION = '0.001';

my $new = \&Sereal::Encoder::new;
my $version;

sub import {
    my ($class, $wanted) = @_;
    $wanted //= 5;
    croak "$class: no protocol version $wanted: there are 1 to 5" unless $wanted =~ /\A[1-5]\z/;
    croak "$class comes too late: Job::Async has built its encoder, load this module first"
        if $INC{'Job/Async/Job.pm'} and not defined $version;
    $version = $wanted;
    no warnings 'redefine';
    *Sereal::Encoder::new = \&_new;
    return;
}

sub _new {
    my ($class, $options) = @_;
    $options ||= {};
    return $new->($class, $options) if exists $options->{protocol_version} or $options->{use_protocol_v1};
    return $new->($class, { %$options, protocol_version => $version });
}

1;
