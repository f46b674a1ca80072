#!/usr/bin/perl
# What Perl makes of a string as a number and as a truth value: the table that typed values are checked against.
#
# In: one string a line, in hex. Out: a line {"perl": VERSION}, then one a string:
#   {"string": HEX, "looks": 0|1, "true": 0|1, "number": TEXT, "printed": TEXT}
# looks    Scalar::Util::looks_like_number
# true     the string as a condition
# number   the string + 0, with 17 digits: the same double, whoever reads it
# printed  the string + 0, as Perl prints it: integers whole, doubles with 15 digits
# Ends with status 2 and a line on stderr where a module is missing: some distributions part Perl's own from perl.
use strict;
use warnings;

BEGIN {
    for my $module (qw(JSON::PP Scalar::Util)) {
        next if eval "require $module; 1";
        print STDERR "scalars.pl: the module $module cannot be loaded: install all of Perl (Debian: the package perl)\n";
        exit 2;
    }
    Scalar::Util->import('looks_like_number');
}

my $json = JSON::PP->new->canonical;
$| = 1;
print $json->encode({ perl => sprintf '%vd', $^V }), "\n";
while (my $line = <STDIN>) {
    chomp $line;
    my $string = pack 'H*', $line;
    my $number = do { no warnings 'numeric'; $string + 0 };
    print $json->encode({
        string  => $line,
        looks   => looks_like_number($string) ? 1 : 0,
        true    => $string ? 1 : 0,
        number  => sprintf('%.17g', $number),
        printed => "$number",
    }), "\n";
}
