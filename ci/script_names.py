"""The SHA-1 of each script of ``jobwire.wire`` in the suite's own table (``rules/scripts.py``).

``python -m ci.script_names`` says which are missing and exits 1; with ``--write`` it adds them.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from importlib import import_module
from pathlib import Path

import jobwire.wire
from jobwire.wire.scripts import Script
from jobwire_conformance.rules.scripts import SCRIPTS

__all__ = ["main", "missing"]

TABLE = Path(__file__).resolve().parents[1] / "conformance" / "jobwire_conformance" / "rules" / "scripts.py"


def _scripts() -> dict[bytes, str]:
    """SHA-1 -> name, of every script that a module of ``jobwire.wire`` holds."""
    names = [module.name for module in pkgutil.walk_packages(jobwire.wire.__path__, "jobwire.wire.")]
    modules = [import_module(name) for name in names if not name.endswith("_speedups")]
    return {
        found.sha: name.strip("_")
        for module in modules
        for name, found in vars(module).items()
        if isinstance(found, Script)
    }


def missing() -> dict[bytes, str]:
    """The scripts that the table does not know."""
    return {sha: name for sha, name in _scripts().items() if sha not in SCRIPTS}


def main(arguments: list[str]) -> int:
    """Check, or write (``--write``)."""
    new = missing()
    if "--write" not in arguments:
        for name in sorted(new.values()):
            sys.stdout.write(f"not in rules/scripts.py: {name} (python -m ci.script_names --write)\n")
        return 1 if new else 0
    known = sorted((SCRIPTS | new).items(), key=lambda item: (item[1], item[0]))
    rows = "".join(f'    b"{sha.decode()}": "{name}",\n' for sha, name in known)
    text = TABLE.read_text(encoding="utf-8")
    start = "SCRIPTS: dict[bytes, str] = {\n"
    TABLE.write_text(re.sub(re.escape(start) + r"[^}]*", start + rows, text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
