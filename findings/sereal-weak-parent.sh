#!/usr/bin/env bash
# Sereal keeps a weak reference weak, or makes it strong, by which end of the tree was sent; the strong one leaks.
#
# Versions: Sereal 5.004 on Perl 5.40.1 (Debian 13); 4.018 on 5.32.1 (Debian 11) says the same; Storable of the same
#   Perls.
# Expected: a weak reference from child to parent arrives weak; sent alone, with nothing that holds the parent, the
#   child arrives with undef there, as any weak reference does whose target is gone, and as Storable's dclone has it.
# Seen: if the child is sent, Sereal writes its reference to the parent as a strong one (it overwrites the tag WEAKEN
#   with padding, for nothing else holds the parent). The copy is a cycle of strong references that is never freed: a
#   worker that gets such jobs grows by the whole tree with each.
. "$(dirname "$0")/lib/finding.bash"
with_debian bullseye perl=5.32.1-4+deb11u3 libsereal-encoder-perl=4.018+ds-1+b1 libsereal-decoder-perl=4.018+ds-1+b1
with_debian trixie perl=5.40.1-6+deb13u1 libsereal-encoder-perl=5.004+ds-1+b3 libsereal-decoder-perl=5.004+ds-1+b3

cat >"$scratch/weak.pl" <<'PERL'
use strict; use warnings;
use Scalar::Util qw(isweak weaken); use Sereal::Decoder; use Sereal::Encoder; use Storable ();
our $freed = 0;
sub Node::DESTROY { $freed++ }
my %copy = (
    Sereal   => sub { Sereal::Decoder->new->decode(Sereal::Encoder->new({ protocol_version => 4 })->encode($_[0])) },
    Storable => \&Storable::dclone,
);
my ($parent, $child) = (bless({}, 'Node'), bless({}, 'Node'));
($parent->{child}, $child->{parent}) = ($child, $parent);
weaken $child->{parent};
for my $by (qw(Sereal Storable)) {
    for my $sent (qw(parent child)) {
        $freed = 0;
        my $back;
        {
            my $copy = $copy{$by}->($sent eq 'parent' ? $parent : $child);
            my $copied = $sent eq 'parent' ? $copy->{child} : $copy;
            $back = !defined $copied->{parent} ? 'undef' : isweak($copied->{parent}) ? 'weak' : 'strong';
        }
        print "$by, $sent sent: child's reference to the parent is $back; of 2 nodes sent $freed are freed\n";
    }
}
$freed = 0;
PERL
perl_of trixie "$scratch/weak.pl" >"$scratch/out"
perl_of bullseye "$scratch/weak.pl" | cmp - "$scratch/out"
seen "$scratch/out" <<'RECORDED'
Sereal, parent sent: child's reference to the parent is weak; of 2 nodes sent 2 are freed
Sereal, child sent: child's reference to the parent is strong; of 2 nodes sent 0 are freed
Storable, parent sent: child's reference to the parent is weak; of 2 nodes sent 2 are freed
Storable, child sent: child's reference to the parent is undef; of 2 nodes sent 2 are freed
RECORDED
