package Jobwire::Peer::Backend;

use strict;
use warnings;

=head1 NAME

Jobwire::Peer::Backend - which JSON module the Job::Async modules get

=head1 DESCRIPTION

Job::Async writes and reads JSON by JSON::MaybeUTF8, which takes the module that JSON::MaybeXS chooses when it is loaded:
Cpanel::JSON::XS or JSON::XS if it is loaded already, else the first of Cpanel::JSON::XS, JSON::XS and JSON::PP that can
be loaded. So a program with C<use JSON> in front of C<use Job::Async> gets JSON::XS where that is installed. The
environment variable C<JOBWIRE_PEER_JSON> does the same to this peer: C<JSON::XS> is loaded first, for C<JSON::PP> the
other two cannot be found. Use this module before any other that loads JSON::MaybeXS.

=cut

BEGIN {
    my $wanted = $ENV{JOBWIRE_PEER_JSON} // '';
    my $hidden = sub { die "$_[1] is hidden\n" if $_[1] =~ m{^(?:Cpanel/)?JSON/XS\.pm$}; return };
    die "JSON::XS is not installed (Debian: libjson-xs-perl)\n" if $wanted eq 'JSON::XS' and !eval { require JSON::XS };
    local @INC = ($wanted eq 'JSON::PP' ? $hidden : (), @INC);
    require JSON::MaybeXS;
    my $got = ref JSON::MaybeXS->new;
    die "JSON::MaybeXS chose $got, not $wanted\n" if $wanted and $got ne $wanted;
}

# For the driver protocol, whatever the jobs get: fast, deep, and the same in every run.
sub of_the_protocol {
    my $class = eval { require Cpanel::JSON::XS; 1 } ? 'Cpanel::JSON::XS' : ref JSON::MaybeXS->new;
    return $class->new->utf8->canonical->max_depth(10_000);
}

1;
