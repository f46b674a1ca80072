"""Sereal's living reference: a Perl process that answers JSON lines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "perl_fixtures" / "bin" / "sereal-peer.pl"
INSTALL = (
    "install libsereal-encoder-perl and libsereal-decoder-perl (Debian), or Sereal::Encoder and Sereal::Decoder (CPAN)"
)


class PeerError(Exception):
    """What Perl died of."""


def missing() -> str | None:
    """Why there is no reference here; None where there is one."""
    perl = os.environ.get("JOBWIRE_PERL", "perl")
    if shutil.which(perl) is None:
        return f"no perl on PATH; {INSTALL}"
    probe = subprocess.run(
        [perl, "-MSereal::Encoder", "-MSereal::Decoder", "-e", "1"], capture_output=True, check=False
    )
    return None if probe.returncode == 0 else f"Perl has no Sereal; {INSTALL}"


class SerealPeer:
    def __init__(self) -> None:
        perl = os.environ.get("JOBWIRE_PERL", "perl")
        self.process = subprocess.Popen([perl, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, **request: Any) -> Any:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(request).encode() + b"\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise PeerError(f"the Perl process ended on {json.dumps(request)[:500]}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer["ok"]

    def describe(self, document: bytes) -> Any:
        return self.ask(cmd="describe", document=document.hex())["body"]

    def encode(self, node: Any, **options: Any) -> bytes:
        return bytes.fromhex(self.ask(cmd="encode", node=node, options=options))

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()
