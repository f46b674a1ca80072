"""The command ``jobwire``: one module a command, each with ``HELP``, ``configure(parser)`` and ``run(options)``.

Where a module says ``FROM_ENVIRONMENT``, variables as ``JOBWIRE_GRACE`` stand for its options.

Exit codes: 0 all is well, 1 it failed (the job, the check), 2 it was asked for wrongly, 3 the surroundings do not
permit it (no server, no rights, no program), 130 interrupted.
"""

from __future__ import annotations

from jobwire.cli.main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
