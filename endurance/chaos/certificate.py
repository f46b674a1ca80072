"""A certificate that signs itself, for a server on loopback."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

__all__ = ["Certificate", "make_certificate"]


class Certificate(NamedTuple):
    """Files in PEM: the certificate, which is its own authority, and its key."""

    file: Path
    key: Path

    def for_servers(self) -> ssl.SSLContext:
        """The context of one that listens."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context

    def for_clients(self) -> ssl.SSLContext:
        """The context of one that trusts this certificate, and no other."""
        return ssl.create_default_context(cafile=str(self.file))


def make_certificate(folder: Path) -> Certificate:
    """Make one for localhost and 127.0.0.1 in ``folder``. Raises ``OSError`` where there is no openssl."""
    file, key = folder / "certificate.pem", folder / "key.pem"
    try:
        subprocess.run(  # noqa: S603 - a constant command
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-keyout", str(key), "-out", str(file), "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
                *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),  # Python 3.13 and later insist on it
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
    except subprocess.CalledProcessError as error:
        raise OSError(f"openssl made no certificate: {error.stderr.decode(errors='replace')}") from None
    return Certificate(file, key)
