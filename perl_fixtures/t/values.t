use strict;
use warnings;

use FindBin;
use JSON::MaybeXS;
use Sereal::Decoder;
use Sereal::Encoder;
use Test::More;

use lib "$FindBin::RealBin/../lib";

use Jobwire::Peer::Values qw(from_tagged to_tagged);

my $json = JSON::MaybeXS->new(utf8 => 1, canonical => 1, allow_nonref => 1);
my $has_booleans = $] >= 5.036;

# What the runner says, Perl holds, and says again.
sub again { return $json->encode(to_tagged(from_tagged($json->decode($_[0])))) }

for my $same (
    'null', '0', '-1', '9007199254740992', '-9007199254740992', '""', '"0"', '"text"', '"caf\u00e9 \u263a"', '[]', '{}',
    '[1,"1",null,[{"a":[]}]]', '{"":1}', '{"\u263a":2}',
    '{"$int":"18446744073709551615"}', '{"$int":"-9223372036854775808"}', '{"$int":"9007199254740993"}',
    '{"$float":"0.1"}', '{"$float":"3.5"}', '{"$float":"1e+300"}', '{"$float":"0.30000000000000004"}',
    '{"$float":"Infinity"}', '{"$float":"-Infinity"}', '{"$float":"NaN"}',
    '{"$bytes":"/w=="}', '{"$bytes":"7aCA"}', '{"$ref":1}', '{"$ref":{"$ref":"x"}}', '{"$ref":[1]}',
    '{"$object":["Some::Class",{"a":1}]}', '{"$object":["Some::Class",[]]}', '{"$object":["C",{"$ref":"x"}]}',
    '{"$map":[["$a",1]]}', '{"$map":[["a",1],[{"$bytes":"/w=="},2]]}',
) {
    is again($same), $json->encode($json->decode($same)), "the same again: $same";
}
is again('[true,false]'), $has_booleans ? '[true,false]' : '[1,""]', 'booleans';
is again('{"$object":["JSON::PP::Boolean",1]}'), 'true', 'the booleans of JSON decoders';

is from_tagged($json->decode('"\u263a"')), "\xe2\x98\xba", 'text is handed to Perl as UTF-8';
is from_tagged({ '$chars' => "\x{263a}" }), "\x{263a}", '… but for $chars';
is_deeply [ keys %{ from_tagged({ "\x{263a}" => 1 }) } ], ["\xe2\x98\xba"], '… keys too';
is to_tagged("\xe9\xff")->{'$bytes'}, '6f8=', 'bytes that are not UTF-8';
is to_tagged("\xef\xbf\xbf"), "\x{ffff}", 'a non-character is valid UTF-8';
is_deeply to_tagged("\xed\xa0\x80"), { '$bytes' => '7aCA' }, 'a surrogate is not';
{
    my $decoded = "\xe9";
    utf8::upgrade($decoded);
    is to_tagged($decoded), "\xe9", 'a decoded string is text, whatever its characters';
}
is $json->encode(to_tagged(qr/x/i)), '{"$object":["Regexp","(?^i:x)"]}', 'a regexp';

# The kind of a scalar survives Sereal, which is how nested data travels.
my $travelled = Sereal::Decoder->new->decode(Sereal::Encoder->new->encode(
    from_tagged($json->decode('[1,"1",{"$float":"1.5"},{"$int":"18446744073709551615"},{"$chars":"\u00e9"}]'))
));
is $json->encode(to_tagged($travelled)), $json->encode($json->decode(
    '[1,"1",{"$float":"1.5"},{"$int":"18446744073709551615"},"\u00e9"]'
)), 'kinds survive Sereal';

ok !eval { from_tagged({ '$nonsense' => 1 }); 1 }, 'an unknown tag is refused';
like $@, qr/unknown tag \$nonsense/, '… by name';
my $cycle = [];
push @$cycle, $cycle;
ok !eval { to_tagged($cycle); 1 }, 'a value that holds itself is refused';
like $@, qr/nested deeper/, '… with the reason';
@$cycle = ();
ok !eval { to_tagged(sub { }); 1 }, 'so is code';

done_testing;
