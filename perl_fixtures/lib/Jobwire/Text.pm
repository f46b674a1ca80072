package Jobwire::Text;

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(octets text);

=encoding utf8

=head1 NAME

Jobwire::Text - Perl's one kind of string, as text or as bytes

=head1 FUNCTIONS

=head2 text

The text of a string: the string itself if Perl marks it as decoded, else what its bytes say in UTF-8. Undef where it
is neither: bytes that are not UTF-8, or a character that Unicode has not (a surrogate, one above U+10FFFF).

L<Encode> would refuse the non-characters too, such as U+FFFF, which other languages read and write.

=head2 octets

The UTF-8 bytes of a string that Perl marks as decoded; any other string holds bytes and is returned as it is.

=cut

sub text {
    my ($string) = @_;
    return undef unless utf8::is_utf8($string) or utf8::decode($string);
    no warnings 'utf8';
    return $string =~ /[\x{D800}-\x{DFFF}]|[^\x{0}-\x{10FFFF}]/ ? undef : $string;
}

sub octets {
    my ($string) = @_;
    utf8::encode($string) if utf8::is_utf8($string);
    return $string;
}

1;
