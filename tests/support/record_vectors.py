"""Record ``vectors.json``: documents as Perl's encoder writes them, and what Perl's decoder makes of them.

    python -m tests.support.record_vectors

Each vector keeps the Perl expression, the encoder's options and the versions it came from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.sereal_peer import SerealPeer

FILE = Path(__file__).parents[1] / "sereal" / "vectors.json"

SOURCES: dict[str, str] = {
    "undef": "undef",
    "integers": "[0, 1, 15, 16, 127, 128, 16384, 4294967296, 9223372036854775807, 18446744073709551615]",
    "negative integers": "[-1, -16, -17, -64, -65, -4294967296, -9223372036854775807, -9223372036854775807 - 1]",
    "numbers": "[1.5, 0.1, -0.0, 1e300, 5e-324, 2.5e-40, 9**9**9, -9**9**9, 1.0, 1e15, 1e20]",
    "number and text": "['1', 1, '1.50', 1.5, '', '0', 0]",
    "numeric string used as number": "my $s = '12'; my $n = $s + 0; [$s, $n]",
    "strings": r"['', 'a', 'x' x 31, 'x' x 32, 'x' x 127, 'x' x 128, 'x' x 300]",
    "latin-1": r"my $u = qq(\xe9); utf8::upgrade($u); [qq(\xe9), $u, qq(\xc3\xa9), qq(\xff\x00)]",
    "wide": r"[qq(\x{263a}), qq(\x{1f600}), qq(a\x{300})]",
    "surrogates": r"no warnings; [qq(\x{d800}), qq(\x{dfff}a), qq(\x{fffe}\x{ffff})]",
    "hash keys": r"my $k = qq(\xfc); utf8::upgrade($k); +{ a => 1, qq(\xe9) => 2, qq(\x{263a}) => 3, '' => 4, $k => 5}",
    "two keys that read alike": r"my $k = qq(\xe9); utf8::upgrade($k); +{ qq(\xc3\xa9) => 'bytes', $k => 'text' }",
    "repeated keys": '[map { +{ name => "n$_", value => $_, abc => undef } } 1 .. 5]',
    "large": '+{ list => [1 .. 40], hash => { map { ("k$_" => $_) } 10 .. 30 } }',
    "empty": "[[], {}, [[]], {a => {}}, '']",
    "native booleans": "[!!1, !!0, 1 == 1, 1 == 2]",
    "JSON booleans": "[JSON::PP::true, JSON::PP::false, JSON::PP::true, {a => JSON::PP::false}]",
    "scalar references": r"my $s = 5; [\$s, \$s, \'text', \\'twice', \undef, \[1], \{}]",
    "shared": "my $a = [1]; my $h = {}; [$a, $a, $h, {h => $h, a => $a}]",
    "cycle": "my $a = []; push @$a, $a, {up => $a}; $a",
    "scalar cycle": r"my $x; $x = \$x; $x",
    "scalar cycle of two": r"my ($x, $y); $x = \$y; $y = \$x; [$x, $y]",
    "reference to an element": r"my @a = (1, 'two'); [$a[0], \@a, \$a[0], \$a[1]]",
    "aliases": "sub { \\@_ }->((my $x = 'same'), $x, (my $y = 3), $y)",
    "weak": "my $a = {}; my $l = [$a, $a]; weaken($l->[0]); $main::keep = $a; $l",
    "weak parent": "my $t = {name => 't'}; $t->{child} = {parent => $t}; weaken($t->{child}{parent}); $t",
    "objects": "[bless({a => 1}, 'Foo'), bless([2], 'Foo::Bar'), bless(\\(my $s = 3), 'Foo'), bless({}, 'Foo')]",
    "object met twice": "my $o = bless {}, 'Foo'; [$o, $o, {o => $o}]",
    "object that holds itself": "my $o = bless {}, 'Foo'; $o->{self} = $o; $o",
    "blessed reference to a reference": r"bless \(my $r = [1]), 'Ref'",
    "scalar object met twice": r"my $o = bless \(my $s = 'v'), 'S'; [$o, $o]",
    "frozen": "my $f = bless {list => [1, [2], 'x']}, 'Jobwire::Frozen'; [$f, bless({list => []}, 'Jobwire::Frozen')]",
    "patterns": r"[qr/a+/, qr/^b.*$/msix, qr/\x{263a}/, qr//, bless(qr/x/, 'Foo')]",
    "pattern met twice": "my $q = qr/a/i; [$q, $q]",
    "deep": "my $d = []; $d = [$d] for 1 .. 200; $d",
}
VARIANTS: dict[str, dict[str, Any]] = {
    "v5": {},
    "v4": {"protocol_version": 4},
    "v3": {"protocol_version": 3},
    "v2": {"protocol_version": 2},
    "v1": {"protocol_version": 1},
    "dedupe": {"dedupe_strings": 1},
    "canonical": {"canonical": 1, "protocol_version": 3},
    "unshared keys": {"no_shared_hashkeys": 1},
    "snappy": {"compress": 1, "compress_threshold": 0},
    "snappy, v1": {"compress": 1, "compress_threshold": 0, "protocol_version": 1},
    "old snappy, v1": {"snappy": 1, "compress_threshold": 0, "protocol_version": 1},
    "zlib": {"compress": 2, "compress_threshold": 0},
    "zstd": {"compress": 3, "compress_threshold": 0},
}
FIXED = {"sort_keys": 2}


def record(peer: SerealPeer) -> dict[str, Any]:
    vectors = []
    for name, source in SOURCES.items():
        for variant, options in VARIANTS.items():
            used = {**FIXED, **options}
            if name == "frozen":
                if options.get("protocol_version") == 1:
                    continue  # it has no frozen objects
                used["freeze_callbacks"] = 1
            found = peer.ask(cmd="record", perl=source, options=used)
            vectors.append({"name": f"{name}, {variant}", "perl": source, "options": used, **found})
    versions = peer.ask(cmd="versions")
    origin = (
        f"perl {versions['perl']}, Sereal::Encoder {versions['encoder']}, Sereal::Decoder {versions['decoder']}, "
        "Debian 12; recorded by tests/sereal/record_vectors.py through perl_fixtures/bin/sereal-peer.pl"
    )
    return {"origin": origin, "vectors": vectors}


def main() -> None:
    peer = SerealPeer()
    try:
        found = record(peer)
    finally:
        peer.close()
    lines = ",\n".join(json.dumps(vector, sort_keys=True) for vector in found["vectors"])
    FILE.write_text(f'{{"origin": {json.dumps(found["origin"])},\n"vectors": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
