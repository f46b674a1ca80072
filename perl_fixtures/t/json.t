use strict;
use warnings;

use FindBin;
use JSON::PP ();
use Test::More;

use lib "$FindBin::RealBin/../lib";

use Jobwire::Redis::JSON qw(from_json to_json);
use Jobwire::Text qw(octets text);

is to_json({ b => [ 1, '1', 1.5, undef ], a => {} }), '{"a":{},"b":[1,"1",1.5,null]}', 'numbers stay numbers, strings strings';
is to_json("\x{263a}"), "\"\xe2\x98\xba\"", 'decoded text';
is to_json("\xe2\x98\xba"), "\"\xe2\x98\xba\"", 'UTF-8 bytes mean the same';
is to_json({ "\xc3\xa9" => 1 }), "{\"\xc3\xa9\":1}", 'keys too';
is to_json([ JSON::PP::true(), JSON::PP::false() ]), '[true,false]', "JSON's booleans";
is to_json([ !!1, !!0 ]), $] >= 5.036 ? '[true,false]' : '[1,""]', "Perl's booleans";
is to_json([ 9**9**9, -9**9**9, -sin 9**9**9 ]), '[null,null,null]', 'what is not finite';
is to_json(18446744073709551615), '18446744073709551615', 'the largest integer';

for my $case (
    [ "\xff", qr/not valid UTF-8/ ],
    [ { "\xff" => 1 }, qr/not valid UTF-8/ ],
    [ [ bless {}, 'Some::Class' ], qr/an object of class Some::Class/ ],
    [ \'scalar', qr/a reference to scalar/ ],
    [ sub { }, qr/a reference to code/ ],
) {
    my ($value, $why) = @$case;
    ok !eval { to_json($value); 1 }, 'refused';
    like $@, $why, '… with the reason';
}

is_deeply from_json('{"a":[1,null,"\u263a"]}'), { a => [ 1, undef, "\x{263a}" ] }, 'reading';
ok !eval { from_json('{"a":'); 1 }, 'what is no JSON is refused';
is octets("\x{263a}"), "\xe2\x98\xba", 'octets of text';
is text("\xef\xbf\xbf"), "\x{ffff}", 'a non-character is text';
is text("\xed\xa0\x80"), undef, 'a surrogate is not';
is text("\xc0\x80"), undef, 'nor is what is encoded too long';
is octets("\xff"), "\xff", 'octets of bytes';

done_testing;
