"""Perl of other Debian releases: runs peers in the root file systems that ``ci/perl-roots`` makes.

    root = PerlRoot("trixie", stacks)               # the folder of the library stacks on the host
    reason = root.missing("0.004")                  # None: it runs here
    command = root.peer_command("0.004", peer)      # argv of a peer of the driver protocol

Nothing is mounted. The library stack and the peer are copied into the root, to a folder named by their content, so
that work trees and processes may share a root. A program runs there by ``chroot``, as root, in the network of the host;
its process ID is that of the command.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KEPT", "SUITES", "PerlRoot", "lay", "roots_folder"]

#: The Debian releases that ``ci/perl-roots`` knows; the Perl stacks were written for bookworm's.
SUITES = ("bullseye", "trixie", "sid")
#: Where copies stand, seen from inside.
INSIDE = Path("/opt/jobwire/trees")
#: Seconds after which a copy that nobody asked for is removed.
KEPT = 7 * 24 * 3600.0
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def roots_folder() -> Path:
    """The folder that holds one root a suite: $JOBWIRE_ROOTS, else ``jobwire/roots`` in the user's cache."""
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("JOBWIRE_ROOTS") or cache_home / "jobwire" / "roots")


def lay(source: Path, place: Path) -> Path:
    """Copy the folder ``source`` to ``place/<digest of its content>``, unless it is there; return that folder.

    The copy appears whole or not at all. Copies that were not asked for within :data:`KEPT` are removed.
    """
    place.mkdir(parents=True, exist_ok=True)
    folder = place / _digest(source)
    if not folder.is_dir():
        half = Path(tempfile.mkdtemp(prefix=".new-", dir=place))
        try:
            shutil.copytree(source, half / "copy", symlinks=True)
            (half / "copy").rename(folder)
        except FileExistsError:  # another process was faster, and its copy is the same
            pass
        except OSError:
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(half)
    os.utime(folder)
    _prune(place)
    return folder


def _digest(source: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        name, content = str(path.relative_to(source)).encode(), path.read_bytes()
        digest.update(b"%d:%s%d:%s" % (len(name), name, len(content), content))
    return digest.hexdigest()[:16]


def _prune(place: Path) -> None:
    for old in place.iterdir():
        try:
            unused = time.time() - old.stat().st_mtime > KEPT
        except FileNotFoundError:
            continue
        if unused:
            shutil.rmtree(old, ignore_errors=True)


@dataclass(frozen=True)
class PerlRoot:
    """The root file system of one Debian release; ``suite`` is one of :data:`SUITES`, ``stacks`` the folder of the
    library stacks on the host."""

    suite: str
    stacks: Path

    @property
    def folder(self) -> Path:
        """Where it stands on the host."""
        return roots_folder() / self.suite

    def command(self, *program: str, env: Mapping[str, str] | None = None) -> list[str]:
        """The argv that runs ``program`` inside, with ``env`` added to the environment of the caller."""
        inside = {"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", **(env or {})}
        return ["chroot", str(self.folder), "env", *(f"{name}={value}" for name, value in inside.items()), *program]

    def lay(self, source: Path) -> Path:
        """:func:`lay`, into this root; returns the folder as seen from inside."""
        return INSIDE / lay(source, self.folder / INSIDE.relative_to("/")).name

    def perl_command(self, stack: str, *arguments: str) -> list[str]:
        """The argv of ``perl arguments`` with the library stack ``stack``, which must be installed on the host."""
        return self.command("perl", *arguments, env={"PERL5LIB": str(self.lay(self._libraries(stack)))})

    def peer_command(self, stack: str, peer: Path) -> list[str]:
        """The argv of the program ``peer`` (``<folder>/bin/<program>``), on the library stack ``stack``."""
        inside = self.lay(peer.parents[1]) / peer.relative_to(peer.parents[1])
        return self.perl_command(stack, str(inside))

    def missing(self, stack: str = "0.004") -> str | None:
        """Why ``stack`` cannot run in this root, with the remedy; None if it can."""
        if not (self.folder / ".jobwire-root").is_file():
            return f"there is no root file system of Debian {self.suite}: ci/perl-roots {self.suite} makes it, as root"
        if os.geteuid() != 0:
            return f"only root may run programs in the root file system of Debian {self.suite}"
        if not self._libraries(stack).is_dir():
            return f"Perl stack {stack} is not installed: perl_fixtures/README.md has the command"
        load = self.perl_command(stack, "-MJob::Async", "-MJob::Async::Redis", "-e", "1")
        probe = subprocess.run(load, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own
        if probe.returncode == 0:
            return None
        reason = " ".join(probe.stderr.strip().splitlines()[:1])[:200]
        return f"Perl stack {stack} does not load on Debian {self.suite}: {reason}"

    def _libraries(self, stack: str) -> Path:
        return self.stacks / stack / "lib" / "perl5"
