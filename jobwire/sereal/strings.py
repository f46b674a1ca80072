"""Perl's UTF-8, which says more than Unicode does."""

from __future__ import annotations

__all__ = ["read_utf8", "write_utf8"]


def read_utf8(raw: bytes) -> str | bytes:
    """Perl's extended UTF-8: lone surrogates stay in the ``str``; code points beyond U+10FFFF
    fit no ``str``, so that the whole string stays ``bytes``. ``UnicodeDecodeError`` otherwise."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        if _is_extended(raw):
            return raw
        raise


def _is_extended(raw: bytes) -> bool:
    """Return whether ``raw`` has the form of Perl's UTF-8 (sequences of up to 13 bytes) and needs it."""
    at = 0
    wide = False
    while at < len(raw):
        lead = raw[at]
        length = 1 if lead < 0x80 else 0 if lead < 0xC2 else 13 if lead == 0xFF else 8 - (lead ^ 0xFF).bit_length()
        rest = raw[at + 1 : at + length]
        if not length or len(rest) != length - 1 or any(byte & 0xC0 != 0x80 for byte in rest):
            return False
        wide = wide or lead >= 0xF4
        at += length
    return wide


def write_utf8(text: str) -> bytes:
    """Return the bytes of ``text``; lone surrogates are written as Perl writes them."""
    return text.encode("utf-8", "surrogatepass")
