"""Where peers come from: ``python`` · ``perl`` · ``golden`` · ``mutant`` · ``cmd:…``, each with a dialect.

``python:0.002`` is one dialect, ``perl:*`` every dialect that is here, ``perl`` the main one (0.004).
``perl@trixie:*`` is every library stack that loads with Perl of Debian 13, ``perl@docker:0.003`` Perl in a container
(:mod:`jobwire_conformance.peers.perl`).
``cmd:node peer.js`` is any program that speaks the driver protocol; ``cmd@0.003:…`` gives it a dialect, and
``mine=cmd:node peer.js`` a name for reports and lists.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable

from jobwire_conformance.cases.places import GOLDEN, SUITE
from jobwire_conformance.driver.process import PeerCommand
from jobwire_conformance.peers.missing import MissingPeer, UsageFault
from jobwire_conformance.peers.perl import BACKENDS, PLACES, STACKS, perl_peers
from jobwire_conformance.rules.facts import DIALECTS, MAIN_DIALECT

__all__ = ["MissingPeer", "UsageFault", "resolve"]

_NAMED = re.compile(r"(?P<name>[A-Za-z][\w.-]*)=(?=cmd)")
_PERL = re.compile(r"perl(@(?P<place>[\w*]+))?")
_STACK = re.compile(rf"({'|'.join(map(re.escape, DIALECTS))})(\+[a-z0-9-]+)*|\*")


def resolve(name: str) -> list[PeerCommand]:
    """The commands for one name of the command line.

    Raises :class:`UsageFault` for a name that means nothing, :class:`MissingPeer` for one whose programs are not here.
    """
    if name.startswith("cmd") or _NAMED.match(name):
        return [_foreign(name)]
    kind, _, dialect = name.partition(":")
    if kind == "mutant":
        return [_mutant(dialect)]
    dialect = dialect or MAIN_DIALECT
    if perl := _PERL.fullmatch(kind):
        return _perl(perl["place"] or "", dialect)
    if kind not in _MAKERS:
        raise UsageFault(
            f"no peer is named {name!r}: python, perl, golden (each with :dialect or :*), perl@ "
            f"{', '.join([*filter(None, PLACES), '*'])} (with :stack or :*), cmd:<program> or <name>=cmd:<program>"
        )
    if dialect == "*":
        return _all(kind)
    if dialect not in DIALECTS:
        raise UsageFault(f"no dialect is named {dialect!r}: {', '.join(DIALECTS)}")
    return [_MAKERS[kind](dialect)]


def _perl(place: str, stack: str) -> list[PeerCommand]:
    if place not in {*PLACES, "*"}:
        raise UsageFault(f"there is no Perl at {place!r}: {', '.join([*filter(None, PLACES), '*'])}")
    if _STACK.fullmatch(stack) is None:
        raise UsageFault(f"no dialect is named {stack!r}: {', '.join(STACKS)}, each also with +{', +'.join(BACKENDS)}")
    return perl_peers(place, stack)


def _all(kind: str) -> list[PeerCommand]:
    found = []
    for dialect in DIALECTS:
        try:
            found.append(_MAKERS[kind](dialect))
        except MissingPeer:
            continue
    if not found:
        _MAKERS[kind](MAIN_DIALECT)  # raises, naming the missing part
    return found


def _module(kind: str, name: str, dialect: str, module: str, *words: str) -> PeerCommand:
    """A module of the suite as a program of its own."""
    # The suite may be run from a checkout without being installed.
    path = os.pathsep.join([str(SUITE), *filter(None, [os.environ.get("PYTHONPATH")])])
    argv = (sys.executable, "-m", f"jobwire_conformance.{module}", *words)
    return PeerCommand(name=f"{kind}:{name}", dialect=dialect, argv=argv, env={"PYTHONPATH": path}, kind=kind)


def _python(dialect: str) -> PeerCommand:
    return _module("python", dialect, dialect, "peers.python")


def _mutant(which: str) -> PeerCommand:
    return _module("mutant", which, MAIN_DIALECT, "selftest.peer", which)


def _golden(dialect: str) -> PeerCommand:
    if not any(GOLDEN.glob(f"{dialect}/*.jsonl")):
        raise MissingPeer(f"no recordings of dialect {dialect} in conformance/golden (make them with --record)")
    return _module("golden", dialect, dialect, "peers.replay", "--dialect", dialect)


def _foreign(name: str) -> PeerCommand:
    given = _NAMED.match(name)
    head, _, program = name[given.end() :].partition(":") if given else name.partition(":")
    _, _, dialect = head.partition("@")
    dialect = dialect or MAIN_DIALECT
    if not program.strip() or dialect not in DIALECTS or head.partition("@")[0] != "cmd":
        raise UsageFault(f"{name!r} is not of the form [<name>=]cmd:<program> or [<name>=]cmd@<dialect>:<program>")
    return PeerCommand(
        name=given["name"] if given else name, dialect=dialect, argv=tuple(shlex.split(program)), kind="cmd"
    )


_MAKERS: dict[str, Callable[[str], PeerCommand]] = {
    "python": _python,
    "golden": _golden,
}
