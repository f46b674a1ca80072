"""Shake hands with a peer; list its claims, their meaning, and those that no case knows.

The first thing to try with a new peer: a nonsense command (the answer must be ``unsupported``), then ``hello``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import get_args

from jobwire_conformance.cases.case import load_cases
from jobwire_conformance.driver.process import PeerCommand, PeerFault
from jobwire_conformance.driver.protocol import BEHAVIOURS, HelloAnswer, Mode
from jobwire_conformance.driver.text import one_line
from jobwire_conformance.peers.registry import MissingPeer, resolve
from jobwire_conformance.report.claims import doubts, lacking
from jobwire_conformance.report.verdicts import Exit
from jobwire_conformance.run.axes import PeerSpec, expand
from jobwire_conformance.run.runner import probe

__all__ = ["HELP", "configure", "describe", "run"]

HELP = "shake hands with a peer: what does it claim?"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("peer", metavar="PEER", help='for example "cmd:node peer.mjs"')


def run(options: argparse.Namespace) -> int:
    """0: the peer answered as it must; 1: it did not, and this is why."""
    good = True
    try:
        commands = resolve(options.peer)
    except MissingPeer as missing:
        sys.stdout.write(one_line(f"{options.peer}: {missing}") + "\n")
        return Exit.NOT_CONFORMANT
    for command in commands:
        try:
            sys.stdout.write(describe(command, asyncio.run(probe(command))))
        except PeerFault as fault:
            sys.stdout.write(one_line(f"{command.name}: no handshake: {fault}") + "\n")
            good = False
    return Exit.CONFORMANT if good else Exit.NOT_CONFORMANT


def describe(command: PeerCommand, hello: HelloAnswer) -> str:
    """Its answer to ``hello``, line by line."""
    dark = sorted(set(BEHAVIOURS) - set(hello.behaviours))
    rows = [
        f"{command.name}: {hello.name} {hello.version}, {hello.language}, {hello.runtime}",
        f"  roles:      {_names(hello.roles, ('client', 'worker'))}",
        f"  modes:      {_names(hello.modes, get_args(Mode))}",
        f"  dialects:   {', '.join(hello.dialects) or 'none'}",
        f"  codecs:     {_names(hello.codecs, ('sereal', 'json'))}",
        f"  behaviours: {', '.join(hello.behaviours) or 'none'}",
        *(f"    not claimed: {name}: {BEHAVIOURS[name]}" for name in dark),
        f"  with itself: {_plan(PeerSpec(command.name, command.dialect, hello))}",
        *(f"  note: {doubt}" for doubt in doubts(hello)),
    ]
    # Names, versions and claims are the peer's own words.
    return "".join(one_line(row) + "\n" for row in rows)


def _names(claimed: Sequence[str], known: tuple[str, ...]) -> str:
    rest = [name for name in known if name not in claimed]
    return (", ".join(claimed) or "none") + (f" (not claimed: {', '.join(rest)})" if rest else "")


def _plan(spec: PeerSpec) -> str:
    """How many cases a run would try."""
    plan = expand(load_cases(), [spec], [spec], "ci")
    tried = [
        item
        for item, client, worker in plan
        if not lacking(
            item.case, item.mode, item.codec, client.hello if client else None, worker.hello if worker else None
        )
    ]
    cases = {item.case.id for item in tried}
    rest = {item.case.id for item, _, _ in plan} - cases
    return f"{len(cases)} cases, {len(tried)} instances; {len(rest)} cases need what is not claimed"
