"""The command ``jobwire-conformance``: a module a command, each with ``HELP``, ``configure(parser)``, ``run(options)``.

Exit status: 0 conformant, 1 not conformant, 2 usage, 3 environment, 4 stale list of expectations.
"""

from __future__ import annotations

from jobwire_conformance.cli.main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
