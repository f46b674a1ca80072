"""A mutant as a peer: ``python -m jobwire_conformance.selftest.peer NAME`` is the Python peer, broken on purpose."""

from __future__ import annotations

import sys
from typing import Any

from jobwire.transport import open_transport
from jobwire_conformance.driver.protocol import Start
from jobwire_conformance.peers.python import Peer, serve
from jobwire_conformance.selftest.mutants import Mutant, named
from jobwire_conformance.selftest.transport import MutantTransport

__all__ = ["MutantPeer"]


class MutantPeer(Peer):
    """The good peer with the options of a mutant, and a transport that breaks the traffic."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__()
        self._mutant = mutant

    def adapted(self, start: Start, options: dict[str, Any]) -> dict[str, Any]:
        """The mutant's own options in place of those that were asked for."""
        mutant = self._mutant
        if mutant.options is not None:
            options |= mutant.options(start)
        if mutant.rewrite or mutant.reply or mutant.push:
            inner = open_transport(start.redis)
            options["transport"] = MutantTransport(inner, rewrite=mutant.rewrite, reply=mutant.reply, push=mutant.push)
        return options


if __name__ == "__main__":
    sys.exit(serve(MutantPeer(named(sys.argv[1]))))
