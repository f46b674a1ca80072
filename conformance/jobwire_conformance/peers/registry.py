"""Where peers come from: ``python`` · ``perl`` · ``golden`` · ``mutant`` · ``cmd:…``, each with a dialect.

``python:0.002`` is one dialect, ``perl:*`` every dialect that is here, ``perl`` the main one (0.004).
``perl@docker:0.003`` is the Perl peer in a container.
``cmd:node peer.js`` is any program that speaks the driver protocol; ``cmd@0.003:…`` gives it a dialect, and
``mine=cmd:node peer.js`` a name for reports and lists.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from jobwire_conformance.cases.places import GOLDEN, SUITE
from jobwire_conformance.driver.process import PeerCommand
from jobwire_conformance.peers import container_peers
from jobwire_conformance.peers.containers import ContainerFault
from jobwire_conformance.rules.facts import DIALECTS, MAIN_DIALECT

__all__ = ["MissingPeer", "UsageFault", "perl_root", "resolve"]

_NAMED = re.compile(r"(?P<name>[A-Za-z][\w.-]*)=(?=cmd)")
PERL_PEER = SUITE.parent / "perl_fixtures" / "bin" / "peer.pl"


class UsageFault(ValueError):
    """A peer name that means nothing (exit status 2)."""


class MissingPeer(LookupError):
    """A peer that exists in principle but cannot be had here; says how to get it."""


def resolve(name: str) -> list[PeerCommand]:
    """The commands for one name of the command line.

    Raises :class:`UsageFault` for a name that means nothing, :class:`MissingPeer` for one whose programs are not here.
    """
    if name.startswith("cmd") or _NAMED.match(name):
        return [_foreign(name)]
    kind, _, dialect = name.partition(":")
    if kind not in _MAKERS:
        raise UsageFault(
            f"no peer is named {name!r}: python, perl, perl@docker, golden (each with :dialect or :*), "
            "cmd:<program> or <name>=cmd:<program>"
        )
    if kind == "mutant":
        return [_mutant(dialect)]
    if dialect == "*":
        return _all(kind)
    dialect = dialect or MAIN_DIALECT
    if dialect not in DIALECTS and not (kind.startswith("perl") and "+" in dialect):
        raise UsageFault(f"no dialect is named {dialect!r}: {', '.join(DIALECTS)}")
    return [_MAKERS[kind](dialect)]


def _all(kind: str) -> list[PeerCommand]:
    found = []
    for dialect in DIALECTS:
        try:
            found.append(_MAKERS[kind](dialect))
        except MissingPeer:
            continue
    if not found:
        _MAKERS[kind](MAIN_DIALECT)  # says what is missing
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


def perl_root() -> Path:
    """The folder that holds one Perl library folder a dialect (``<dialect>/lib/perl5``, as ``cpanm -L`` makes it)."""
    given = os.environ.get("JOBWIRE_PERL_ROOT")
    if given:
        return Path(given)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "jobwire" / "perl"


def _perl(dialect: str) -> PeerCommand:
    perl = shutil.which("perl")
    if perl is None:
        raise MissingPeer("there is no perl on PATH")
    if not PERL_PEER.exists():
        raise MissingPeer("perl_fixtures/bin/peer.pl is not here: run the suite from a checkout")
    library = perl_root() / dialect / "lib" / "perl5"
    environment = {"JOBWIRE_PEER_GRACE": "5"}
    if library.is_dir():
        inherited = os.environ.get("PERL5LIB")
        environment["PERL5LIB"] = os.pathsep.join([str(library), *filter(None, [inherited])])
    elif dialect != _installed_perl(perl):
        raise MissingPeer(
            f"Job::Async::Redis {dialect} is not here: neither in JOBWIRE_PERL_ROOT/{dialect}/lib/perl5 "
            f"(make it with cpanm -L, see perl_fixtures/README.md) nor installed for {perl}"
        )
    # The folder may name what the dialect runs on: "0.004+nar5" is 0.004 on Net::Async::Redis 5.
    return PeerCommand(
        name=f"perl:{dialect}",
        dialect=dialect.partition("+")[0],
        argv=(perl, str(PERL_PEER)),
        env=environment,
        kind="perl",
    )


def _perl_in_container(dialect: str) -> PeerCommand:
    try:
        return container_peers.perl_command(dialect, perl_root())
    except ContainerFault as fault:
        raise MissingPeer(str(fault)) from None


def _installed_perl(perl: str) -> str | None:
    answer = subprocess.run(  # noqa: S603 - the perl found on PATH, a constant program
        [perl, "-MJob::Async::Redis", "-e", "print Job::Async::Redis->VERSION"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return answer.stdout.strip() if answer.returncode == 0 else None


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
    "perl": _perl,
    "perl@docker": _perl_in_container,
    "golden": _golden,
    "mutant": _mutant,
}
