use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::RealBin/../lib";

use Sereal::Decoder ();
use Jobwire::SerealProtocol;
use Job::Async::Job;

my $version = sub { ord(substr shift, 4, 1) & 0x0f };
my $value   = { name => 'reverse', args => [ 1, undef, "\x{263a}" ] };
my $encode  = sub { Sereal::Encoder->new(@_)->encode($value) };

is $version->($encode->()), 5, 'version 5 unless told otherwise';
is $version->($encode->({ sort_keys => 1 })), 5, 'beside other options';
is $version->($encode->({ protocol_version => 2 })), 2, 'an encoder that says its version keeps it';
is $version->($encode->({ use_protocol_v1 => 1 })), 1, 'by the older option, too';
is_deeply(Sereal::Decoder->new->decode($encode->()), $value, 'the same value');

my $options = { sort_keys => 1 };
$encode->($options);
is_deeply $options, { sort_keys => 1 }, 'the options of the caller stay as they are';

for my $wanted (5, 4, 3) {
    Jobwire::SerealProtocol->import($wanted);
    is $version->($encode->()), $wanted, "version $wanted when asked for";
    is_deeply(Sereal::Decoder->new->decode($encode->()), $value, '… and the same value');
}
for my $wrong (0, 6, 7, 'x', '') {
    ok !eval { Jobwire::SerealProtocol->import($wrong); 1 }, "no version '$wrong'";
    like $@, qr/there are 1 to 5/, '… with the reason';
}

my $print = 'print ord(substr(Sereal::Encoder->new->encode([]), 4, 1)) & 0x0f';
open my $early, '-|', $^X, "-I$FindBin::RealBin/../lib", '-MJobwire::SerealProtocol=4', '-MJob::Async::Job', '-e', $print or die $!;
is join('', <$early>), 4, 'on the command line';

open my $late, '-|', "$^X -I$FindBin::RealBin/../lib -MJob::Async::Job -MJobwire::SerealProtocol -e1 2>&1" or die $!;
like join('', <$late>), qr/comes too late/, 'behind Job::Async it dies';

done_testing;
