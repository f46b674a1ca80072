"""Decode and lint the traffic between clients, workers and Redis.

Live: listens like a Redis, forwards every byte as it comes, and prints each step decoded, with a line for whatever goes
against docs/PROTOCOL.md. Clients and workers of any language are given its address in place of that of Redis. With
FILE: the same for recorded transcripts, without any Redis.

Values of jobs can be secret: live they are hidden (sizes and kinds are shown) unless --values is given. Passwords
(AUTH, HELLO, ACL) are never shown and never recorded. docs/TAP.md says more.

Exit status: 0 nothing was flagged, 1 something was, 2 usage, 3 environment (no Redis there, address in use).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from jobwire_conformance.rules.facts import DIALECTS

__all__ = ["HELP", "configure"]

HELP = "decode and lint live traffic between peers and Redis, or a recording"
_MODES = ("auto", "reliable", "recoverable", "simple")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="a recorded transcript to read instead")
    parser.add_argument("--replay", action="append", default=[], type=Path, metavar="FILE", help="the same as FILE")
    parser.add_argument("--listen", default="127.0.0.1:6380", metavar="HOST:PORT", help="(default: 127.0.0.1:6380)")
    parser.add_argument(
        "--expose", action="store_true", help="allow --listen on addresses that other machines can reach (no TLS there)"
    )
    parser.add_argument(
        "--url",
        default=os.environ.get("JOBWIRE_URL", "redis://127.0.0.1"),
        help="where Redis is: redis://, rediss:// or unix:// (default: $JOBWIRE_URL, else redis://127.0.0.1)",
    )
    told = parser.add_argument_group("what all peers are known to use (default: whatever they show)")
    told.add_argument("--prefix", help="prefix of the queues; other queues are flagged then")
    told.add_argument("--mode", choices=_MODES, default="auto")
    told.add_argument("--dialect", choices=["auto", *DIALECTS], default="auto")
    shown = parser.add_argument_group("what is printed")
    shown.add_argument("--json", action="store_true", help="one JSON object a line (conformance/schemas/tap-line.json)")
    shown.add_argument("--quiet", action="store_true", help="only steps that are flagged")
    shown.add_argument("--all", action="store_true", help="every frame, +OK and polls included")
    shown.add_argument(
        "--job", action="append", default=[], metavar="ID", help="only this job: an ID, or how it begins"
    )
    shown.add_argument(
        "--only", action="append", default=[], choices=["client", "worker", "monitor", "other"], metavar="ROLE",
        help="only connections of this role: client, worker, monitor, other",
    )  # fmt: skip
    shown.add_argument(
        "--values", action=argparse.BooleanOptionalAction, default=None,
        help="show the values of jobs (default: hidden when live, shown when read from a file)",
    )  # fmt: skip
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep a transcript there; it holds the values")
    parser.add_argument(
        "--patience", type=float, default=5.0, metavar="S", help="how long what must follow may take (5 s)"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="end after so many seconds")
    parser.add_argument("--jobs", type=int, metavar="N", help="end after so many completed jobs")
