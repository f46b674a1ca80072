"""Perl peers: of this machine, of another Debian release, in a container; each with a library stack and a JSON backend.

    perl:0.004                  Perl of this machine
    perl@trixie:0.004+nar5      Perl of Debian 13, in the root that ci/perl-roots makes; a container where not root
    perl@docker:0.003           the image of perl_fixtures/Dockerfile
    perl:0.004+json-pp          with JSON::PP where Cpanel::JSON::XS would be loaded
    perl@*:*                    every stack that loads here and in each root

A **stack** is a folder of Perl libraries (``perl_fixtures/README.md``). Its name begins with the dialect and may name
the library that the release runs on: ``0.004+nar5`` is 0.004 on Net::Async::Redis 5.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jobwire_conformance.cases.places import SUITE
from jobwire_conformance.driver.process import PeerCommand
from jobwire_conformance.peers import container_peers
from jobwire_conformance.peers.containers import ContainerFault
from jobwire_conformance.peers.missing import MissingPeer
from jobwire_conformance.peers.perl_roots import SUITES, PerlRoot
from jobwire_conformance.rules.facts import DIALECTS

__all__ = ["BACKENDS", "PERL_PEER", "PLACES", "STACKS", "perl_peer", "perl_peers", "stacks_folder"]

PERL_PEER = SUITE.parent / "perl_fixtures" / "bin" / "peer.pl"
#: The library stacks that the suite knows.
STACKS = (*DIALECTS, "0.004+nar5", "0.004+nar6")
#: Ending of a peer's name -> the JSON module that its Perl is given; without one JSON::MaybeXS chooses.
BACKENDS = {"json-xs": "JSON::XS", "json-pp": "JSON::PP"}
#: Where Perl can run: this machine (no name), a Debian release, a container of Debian 12.
PLACES = ("", *SUITES, "docker")
_GRACE = {"JOBWIRE_PEER_GRACE": "5"}


def stacks_folder() -> Path:
    """The folder that holds one Perl library folder a stack (``<stack>/lib/perl5``, as ``cpanm -L`` makes it)."""
    given = os.environ.get("JOBWIRE_PERL_ROOT")
    if given:
        return Path(given)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "jobwire" / "perl"


class _Asked(NamedTuple):
    """A Perl peer as its name says it."""

    place: str
    stack: str
    backend: str

    @property
    def name(self) -> str:
        place = f"@{self.place}" if self.place else ""
        backend = f"+{self.backend}" if self.backend else ""
        return f"perl{place}:{self.stack}{backend}"

    @property
    def environment(self) -> dict[str, str]:
        module = BACKENDS.get(self.backend)
        return {**_GRACE, "JOBWIRE_PEER_JSON": module} if module else dict(_GRACE)

    def command(self, *argv: str, env: dict[str, str]) -> PeerCommand:
        return PeerCommand(name=self.name, dialect=self.stack.partition("+")[0], argv=argv, env=env, kind="perl")


def _asked(place: str, stack: str) -> _Asked:
    base, _, end = stack.rpartition("+")
    return _Asked(place, base, end) if end in BACKENDS else _Asked(place, stack, "")


def perl_peer(place: str, stack: str) -> PeerCommand:
    """The peer of one stack (its backend may follow it) in one of :data:`PLACES`.

    Raises :class:`MissingPeer`, with the way to get it.
    """
    asked = _asked(place, stack)
    if not PERL_PEER.exists():
        raise MissingPeer("perl_fixtures/bin/peer.pl is not here: run the suite from a checkout")
    if not place:
        return _local(asked)
    if place != "docker" and os.geteuid() == 0:
        return _in_root(asked)
    try:
        return container_peers.perl_command(
            asked.name, asked.stack, stacks_folder(), release="" if place == "docker" else place, env=asked.environment
        )
    except ContainerFault as fault:
        raise MissingPeer(str(fault)) from None


def perl_peers(place: str, stack: str) -> list[PeerCommand]:
    """The peers of a pattern: ``*`` is every place that has a Perl, and every stack that loads there.

    ``perl:*`` and ``perl@docker:*`` are one stack a dialect. Raises :class:`MissingPeer` where there is none.
    """
    places = ("", *SUITES) if place == "*" else (place,)
    stacks = (DIALECTS if place in {"", "docker"} else STACKS) if stack == "*" else (stack,)
    found = []
    missing: list[MissingPeer] = []
    for one, other in itertools.product(places, stacks):
        try:
            found.append(perl_peer(one, other))
        except MissingPeer as why:
            missing.append(why)
    if not found:
        raise missing[0]
    return found


def _local(asked: _Asked) -> PeerCommand:
    perl = shutil.which("perl")
    if perl is None:
        raise MissingPeer("there is no perl on PATH")
    environment = asked.environment
    library = stacks_folder() / asked.stack / "lib" / "perl5"
    if library.is_dir():
        inherited = os.environ.get("PERL5LIB")
        environment["PERL5LIB"] = os.pathsep.join([str(library), *filter(None, [inherited])])
    elif asked.stack != _installed_perl(perl):
        raise MissingPeer(
            f"Job::Async::Redis {asked.stack} is not here: neither in JOBWIRE_PERL_ROOT/{asked.stack}/lib/perl5 "
            f"(make it with cpanm -L, see perl_fixtures/README.md) nor installed for {perl}"
        )
    _need_backend(asked, (perl,))
    return asked.command(perl, str(PERL_PEER), env=environment)


def _installed_perl(perl: str) -> str | None:
    return _version_of("Job::Async::Redis", (perl,))


@cache
def _version_of(module: str, perl: tuple[str, ...]) -> str | None:
    """The version of a Perl module that can be loaded by this command; None without it."""
    answer = subprocess.run(  # noqa: S603 - the perl that peers run with, a constant program
        [*perl, f"-M{module}", "-e", f"print {module}->VERSION"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return answer.stdout.strip() if answer.returncode == 0 else None


def _need_backend(asked: _Asked, perl: tuple[str, ...]) -> None:
    module = BACKENDS.get(asked.backend)
    if module is not None and _version_of(module, perl) is None:
        where = f"Debian {asked.place}" if asked.place else "this machine"
        raise MissingPeer(f"Perl of {where} has no {module} (Debian's package lib{asked.backend}-perl)")


def _in_root(asked: _Asked) -> PeerCommand:
    root = PerlRoot(asked.place, stacks_folder())
    reason = _missing_in(root, asked.stack, root.folder)
    if reason:
        raise MissingPeer(reason)
    _need_backend(asked, tuple(root.command("perl")))
    return asked.command(*root.peer_command(asked.stack, PERL_PEER), env=asked.environment)


@cache
def _missing_in(root: PerlRoot, stack: str, _folder: Path) -> str | None:
    return root.missing(stack)
