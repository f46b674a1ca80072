"""Records of what could not be read: the entries of the list ``<prefix>::rejected``. Defined by jobwire."""

from __future__ import annotations

from base64 import b64decode, b64encode

import msgspec

from jobwire.errors import DecodeError
from jobwire.wire.text import Text, brief, readable

__all__ = ["Rejected", "decode_rejected", "encode_rejected"]


class _Bytes(msgspec.Struct, frozen=True):
    base64: str = msgspec.field(name="$bytes")


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """One entry, whole, with the reason. ``at`` epoch seconds; ``queue`` the whole key it was popped from."""

    at: float
    worker: str
    queue: str
    entry: _Bytes
    reason: str

    @property
    def raw(self) -> bytes:
        """The entry's bytes, as they were popped."""
        return b64decode(self.entry.base64)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Rejected).decode


def encode_rejected(entry: bytes, *, queue: bytes, worker: Text, reason: str, at: float) -> bytes:
    """A record as JSON."""
    record = Rejected(
        at=at,
        worker=worker if isinstance(worker, str) else ascii(worker),
        queue=text if isinstance(text := readable(queue), str) else ascii(queue),
        entry=_Bytes(b64encode(entry).decode()),
        # A reason may quote a file name or an entry with lone surrogates.
        reason=reason.encode(errors="backslashreplace").decode(),
    )
    return _encode(record)


def decode_rejected(raw: bytes) -> Rejected:
    """A record of the list; raises ``DecodeError``."""
    try:
        record = _decode(raw)
        b64decode(record.entry.base64, validate=True)
    except (ValueError, RecursionError) as error:  # msgspec's errors and binascii's are ValueErrors
        raise DecodeError(f"not a record of a rejected entry: {brief(error)}", raw=raw) from None
    return record
