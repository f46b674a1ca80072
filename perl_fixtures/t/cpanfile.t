use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::RealBin/../lib";

use Jobwire::Peer::Stack;

# What is loaded here is what the cpanfile of this stack asks for.

plan skip_all => 'NO Module::CPANfile: install it (Debian: libmodule-cpanfile-perl) to compare versions with the cpanfile'
    unless eval { require Module::CPANfile; 1 };

my $dialect = Jobwire::Peer::Stack::dialect();
my $stack = Net::Async::Redis->VERSION >= 5 ? "$dialect+nar5" : $dialect;
my $home = "$FindBin::RealBin/..";
my $file = $stack eq '0.004' ? "$home/cpanfile" : "$home/cpanfiles/$stack";
my $requirements = Module::CPANfile->load($file)->prereqs->requirements_for('runtime', 'requires');

for my $module (sort $requirements->required_modules) {
    my $wanted = $requirements->requirements_for_module($module) // 0;
    my $found = $module eq 'perl' ? $] : eval "require $module; $module->VERSION // 0";
    ok defined $found && $requirements->accepts_module($module => $found), "$module $wanted"
        or diag 'found ', $found // "nothing: $@";
}

# Every cpanfile can be read, and pins the five modules that make the wire.
for my $each ("$home/cpanfile", glob "$home/cpanfiles/*") {
    my $pins = Module::CPANfile->load($each)->prereqs->requirements_for('runtime', 'requires');
    my @pinned = grep { ($pins->requirements_for_module($_) // '') =~ /^==/ } $pins->required_modules;
    is scalar @pinned, $each =~ /master$/ ? 4 : 5, "$each pins its stack";
}

done_testing;
